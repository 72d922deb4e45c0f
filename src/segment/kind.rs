//! Which of Segment's actions a subscription is, and what each takes.

use serde_json::{Map, Value as Json, json};

use super::export::Subscription;
use crate::pipedrive::Kind;

/// What an action takes: its fields, and those that it does not run without.
pub(super) struct Action {
    pub(super) kind: Kind,
    pub(super) slug: &'static str,
    pub(super) fields: &'static [&'static str],
    pub(super) required: &'static [&'static str],
    /// Words of names that Segment and its users give such subscriptions.
    words: &'static [&'static str],
}

/// The match fields that deals, activities and notes share.
macro_rules! links {
    ($($more:literal),* $(,)?) => {
        &["person_match_field", "person_match_value", "organization_match_field", "organization_match_value", $($more),*]
    };
}

/// All six.
pub(super) const ACTIONS: [Action; 6] = [
    Action {
        kind: Kind::Person,
        slug: "createUpdatePerson",
        fields: &["match_field", "match_value", "name", "email", "phone", "visible_to", "add_time", "custom_fields"],
        required: &["match_value"],
        words: &["person", "people", "contact"],
    },
    Action {
        kind: Kind::Organization,
        slug: "createUpdateOrganization",
        fields: &["match_field", "match_value", "name", "visible_to", "add_time", "custom_fields"],
        required: &["match_value"],
        words: &["organization", "organisation", "company", "account"],
    },
    Action {
        kind: Kind::Deal,
        slug: "createUpdateDeal",
        fields: links![
            "deal_match_field",
            "deal_match_value",
            "title",
            "value",
            "currency",
            "stage_id",
            "status",
            "expected_close_date",
            "probability",
            "lost_reason",
            "visible_to",
            "add_time",
            "custom_fields",
        ],
        required: &["title"],
        words: &["deal"],
    },
    Action {
        kind: Kind::Lead,
        slug: "createUpdateLead",
        fields: links!["lead_id", "title", "amount", "currency", "expected_close_date", "visible_to"],
        required: &["title"],
        words: &["lead"],
    },
    Action {
        kind: Kind::Activity,
        slug: "createUpdateActivity",
        fields: links![
            "deal_match_field",
            "deal_match_value",
            "activity_id",
            "subject",
            "type",
            "description",
            "note",
            "due_date",
            "due_time",
            "duration",
            "done",
        ],
        required: &[],
        words: &["activity", "task", "call", "meeting"],
    },
    Action {
        kind: Kind::Note,
        slug: "createUpdateNote",
        fields: links!["deal_match_field", "deal_match_value", "note_id", "lead_id", "content"],
        required: &["content"],
        words: &["note"],
    },
];

/// Tells the action by the slug; without one by the fields of the mapping, and where several take these, by the name.
///
/// # Errors
/// Which ones it could be.
pub(super) fn tell(subscription: &Subscription, asked: &[(String, Kind)]) -> Result<&'static Action, String> {
    if let Some((_, kind)) = asked.iter().find(|(name, _)| *name == subscription.name)
        && let Some(action) = ACTIONS.iter().find(|a| a.kind == *kind)
    {
        return Ok(action);
    }
    if let Some(slug) = &subscription.slug {
        return ACTIONS.iter().find(|a| a.slug == slug).ok_or_else(|| {
            format!("the action `{slug}` is none of Segment's Pipedrive destination; it takes createUpdatePerson and the like")
        });
    }
    let empty = Map::new();
    let mapping = subscription.mapping.as_ref().unwrap_or(&empty);
    let takes = |a: &&Action| {
        mapping.keys().all(|k| a.fields.contains(&k.as_str())) && a.required.iter().all(|r| mapping.contains_key(*r))
    };
    let fitting: Vec<&'static Action> = ACTIONS.iter().filter(takes).collect();
    let name = subscription.name.to_lowercase();
    let named: Vec<&'static Action> = fitting.iter().copied().filter(|a| a.words.iter().any(|w| name.contains(w))).collect();
    match (fitting.as_slice(), named.as_slice()) {
        ([one], _) | (_, [one]) => Ok(one),
        ([], _) => Err("its fields are those of no action of Segment's Pipedrive destination".to_owned()),
        (several, _) => Err(format!(
            "its fields do not tell what it is: {}. Say it with --kind \"{}={}\"",
            several.iter().map(|a| a.kind.to_string()).collect::<Vec<_>>().join(" or "),
            subscription.name,
            several[0].kind
        )),
    }
}

/// The mapping that Segment's form begins with: what a preset has.
pub(super) fn defaults(kind: Kind) -> Map<String, Json> {
    let path = |path: &str| json!({ "@path": path });
    let property = |name: &str| path(&format!("$.properties.{name}"));
    let either = |name: &str| {
        let traits = path(&format!("$.traits.{name}"));
        json!({ "@if": { "exists": traits, "then": traits, "else": property(name) } })
    };
    let mut map = Map::new();
    let mut put = |field: &str, value: Json| map.insert(field.to_owned(), value);
    match kind {
        Kind::Person | Kind::Organization => {
            put("match_value", path(if kind == Kind::Person { "$.userId" } else { "$.groupId" }));
            put("name", path("$.traits.name"));
            if kind == Kind::Person {
                put("email", path("$.traits.email"));
                put("phone", path("$.traits.phone"));
            }
            return map;
        }
        _ => {
            put("person_match_value", path("$.userId"));
            put("organization_match_value", path("$.context.groupId"));
        }
    }
    if kind != Kind::Lead {
        put("deal_match_value", property("deal_id"));
    }
    let own: &[&str] = match kind {
        Kind::Deal => &["title", "value", "currency", "stage_id", "expected_close_date", "lost_reason"],
        Kind::Activity => &["activity_id", "subject", "type", "description", "note", "due_date", "due_time", "duration", "done"],
        Kind::Note => &["note_id", "lead_id", "content"],
        _ => &[],
    };
    for field in own {
        put(field, property(field));
    }
    match kind {
        Kind::Deal => drop(put("probability", property("success_probability"))),
        Kind::Lead => {
            ["lead_id", "title", "amount", "currency", "expected_close_date"].iter().for_each(|f| drop(put(f, either(f))))
        }
        _ => {}
    }
    map
}
