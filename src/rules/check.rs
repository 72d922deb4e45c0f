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
    entry_points(set, &places, &mut found);
    unused(set, &places, &mut found);
    tidy(found)
}

/// Every rule's script exists and has an entry point. Disabled rules too: they can be enabled at any time.
fn entry_points(set: &ScriptSet, places: &Places, found: &mut Vec<Diagnostic>) {
    for rule in &set.rules {
        let script = rule.config.script.as_str();
        let known = &set.files.sources.scripts;
        if known.contains_key(script) {
            found.extend(set.program.entry_errors(script).into_iter().map(below_scripts));
            continue;
        }
        let d = Diagnostic::error(format!("rule `{}` runs {}, and there is no such file", rule.name, shown(script)));
        let d = match did_you_mean(script, known.keys().map(String::as_str)) {
            Some(near) => d.help(format!("did you mean `{near}`?")),
            None => d,
        };
        found.push(places.at(d, &["rules", &rule.position.to_string(), "script"]));
    }
}

/// Scripts that nothing can run, and triggers that nothing can meet.
fn unused(set: &ScriptSet, places: &Places, found: &mut Vec<Diagnostic>) {
    let mut used: BTreeSet<&str> = set.rules.iter().map(|rule| rule.config.script.as_str()).collect();
    used.extend(set.program.imported());
    for script in set.files.sources.scripts.keys().filter(|s| !used.contains(s.as_str())) {
        let d = Diagnostic::warning(format!("no rule runs {} and no script imports it", shown(script)));
        found.push(d.in_file(&shown(script)));
    }
    for rule in set.rules.iter().filter(|rule| rule.config.enabled && rule.trigger.cannot_be_met()) {
        let d = Diagnostic::warning(format!("no event can meet the trigger of rule `{}`", rule.name));
        found.push(places.at(d, &["rules", &rule.position.to_string(), "when"]));
    }
}

/// Names a script in a place as the user knows it.
pub(super) fn below_scripts(mut diagnostic: Diagnostic) -> Diagnostic {
    if let Some(place) = &mut diagnostic.place
        && place.file != RULES_TOML
        && !place.file.starts_with("scripts/")
    {
        place.file = shown(&place.file);
    }
    diagnostic
}

/// In a stable order, without repetitions.
pub(super) fn tidy(mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let key = |d: &Diagnostic| {
        let place = d.place.as_ref().map(|p| (p.file.clone(), p.line, p.column));
        (d.severity, place, d.message.clone())
    };
    found.sort_by_cached_key(key);
    let mut seen = BTreeSet::new();
    found.retain(|d| seen.insert(key(d)));
    found
}
