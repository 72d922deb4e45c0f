//! After a create whose outcome is unknown: did it happen?
//!
//! It is looked for in the kind's list of what changed since it was sent. Lists are not behind, unlike the search, so one that is not there
//! was not created. Taken is what has our content, was created by us and since then, and is not already ours: by an earlier outcome
//! (every outcome leaves known values), or by a create of another delivery that is under way or not stored yet. Not compared is what automations change at once: owner, stage, pipeline, status, labels, visibility,
//! done. Persons and organizations name no creator in Pipedrive's replies, only an owner, who may have been changed since: of several that
//! fit, those of the owner that the create would have are taken first.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Account, Claims, FindError, time};
use crate::pipedrive::{Entity, Id, Kind, Purpose, Session};
use crate::store::DeliveryId;

/// How far our clock and Pipedrive's may be apart.
const SKEW: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);
/// More than an account changes between a failed create and its reconciliation.
const LONGEST_LIST: usize = 20_000;
/// Fields that an automation or another person may have changed since.
const VOLATILE: &[&str] = &[
    "owner_id",
    "user_id",
    "stage_id",
    "pipeline_id",
    "status",
    "probability",
    "label_ids",
    "visible_to",
    "done",
    "is_archived",
    "was_seen",
    "marketing_status",
    "busy",
];

/// The entity that the create with this body has made, when it has.
///
/// # Errors
/// When a request or the store fails; then nothing is known still.
pub async fn find_unclaimed_create(
    account: &Account,
    session: &Session,
    kind: Kind,
    since: jiff::Timestamp,
    body: &Map<String, Value>,
    claims: &Claims,
    by: &DeliveryId,
) -> Result<Option<(Id, Entity)>, FindError> {
    let since = since.checked_sub(SKEW).unwrap_or(since);
    let me = account.ready_metadata(session).await?.me.user_id;
    let filters = [("updated_since", time::whole_seconds(since))];
    let mut changed = session.list(kind, &filters, LONGEST_LIST, Purpose::Reconcile).await?;
    let owner = body.get("owner_id").and_then(Value::as_i64).unwrap_or(me);
    changed.sort_by_key(|entity| {
        let others = entity.get("owner_id").and_then(user_id).is_some_and(|held| held != owner);
        (others, entity.get("add_time").and_then(Value::as_str).and_then(time::read))
    });
    for entity in changed {
        let Some(id) = entity.get("id").and_then(Id::from_json) else { continue };
        if created_by(&entity, body, me) && created_since(&entity, body, since) && same_content(kind, body, &entity) {
            // In this order: what is claimed no longer when it is asked is known to the store when that is asked.
            let claimed = claims.taken(&account.name, kind, by, &id, &entity).await
                || account.store.known_get(&account.name, kind.as_str(), &id.to_string()).await?.is_some();
            if !claimed {
                return Ok(Some((id, entity)));
            }
        }
    }
    Ok(None)
}

/// Whether the entity names no creator or names us. Persons and organizations name none. A note's `user_id` is its creator unless the create
/// said otherwise.
fn created_by(entity: &Entity, body: &Map<String, Value>, me: i64) -> bool {
    let named = ["creator_user_id", "creator_id", "user_id"].iter().find(|key| entity.contains_key(**key));
    let creator = named.filter(|key| !body.contains_key(**key)).and_then(|key| user_id(&entity[*key]));
    creator.is_none_or(|creator| creator == me)
}

/// A user's id, alone or in an object.
fn user_id(user: &Value) -> Option<i64> {
    user.get("id").unwrap_or(user).as_i64()
}

/// A create may set its own `add_time`; then that is compared as content.
fn created_since(entity: &Entity, body: &Map<String, Value>, since: jiff::Timestamp) -> bool {
    if body.contains_key("add_time") {
        return true;
    }
    entity.get("add_time").and_then(Value::as_str).and_then(time::read).is_none_or(|added| added >= since)
}

pub(super) fn same_content(kind: Kind, body: &Map<String, Value>, entity: &Entity) -> bool {
    let mut content = body.iter().filter(|(key, _)| !VOLATILE.contains(&key.as_str())).peekable();
    // A body of nothing but volatile fields proves nothing: anybody's entity would fit it.
    content.peek().is_some()
        && content.all(|(key, sent)| {
            let null = Value::Null;
            let held = entity.get(key).unwrap_or(&null);
            match key.as_str() {
                "content" | "note" => plain_text(sent) == plain_text(held),
                "add_time" => moment(sent) == moment(held),
                // A person's primary participant also answers as the activity's person.
                "participants" => same_participants(sent, entity),
                "pinned_to_lead_flag"
                | "pinned_to_deal_flag"
                | "pinned_to_organization_flag"
                | "pinned_to_person_flag"
                | "pinned_to_project_flag"
                | "pinned_to_task_flag" => true,
                "custom_fields" if kind.is_v2() => {
                    sent.as_object().is_none_or(|sent| sent.iter().all(|(key, sent)| same(sent, held.get(key).unwrap_or(&null))))
                }
                _ => same(sent, held),
            }
        })
}

/// Whether what was sent is in what is held, whatever Pipedrive adds (labels, parts of addresses, names of links).
fn same(sent: &Value, held: &Value) -> bool {
    match (sent, held) {
        (Value::Null, _) => true,
        (Value::String(s), Value::Null) => s.trim().is_empty(),
        (Value::Array(sent), Value::Null) => sent.is_empty(),
        (Value::Array(sent), Value::Array(held)) => sent.iter().all(|item| held.iter().any(|other| same(item, other))),
        (Value::Object(sent), Value::Object(held)) => {
            // `label` and `primary` get defaults.
            let mut parts = sent.iter().filter(|(key, _)| !matches!(key.as_str(), "label" | "primary" | "timezone_name"));
            parts.all(|(key, part)| same(part, held.get(key).unwrap_or(&Value::Null)))
        }
        (sent, Value::Object(held)) => held.get("id").or_else(|| held.get("value")).is_some_and(|held| same(sent, held)),
        (Value::Object(sent), held) => sent.get("value").is_some_and(|sent| same(sent, held)),
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::String(a), Value::String(b)) => {
            let (a, b) = (a.trim(), b.trim());
            a.eq_ignore_ascii_case(b) || (is_time(a) && is_time(b) && (a.starts_with(b) || b.starts_with(a)))
        }
        (Value::String(a), Value::Number(b)) => a.trim() == b.to_string(),
        (Value::Number(a), Value::String(b)) => a.to_string() == b.trim(),
        (a, b) => a == b,
    }
}

/// `HH:MM` or `HH:MM:SS`.
fn is_time(text: &str) -> bool {
    matches!(text.len(), 5 | 8) && text.bytes().enumerate().all(|(i, b)| if i % 3 == 2 { b == b':' } else { b.is_ascii_digit() })
}

fn same_participants(sent: &Value, entity: &Entity) -> bool {
    let people = |value: Option<&Value>| -> BTreeSet<i64> {
        value.and_then(Value::as_array).into_iter().flatten().filter_map(|p| p.get("person_id")?.as_i64()).collect()
    };
    let mut held = people(entity.get("participants"));
    held.extend(entity.get("person_id").and_then(Value::as_i64));
    people(Some(sent)).is_subset(&held)
}

fn moment(value: &Value) -> Option<jiff::Timestamp> {
    time::read(value.as_str()?)
}

/// Letters and digits outside of tags and entities: Pipedrive sanitises HTML, so markup, escapes and blanks may differ.
fn plain_text(value: &Value) -> String {
    let mut rest = value.as_str().unwrap_or_default();
    let mut text = String::new();
    while let Some(c) = rest.chars().next() {
        let skip = match c {
            '<' => rest.find('>').map(|end| end + 1),
            '&' => rest
                .find(';')
                .filter(|end| *end > 1 && rest[1..*end].chars().all(|c| c.is_ascii_alphanumeric() || c == '#'))
                .map(|end| end + 1),
            _ => None,
        };
        if skip.is_none() && c.is_alphanumeric() {
            text.push(c);
        }
        rest = &rest[skip.unwrap_or(c.len_utf8())..];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn content(kind: Kind, body: Value, entity: Value) -> bool {
        same_content(kind, body.as_object().expect("an object"), entity.as_object().expect("an object"))
    }

    #[test]
    fn a_note_in_another_users_name_is_ours() {
        let entity = json!({"id": 1, "content": "Hi", "user_id": 9});
        let by = |body: Value| created_by(entity.as_object().expect("an object"), body.as_object().expect("an object"), 1);
        assert!(by(json!({"content": "Hi", "user_id": 9})));
        assert!(!by(json!({"content": "Hi"})));
    }

    #[test]
    fn volatile_fields_alone_prove_nothing() {
        assert!(!content(Kind::Deal, json!({"status": "won"}), json!({"id": 5, "title": "A rep's own deal", "status": "open"})));
    }

    #[test]
    fn what_pipedrive_adds_is_no_difference_and_another_value_is() {
        let body = json!({"name": "Ada", "emails": [{"value": "ada@acme.com"}], "custom_fields": {"k": {"value": 3, "currency": "EUR"}}, "owner_id": 1});
        let held = json!({"id": 7, "name": "Ada", "emails": [{"value": "ada@acme.com", "primary": true, "label": "work"}], "owner_id": 9,
            "custom_fields": {"k": {"value": 3.0, "currency": "EUR"}, "other": null}});
        assert!(content(Kind::Person, body.clone(), held.clone()));
        let mut other = held;
        other["custom_fields"]["k"]["value"] = json!(4);
        assert!(!content(Kind::Person, body, other));
    }

    #[test]
    fn a_sanitised_note_is_the_same_note() {
        let body = json!({"content": "<p onclick=\"x()\">Hello &amp; welcome,<br>Ada</p>", "person_id": 7});
        assert!(content(Kind::Note, body.clone(), json!({"content": "<p>Hello &amp; welcome,<br />Ada</p>", "person_id": 7})));
        assert!(!content(Kind::Note, body.clone(), json!({"content": "<p>Hello, Bob</p>", "person_id": 7})));
        assert!(!content(Kind::Note, body, json!({"content": "<p>Hello &amp; welcome,<br>Ada</p>", "person_id": 8})));
    }

    #[test]
    fn an_escaped_sign_is_the_sign() {
        assert_eq!(plain_text(&json!("AT&T, 1 < 2")), plain_text(&json!("<p>AT&amp;T, 1 &lt; 2</p>")));
    }

    #[test]
    fn an_activity_is_recognised_by_its_participant_and_times() {
        let body = json!({"subject": "Call", "due_time": "10:00", "participants": [{"person_id": 7, "primary": true}]});
        assert!(content(Kind::Activity, body.clone(), json!({"subject": "Call", "due_time": "10:00:00", "person_id": 7})));
        assert!(!content(Kind::Activity, body, json!({"subject": "Call", "due_time": "10:00:00", "person_id": 8})));
    }
}
