//! Whether a sender switched Pipedrive off for an event.

use serde_json::Value;

use super::timestamps::Origin;
use crate::event::Body;

/// The names under which Segment's users know a Pipedrive destination.
const NAMES: [&str; 3] = ["Actions Pipedrive", "Pipedrive (Actions)", "Pipedrive"];

/// True when `integrations` names Pipedrive with `false`, or switches all off without naming it. `All` counts for nothing in
/// what Segment itself sends: there it has been applied to the webhook destination already.
pub(super) fn switched_off(body: &Body, origin: Origin) -> bool {
    let Some(Value::Object(integrations)) = body.get("integrations") else { return false };
    let named: Vec<&Value> = NAMES.into_iter().filter_map(|name| integrations.get(name)).collect();
    if named.contains(&&Value::Bool(false)) {
        return true;
    }
    let all_off = integrations.get("All").or_else(|| integrations.get("all")) == Some(&Value::Bool(false));
    let named_on = named.iter().any(|value| matches!(value, Value::Bool(true) | Value::Object(_)));
    origin == Origin::Client && all_off && !named_on
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn off_by_name_or_by_all_without_the_name() {
        let off = |integrations: Value, origin| {
            let Value::Object(body) = json!({"integrations": integrations}) else { unreachable!() };
            switched_off(&body.into(), origin)
        };
        for none in [
            json!({}),
            Value::Null,
            json!([]),
            json!({"All": true}),
            json!({"All": false, "Pipedrive": true}),
            json!({"Slack": false}),
        ] {
            assert!(!off(none.clone(), Origin::Client), "{none}");
        }
        assert!(!off(json!({"All": false, "Actions Pipedrive": {"x": 1}}), Origin::Client));
        for some in [
            json!({"All": false}),
            json!({"all": false, "Slack": true}),
            json!({"Pipedrive": false}),
            json!({"Pipedrive (Actions)": false}),
        ] {
            assert!(off(some.clone(), Origin::Client), "{some}");
        }
        assert!(!off(json!({"All": false, "Webhooks": true}), Origin::Segment));
        assert!(off(json!({"Actions Pipedrive": false}), Origin::Segment));
    }
}
