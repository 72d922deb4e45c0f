//! Putting a copy of a store in its place.
//!
//! Invariants:
//! - Only while no daemon runs on the data directory: its lock is held meanwhile.
//! - What is put in place is a copy of the file, checked as it lies there; the file itself is only read.
//! - What was there before is moved into a folder beside it, never deleted. Between the two the new file is there under the name
//!   [`Paths::arriving`] and no other one is, so that a daemon that finds it so refuses to start with nothing.

use std::fs::{self, DirBuilder};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::backup::{Progress, Trouble, Unfinished, copy, sync_folder};
use super::open::Paths;
use crate::crash;
use crate::store::{CopyError, Held, StoreError};

/// What a restore has done.
#[derive(Debug, Clone)]
pub struct Replaced {
    /// What is in place now.
    pub held: Held,
    /// The file of the store.
    pub store: PathBuf,
    /// Where what was there before is; none: nothing was.
    pub kept: Option<PathBuf>,
}

/// Puts a copy of this file in the place of a data directory's store.
///
/// # Errors
/// When a daemon runs there; when the file is no copy of a store, is damaged, or of a newer version: then nothing was changed.
pub fn restore(from: &Path, dir: &Path, progress: &mut Progress<'_>) -> Result<Replaced, CopyError> {
    let unfit = |reason: String| CopyError::Unfit { path: from.to_owned(), reason };
    let paths = Paths::new(dir, true);
    let made = fs::metadata(from)
        .map_err(|e| unfit(format!("it cannot be read ({e}); check the path and its permissions")))?
        .modified()
        .ok()
        .and_then(|at| Timestamp::try_from(at).ok());
    let source = open(from).map_err(|e| unfit(unreadable(&e)))?;
    let schema = match paths.applied(&source) {
        Ok((owner, schema)) if owner != 0 && schema != 0 => schema,
        Ok(_) => return Err(unfit("it is no backup of Pipewright: there is nothing in it".to_owned())),
        Err(StoreError::Unusable { reason, .. }) => return Err(unfit(reason)),
        Err(other) => return Err(other.into()),
    };
    let _lock = paths.take()?;
    let arriving = Unfinished::at(paths.arriving(), &paths.database)?;
    // A file that was copied by hand does not say when; nobody has written to it since.
    let at = made.unwrap_or_else(Timestamp::now);
    let held = copy(&source, &arriving, schema, at, progress).map_err(|trouble| match trouble {
        Trouble::Stopped => CopyError::Stopped,
        Trouble::Source(error) => unfit(unreadable(&error)),
        Trouble::Damaged(what) => unfit(format!("it is damaged ({what}); restore another backup")),
        Trouble::Target(error) => paths.explain(&error).into(),
    })?;
    let kept = set_aside(&paths).map_err(|source| CopyError::Io {
        what: "what was there before cannot be set aside, and nothing is lost; mend this and restore again:",
        path: paths.database.clone(),
        source,
    })?;
    crash::point(crash::SET_ASIDE);
    arriving.finish(&paths.database, false)?;
    Ok(Replaced { held, store: paths.database, kept })
}

fn open(from: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // Nothing is known of the file before it is read.
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
    Ok(conn)
}

fn unreadable(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => "it is no backup of Pipewright, or its beginning is damaged".to_owned(),
        Some(ErrorCode::DatabaseCorrupt) => format!("it is damaged ({error}); restore another backup"),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            format!(
                "it cannot be opened ({error}); check its permissions, and those of its folder when it is a copy of a data folder"
            )
        }
        _ => format!("it cannot be read ({error})"),
    }
}

/// Moves the store's files into a folder of their own; the database first, for the log of changes is worth nothing to another one.
fn set_aside(paths: &Paths) -> std::io::Result<Option<PathBuf>> {
    let there: Vec<PathBuf> = paths.files().into_iter().filter(|file| file.exists()).collect();
    if there.is_empty() {
        return Ok(None);
    }
    let name = Timestamp::now().strftime("before-restore-%Y%m%dT%H%M%SZ").to_string();
    let mut folder = paths.dir.join(&name);
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    for n in 2.. {
        match builder.create(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => folder = paths.dir.join(format!("{name}-{n}")),
            made => {
                made?;
                break;
            }
        }
    }
    for file in there {
        fs::rename(&file, folder.join(file.file_name().unwrap_or_default()))?;
    }
    sync_folder(&folder.join("files"))?;
    sync_folder(&folder)?;
    Ok(Some(folder))
}
