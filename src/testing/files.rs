//! The files of `scripts/tests/` that tests use.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::folder::{TESTS, TestFolder};
use crate::diagnostic::{Diagnostic, did_you_mean};

/// The folder of fixtures within it.
const FIXTURES: &str = "fixtures/";

/// The files of `scripts/tests/`.
#[derive(Debug, Clone)]
pub struct TestFiles {
    /// `*.rhai`, by name.
    pub tests: BTreeMap<String, Arc<str>>,
    folder: Arc<TestFolder>,
}

impl TestFiles {
    /// The test files among what was read.
    ///
    /// # Errors
    /// When one cannot be read, is too large or is no UTF-8.
    pub fn of(folder: Arc<TestFolder>) -> Result<Self, Vec<Diagnostic>> {
        let (mut tests, mut problems) = (BTreeMap::new(), Vec::new());
        // The folder itself has no name in it.
        if let Some(Err(reason)) = folder.text("") {
            problems.push(Diagnostic::error(format!("{TESTS} cannot be read: {reason}")));
        }
        for name in folder.below("").filter(|name| name.ends_with(".rhai") && !name.contains('/')) {
            match folder.text(name) {
                Some(Ok(text)) => drop(tests.insert(name.to_owned(), text.clone())),
                Some(Err(reason)) => {
                    let file = format!("{TESTS}/{name}");
                    problems.push(Diagnostic::error(format!("{file} cannot be read: {reason}")).in_file(&file));
                }
                None => {}
            }
        }
        if problems.is_empty() { Ok(Self { tests, folder }) } else { Err(problems) }
    }

    /// The content of a JSON file in `scripts/tests/fixtures/`.
    pub(super) fn fixture(&self, name: &str) -> Result<Json, String> {
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', ':', '\0']);
        if !name.split('/').all(plain) {
            return Err("the name is that of a file in scripts/tests/fixtures/, such as \"identify.json\"".to_owned());
        }
        let cannot = |reason: &str| {
            let near = did_you_mean(name, self.folder.below(FIXTURES).filter(|other| *other != name))
                .map(|n| format!("; did you mean \"{n}\"?"));
            format!("{TESTS}/{FIXTURES}{name} cannot be read: {reason}{}", near.unwrap_or_default())
        };
        let text = match self.folder.text(&format!("{FIXTURES}{name}")) {
            Some(text) => text.map_err(cannot)?,
            None => return Err(cannot("there is no such file")),
        };
        serde_json::from_str(text).map_err(|e| format!("{TESTS}/{FIXTURES}{name} is no JSON: {e}"))
    }
}
