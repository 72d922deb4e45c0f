//! What differs between two plans of one event, field by field.
//!
//! Invariants: plans that ask the same of Pipedrive do not differ, wherever in a script they were asked and whatever they leave alone; a
//! reference differs only when it leads to another action; with the sides exchanged, before and after are exchanged and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::notation;
use super::{Action, At, FieldEntry, Options, Plan, Target, Verb};
use crate::pipedrive::Kind;

/// An action that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionChange {
    /// Whether it is there on both sides.
    pub change: Changed,
    /// `upsert`, `create` ...
    pub verb: String,
    /// Kind; none for raw requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Where it is asked for: after, or before where it is not asked for any more.
    pub at: At,
    /// What of it differs; everything of an action that is on one side only.
    pub fields: Vec<FieldChange>,
}

/// On which sides an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Changed {
    /// After only.
    Added,
    /// Before only.
    Removed,
    /// On both, with other content.
    Changed,
}

/// A part of an action that differs, as scripts write values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// `name`, `on_create.owner`, `match`, `option write` ...
    pub field: String,
    /// None: it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// None: it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What differs, in the order of the plans.
#[must_use]
pub fn compare(before: &Plan, after: &Plan) -> Vec<ActionChange> {
    let same =
        before.actions.len() == after.actions.len() && before.actions.iter().zip(&after.actions).all(|(a, b)| a.verb == b.verb);
    if same {
        return Vec::new();
    }
    let pairs = aligned(&before.actions, &after.actions);
    let names = Names::of(before, after, &pairs);
    pairs.iter().filter_map(|pair| names.change(pair.0, pair.1)).collect()
}

/// The actions of a plan, each with all that it asks; for a plan that stands against none.
#[must_use]
pub fn all_added(plan: &Plan) -> Vec<ActionChange> {
    compare(&Plan::default(), plan)
}

/// An action before, the one after that it became; one of them at least.
type Pair<'a> = (Option<&'a Action>, Option<&'a Action>);

/// Which action became which: the order is kept, and as much as can be stays what it was.
fn aligned<'a>(before: &'a [Action], after: &'a [Action]) -> Vec<Pair<'a>> {
    let parts = |actions: &[Action]| actions.iter().map(|action| parts(action, &|_| String::new())).collect::<Vec<_>>();
    let (left, right) = (parts(before), parts(after));
    // best[i][j]: the most that the first i and the first j have in common.
    let mut best = vec![vec![0usize; after.len() + 1]; before.len() + 1];
    let common = |i: usize, j: usize| match (before[i].verb.kind(), after[j].verb.kind()) {
        (a, b) if a == b => 1 + 2 * left[i].iter().filter(|(field, value)| right[j].get(*field) == Some(*value)).count(),
        _ => 0,
    };
    for i in 0..before.len() {
        for j in 0..after.len() {
            let apart = best[i][j + 1].max(best[i + 1][j]);
            let shared = common(i, j);
            best[i + 1][j + 1] = if shared > 0 { apart.max(best[i][j] + shared) } else { apart };
        }
    }
    let (mut i, mut j) = (before.len(), after.len());
    let mut pairs = Vec::with_capacity(i.max(j));
    while i > 0 || j > 0 {
        if i > 0 && j > 0 && common(i - 1, j - 1) > 0 && best[i][j] == best[i - 1][j - 1] + common(i - 1, j - 1) {
            (i, j) = (i - 1, j - 1);
            pairs.push((Some(&before[i]), Some(&after[j])));
        } else if j > 0 && (i == 0 || best[i][j] == best[i][j - 1]) {
            j -= 1;
            pairs.push((None, Some(&after[j])));
        } else {
            i -= 1;
            pairs.push((Some(&before[i]), None));
        }
    }
    pairs.reverse();
    pairs
}

/// What actions are called where others refer to them: the same on both sides when one became the other.
struct Names {
    before: BTreeMap<u32, String>,
    after: BTreeMap<u32, String>,
}

impl Names {
    fn of(before: &Plan, after: &Plan, pairs: &[Pair<'_>]) -> Self {
        let mut names = Self { before: numbered(before), after: numbered(after) };
        let taken: BTreeSet<String> = names.before.values().cloned().collect();
        for (a, b) in pairs {
            match (a, b) {
                (Some(a), Some(b)) => drop(names.after.insert(b.ordinal, names.before[&a.ordinal].clone())),
                // Not to be taken for an action that is on the other side.
                (None, Some(b)) => {
                    let own = &names.after[&b.ordinal];
                    if taken.contains(own) {
                        let other = format!("another {own}");
                        names.after.insert(b.ordinal, other);
                    }
                }
                _ => {}
            }
        }
        names
    }

    fn change(&self, before: Option<&Action>, after: Option<&Action>) -> Option<ActionChange> {
        let of = |names: &BTreeMap<u32, String>, action: Option<&Action>| match action {
            Some(action) => parts(action, &|ordinal| names.get(&ordinal).cloned().unwrap_or_else(|| format!("action {ordinal}"))),
            None => BTreeMap::new(),
        };
        let (left, right) = (of(&self.before, before), of(&self.after, after));
        let fields: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
        let fields: Vec<FieldChange> = fields
            .into_iter()
            .filter(|field| left.get(*field) != right.get(*field))
            .map(|field| FieldChange { field: field.clone(), before: left.get(field).cloned(), after: right.get(field).cloned() })
            .collect();
        let (change, shown) = match (before, after) {
            (Some(_), Some(_)) if fields.is_empty() => return None,
            (Some(_), Some(shown)) => (Changed::Changed, shown),
            (None, Some(shown)) => (Changed::Added, shown),
            (Some(shown), None) => (Changed::Removed, shown),
            (None, None) => return None,
        };
        // An action on one side is said by its verb; that it has one is no difference of its own.
        let fields = if change == Changed::Changed { fields } else { fields.into_iter().filter(|f| f.field != VERB).collect() };
        Some(ActionChange { change, verb: shown.verb.name().to_owned(), kind: shown.verb.kind(), at: shown.at.clone(), fields })
    }
}

/// `organization`, or `organization 2` where there are several.
fn numbered(plan: &Plan) -> BTreeMap<u32, String> {
    let mut seen: BTreeMap<Option<Kind>, u32> = BTreeMap::new();
    let name = |action: &Action| {
        let kind = action.verb.kind();
        let number = seen.entry(kind).or_default();
        *number += 1;
        let word = kind.map_or("request", Kind::as_str);
        (action.ordinal, if *number == 1 { word.to_owned() } else { format!("{word} {number}") })
    };
    plan.actions.iter().map(name).collect()
}

const VERB: &str = "action";

/// All that an action asks, by the name under which it is shown.
fn parts(action: &Action, named: &dyn Fn(u32) -> String) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::from([(VERB.to_owned(), action.verb.name().to_owned())]);
    let mut fields = |prefix: &str, list: &[FieldEntry]| {
        for entry in list {
            if let Some(value) = notation::value(&entry.value, named) {
                parts.insert(format!("{prefix}{}", notation::field(entry)), value);
            }
        }
    };
    if let Verb::Upsert { fields: list, .. }
    | Verb::Create { fields: list, .. }
    | Verb::Update { fields: list, .. }
    | Verb::Convert { fields: list, .. } = &action.verb
    {
        fields("", list);
    }
    if let Some(options) = action.verb.options() {
        for (prefix, list) in
            [("on_create.", &options.on_create), ("if_empty.", &options.if_empty), ("unless_edited.", &options.unless_edited)]
        {
            fields(prefix, list);
        }
        parts.extend(words(options));
    }
    let target = |target: &Target| match target {
        Target::Match(criteria) => notation::criteria(criteria, named).unwrap_or_else(|| "()".to_owned()),
        Target::Reference(ordinal) => named(*ordinal),
        Target::Id(id) => id.to_string(),
    };
    match &action.verb {
        Verb::Upsert { criteria, .. } => {
            parts.extend(notation::criteria(criteria, named).map(|text| ("match".to_owned(), text)));
        }
        Verb::Update { target: which, .. } | Verb::Delete { target: which, .. } | Verb::Convert { target: which, .. } => {
            parts.insert("match".to_owned(), target(which));
        }
        Verb::Merge { keep, drop, .. } => {
            parts.insert("keep".to_owned(), target(keep));
            parts.insert("drop".to_owned(), target(drop));
        }
        Verb::Request { method, path, body } => {
            parts.insert("request".to_owned(), format!("{method} {path}"));
            parts.extend(body.as_ref().map(|body| ("body".to_owned(), notation::literal(body))));
        }
        Verb::Create { .. } => {}
    }
    parts
}

/// Options that are words, as they are written.
fn words(options: &Options) -> impl Iterator<Item = (String, String)> {
    let bare = Options { on_create: Vec::new(), if_empty: Vec::new(), unless_edited: Vec::new(), ..options.clone() };
    let all = match serde_json::to_value(bare) {
        Ok(Json::Object(all)) => all,
        _ => serde_json::Map::new(),
    };
    let given = |value: &Json| !(value.is_null() || *value == Json::Bool(false) || value.as_array().is_some_and(Vec::is_empty));
    all.into_iter()
        .filter(move |(_, value)| given(value))
        .map(|(name, value)| (format!("option {name}"), notation::literal(&value)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::{Criteria, Criterion, Link, Value};

    fn entry(name: &str, value: Value) -> FieldEntry {
        FieldEntry { name: name.to_owned(), custom: false, value }
    }

    fn text(name: &str, value: &str) -> FieldEntry {
        entry(name, Value::Json(json!(value)))
    }

    fn upsert(kind: Kind, key: &str, fields: Vec<FieldEntry>) -> Verb {
        let criteria = Criteria(vec![Criterion(vec![text("Key", key)])]);
        Verb::Upsert { kind, criteria, fields, options: Options::default() }
    }

    fn plan(verbs: impl IntoIterator<Item = Verb>) -> Plan {
        let action = |(ordinal, verb)| Action { ordinal, at: At { line: ordinal + 1, ..At::default() }, verb };
        Plan { actions: (0..).zip(verbs).map(action).collect() }
    }

    fn link(ordinal: u32) -> FieldEntry {
        entry("org_id", Value::Link(Link::Reference(ordinal)))
    }

    /// `changed upsert person name "A" -> "B"`, a line each.
    fn said(before: &Plan, after: &Plan) -> Vec<String> {
        let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
        let field = |f: &FieldChange| format!(" {} {} -> {}", f.field, side(&f.before), side(&f.after));
        compare(before, after)
            .iter()
            .map(|c| {
                let kind = c.kind.map_or("", Kind::as_str);
                format!("{:?} {} {kind}:{}", c.change, c.verb, c.fields.iter().map(field).collect::<Vec<_>>().join(","))
            })
            .collect()
    }

    #[test]
    fn a_field_that_changes_is_named_with_both_values() {
        let before = plan([upsert(Kind::Person, "u1", vec![text("name", "Ada"), text("Plan X", "free")])]);
        let after = plan([upsert(Kind::Person, "u1", vec![text("name", "Ada L."), entry("emails", Value::Clear)])]);
        assert_eq!(
            said(&before, &after),
            [r#"Changed upsert person: "Plan X" "free" -> -, emails - -> CLEAR, name "Ada" -> "Ada L.""#]
        );
    }

    #[test]
    fn places_and_what_is_left_alone_make_no_difference() {
        let mut before = plan([upsert(Kind::Person, "u1", vec![text("name", "Ada"), text("title", "  ")])]);
        let after = plan([upsert(Kind::Person, "u1", vec![entry("phone", Value::Leave), text("name", "Ada")])]);
        before.actions[0].at.line = 99;
        assert_eq!(said(&before, &after), Vec::<String>::new());
    }

    #[test]
    fn an_action_before_the_others_does_not_make_those_differ_that_refer_past_it() {
        let deal = |n| upsert(Kind::Deal, "d1", vec![text("title", "Deal"), link(n)]);
        let org = |key| upsert(Kind::Organization, key, vec![text("name", key)]);
        let before = plan([org("acme"), deal(0)]);
        let after = plan([org("globex"), org("acme"), deal(1)]);
        assert_eq!(said(&before, &after), [r##"Added upsert organization: match - -> #{ Key: "globex" }, name - -> "globex""##]);
        let other = plan([org("globex"), org("acme"), deal(0)]);
        assert_eq!(said(&before, &other)[1..], ["Changed upsert deal: org_id organization -> another organization"]);
    }

    #[test]
    fn sides_can_be_exchanged() {
        let before = plan([upsert(Kind::Person, "u1", vec![text("name", "Ada")])]);
        let after = plan([
            upsert(Kind::Person, "u1", vec![text("name", "Bea")]),
            Verb::Request { method: crate::pipedrive::Method::Post, path: "/v1/x".to_owned(), body: Some(json!({ "a": [1] })) },
        ]);
        assert_eq!(
            said(&before, &after),
            [r#"Changed upsert person: name "Ada" -> "Bea""#, "Added request : body - -> #{ a: [1] }, request - -> POST /v1/x"]
        );
        assert_eq!(
            said(&after, &before),
            [r#"Changed upsert person: name "Bea" -> "Ada""#, "Removed request : body #{ a: [1] } -> -, request POST /v1/x -> -"]
        );
    }

    #[test]
    fn an_upsert_that_becomes_a_create_is_one_change_and_options_are_named() {
        let before = plan([upsert(Kind::Deal, "d1", vec![text("title", "T")])]);
        let options = Options { key: Some("once".to_owned()), on_create: vec![text("owner", "a@b.c")], ..Options::default() };
        let after = plan([Verb::Create { kind: Kind::Deal, fields: vec![text("title", "T")], options }]);
        assert_eq!(
            said(&before, &after),
            [
                r##"Changed create deal: action upsert -> create, match #{ Key: "d1" } -> -, on_create.owner - -> "a@b.c", option key - -> "once""##
            ]
        );
    }
}
