//! Reading the files of a set from disk.
//!
//! Invariants: what is read is what stood on disk at one time: the tree is read until two readings agree, so that a set is not
//! put together from before and after a change; sizes, counts and depth are bounded before anything is kept; only regular
//! files are read, through symbolic links, and a link that leads back into itself ends at the depth bound.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{SetFiles, Version};
use crate::diagnostic::{Code, Diagnostic};
use crate::script::Sources;

/// Largest `rules.toml`.
const MAX_RULES: u64 = 1 << 20;
/// Largest script: the parser's time grows with it.
const MAX_SCRIPT: u64 = 256 << 10;
/// Largest table.
const MAX_TABLE: u64 = 8 << 20;
/// Largest schema file.
const MAX_SCHEMA: u64 = 8 << 20;
/// Largest set.
const MAX_TOTAL: u64 = 64 << 20;
/// Most files.
const MAX_FILES: usize = 2_000;
/// Deepest folder below `scripts/`.
const MAX_DEPTH: usize = 8;
/// Readings before two must have agreed.
const MAX_READINGS: usize = 6;

/// What `rules.toml` is called in messages.
pub(crate) const RULES_TOML: &str = "rules.toml";
/// The schema file of an only account.
pub(crate) const SCHEMA_JSON: &str = "schema.json";

impl SetFiles {
    /// Reads the set in `dir`: `rules.toml`, `scripts/**/*.rhai` without `scripts/tests/`, `scripts/tables/*.csv`, and
    /// the schema files `schema.json` and `schema.*.json`. Hidden files, editors' leftovers among them, are left out.
    ///
    /// # Errors
    /// When a file cannot be read, is too large or is no UTF-8, or when the files keep changing.
    pub fn read(dir: &Path) -> Result<Self, Vec<Diagnostic>> {
        let mut last = read_once(dir);
        for _ in 1..MAX_READINGS {
            let again = read_once(dir);
            if again == last {
                return last.map_err(coded);
            }
            last = again;
        }
        let changing = Diagnostic::error("the files keep changing while they are read");
        Err(coded(vec![changing.help("the set is read again at the next change")]))
    }

    /// The hash of the content.
    #[must_use]
    pub fn version(&self) -> Version {
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            // The length in front keeps the border between two parts.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(&self.rules_toml);
        for files in [&self.sources.scripts, &self.sources.tables] {
            add(&files.len().to_string());
            for (name, text) in files {
                add(name);
                add(text);
            }
        }
        // A set without schema files keeps the hash that it had before there were any.
        for (name, text) in &self.schemas {
            add(name);
            add(text);
        }
        Version(hex::encode(hash.finalize()).into())
    }
}

fn read_once(dir: &Path) -> Result<SetFiles, Vec<Diagnostic>> {
    // Resolved first: a link to the folder that is swapped meanwhile changes nothing for this reading.
    let dir = fs::canonicalize(dir).map_err(|e| vec![cannot("the folder", &dir.display().to_string(), &e)])?;
    let mut reader = Reader::default();
    let rules_toml = reader.file(&dir.join(RULES_TOML), RULES_TOML, MAX_RULES);
    reader.folder(&dir.join("scripts"), "", 0);
    let schemas = reader.schemas(&dir);
    match rules_toml {
        Some(rules_toml) if reader.problems.is_empty() => {
            Ok(SetFiles { rules_toml, sources: Sources { scripts: reader.scripts, tables: reader.tables }, schemas })
        }
        _ => Err(reader.problems),
    }
}

/// Reads the schema files beside `rules.toml` and nothing else.
pub(super) fn read_schemas(dir: &Path) -> Result<BTreeMap<String, Arc<str>>, Vec<Diagnostic>> {
    let mut reader = Reader::default();
    let schemas = reader.schemas(dir);
    if reader.problems.is_empty() { Ok(schemas) } else { Err(coded(reader.problems)) }
}

fn coded(problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
    problems.into_iter().map(|problem| problem.or_code(Code::Unreadable)).collect()
}

#[derive(Default)]
struct Reader {
    scripts: BTreeMap<String, Arc<str>>,
    tables: BTreeMap<String, Arc<str>>,
    total: u64,
    problems: Vec<Diagnostic>,
}

impl Reader {
    /// Reads the schema files beside `rules.toml`.
    fn schemas(&mut self, dir: &Path) -> BTreeMap<String, Arc<str>> {
        let names =
            fs::read_dir(dir).map(|listed| listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect());
        // A folder that cannot be listed may still hold a readable rules.toml; the one file that can be asked for by name is.
        let mut names: Vec<String> = names.unwrap_or_else(|_| vec![SCHEMA_JSON.to_owned()]);
        names.retain(|name| name == SCHEMA_JSON || name.strip_prefix("schema.").is_some_and(|n| n.ends_with(".json")));
        names.sort();
        let mut schemas = BTreeMap::new();
        for name in names {
            let path = dir.join(&name);
            // Gone again between listing and reading.
            if path.exists()
                && let Some(text) = self.file(&path, &name, MAX_SCHEMA)
            {
                schemas.insert(name, text);
            }
        }
        schemas
    }

    /// Reads a folder below `scripts/`; `prefix` is its path there, with a slash behind it.
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) {
        let listed = match fs::read_dir(folder) {
            Ok(listed) => listed,
            // No scripts at all: the rules that name one will say so.
            Err(e) if e.kind() == ErrorKind::NotFound => return,
            Err(e) => return self.problems.push(cannot("the folder", &shown(prefix), &e)),
        };
        if depth > MAX_DEPTH {
            let d = Diagnostic::error(format!("{} is nested too deeply (more than {MAX_DEPTH} folders)", shown(prefix)));
            return self.problems.push(d.help("is there a symbolic link that leads back up?"));
        }
        let mut names = Vec::new();
        for entry in listed {
            match entry {
                Ok(entry) => names.push(entry.file_name()),
                Err(e) => self.problems.push(cannot("the folder", &shown(prefix), &e)),
            }
        }
        names.sort();
        for name in names {
            let Some(name) = name.to_str() else {
                self.problems.push(Diagnostic::error(format!("a file name in {} is no UTF-8", shown(prefix))));
                continue;
            };
            self.entry(&folder.join(name), &format!("{prefix}{name}"), depth);
            if self.problems.len() > 20 {
                return;
            }
        }
    }

    fn entry(&mut self, path: &Path, name: &str, depth: usize) {
        let base = name.rsplit('/').next().unwrap_or(name);
        if base.starts_with('.') || name == "tests" {
            return;
        }
        let is_script = name.ends_with(".rhai");
        let is_table = name.strip_prefix("tables/").is_some_and(|n| n.ends_with(".csv") && !n.contains('/'));
        // Follows links.
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // Gone again, or a link to nothing: missed only if it is a file of the set.
            Err(e) if e.kind() == ErrorKind::NotFound && !(is_script || is_table) => return,
            Err(e) => return self.problems.push(cannot("the file", &shown(name), &e)),
        };
        if metadata.is_dir() {
            return self.folder(path, &format!("{name}/"), depth + 1);
        }
        if !(is_script || is_table) {
            return;
        }
        if self.scripts.len() + self.tables.len() >= MAX_FILES {
            if self.problems.is_empty() {
                self.problems.push(Diagnostic::error(format!("there are more than {MAX_FILES} scripts and tables")));
            }
            return;
        }
        let limit = if is_script { MAX_SCRIPT } else { MAX_TABLE };
        if let Some(text) = self.file(path, &shown(name), limit) {
            let files = if is_script { &mut self.scripts } else { &mut self.tables };
            files.insert(name.to_owned(), text);
        }
    }

    fn file(&mut self, path: &Path, shown: &str, limit: u64) -> Option<Arc<str>> {
        match read_file(path, limit) {
            Ok(bytes) if bytes.len() as u64 > limit => {
                self.problems.push(Diagnostic::error(format!("{shown} is larger than {} KiB", limit >> 10)).in_file(shown));
                None
            }
            Ok(bytes) => {
                self.total += bytes.len() as u64;
                if self.total > MAX_TOTAL {
                    let d = Diagnostic::error(format!("the scripts and tables are larger than {} MiB together", MAX_TOTAL >> 20));
                    self.problems.push(d);
                    return None;
                }
                match String::from_utf8(bytes) {
                    // A byte order mark is no part of the text.
                    Ok(text) => Some(text.strip_prefix('\u{feff}').unwrap_or(&text).into()),
                    Err(e) => {
                        let at = e.utf8_error().valid_up_to();
                        let line = e.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
                        let d = Diagnostic::error(format!("{shown} is no UTF-8 (line {line})")).at(shown, "", line, 1, 1);
                        self.problems.push(d.help("save it as UTF-8"));
                        None
                    }
                }
            }
            Err(e) => {
                let d = cannot("the file", shown, &e);
                let missing = e.kind() == ErrorKind::NotFound && shown == RULES_TOML;
                self.problems.push(if missing { d.help("`pipewright init DIR` makes a working folder") } else { d });
                None
            }
        }
    }
}

/// At most one byte more than `limit`, so that a larger file can be told.
fn read_file(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    // Asked before opening: opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// As the user knows a path below `scripts/`.
pub(crate) fn shown(name: &str) -> String {
    format!("scripts/{name}")
}

fn cannot(what: &str, shown: &str, error: &std::io::Error) -> Diagnostic {
    Diagnostic::error(format!("{what} {shown} cannot be read: {error}")).in_file(shown)
}
