//! One look at the files: the set, and what its tests are judged by.
//!
//! Invariants: a version is the hash of what runs (`rules.toml`, scripts, tables, schema files) and of nothing else; tests and their
//! fixtures have a hash of their own, so that a mended test alone is a reason to try again what was refused.

use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::rules::{SetFiles, Version};
use crate::testing::TestFolder;

/// The hash of all that lies in `scripts/tests/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TestsHash([u8; 32]);

/// The files as they stood when they were looked at.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) files: SetFiles,
    /// What the set is judged by: these very bytes, whatever is saved meanwhile.
    pub(super) tests: Arc<TestFolder>,
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
        let tests = Arc::new(TestFolder::read(dir));
        let seen = Seen { version: files.version(), tests: TestsHash(tests.hash()) };
        Ok(Self { files, tests, seen })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
