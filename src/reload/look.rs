//! One look at the files: the set, and what its tests are judged by.
//!
//! Invariants: a version is the hash of what runs (`rules.toml`, scripts, tables, schema files) and of nothing else; tests and their
//! fixtures have a hash of their own, so that a mended test alone is a reason to try again what was refused.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::diagnostic::Diagnostic;
use crate::rules::{SetFiles, Version};

/// Deepest folder below `scripts/tests/` that is looked into.
const MAX_DEPTH: usize = 8;
/// Most bytes of one file that are looked at: no test file and no fixture may be larger.
const MAX_FILE: u64 = (1 << 20) + 1;

/// The hash of all that lies in `scripts/tests/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TestsHash([u8; 32]);

impl TestsHash {
    /// Reads the tests of the set in `dir`. What cannot be read is a part of the hash as such: running the tests says why.
    pub(super) fn read(dir: &Path) -> Self {
        let mut hash = Sha256::new();
        folder(&dir.join("scripts/tests"), "", 0, &mut hash);
        Self(hash.finalize().into())
    }
}

/// The files as they stood when they were looked at.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) files: SetFiles,
    pub(super) seen: Seen,
}

/// What tells one look from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) version: Version,
    pub(super) tests: TestsHash,
}

impl Look {
    /// Reads the files. Blocks on the file system.
    pub(super) fn read(dir: &Path) -> Result<Self, Vec<Diagnostic>> {
        let files = SetFiles::read(dir)?;
        let seen = Seen { version: files.version(), tests: TestsHash::read(dir) };
        Ok(Self { files, seen })
    }
}

fn folder(path: &Path, prefix: &str, depth: usize, hash: &mut Sha256) {
    let listed = match fs::read_dir(path) {
        Ok(listed) => listed,
        Err(error) => return unreadable(prefix, &error, hash),
    };
    let mut names: Vec<String> = listed.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    for name in names {
        let (path, name) = (path.join(&name), format!("{prefix}{name}"));
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() && depth < MAX_DEPTH => folder(&path, &format!("{name}/"), depth + 1, hash),
            Ok(found) if found.is_file() => file(&path, &name, hash),
            Ok(_) => {}
            Err(error) => unreadable(&name, &error, hash),
        }
    }
}

fn file(path: &Path, name: &str, hash: &mut Sha256) {
    let mut bytes = Vec::new();
    match fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)) {
        Ok(_) => {
            // The lengths in front keep the borders between the parts.
            for part in [name.as_bytes(), &bytes] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        Err(error) => unreadable(name, &error, hash),
    }
}

fn unreadable(name: &str, error: &std::io::Error, hash: &mut Sha256) {
    if error.kind() != ErrorKind::NotFound {
        hash.update(format!("{name}: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_fixtures_have_a_hash_of_their_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, text).expect("a file");
        };
        write("rules.toml", "");
        let look = || Look::read(dir.path()).expect("readable").seen;
        let first = look();
        write("scripts/tests/a_test.rhai", "fn test_a() {}");
        let second = look();
        assert!(first.version == second.version && first.tests != second.tests);
        write("scripts/tests/fixtures/deep/x.json", "{}");
        let third = look();
        assert!(second.version == third.version && second.tests != third.tests);
        write("scripts/tests/.a_test.rhai.swp", "an editor's");
        assert_eq!(look(), third);
        write("scripts/a.rhai", "fn handle(event) {}");
        let fourth = look();
        assert!(fourth.version != third.version && fourth.tests == third.tests);
    }
}
