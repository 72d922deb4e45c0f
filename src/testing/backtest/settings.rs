//! What can be told of two sets without an event: rules that cannot differ, and settings that do.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use super::Sides;
use super::report::Setting;
use crate::rules::{Rule, ScriptSet};

/// Rules whose script, with all that it imports, with the tables and the limits, is the same text on both sides.
pub(super) fn same_scripts(Sides { before, after }: Sides<'_>) -> BTreeSet<Arc<str>> {
    if before.files.sources.tables != after.files.sources.tables || before.config.scripts != after.config.scripts {
        return BTreeSet::new();
    }
    let same = |rule: &&Rule| {
        after.rule(&rule.name).is_some_and(|other| {
            other.config.script == rule.config.script && texts(before, &rule.config.script) == texts(after, &rule.config.script)
        })
    };
    before.rules.iter().filter(same).map(|rule| rule.name.clone()).collect()
}

/// The script and what it imports, by file.
fn texts<'a>(set: &'a ScriptSet, script: &str) -> Vec<(Arc<str>, Option<&'a Arc<str>>)> {
    let text = |file: Arc<str>| (file.clone(), set.files.sources.scripts.get(&*file));
    set.program.with_imports(script).into_iter().map(text).collect()
}

/// Settings of rules on both sides that differ and that no run of a script shows.
pub(super) fn differences(Sides { before, after }: Sides<'_>) -> Vec<Setting> {
    let mut found = Vec::new();
    for old in &before.rules {
        let Some(new) = after.rule(&old.name) else { continue };
        let (a, b) = (&old.config, &new.config);
        let mut differ = |setting, before: &dyn Debug, after: &dyn Debug| {
            let (before, after) = (words(&format!("{before:?}")), words(&format!("{after:?}")));
            if before != after {
                found.push(Setting { rule: old.name.clone(), setting, before, after });
            }
        };
        differ("account", &old.account, &new.account);
        if let (Some(x), Some(y)) = (before.config.pipedrive.get(&*old.account), after.config.pipedrive.get(&*new.account)) {
            differ("the account's match_fields", &x.match_fields.by_kind(), &y.match_fields.by_kind());
            differ("the account's domain", &(&x.domain, &x.base_url), &(&y.domain, &y.base_url));
            differ("the account's writes", &x.writes, &y.writes);
        }
        differ("order_by", &a.order_by, &b.order_by);
        differ("priority", &a.priority, &b.priority);
        differ("write", &a.write, &b.write);
        differ("link_wait", &a.link_wait, &b.link_wait);
        differ("max_event_age", &a.max_event_age, &b.max_event_age);
        differ("max_creates_per_hour", &a.max_creates_per_hour, &b.max_creates_per_hour);
        differ("reread_after", &a.reread_after, &b.reread_after);
    }
    found
}

/// A setting's value as a person writes it, from how the code shows it: `Some(Span(900s))` as `900s`.
fn words(shown: &str) -> String {
    let mut text = shown;
    while let Some(inner) = ["Some(", "Span("].iter().find_map(|mark| text.strip_prefix(mark)?.strip_suffix(')')) {
        text = inner;
    }
    match text {
        "None" => "not set".to_owned(),
        // A variant stands in rules.toml in small letters.
        word if word.chars().all(char::is_alphabetic) => word.to_lowercase(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::words;
    use crate::config::{Span, WritePolicy};

    #[test]
    fn settings_are_shown_as_they_are_written() {
        assert_eq!(words(&format!("{:?}", Some(Span::secs(900)))), "900s");
        assert_eq!(words(&format!("{:?}", None::<u32>)), "not set");
        assert_eq!(words(&format!("{:?}", WritePolicy::Always)), "always");
        assert_eq!(words(&format!("{:?}", "main")), "\"main\"");
    }
}
