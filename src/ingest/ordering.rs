//! Which lane an event belongs to, and which other lanes' tails it waits for.

use crate::event::{Event, canonical_id};
use crate::rules::Rule;
use crate::store::NewDelivery;

/// Where an event stands in order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Order {
    /// The lane's key. Events of one rule with equal keys are processed in order.
    key: String,
    /// Keys under which earlier events of the same user may still wait: those of this rule go first.
    after: Vec<String>,
}

/// The delivery of an event to a rule.
#[must_use]
pub fn delivery(event: &Event, rule: &Rule) -> NewDelivery {
    let Order { key, after } = order(event, &rule.config.order_by);
    NewDelivery { rule: rule.name.clone(), account: rule.account.clone(), key, after }
}

/// The place of an event in order, for a rule's `order_by` path.
///
/// Keys carry what they are (`u:` user, `a:` anonymous, `g:` group, `m:` message, else the path), so a user and a group of
/// the same id do not share a lane. Without a usable value at the path: `userId`, `anonymousId`, `groupId`, `messageId`.
///
/// An event with both `userId` and `anonymousId` that is ordered by its user comes after what the anonymous visitor did before.
fn order(event: &Event, order_by: &str) -> Order {
    let given = event.at(order_by).and_then(canonical_id).map(|id| (order_by, id));
    let (path, id) = given
        .or_else(|| event.user_id().map(|id| ("userId", id)))
        .or_else(|| event.anonymous_id().map(|id| ("anonymousId", id)))
        .or_else(|| event.group_id().map(|id| ("groupId", id)))
        .unwrap_or_else(|| ("messageId", event.message_id.clone()));
    let after = match path {
        "userId" => event.anonymous_id().map(|id| keyed("anonymousId", &id)).into_iter().collect(),
        _ => Vec::new(),
    };
    Order { key: keyed(path, &id), after }
}

fn keyed(path: &str, id: &str) -> String {
    let prefix = match path {
        "userId" => "u",
        "anonymousId" | "context.anonymousId" => "a",
        "groupId" | "context.groupId" => "g",
        "messageId" => "m",
        path => path,
    };
    [prefix, ":", id].concat()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ingest::decode_event;

    fn key(body: Value, order_by: &str) -> String {
        placed(body, order_by).key
    }

    fn placed(body: Value, order_by: &str) -> Order {
        order(&decode_event("web", jiff::Timestamp::UNIX_EPOCH, body).expect("an event"), order_by)
    }

    #[test]
    fn a_known_user_comes_after_the_anonymous_visitor() {
        let event = json!({"type": "page", "userId": "1", "anonymousId": "x", "context": {"groupId": "acme"}});
        assert_eq!(placed(event.clone(), "userId"), Order { key: "u:1".to_owned(), after: vec!["a:x".to_owned()] });
        assert_eq!(placed(event.clone(), "traits.email").after, ["a:x"], "ordered by the user, for want of the trait");
        assert_eq!(placed(event.clone(), "anonymousId"), Order { key: "a:x".to_owned(), after: vec![] });
        assert_eq!(placed(event, "context.groupId").after, [""; 0], "ordered by something else");
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
