//! The daemon dies while a write is on its way, carried out or not: what every kind of write comes to.

use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{Rig, Setup};

/// One kind of write, on the records that [`furnish`] makes.
struct Case {
    /// What the script does; `p` holds the ids of the records.
    script: String,
    method: Method,
    path: String,
    /// What it comes to, and how many arrived then: when the first one had been carried out, and when it never arrived.
    carried_out: (DeliveryState, usize),
    not_carried_out: (DeliveryState, usize),
}

const DONE_ONCE: (DeliveryState, usize) = (DeliveryState::Done, 1);
const DONE_TWICE: (DeliveryState, usize) = (DeliveryState::Done, 2);
const UNCERTAIN: (DeliveryState, usize) = (DeliveryState::Uncertain, 1);
const UNCERTAIN_NONE: (DeliveryState, usize) = (DeliveryState::Uncertain, 0);

/// Module, path, a field that has a text, and what else a create needs.
const KINDS: [(&str, &str, &str, &str); 6] = [
    ("person", "persons", "name", ""),
    ("organization", "organizations", "name", ""),
    ("deal", "deals", "title", ", person_id: p.person"),
    ("lead", "leads", "title", ", person_id: p.person"),
    ("activity", "activities", "subject", ", person_id: p.person"),
    ("note", "notes", "content", ", person_id: p.person"),
];

/// One record of each kind and a second person, organization and deal; their ids, by module and `other_` module.
fn furnish(rig: &Rig) -> Value {
    let mut ids = json!({});
    for (module, path, field, _) in KINDS {
        let version = if matches!(module, "lead" | "note") { "v1" } else { "v2" };
        let mut body = json!({ field: "Old" });
        if let ("lead" | "note", person) = (module, &ids["person"]) {
            body["person_id"] = person.clone();
        }
        ids[module] = rig.aside(&format!("/api/{version}/{path}"), body.clone())["id"].clone();
        if matches!(module, "person" | "organization" | "deal") {
            ids[format!("other_{module}")] = rig.aside(&format!("/api/{version}/{path}"), body)["id"].clone();
        }
    }
    ids
}

/// Runs a case, dying before the write is carried out or before its answer is read; answers the rig and the ids of its records.
async fn dies(case: &Case, carried_out: bool) -> (Rig, Value) {
    let script = format!("fn handle(event) {{ let p = event.properties; {} }}", case.script);
    let mut rig = Setup::new().rule("write", "type = \"track\"", &script).start_apart().await;
    rig.mock.set_search_lag(std::time::Duration::from_secs(3600));
    let ids = furnish(&rig);
    let hold = Hold::new();
    let fault = if carried_out { Fault::HoldAnswer(hold.clone()) } else { Fault::Hold(hold.clone()) };
    rig.mock.fail_matching(FaultMatch::next(case.method, &case.path), fault);
    let message = rig.track("u1", "Write", ids.clone()).await;
    hold.reached().await;
    rig.crash().await;
    rig.settled().await;
    let row = rig.row(&message).await;
    let arrived = rig.calls(case.method, &case.path).len();
    let expected = if carried_out { case.carried_out } else { case.not_carried_out };
    assert_eq!((row.state, arrived), expected, "{} (carried out: {carried_out}): {:?}", case.script, row.reason);
    (rig, ids)
}

#[tokio::test]
async fn a_create_of_every_kind_is_made_once() {
    for (module, path, field, more) in KINDS {
        let script = format!("{module}::create(#{{ {field}: \"New\"{more} }}, #{{ key: \"k\" }});");
        let script = if matches!(module, "activity" | "note") { script } else { script.replace(", #{ key: \"k\" }", "") };
        let case =
            Case { script, method: Method::Post, path: format!("/{path}"), carried_out: DONE_ONCE, not_carried_out: DONE_ONCE };
        for carried_out in [true, false] {
            let (rig, _) = dies(&case, carried_out).await;
            let new = rig.mock.entities(path).into_iter().filter(|record| record[field] == "New").count();
            assert_eq!(new, 1, "{module}, carried out: {carried_out}");
        }
    }
}

#[tokio::test]
async fn an_update_of_every_kind_is_sent_again() {
    for (module, path, field, _) in KINDS {
        let method = if module == "note" { Method::Put } else { Method::Patch };
        let case = Case {
            script: format!("{module}::update(p.{module}, #{{ {field}: \"New\" }});"),
            method,
            path: format!("/{path}"),
            carried_out: DONE_TWICE,
            not_carried_out: DONE_ONCE,
        };
        for carried_out in [true, false] {
            let (rig, ids) = dies(&case, carried_out).await;
            let id = ids[module].as_str().map_or_else(|| ids[module].to_string(), str::to_owned);
            assert_eq!(rig.mock.entity(path, id).expect("it is there")[field], "New", "{module}");
        }
    }
}

#[tokio::test]
async fn a_delete_of_every_kind_is_done() {
    for (module, path, _, _) in KINDS {
        let case = Case {
            script: format!("{module}::delete(p.{module});"),
            method: Method::Delete,
            path: format!("/{path}"),
            carried_out: DONE_TWICE,
            not_carried_out: DONE_ONCE,
        };
        for carried_out in [true, false] {
            let (rig, ids) = dies(&case, carried_out).await;
            let left = rig.mock.entities(path).into_iter().any(|record| record["id"] == ids[module]);
            assert!(!left, "{module} is there still, carried out: {carried_out}");
        }
    }
}

#[tokio::test]
async fn a_merge_is_made_once() {
    for module in ["person", "organization", "deal"] {
        let case = Case {
            script: format!("{module}::merge(p.{module}, p.other_{module});"),
            method: Method::Put,
            path: "/merge".to_owned(),
            carried_out: DONE_ONCE,
            not_carried_out: DONE_ONCE,
        };
        for carried_out in [true, false] {
            let (rig, ids) = dies(&case, carried_out).await;
            let path = format!("{module}s");
            let there: Vec<Value> = rig.mock.entities(&path).into_iter().map(|record| record["id"].clone()).collect();
            assert_eq!(there, [ids[module].clone()], "carried out: {carried_out}");
        }
    }
}

#[tokio::test]
async fn a_conversion_or_a_raw_request_is_never_sent_again_by_itself() {
    let convert = Case {
        script: "lead::convert(p.lead);".to_owned(),
        method: Method::Post,
        path: "/convert/deal".to_owned(),
        carried_out: DONE_ONCE,
        not_carried_out: UNCERTAIN_NONE,
    };
    for carried_out in [true, false] {
        let (rig, _) = dies(&convert, carried_out).await;
        let counts = (rig.mock.count("deals"), rig.mock.count("leads"));
        assert_eq!(counts, if carried_out { (3, 0) } else { (2, 1) });
    }
    for (method, script) in [
        (Method::Post, r#"pipedrive::request("POST", "/api/v2/persons", #{ name: "Raw" });"#),
        (Method::Patch, r#"pipedrive::request("PATCH", `/api/v2/persons/${p.person}`, #{ name: "Raw" });"#),
        (Method::Delete, r#"pipedrive::request("DELETE", `/api/v2/persons/${p.person}`);"#),
    ] {
        let raw = Case {
            script: script.to_owned(),
            method,
            path: "/persons".to_owned(),
            carried_out: UNCERTAIN,
            not_carried_out: UNCERTAIN_NONE,
        };
        for carried_out in [true, false] {
            dies(&raw, carried_out).await;
        }
    }
}
