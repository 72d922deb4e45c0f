//! All that lies in `scripts/tests/`, as it stood at one moment.
//!
//! Invariants: tests, fixtures and snapshots are judged as they were read, whatever is saved meanwhile; links are not followed out of the
//! folder; what cannot be read is kept as such, and is told by the test that wants it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// The folder below that of `rules.toml`.
pub(super) const TESTS: &str = "scripts/tests";
/// Deepest folder below it that is looked into.
const MAX_DEPTH: usize = 8;
/// Largest file.
const MAX_FILE: u64 = 1 << 20;
/// Most bytes of all files together.
const MAX_BYTES: u64 = 256 << 20;

/// The files of `scripts/tests/`, by their path within it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestFolder {
    files: BTreeMap<String, Result<Arc<str>, String>>,
}

impl TestFolder {
    /// Reads the tests of the set in `dir`.
    #[must_use]
    pub fn read(dir: &Path) -> Self {
        let root = dir.join(TESTS);
        let mut reader =
            Reader { inside: root.canonicalize().unwrap_or_else(|_| root.clone()), bytes: 0, files: BTreeMap::new() };
        reader.folder(&root, "", 0);
        Self { files: reader.files }
    }

    /// The hash of all of it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (name, content) in &self.files {
            let content = match content {
                Ok(text) => text.as_bytes(),
                Err(reason) => reason.as_bytes(),
            };
            // The lengths in front keep the borders between the parts.
            for part in [name.as_bytes(), content] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        hash.finalize().into()
    }

    /// A file's text; none when there is no such file.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn text(&self, name: &str) -> Option<Result<&Arc<str>, &str>> {
        Some(self.files.get(name)?.as_ref().map_err(String::as_str))
    }

    /// The files of a folder and of those in it, by their path within it.
    pub(super) fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        self.files.keys().filter_map(move |name| name.strip_prefix(folder))
    }
}

struct Reader {
    /// The folder itself, without links.
    inside: PathBuf,
    bytes: u64,
    files: BTreeMap<String, Result<Arc<str>, String>>,
}

impl Reader {
    fn folder(&mut self, path: &Path, prefix: &str, depth: usize) {
        let listed = match fs::read_dir(path) {
            Ok(listed) => listed,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => return drop(self.files.insert(prefix.to_owned(), Err(error.to_string()))),
        };
        let mut names: Vec<String> = listed.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        for name in names {
            let (path, name) = (path.join(&name), format!("{prefix}{name}"));
            let leads_out = path.canonicalize().is_ok_and(|path| !path.starts_with(&self.inside));
            match fs::metadata(&path) {
                // A folder elsewhere is nobody's to look into.
                Ok(found) if found.is_dir() && depth < MAX_DEPTH && !leads_out => {
                    self.folder(&path, &format!("{name}/"), depth + 1)
                }
                Ok(found) if found.is_dir() => {}
                Ok(_) if leads_out => drop(self.files.insert(name, Err(format!("it leads out of {TESTS}/")))),
                Ok(found) if found.is_file() => {
                    let text = self.file(&path);
                    self.files.insert(name, text);
                }
                Ok(_) => drop(self.files.insert(name, Err("it is not a regular file".to_owned()))),
                Err(error) => drop(self.files.insert(name, Err(error.to_string()))),
            }
        }
    }

    fn file(&mut self, path: &Path) -> Result<Arc<str>, String> {
        let file = fs::File::open(path).map_err(|e| e.to_string())?;
        let mut text = String::new();
        let read = file.take(MAX_FILE + 1).read_to_string(&mut text);
        read.map_err(|e| e.to_string())?;
        self.bytes += text.len() as u64;
        if text.len() as u64 > MAX_FILE {
            return Err("it is larger than 1 MiB".to_owned());
        }
        if self.bytes > MAX_BYTES {
            return Err(format!("{TESTS}/ holds more than 256 MiB"));
        }
        // A byte order mark is no part of the text.
        Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).into())
    }
}
