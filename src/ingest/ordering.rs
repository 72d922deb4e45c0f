//! Which lane an event belongs to, and which other lanes' tails it waits for.

use crate::event::{Event, canonical_id};
use crate::rules::Rule;
use crate::store::{Class, Joined, NewDelivery};

/// Where an event stands in order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Order {
    /// The lane's key. Events of one rule with equal keys are processed in order.
    key: String,
    /// Keys under which earlier events of the same user may still wait: those of this rule go first.
    after: Vec<String>,
    /// Keys of the user's other ids: whatever waits under them goes first.
    behind: Vec<String>,
}

/// The delivery of an event to a rule, as far as `joined` knows who is who.
#[must_use]
pub fn delivery(event: &Event, rule: &Rule, joined: &Joined<'_>) -> NewDelivery {
    let Order { key, after, behind } = order(event, &rule.config.order_by, joined);
    NewDelivery { rule: rule.name.clone(), account: rule.account.clone(), key, after, behind }
}

/// The place of an event in order, for a rule's `order_by` path.
///
/// Keys carry what they are (`u:` user, `a:` anonymous, `g:` group, `m:` message, else the path), so a user and a group of
/// the same id do not share a lane. Without a usable value at the path: `userId`, `anonymousId`, `groupId`, `messageId`.
///
/// An event with both `userId` and `anonymousId` that is ordered by its user comes after what the anonymous visitor did before.
///
/// What is ordered by its user, or by its visitor for want of one, stands in the lane of the class's first id when aliases have joined it
/// with others, and behind the lanes of all of them: until the alias they were lanes of their own.
fn order(event: &Event, order_by: &str, joined: &Joined<'_>) -> Order {
    let given = event.at(order_by).and_then(canonical_id).map(|id| (order_by, id));
    let by_user = given.is_none() || order_by == "userId";
    let (path, id) = given
        .or_else(|| event.user_id().map(|id| ("userId", id)))
        .or_else(|| event.anonymous_id().map(|id| ("anonymousId", id)))
        .or_else(|| event.group_id().map(|id| ("groupId", id)))
        .unwrap_or_else(|| ("messageId", event.message_id.clone()));
    let visitor = if path == "userId" { event.anonymous_id() } else { None };
    if joined.is_empty() {
        let after = visitor.map(|id| keyed("anonymousId", &id)).into_iter().collect();
        return Order { key: keyed(path, &id), after, behind: Vec::new() };
    }
    let class = if by_user && matches!(path, "userId" | "anonymousId") { joined.class_of(&id) } else { None };
    let (key, behind) = match &class {
        None => (keyed(path, &id), Vec::new()),
        Some(class) => {
            let key = keyed("userId", &class[0]);
            let behind = lanes_of(class).filter(|other| *other != key).collect();
            (key, behind)
        }
    };
    let mut after = Vec::new();
    if let Some(visitor) = visitor.filter(|id| class.iter().flat_map(|class| class.iter()).all(|held| **held != **id)) {
        match joined.class_of(&visitor) {
            None => after.push(keyed("anonymousId", &visitor)),
            // What the visitor did stands in the lane of whoever was the class's first one then.
            Some(class) => after.extend(lanes_of(&class)),
        }
    }
    Order { key, after, behind }
}

/// Every lane in which events of a class may stand: each id's, as a user and as a visitor.
fn lanes_of(class: &Class) -> impl Iterator<Item = String> {
    class.iter().flat_map(|id| ["userId", "anonymousId"].map(|path| keyed(path, id)))
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
    use crate::store::{Alias, Aliases};

    fn key(body: Value, order_by: &str) -> String {
        placed(body, order_by).key
    }

    fn placed(body: Value, order_by: &str) -> Order {
        placed_by(&[], body, order_by)
    }

    /// With these aliases: `userId` and `previousId`.
    fn placed_by(aliases: &[(&str, &str)], body: Value, order_by: &str) -> Order {
        let shared = Aliases::default();
        let mut joined = Joined::new(&shared);
        for (user, previous) in aliases {
            joined.join(&Alias { user: (*user).to_owned(), previous: (*previous).to_owned() });
        }
        order(&decode_event("web", jiff::Timestamp::UNIX_EPOCH, body).expect("an event"), order_by, &joined)
    }

    #[test]
    fn ids_that_aliases_have_joined_share_the_lane_of_the_newest_user_behind_all_others() {
        let placed = |body| {
            let Order { key, after, behind } = placed_by(&[("v", "u"), ("w", "v"), ("w", "x")], body, "userId");
            (key, after.join(" "), behind.join(" "))
        };
        let shared = |after: &str| ("u:w".to_owned(), after.to_owned(), "a:w u:x a:x u:v a:v u:u a:u".to_owned());
        for id in ["u", "v", "w"] {
            assert_eq!(placed(json!({"type": "page", "userId": id})), shared(""));
        }
        assert_eq!(placed(json!({"type": "page", "anonymousId": "x"})), shared(""), "a visitor is one of them");
        assert_eq!(
            placed(json!({"type": "page", "userId": "u", "anonymousId": "x"})),
            shared(""),
            "and needs no place of its own"
        );
        assert_eq!(placed(json!({"type": "page", "userId": "u", "anonymousId": "y"})), shared("a:y"), "another browser");
        let other = |key: &str, after: &str| (key.to_owned(), after.to_owned(), String::new());
        assert_eq!(
            placed(json!({"type": "page", "userId": "z", "anonymousId": "y"})),
            other("u:z", "a:y"),
            "others are not moved"
        );
        let shares = json!({"type": "page", "userId": "z", "anonymousId": "x"});
        assert_eq!(
            placed(shares),
            other("u:z", "u:w a:w u:x a:x u:v a:v u:u a:u"),
            "another user comes after what the visitor did, also in the lane of a former first one"
        );
        assert_eq!(placed(json!({"type": "group", "groupId": "u"})), other("g:u", ""));
    }

    #[test]
    fn an_alias_moves_only_what_is_ordered_by_its_user() {
        let event = json!({"type": "page", "userId": "u", "anonymousId": "x", "context": {"groupId": "acme"}});
        let placed = |order_by: &str| placed_by(&[("v", "u"), ("v", "x")], event.clone(), order_by);
        assert_eq!(placed("traits.email").key, "u:v", "ordered by the user, for want of the trait");
        for (order_by, key) in [("anonymousId", "a:x"), ("context.groupId", "g:acme")] {
            assert_eq!(placed(order_by), Order { key: key.to_owned(), after: vec![], behind: vec![] });
        }
    }

    #[test]
    fn a_known_user_comes_after_the_anonymous_visitor() {
        let event = json!({"type": "page", "userId": "1", "anonymousId": "x", "context": {"groupId": "acme"}});
        assert_eq!(
            placed(event.clone(), "userId"),
            Order { key: "u:1".to_owned(), after: vec!["a:x".to_owned()], behind: vec![] }
        );
        assert_eq!(placed(event.clone(), "traits.email").after, ["a:x"], "ordered by the user, for want of the trait");
        assert_eq!(placed(event.clone(), "anonymousId"), Order { key: "a:x".to_owned(), after: vec![], behind: vec![] });
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
