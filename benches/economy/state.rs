//! What an account holds in the end, by what our side knows its records by, whatever their ids.

use std::collections::{BTreeMap, HashMap};

use pipewright::mock::Mock;
use serde_json::{Value, json};

/// Records by what they are known by: `person user1@example.com`.
pub(crate) type State = BTreeMap<String, Vec<Value>>;

/// All records.
pub(crate) fn of(mock: &Mock) -> State {
    let key = |path: &str, field: &str| mock.custom_key(path, field).expect("the account has the field");
    let (user_id, plan) = (key("persons", "Segment User ID"), key("persons", "Plan"));
    let (group_id, tier) = (key("organizations", "Segment Group ID"), key("organizations", "Tier"));
    let deal_id = key("deals", "Segment Deal ID");
    let custom = |record: &Value, key: &str| record["custom_fields"][key].clone();
    let mut state = State::new();
    let mut persons = HashMap::new();
    for person in mock.entities("persons") {
        let email = person["emails"][0]["value"].as_str().unwrap_or_default().to_owned();
        persons.insert(person["id"].as_u64(), email.clone());
        let held = json!([person["name"], custom(&person, &user_id), custom(&person, &plan)]);
        state.entry(format!("person {email}")).or_default().push(held);
    }
    let mut organizations = HashMap::new();
    for organization in mock.entities("organizations") {
        let id = custom(&organization, &group_id);
        organizations.insert(organization["id"].as_u64(), id.clone());
        let held = json!([organization["name"], custom(&organization, &tier)]);
        state.entry(format!("organization {id}")).or_default().push(held);
    }
    let linked = |record: &Value| {
        let id = |key: &str| record[key].as_u64().or_else(|| record[key]["value"].as_u64());
        json!([persons.get(&id("person_id")), organizations.get(&id("org_id"))])
    };
    for deal in mock.entities("deals") {
        let held = json!([deal["title"], deal["value"].as_f64(), deal["currency"], linked(&deal)]);
        state.entry(format!("deal {}", custom(&deal, &deal_id))).or_default().push(held);
    }
    for activity in mock.entities("activities") {
        state.entry(format!("activity {}", activity["subject"])).or_default().push(linked(&activity));
    }
    for note in mock.entities("notes") {
        state.entry(format!("note {}", note["content"])).or_default().push(linked(&note));
    }
    state
}

/// Records beyond the first that are known by the same.
pub(crate) fn duplicates(state: &State) -> usize {
    state.values().map(|records| records.len() - 1).sum()
}

/// Records that differ, with what each side holds; empty when both are the same.
pub(crate) fn differences(ours: &State, theirs: &State) -> Vec<String> {
    let keys: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let of = |state: &State, key: &String| {
        let mut records = state.get(key).cloned().unwrap_or_default();
        records.sort_by_key(Value::to_string);
        records
    };
    let differ = keys.into_iter().filter(|key| of(ours, key) != of(theirs, key));
    differ.map(|key| format!("{key}: {} here, {} there", json!(of(ours, key)), json!(of(theirs, key)))).collect()
}
