//! Triggers that no event meets, and events that two rules of one script meet.
//!
//! Invariant: no false alarms: what is said here is certain (see `fql/solve.rs`). Disabled rules are passed over.

use std::collections::BTreeMap;

use crate::config::Places;
use crate::diagnostic::{Code, Diagnostic, did_you_mean};
use crate::event::EventType;
use crate::rules::fql::Conflict;
use crate::rules::{Rule, ScriptSet};

pub(super) fn problems(set: &ScriptSet, places: &Places, found: &mut Vec<Diagnostic>) {
    let mut of_script: BTreeMap<(&str, &str), Vec<&Rule>> = BTreeMap::new();
    for rule in set.rules.iter().filter(|rule| rule.config.enabled) {
        if let Some(conflict) = rule.trigger.conflict() {
            found.push(never_met(rule, &conflict, places));
            continue;
        }
        found.extend(never_heard(set, rule, places));
        of_script.entry((&rule.config.script, &rule.account)).or_default().push(rule);
    }
    for rules in of_script.values() {
        for (place, rule) in rules.iter().enumerate() {
            found.extend(covered(rule, &rules[..place], &rules[place + 1..], places));
        }
    }
}

fn never_met(rule: &Rule, conflict: &Conflict, places: &Places) -> Diagnostic {
    let quoted: Vec<String> = conflict.conditions.iter().map(|condition| format!("`{condition}`")).collect();
    let why = match quoted.as_slice() {
        _ if conflict.no_event => format!("{}: only track calls have an `event`", quoted.join(" and ")),
        [only] => format!("{only} is never true"),
        _ => format!("{} exclude each other", quoted.join(" and ")),
    };
    let why = if conflict.among_others { format!("{why}; nor can it be met in another way") } else { why };
    let d = Diagnostic::warning(format!("no event can meet the trigger of rule `{}`", rule.name)).code(Code::NeverMet).note(why);
    let d = match conflict.conditions.as_slice() {
        [only] if only.starts_with("type ") => {
            let types = EventType::ALL.map(EventType::as_str);
            let given = only.split('"').nth(1).unwrap_or_default();
            match did_you_mean(given, types) {
                Some(near) if near != given => d.help(format!("did you mean `{near}`?")),
                _ => d.help(format!("types are {}", types.join(", "))),
            }
        }
        [_] => d,
        _ => d.help("join conditions of which one is enough by `or`"),
    };
    places.at_char(d, &["rules", &rule.position.to_string(), "when"], conflict.column)
}

/// Segment tells of erasures through webhooks alone.
fn never_heard(set: &ScriptSet, rule: &Rule, places: &Places) -> Option<Diagnostic> {
    let hears = |(name, _): &(&String, _)| rule.listens_to(name);
    let mut sources = set.config.sources.iter().filter(hears).peekable();
    sources.peek()?;
    if !rule.trigger.wants_only(EventType::Delete) || sources.any(|(_, source)| source.webhook_secret.is_some()) {
        return None;
    }
    let d = Diagnostic::warning(format!("rule `{}` waits for events that none of its sources can send", rule.name));
    let d = d
        .code(Code::NeverHeard)
        .note("events of type delete come through Segment's webhooks alone, and no source of the rule has a `webhook_secret`")
        .help("add webhook_secret = \"env:NAME\" to a source that the rule listens to");
    Some(places.at(d, &["rules", &rule.position.to_string(), "when"]))
}

/// Another rule of the same script and account takes all events of this one: both run for each of them. Of two that take the same
/// events the later one is named.
fn covered(rule: &Rule, before: &[&Rule], after: &[&Rule], places: &Places) -> Option<Diagnostic> {
    let within = |a: &Rule, b: &Rule| {
        let sources = b.config.sources.is_empty()
            || !a.config.sources.is_empty() && a.config.sources.iter().all(|source| b.listens_to(source));
        sources && a.trigger.is_part_of(&b.trigger)
    };
    let earlier = before.iter().find(|other| within(rule, other));
    let other = earlier.or_else(|| after.iter().find(|other| within(rule, other) && !within(other, rule)))?;
    let same = within(other, rule);
    let message = if same {
        format!("rules `{}` and `{}` run the same script for the same events", other.name, rule.name)
    } else {
        format!("rule `{}` runs the script of rule `{}` for events that both want", rule.name, other.name)
    };
    let d = Diagnostic::warning(message).code(Code::Covered);
    let d = if same {
        d
    } else {
        d.note(format!("every event that meets this trigger meets that of `{}`: {}", other.name, other.trigger))
    };
    let d = d
        .note(format!("each such event is delivered twice to `{}`", rule.account))
        .help("delete one of the two, or narrow a trigger so that they share no event");
    Some(places.at(d, &["rules", &rule.position.to_string(), "when"]))
}
