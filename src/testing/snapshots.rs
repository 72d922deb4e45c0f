//! What tests keep of results: `scripts/tests/snapshots/FILE/TEST.json`, or `TEST.NAME.json`.
//!
//! Invariants: nothing is written or removed but by an update; a snapshot belongs to one assertion of one test, so that the order in which
//! tests run decides nothing; its text has one order of keys.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value as Json;

use super::folder::{TESTS, TestFolder};
use crate::script::{TestName, Unlike};

/// The folder of a working folder's snapshots.
const FOLDER: &str = "scripts/tests/snapshots";
/// The same within [`TESTS`].
const WITHIN: &str = "snapshots/";
/// How a missing or an outdated snapshot is made.
const HELP: &str = "if it is right as it is now, keep it: `pipewright test --update`";

/// The snapshots of one run.
#[derive(Debug)]
pub(super) struct Snapshots {
    folder: PathBuf,
    /// As they stood before the run.
    kept: Arc<TestFolder>,
    update: bool,
    used: Mutex<BTreeSet<String>>,
    written: Mutex<BTreeSet<String>>,
}

/// What an update did, by file below the working folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Updated {
    /// Snapshots that were written.
    pub written: BTreeSet<String>,
    /// Snapshots that were removed: no test uses them any more.
    pub removed: BTreeSet<String>,
}

impl Snapshots {
    pub(super) fn new(dir: &Path, kept: Arc<TestFolder>, update: bool) -> Self {
        Self { folder: dir.join(FOLDER), kept, update, used: Mutex::default(), written: Mutex::default() }
    }

    /// Compares a value with what is kept, or keeps it.
    pub(super) fn check(&self, test: &TestName, name: Option<&str>, value: &Json) -> Result<(), Unlike> {
        let file = file(test, name)?;
        let said = format!("{FOLDER}/{file}");
        if !self.used.lock().insert(file.clone()) {
            let help = "give each a name: `assert_snapshot(run, \"first\")`".to_owned();
            return Err(plain(format!("{said} is used by this test already"), Some(help)));
        }
        let now = text(value);
        let path = self.folder.join(&file);
        let kept = self.kept.text(&format!("{WITHIN}{file}")).transpose();
        let kept = kept.map_err(|e| plain(format!("{said} cannot be read: {e}"), None))?.map(|text| text.to_string());
        let parsed = kept.as_deref().map(serde_json::from_str::<Json>);
        if matches!(&parsed, Some(Ok(kept)) if kept == value) {
            return Ok(());
        }
        if self.update {
            write(&path, &now).map_err(|e| plain(format!("{said} cannot be written: {e}"), None))?;
            self.written.lock().insert(said);
            return Ok(());
        }
        let help = Some(HELP.to_owned());
        Err(match (kept, parsed) {
            (Some(_), Some(Err(error))) => plain(format!("{said} is no JSON: {error}"), help),
            (Some(_), Some(Ok(kept))) => {
                let message = format!("the result differs from {said}");
                Unlike { message, help, texts: Some((text(&kept), now)) }
            }
            _ => Unlike { message: format!("there is no {said} yet"), help, texts: Some((String::new(), now)) },
        })
    }

    /// Ends an update. Of a whole run that passed, the snapshots that no test used are removed.
    ///
    /// # Errors
    /// When a file cannot be removed; which, and why.
    pub(super) fn finish(&self, whole: bool) -> Result<Updated, String> {
        let mut updated = Updated { written: self.written.lock().clone(), removed: BTreeSet::new() };
        if !self.update || !whole {
            return Ok(updated);
        }
        let used = self.used.lock();
        // Links lead to what is not ours.
        for folder in entries(&self.folder).filter(|path| path.is_dir() && !path.is_symlink()) {
            for path in entries(&folder).filter(|path| path.extension().is_some_and(|e| e == "json") && !path.is_symlink()) {
                let Some(file) = path.strip_prefix(&self.folder).ok().and_then(Path::to_str) else { continue };
                if !used.contains(file) {
                    std::fs::remove_file(&path).map_err(|e| format!("{FOLDER}/{file} cannot be removed: {e}"))?;
                    updated.removed.insert(format!("{FOLDER}/{file}"));
                }
            }
            // It stays when something is left in it.
            drop(std::fs::remove_dir(&folder));
        }
        Ok(updated)
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn file(test: &TestName, name: Option<&str>) -> Result<String, Unlike> {
    let of = test.file.strip_suffix(".rhai").unwrap_or(&test.file);
    let Some(name) = name else { return Ok(format!("{of}/{}.json", test.name)) };
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return Err(plain("`assert_snapshot`: a name is made of letters, digits, `_` and `-`".to_owned(), None));
    }
    Ok(format!("{of}/{}.{name}.json", test.name))
}

const fn plain(message: String, help: Option<String>) -> Unlike {
    Unlike { message, help, texts: None }
}

fn text(value: &Json) -> String {
    format!("{value:#}\n")
}

/// Whole or not at all, and never through a link.
fn write(path: &Path, text: &str) -> Result<(), std::io::Error> {
    let folder = path.parent().ok_or(ErrorKind::NotFound)?;
    std::fs::create_dir_all(folder)?;
    if folder.is_symlink() || folder.parent().is_some_and(Path::is_symlink) {
        return Err(std::io::Error::other(format!("the folder is a link; snapshots are kept in {TESTS}/ itself")));
    }
    // Hidden, so that nobody takes it for a snapshot.
    let name = path.file_name().ok_or(ErrorKind::NotFound)?.to_string_lossy();
    let fresh = folder.join(format!(".{name}.new"));
    // What lies there is left of an update that was cut off, or a link that somebody put there: neither is written into.
    drop(std::fs::remove_file(&fresh));
    std::fs::File::create_new(&fresh)?.write_all(text.as_bytes())?;
    std::fs::rename(&fresh, path)
}
