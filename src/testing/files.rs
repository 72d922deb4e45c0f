//! The files of `scripts/tests/`.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use crate::diagnostic::{Diagnostic, did_you_mean};

/// Largest test file and largest fixture.
const MAX_FILE: u64 = 1 << 20;

/// The files of `scripts/tests/`.
#[derive(Debug, Clone)]
pub struct TestFiles {
    /// `*.rhai`, by name.
    pub tests: BTreeMap<String, Arc<str>>,
    fixtures: PathBuf,
}

impl TestFiles {
    /// Reads the test files below the folder of `rules.toml`.
    ///
    /// # Errors
    /// When a file cannot be read, is too large or is no UTF-8.
    pub fn read(dir: &Path) -> Result<Self, Vec<Diagnostic>> {
        let folder = dir.join("scripts/tests");
        let mut files = Self { tests: BTreeMap::new(), fixtures: folder.join("fixtures") };
        let listed = match std::fs::read_dir(&folder) {
            Ok(listed) => listed,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(files),
            Err(e) => return Err(vec![Diagnostic::error(format!("scripts/tests cannot be read: {e}"))]),
        };
        let mut problems = Vec::new();
        for entry in listed.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') || !name.ends_with(".rhai") {
                continue;
            }
            match read(&entry.path()) {
                Ok(text) => drop(files.tests.insert(name, text.into())),
                Err(reason) => {
                    let file = format!("scripts/tests/{name}");
                    problems.push(Diagnostic::error(format!("{file} cannot be read: {reason}")).in_file(&file));
                }
            }
        }
        if problems.is_empty() { Ok(files) } else { Err(problems) }
    }

    /// The content of a JSON file in `scripts/tests/fixtures/`.
    pub(super) fn fixture(&self, name: &str) -> Result<Json, String> {
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', ':', '\0']);
        if !name.split('/').all(plain) {
            return Err("the name is that of a file in scripts/tests/fixtures/, such as \"identify.json\"".to_owned());
        }
        let path = self.fixtures.join(name);
        // A link may lead anywhere; what is read stays within the folder.
        let inside = path.canonicalize().ok().zip(self.fixtures.canonicalize().ok());
        if inside.is_some_and(|(path, folder)| !path.starts_with(folder)) {
            return Err(format!("{name} leads out of scripts/tests/fixtures/"));
        }
        let text = read(&path).map_err(|reason| {
            let near = self.names();
            let near = did_you_mean(name, near.iter().map(String::as_str)).map(|n| format!("; did you mean \"{n}\"?"));
            format!("scripts/tests/fixtures/{name} cannot be read: {reason}{}", near.unwrap_or_default())
        })?;
        serde_json::from_str(&text).map_err(|e| format!("scripts/tests/fixtures/{name} is no JSON: {e}"))
    }

    fn names(&self) -> Vec<String> {
        let listed = std::fs::read_dir(&self.fixtures).into_iter().flatten().flatten();
        listed.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

pub(super) fn read(path: &Path) -> Result<String, String> {
    let meta = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if !meta.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if text.len() as u64 > MAX_FILE {
        return Err("it is larger than 1 MiB".to_owned());
    }
    // A byte order mark is no part of the text.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
