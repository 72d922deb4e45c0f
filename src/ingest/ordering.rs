//! Which lane an event belongs to.

use crate::event::{Event, canonical_id};

/// The ordering key of an event for a rule's `order_by` path. Events of one rule with equal keys are processed in order.
///
/// Keys carry what they are (`u:` user, `a:` anonymous, `g:` group, `m:` message, else the path), so a user and a group of
/// the same id do not share a lane. Without a usable value at the path: `userId`, `anonymousId`, `groupId`, `messageId`.
#[must_use]
pub fn ordering_key(event: &Event, order_by: &str) -> String {
    let given = || Some(keyed(order_by, &event.at(order_by).and_then(canonical_id)?));
    given()
        .or_else(|| event.user_id().map(|id| keyed("userId", &id)))
        .or_else(|| event.anonymous_id().map(|id| keyed("anonymousId", &id)))
        .or_else(|| event.group_id().map(|id| keyed("groupId", &id)))
        .unwrap_or_else(|| keyed("messageId", &event.message_id))
}

fn keyed(path: &str, id: &str) -> String {
    let prefix = match path {
        "userId" => "u",
        "anonymousId" | "context.anonymousId" => "a",
        "groupId" | "context.groupId" => "g",
        "messageId" => "m",
        path => path,
    };
    format!("{prefix}:{id}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ingest::decode_event;

    fn key(body: Value, order_by: &str) -> String {
        ordering_key(&decode_event("web", jiff::Timestamp::UNIX_EPOCH, body).expect("an event"), order_by)
    }

    #[test]
    fn one_id_has_one_key_whichever_type_it_came_as() {
        let track = |user: Value| json!({"type": "track", "event": "A", "userId": user, "messageId": "m1"});
        assert_eq!(key(track(json!(42)), "userId"), "u:42");
        assert_eq!(key(track(json!(" 42 ")), "userId"), "u:42");
        assert_eq!(key(track(json!(42.0)), "userId"), "u:42");
    }

    #[test]
    fn falls_back_to_the_next_id_there_is() {
        assert_eq!(key(json!({"type": "page", "userId": null, "anonymousId": "x"}), "userId"), "a:x");
        assert_eq!(key(json!({"type": "group", "groupId": "acme"}), "userId"), "g:acme");
        assert_eq!(key(json!({"type": "page", "userId": "1"}), "traits.email"), "u:1");
        assert_eq!(
            key(json!({"type": "track", "event": "A", "userId": "1", "properties": {"deal_id": {}}}), "properties.deal_id"),
            "u:1"
        );
    }

    #[test]
    fn a_path_of_its_own_keeps_its_name_in_the_key() {
        let event = json!({"type": "track", "event": "A", "userId": "1", "messageId": "m", "context": {"groupId": "acme"},
            "properties": {"deal_id": 9}});
        assert_eq!(key(event.clone(), "properties.deal_id"), "properties.deal_id:9");
        assert_eq!(key(event.clone(), "context.groupId"), "g:acme");
        assert_eq!(key(event, "messageId"), "m:m");
    }
}
