//! What a set must pass before it goes live, beyond its own syntax.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ScriptSet;
use super::files::{RULES_TOML, shown};
use crate::config::Places;
use crate::crm::Metadata;
use crate::diagnostic::{Diagnostic, did_you_mean};

/// Checks a set. Names in scripts are checked against the accounts whose metadata is given. Ordered by file and place,
/// without repetitions.
#[must_use]
pub fn check(set: &ScriptSet, _metadata: &BTreeMap<String, Arc<Metadata>>) -> Vec<Diagnostic> {
    let places = Places::new(RULES_TOML, &set.files.rules_toml);
    let mut found = Vec::new();
    scripts_exist(set, &places, &mut found);
    tidy(found)
}

fn scripts_exist(set: &ScriptSet, places: &Places, found: &mut Vec<Diagnostic>) {
    for rule in &set.rules {
        let script = rule.config.script.as_str();
        let known = &set.files.sources.scripts;
        if !known.contains_key(script) {
            let d = Diagnostic::error(format!("rule `{}` runs {}, and there is no such file", rule.name, shown(script)));
            let d = match did_you_mean(script, known.keys().map(String::as_str)) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => d,
            };
            found.push(places.at(d, &["rules", &rule.position.to_string(), "script"]));
        }
    }
}

/// In a stable order, without repetitions.
fn tidy(mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let key = |d: &Diagnostic| {
        let place = d.place.as_ref().map(|p| (p.file.clone(), p.line, p.column));
        (d.severity, place, d.message.clone())
    };
    found.sort_by_cached_key(key);
    let mut seen = BTreeSet::new();
    found.retain(|d| seen.insert(key(d)));
    found
}
