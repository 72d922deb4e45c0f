//! Taking possession of the data directory and opening the file.
//!
//! Invariants: one process a directory, by a lock that dies with the process; a file that is not ours, newer than we know,
//! damaged, or on a network file system is refused untouched, with what to do.

use std::fs::{DirBuilder, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::codes::DAMAGED;
use super::schema::{APPLICATION_ID, MIGRATIONS};
use crate::store::StoreError;

/// Bytes a page of a new file: five events of the usual size, where 4 KiB would hold two and leave a quarter empty. Larger ones would make
/// commits of a few events slower, and every outcome, which touch single rows of many pages. A file keeps the size that it was made with.
const PAGE_SIZE: i64 = 8 * 1024;
/// How long a connection waits for a lock of another.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the directory's lock is tried before it is somebody else's, and the time between two tries.
const LOCK_LOOKS: u32 = 20;
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// Keeps other daemons off the directory while it lives.
#[derive(Debug)]
pub(super) struct DirLock(#[expect(dead_code, reason = "held, not read")] File);

/// The files of a store.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub(super) dir: PathBuf,
    pub(super) database: PathBuf,
    pub(super) wal: PathBuf,
    pub(super) reserve: PathBuf,
    lock: PathBuf,
    durable: bool,
}

impl Paths {
    pub(super) fn new(dir: &Path, durable: bool) -> Self {
        Self {
            dir: dir.to_owned(),
            database: dir.join("pipewright.db"),
            wal: dir.join("pipewright.db-wal"),
            reserve: dir.join("reserve"),
            lock: dir.join("lock"),
            durable,
        }
    }

    /// A store that is being restored, until it has its name.
    pub(super) fn arriving(&self) -> PathBuf {
        self.dir.join("pipewright.db.restoring")
    }

    /// The database with what SQLite keeps beside it.
    pub(super) fn files(&self) -> [PathBuf; 3] {
        [self.database.clone(), self.wal.clone(), self.dir.join("pipewright.db-shm")]
    }

    pub(super) fn unusable(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Unusable { path: self.database.display().to_string(), reason: reason.into() }
    }

    /// Makes the directory and takes its lock.
    pub(super) fn take(&self) -> Result<DirLock, StoreError> {
        let io =
            |what: &str, error: std::io::Error| self.unusable(format!("{what}: {error}; check the path and its permissions"));
        // Folders that this makes are the owner's alone; one that was there keeps the mode that it was given.
        private_folders().create(&self.dir).map_err(|e| io("the data directory cannot be made", e))?;
        if let Some(kind) = network_file_system(&self.dir) {
            return Err(self.unusable(format!(
                "the data directory is on a network file system ({kind}), where a crash can damage it; \
                 set `server.data_dir` to a local disk"
            )));
        }
        let file = private()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.lock)
            .map_err(|e| io("the lock file cannot be opened", e))?;
        // A daemon that is just ending, or a child process between its start and its program, may hold it for a moment still.
        for wait in (0..LOCK_LOOKS).rev() {
            match file.try_lock() {
                Ok(()) => return Ok(DirLock(file)),
                Err(TryLockError::WouldBlock) if wait > 0 => std::thread::park_timeout(LOCK_WAIT),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => return Err(io("the lock file cannot be locked", e)),
            }
        }
        Err(self.unusable(
            "another Pipewright daemon is running on this data directory; stop it, or give this one its own `server.data_dir`",
        ))
    }

    /// The writer's connection, on a file that is brought up to date.
    pub(super) fn open_writer(&self) -> Result<Connection, StoreError> {
        if self.arriving().exists() {
            if !self.database.exists() {
                return Err(self.unusable(
                    "a restore was cut off; run `pipewright restore` again. What was there before is in a folder `before-restore-...` \
                     beside it",
                ));
            }
            // Of a restore that was cut off before it changed anything.
            drop(std::fs::remove_file(self.arriving()));
        }
        if !self.database.exists() {
            // Made first, so that its permissions keep others out; SQLite gives the WAL the same.
            private().create_new(true).write(true).open(&self.database).map_err(|e| {
                self.unusable(format!("the file cannot be made: {e}; check the directory's permissions and free space"))
            })?;
        }
        let conn = self.connect(65_536).map_err(|e| self.explain(&e))?;
        self.prepare(&conn)?;
        if !self.durable {
            return Ok(conn);
        }
        // The file's and its WAL's names are to survive a power cut as well.
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|e| self.unusable(format!("the data directory cannot be synced: {e}")))?;
        Ok(conn)
    }

    /// A connection that only reads.
    pub(super) fn open_reader(&self) -> rusqlite::Result<Connection> {
        let conn = self.connect(8_192)?;
        conn.pragma_update(None, "query_only", true)?;
        Ok(conn)
    }

    /// A connection with a page cache of so many KiB.
    pub(super) fn connect(&self, cache_kib: i64) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.database, flags)?;
        conn.set_prepared_statement_cache_capacity(64);
        conn.busy_timeout(BUSY_TIMEOUT)?;
        // After a failed fsync nothing may be copied out of the WAL any more, so closing must not do it by itself.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        conn.pragma_update(None, "synchronous", if self.durable { "FULL" } else { "OFF" })?;
        conn.pragma_update(None, "cache_size", -cache_kib)?;
        // What is deleted is overwritten where its page is written anyway; an erasure gives the free pages back besides.
        conn.pragma_update(None, "secure_delete", "FAST")?;
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        conn.pragma_update(None, "wal_autocheckpoint", 0)?;
        conn.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
        Ok(conn)
    }

    fn prepare(&self, conn: &Connection) -> Result<(), StoreError> {
        let (owner, applied) = self.applied(conn)?;
        self.migrate(conn, owner, applied).map_err(|e| self.explain(&e))
    }

    /// That a file which somebody else keeps has all of the migrations.
    pub(super) fn is_of_this_version(&self, conn: &Connection) -> Result<(), StoreError> {
        let (_, applied) = self.applied(conn)?;
        if applied == MIGRATIONS.len() {
            return Ok(());
        }
        Err(self.unusable(format!(
            "the file was written by an older Pipewright (schema {applied}, this one has {}); start this version's daemon on it once",
            MIGRATIONS.len()
        )))
    }

    /// Whose the file is, and how many migrations it has had.
    pub(super) fn applied(&self, conn: &Connection) -> Result<(i32, usize), StoreError> {
        let number =
            |pragma: &str| conn.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0)).map_err(|e| self.explain(&e));
        let (owner, version) = (number("application_id")?, number("user_version")?);
        let tables: i64 =
            conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(|e| self.explain(&e))?;
        if owner != APPLICATION_ID && (owner != 0 || tables != 0) {
            return Err(
                self.unusable("the file is a database of another program; move it away, or set another `server.data_dir`")
            );
        }
        let known = MIGRATIONS.len();
        let applied = usize::try_from(version).unwrap_or(usize::MAX);
        if applied > known {
            return Err(self.unusable(format!(
                "the file was written by a newer Pipewright (schema {version}, this one knows {known}); run that version or a later one"
            )));
        }
        Ok((owner, applied))
    }

    fn migrate(&self, conn: &Connection, owner: i32, applied: usize) -> rusqlite::Result<()> {
        if owner == 0 {
            // Both take effect only before the first table.
            conn.pragma_update(None, "page_size", PAGE_SIZE)?;
            conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
        let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            return Err(rusqlite::Error::InvalidQuery);
        }
        if applied == 0 {
            tracing::info!(file = %self.database.display(), "a new store was made");
        } else if applied < MIGRATIONS.len() {
            tracing::info!(from = applied, to = MIGRATIONS.len(), "bringing the store's schema up to date");
        }
        for (version, migration) in (1i32..).zip(MIGRATIONS).skip(applied) {
            conn.execute_batch(&format!(
                "BEGIN IMMEDIATE; {migration} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}; COMMIT;"
            ))?;
        }
        Ok(())
    }

    /// What an error while opening means, and what to do.
    pub(super) fn explain(&self, error: &rusqlite::Error) -> StoreError {
        use rusqlite::ErrorCode;
        let advice = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => DAMAGED,
            Some(ErrorCode::DiskFull) => "the disk is full; free some space and start again",
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "another program holds the file; close it and start again"
            }
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                "the file cannot be written; check its owner and permissions"
            }
            _ => "check the disk and its file system (write-ahead logging needs a local one)",
        };
        self.unusable(format!("{advice} ({error})"))
    }
}

fn private_folders() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

#[cfg(unix)]
pub(super) fn private() -> std::fs::OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.mode(0o600);
    options
}

#[cfg(not(unix))]
pub(super) fn private() -> std::fs::OpenOptions {
    File::options()
}

/// The kind of network file system that a directory is on, where the system says so.
fn network_file_system(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    network_mount(&std::fs::read_to_string("/proc/self/mounts").ok()?, &dir)
}

/// Reads a mount table: the mount with the longest path that holds `dir` is its own; of equal ones, the last.
fn network_mount(mounts: &str, dir: &Path) -> Option<String> {
    const NETWORK: [&str; 7] = ["nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "fuse.sshfs"];
    let mount = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?.replace("\\040", " "), words.next()?))
        })
        .filter(|(point, _)| dir.starts_with(point))
        .max_by_key(|(point, _)| point.len())?;
    NETWORK.contains(&mount.1).then(|| mount.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_recognised_by_the_nearest_mount() {
        let mounts =
            "/dev/vda / ext4 rw 0 0\nfiler:/x /mnt/my\\040share nfs4 rw 0 0\n/dev/vdb /mnt/my\\040share/local xfs rw 0 0\n";
        assert_eq!(network_mount(mounts, Path::new("/mnt/my share/data")).as_deref(), Some("nfs4"));
        assert_eq!(network_mount(mounts, Path::new("/mnt/my share/local/data")), None);
        assert_eq!(network_mount(mounts, Path::new("/mnt/my shared")), None);
        assert_eq!(network_mount("", Path::new("/data")), None);
    }
}
