//! A copy of the store in one file, made beside the daemon that may be running on it.
//!
//! Invariants:
//! - The copy is one moment: it is read in one transaction, which sees all that was answered before it began and nothing later.
//! - The writer does not wait for it: a reader locks nobody out, and the log of changes grows meanwhile instead.
//! - A file stands under its name only when it is whole, was checked, and is on the disk; until then it has another one beside it.
//! - The copy says which moment it is of ([`CopyOf`]), so that a daemon that goes on from it knows.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::codes::{from_seq, to_seq};
use super::counters::Counters;
use super::open::{Paths, private};
use crate::crash;
use crate::store::{COPIES, COPY_OF, CopyError, CopyOf, Held, StoreError};

/// Pages that are copied between two looks at whether it is still wanted: 8 MiB.
const STEP: i32 = 1_024;

/// Told how many pages of how many are copied; it says whether to go on.
pub type Progress<'a> = dyn FnMut(u64, u64) -> ControlFlow<()> + 'a;

/// Copies the store of a data directory into a file. `force` replaces what stands there, once the copy is whole.
///
/// # Errors
/// When there is no store, the file is there, or it cannot be written; then nothing is left behind.
pub fn backup(dir: &Path, to: &Path, force: bool, progress: &mut Progress<'_>) -> Result<Held, CopyError> {
    let paths = Paths::new(dir, true);
    if !paths.database.exists() {
        return Err(paths.unusable("there is no store to back up: no daemon has run on this data directory yet").into());
    }
    if !force && to.symlink_metadata().is_ok() {
        return Err(CopyError::Exists(to.to_owned()));
    }
    let source = paths.open_reader().map_err(|e| paths.explain(&e))?;
    let (_, schema) = paths.applied(&source)?;
    let unfinished = Unfinished::make(to)?;
    let held = copy(&source, &unfinished, schema, Timestamp::now(), progress).map_err(|trouble| match trouble {
        Trouble::Source(error) => paths.explain(&error).into(),
        trouble => trouble.said_of(to),
    })?;
    crash::point(crash::COPIED);
    unfinished.finish(to, force)?;
    Ok(held)
}

/// Why a copy was not made.
#[derive(Debug)]
pub(super) enum Trouble {
    Stopped,
    /// What is copied cannot be read.
    Source(rusqlite::Error),
    /// What is written.
    Target(rusqlite::Error),
    /// The copy is not sound, so what was copied is not.
    Damaged(String),
}

impl Trouble {
    fn said_of(self, to: &Path) -> CopyError {
        let io = |what, source| CopyError::Io { what, path: to.to_owned(), source };
        match self {
            Self::Stopped => CopyError::Stopped,
            Self::Target(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) => {
                let full = io::Error::new(
                    io::ErrorKind::StorageFull,
                    "the disk is full; free some space, or name a file on another one",
                );
                io("nothing was left behind; there is no room for", full)
            }
            Self::Target(error) | Self::Source(error) => io("the backup cannot be written to", io::Error::other(error)),
            Self::Damaged(what) => CopyError::Store(StoreError::Unusable {
                path: to.display().to_string(),
                reason: format!(
                    "the copy is not sound ({what}), so the store that it was made of is damaged; no backup was kept. Look at the disk, \
                     stop the daemon, and restore an earlier backup or save what can be read with `sqlite3 FILE .recover`"
                ),
            }),
        }
    }
}

/// Copies what a connection sees into an unfinished file, checks it, and has it say which moment it is.
pub(super) fn copy(
    source: &Connection,
    to: &Unfinished,
    schema: usize,
    at: Timestamp,
    progress: &mut Progress<'_>,
) -> Result<Held, Trouble> {
    source.execute_batch("BEGIN").map_err(Trouble::Source)?;
    // The transaction begins with its first read. It ends with the connection.
    let counters = Counters::load(source).map_err(Trouble::Source)?;
    let before = copy_of(source).map_err(Trouble::Source)?;
    let unfinished = |before: &CopyOf| {
        source.query_row("SELECT EXISTS (SELECT 1 FROM pending WHERE seq <= ?1)", [from_seq(before.newest)], |row| {
            row.get::<_, bool>(0)
        })
    };
    let at = match before {
        // Nobody has gone on from it, or what it did not know of is not settled yet: it is still that moment's.
        Some(before) if before.started.is_none() || unfinished(&before).map_err(Trouble::Source)? => before.at,
        _ => at,
    };
    let moment = CopyOf { at, newest: to_seq(counters.last_seq), started: None };

    let mut target = to.open().map_err(Trouble::Target)?;
    copy_pages(source, &mut target, to, progress)?;
    note(&target, &moment).map_err(Trouble::Target)?;
    check(&target)?;
    target.close().map_err(|(_, error)| Trouble::Target(error))?;
    let bytes = fs::metadata(&to.path).map_or(0, |m| m.len());
    let Counters { events, unmatched, pending, failed, .. } = counters;
    Ok(Held { at, bytes, schema, newest: moment.newest, events, unmatched, pending, failed })
}

fn copy_pages(source: &Connection, target: &mut Connection, to: &Unfinished, progress: &mut Progress<'_>) -> Result<(), Trouble> {
    let pages = Backup::new(source, target).map_err(Trouble::Target)?;
    loop {
        let step = pages.step(STEP).map_err(Trouble::Target)?;
        // In small parts, for the disk has the writer's commits to sync meanwhile. The last sync tells whether it worked.
        drop(to.file.sync_data());
        let state = pages.progress();
        let (all, left) = (u64::try_from(state.pagecount).unwrap_or(0), u64::try_from(state.remaining).unwrap_or(0));
        if progress(all.saturating_sub(left), all).is_break() {
            return Err(Trouble::Stopped);
        }
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            // Another program has the unfinished file open.
            _ => {
                return Err(Trouble::Target(rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                    None,
                )));
            }
        }
    }
}

/// What a store says of the copy that it was.
pub(super) fn copy_of(conn: &Connection) -> rusqlite::Result<Option<CopyOf>> {
    let value: Option<Vec<u8>> =
        conn.query_row("SELECT value FROM kv WHERE space = ?1 AND key = ?2", [COPIES, COPY_OF], |row| row.get(0)).optional()?;
    Ok(value.and_then(|value| serde_json::from_slice(&value).ok()))
}

/// Makes a copy one file that says which moment it is.
fn note(target: &Connection, moment: &CopyOf) -> rusqlite::Result<()> {
    target.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    let value = serde_json::to_vec(moment).expect("a moment serialises");
    target.execute("INSERT OR REPLACE INTO kv (space, key, value) VALUES (?1, ?2, ?3)", params![COPIES, COPY_OF, value])?;
    Ok(())
}

/// That every page and index is sound.
fn check(target: &Connection) -> Result<(), Trouble> {
    let found: Result<String, _> = target.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0));
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(Trouble::Damaged(found.trim().replace('\n', "; "))),
        Err(error) => Err(Trouble::Damaged(error.to_string())),
    }
}

/// A file that does not have its name yet; it is removed when it does not get it.
#[derive(Debug)]
pub(super) struct Unfinished {
    path: PathBuf,
    file: File,
}

impl Unfinished {
    /// Makes the file beside the one that it is to become. What was left there by one that was killed is overwritten.
    pub(super) fn make(to: &Path) -> Result<Self, CopyError> {
        let mut name = OsString::from(".");
        name.push(to.file_name().unwrap_or_default());
        name.push(".unfinished");
        Self::at(to.with_file_name(name), to)
    }

    /// The same under a name of the caller's.
    pub(super) fn at(path: PathBuf, to: &Path) -> Result<Self, CopyError> {
        let io = |source| CopyError::Io { what: "cannot write beside", path: to.to_owned(), source };
        let file = private().create(true).truncate(false).read(true).write(true).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(CopyError::UnderWay(to.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        file.set_len(0).map_err(io)?;
        for log in logs(&path) {
            remove(&log).map_err(io)?;
        }
        Ok(Self { path, file })
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let conn = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        // Synced once, at the end; nobody else is at it, so that it needs no files of locks beside it.
        conn.pragma_update(None, "synchronous", "OFF")?;
        conn.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
        conn.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
        Ok(conn)
    }

    /// Syncs it and gives it its name.
    pub(super) fn finish(self, to: &Path, force: bool) -> Result<(), CopyError> {
        let io = |what| move |source| CopyError::Io { what, path: to.to_owned(), source };
        self.file.sync_all().map_err(io("the file cannot be synced to the disk:"))?;
        if force {
            fs::rename(&self.path, to).map_err(io("the file cannot get its name,"))?;
        } else {
            match fs::hard_link(&self.path, to) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(CopyError::Exists(to.to_owned())),
                // Not every file system has links.
                Err(_) if to.symlink_metadata().is_err() => {
                    fs::rename(&self.path, to).map_err(io("the file cannot get its name,"))?
                }
                Err(_) => return Err(CopyError::Exists(to.to_owned())),
            }
        }
        sync_folder(to).map_err(io("the folder cannot be synced to the disk, of"))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // What has got its name by a rename is not here any more.
        drop(remove(&self.path));
        for log in logs(&self.path) {
            drop(remove(&log));
        }
    }
}

/// The files that SQLite may put beside one.
fn logs(path: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", "-journal"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Syncs the folder of a file, so that its name survives a power cut.
pub(super) fn sync_folder(of: &Path) -> io::Result<()> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}
