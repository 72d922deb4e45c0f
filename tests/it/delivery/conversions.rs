//! `lead::convert`: polled to its end, and sent once whatever becomes of its answers.

use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{Rig, Setup};

const CONVERT: &str = r#"
fn handle(event) {
    let deal = lead::convert(#{ title: event.properties.title }, #{ pipeline: "Sales", stage: "Proposal" });
    note::create(#{ content: "Won over", deal_id: deal });
}
"#;

fn setup() -> Setup {
    Setup::new().rule("convert", "type = \"track\"", CONVERT)
}

/// A lead that people made.
fn lead(rig: &Rig) -> Value {
    let person = rig.aside("/api/v2/persons", json!({ "name": "Ada" }));
    rig.aside("/api/v1/leads", json!({ "title": "Chance", "person_id": person["id"] }))["id"].clone()
}

async fn ended(rig: &Rig, message: &str) -> (DeliveryState, Value) {
    rig.settled().await;
    let row = rig.row(message).await;
    (row.state, rig.record(&row.id).await)
}

async fn converted(rig: &Rig) -> (DeliveryState, Value) {
    lead(rig);
    let message = rig.track("u1", "Won", json!({ "title": "Chance" })).await;
    ended(rig, &message).await
}

/// One lead was converted once, and the action after it wrote to its deal.
fn assert_converted_once(rig: &Rig, record: &Value) {
    assert_eq!(record["outcome"], "done", "{record:#}");
    assert_eq!((rig.mock.count("deals"), rig.mock.count("leads")), (1, 0));
    assert_eq!(rig.calls(Method::Post, "/convert/deal").len(), 1);
    let deal = &rig.mock.entities("deals")[0];
    assert_eq!(deal["stage_id"], 3);
    assert_eq!(record["steps"][0]["state"]["id"], deal["id"], "{record:#}");
    assert_eq!(rig.mock.entities("notes")[0]["deal_id"], deal["id"]);
}

#[tokio::test]
async fn a_lead_becomes_a_deal_and_later_actions_refer_to_it() {
    let rig = setup().start().await;
    let (_, record) = converted(&rig).await;
    assert_converted_once(&rig, &record);
    // The event once more: the lead that it names is that deal.
    let message = rig.track("u1", "Won", json!({ "title": "Chance" })).await;
    let (state, record) = ended(&rig, &message).await;
    assert_eq!(state, DeliveryState::Done, "{record:#}");
    assert_eq!(record["steps"][0]["state"]["effect"], "unchanged");
    assert_eq!(record["steps"][0]["state"]["id"], rig.mock.entities("deals")[0]["id"]);
    assert_eq!(rig.calls(Method::Post, "/convert/deal").len(), 1);
}

#[tokio::test]
async fn a_conversion_whose_status_cannot_be_read_is_waited_for_not_begun_again() {
    let rig = setup().start().await;
    let which = FaultMatch { path: Some("/convert/status".into()), times: 2, ..FaultMatch::default() };
    rig.mock.fail_matching(which, Fault::Cut { committed: false });
    let (_, record) = converted(&rig).await;
    assert_converted_once(&rig, &record);
}

#[tokio::test]
async fn a_conversion_whose_answer_is_lost_is_found_by_its_deal() {
    for fault in [Fault::Cut { committed: true }, Fault::FailedAfter { status: 502 }, Fault::Truncated] {
        let rig = setup().start().await;
        rig.mock.fail_matching(FaultMatch::next(Method::Post, "/convert/deal"), fault);
        let (_, record) = converted(&rig).await;
        assert_converted_once(&rig, &record);
        assert!(record["steps"][0]["warnings"].to_string().contains("its answer was lost; the deal was found"), "{record:#}");
    }
}

#[tokio::test]
async fn a_conversion_that_pipedrive_no_longer_tells_of_is_found_by_its_deal() {
    let rig = setup().start().await;
    let gone = Fault::Status { status: 404, body: json!({ "success": false, "error": "Conversion not found" }) };
    rig.mock.fail_matching(FaultMatch::always("/convert/status"), gone);
    let (_, record) = converted(&rig).await;
    assert_converted_once(&rig, &record);
}

#[tokio::test]
async fn a_conversion_that_may_not_have_arrived_is_not_sent_again_and_ends_as_uncertain() {
    let rig = setup().start().await;
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/convert/deal"), Fault::Cut { committed: false });
    let (state, record) = converted(&rig).await;
    assert_eq!(state, DeliveryState::Uncertain, "{record:#}");
    assert!(record["reason"].as_str().expect("a reason").contains("it is a lead still"), "{record:#}");
    assert_eq!(rig.calls(Method::Post, "/convert/deal").len(), 1);
    assert_eq!((rig.mock.count("leads"), rig.mock.count("notes")), (1, 0));
}

/// The daemon dies while a request of the conversion is on its way: `path` says which, `answered` whether the lead is a deal by then.
async fn killed(path: &str) -> (Rig, Value) {
    let mut rig = setup().start_apart().await;
    lead(&rig);
    let hold = Hold::new();
    let which = FaultMatch { path: Some(path.to_owned()), times: 1, ..FaultMatch::default() };
    rig.mock.fail_matching(which, Fault::HoldAnswer(hold.clone()));
    let message = rig.track("u1", "Won", json!({ "title": "Chance" })).await;
    hold.reached().await;
    assert_eq!((rig.mock.count("deals"), rig.mock.count("leads")), (1, 0), "it was carried out");
    rig.crash().await;
    let (_, record) = ended(&rig, &message).await;
    (rig, record)
}

#[tokio::test]
async fn a_conversion_goes_on_after_a_crash_wherever_it_was() {
    // Before its answer came, and between the answer and its end.
    for path in ["/convert/deal", "/convert/status"] {
        let (rig, record) = killed(path).await;
        assert_eq!(record["resumed"], true, "{path}: {record:#}");
        assert_converted_once(&rig, &record);
    }
}

#[tokio::test]
async fn a_lead_that_people_converted_is_not_converted_again() {
    for by_id in [true, false] {
        let script = if by_id {
            "fn handle(event) { let deal = lead::convert(event.properties.lead_id); deal::update(deal, #{ title: \"Ours\" }); }"
        } else {
            "fn handle(event) { let deal = lead::convert(#{ id: event.properties.lead_id }); deal::update(deal, #{ title: \"Ours\" }); }"
        };
        let update = "fn handle(event) { lead::update(event.properties.lead_id, #{ title: \"Chance\" }, #{ if_empty: #{ person_id: 1 } }); }";
        let rig = Setup::new().rule("convert", "event = \"Won\"", script).rule("lead", "event = \"Lead\"", update).start().await;
        let id = lead(&rig);
        rig.track("u1", "Lead", json!({ "lead_id": id })).await;
        rig.settled().await;
        rig.aside(&format!("/api/v2/leads/{}/convert/deal", id.as_str().expect("a uuid")), json!({}));
        rig.mock.clear_log();
        let message = rig.track("u1", "Won", json!({ "lead_id": id })).await;
        let (state, record) = ended(&rig, &message).await;
        assert_eq!(state, DeliveryState::Done, "{record:#}");
        assert_eq!((rig.mock.count("deals"), &rig.mock.entities("deals")[0]["title"]), (1, &json!("Ours")));
        assert!(rig.calls(Method::Post, "/convert/deal").is_empty());
    }
}

#[tokio::test]
async fn a_conversion_of_what_is_gone_for_good_says_so() {
    let script = "fn handle(event) { lead::convert(event.properties.lead_id); }";
    let rig = Setup::new().rule("convert", "type = \"track\"", script).start().await;
    let message = rig.track("u1", "Won", json!({ "lead_id": "11111111-1111-1111-1111-111111111111" })).await;
    let (state, record) = ended(&rig, &message).await;
    assert_eq!(state, DeliveryState::Dead, "{record:#}");
    let warnings = record["steps"][0]["warnings"].to_string();
    assert!(warnings.contains("neither its person nor its organization is"), "{record:#}");
    assert!(rig.writes().is_empty());
}
