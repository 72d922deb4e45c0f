//! Which tests a saved file touches.
//!
//! Invariant: what is not known to leave a test alone touches it: `rules.toml`, tables, schema files and fixtures touch all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::runner::TestRun;
use crate::rules::ScriptSet;

/// Some tests: whole files, and single ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Only {
    /// Files of tests, relative to `scripts/tests/`.
    pub files: BTreeSet<String>,
    /// File and name.
    pub tests: BTreeSet<(String, String)>,
}

impl Only {
    /// Whether a test is one of them.
    #[must_use]
    pub fn has(&self, file: &str, name: &str) -> bool {
        self.files.contains(file) || self.tests.contains(&(file.to_owned(), name.to_owned()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.tests.is_empty()
    }
}

/// What is known from the runs so far.
#[derive(Debug, Default)]
pub struct Known {
    /// Whether there was a run; before it, anything may touch any test.
    learned: bool,
    /// The scripts that each test ran or imports.
    tests: BTreeMap<(String, String), BTreeSet<Arc<str>>>,
    /// Test files that did not compile.
    broken: BTreeSet<String>,
}

impl Known {
    /// Takes in what a run has shown.
    pub fn learn(&mut self, set: &ScriptSet, run: &TestRun) {
        for result in &run.results {
            let ran = result
                .rules
                .iter()
                .filter_map(|name| set.rule(name))
                .flat_map(|rule| set.program.with_imports(&rule.config.script));
            let scripts = ran.chain(result.imports.iter().cloned()).collect();
            self.broken.remove(&*result.test.file);
            self.tests.insert((result.test.file.to_string(), result.test.name.clone()), scripts);
        }
        self.learned = true;
        self.broken.extend(run.uncompiled.iter().map(|u| u.file.to_string()));
    }

    /// The tests that these files touch, named as below the working folder; none: all tests.
    #[must_use]
    pub fn touched(&self, changed: &BTreeSet<String>) -> Option<Only> {
        if !self.learned {
            return None;
        }
        let mut only = Only { files: self.broken.clone(), tests: BTreeSet::new() };
        for file in changed {
            if let Some(snapshot) = file.strip_prefix("scripts/tests/snapshots/") {
                only.files.insert(format!("{}.rhai", snapshot.split('/').next().unwrap_or_default()));
            } else if let Some(test) = file.strip_prefix("scripts/tests/").filter(|f| f.ends_with(".rhai") && !f.contains('/')) {
                only.files.insert(test.to_owned());
            } else if let Some(script) =
                file.strip_prefix("scripts/").filter(|f| f.ends_with(".rhai") && !f.starts_with("tests/"))
            {
                let uses = self.tests.iter().filter(|(_, scripts)| scripts.contains(script));
                only.tests.extend(uses.map(|(test, _)| test.clone()));
            } else {
                return None;
            }
        }
        Some(only)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let test = |file: &str, name: &str, scripts: &[&'static str]| {
            ((file.to_owned(), name.to_owned()), scripts.iter().map(|s| Arc::from(*s)).collect())
        };
        let tests = BTreeMap::from([
            test("deal.rhai", "test_one", &["deal.rhai", "lib/company.rhai"]),
            test("deal.rhai", "test_two", &[]),
            test("note.rhai", "test_one", &["note.rhai", "lib/company.rhai"]),
        ]);
        Known { learned: true, tests, broken: BTreeSet::new() }
    }

    fn touched(known: &Known, changed: &[&str]) -> Option<(Vec<String>, Vec<String>)> {
        let only = known.touched(&changed.iter().map(|f| (*f).to_owned()).collect())?;
        Some((only.files.into_iter().collect(), only.tests.into_iter().map(|(file, name)| format!("{file}::{name}")).collect()))
    }

    fn some(files: &[&str], tests: &[&str]) -> Option<(Vec<String>, Vec<String>)> {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Some((owned(files), owned(tests)))
    }

    #[test]
    fn a_test_file_touches_its_own_tests_and_a_script_those_that_ran_it() {
        let known = known();
        assert_eq!(touched(&known, &["scripts/tests/deal.rhai"]), some(&["deal.rhai"], &[]));
        assert_eq!(touched(&known, &["scripts/deal.rhai"]), some(&[], &["deal.rhai::test_one"]));
        let both = ["deal.rhai::test_one", "note.rhai::test_one"];
        assert_eq!(touched(&known, &["scripts/lib/company.rhai"]), some(&[], &both));
        assert_eq!(touched(&known, &["scripts/tests/snapshots/note/test_one.json"]), some(&["note.rhai"], &[]));
        assert_eq!(touched(&known, &["scripts/new.rhai"]), some(&[], &[]));
    }

    #[test]
    fn everything_else_touches_all_and_what_is_broken_runs_again() {
        let mut known = known();
        for file in ["rules.toml", "scripts/tables/owners.csv", "schema.json", "scripts/tests/fixtures/ada.json"] {
            assert_eq!(touched(&known, &["scripts/deal.rhai", file]), None, "{file}");
        }
        assert_eq!(touched(&Known::default(), &["scripts/deal.rhai"]), None, "nothing is known yet");
        known.broken.insert("bad.rhai".to_owned());
        assert_eq!(touched(&known, &["scripts/deal.rhai"]), some(&["bad.rhai"], &["deal.rhai::test_one"]));
    }
}
