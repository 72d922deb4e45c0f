//! Deals: stages go forward, nothing is reopened by accident, products go by raw requests.

use pipewright::mock::{Fault, FaultMatch};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{Rig, Setup};

/// A deal by its key, with the properties of the event as fields.
const DEAL: &str = r#"
fn handle(event) {
    deal::upsert(
        #{ "Segment Deal ID": event.properties.deal_id },
        event.properties.fields,
        #{ on_create: #{ title: "Seats" }, unlinked: true });
}
"#;

async fn rig() -> Rig {
    Setup::new().rule("deal", "type = \"track\"", DEAL).start().await
}

/// Sends the fields for the deal `d1`; answers the delivery's record.
async fn sent(rig: &Rig, fields: Value) -> Value {
    let message = rig.track("u1", "Deal", json!({ "deal_id": "d1", "fields": fields })).await;
    rig.settled().await;
    let row = rig.row(&message).await;
    let mut record = rig.record(&row.id).await;
    record["ended"] = json!(format!("{:?}", row.state));
    record
}

fn deal(rig: &Rig) -> Value {
    let mut found = rig.mock.find("deals", "Segment Deal ID", &json!("d1"));
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// The name of the deal's stage.
fn stage(rig: &Rig) -> &'static str {
    match deal(rig)["stage_id"].as_u64().expect("a stage") {
        1 => "Qualified",
        2 => "Contacted",
        3 => "Proposal",
        4 => "Negotiation",
        _ => "of another pipeline",
    }
}

fn by_hand(rig: &Rig, fields: Value) {
    let answer = rig.mock.edit("deals", &deal(rig)["id"], fields.as_object().expect("a map").clone());
    assert_eq!(answer.status, 200);
}

fn warned(record: &Value, text: &str) -> bool {
    record["steps"][0]["warnings"].as_array().is_some_and(|all| all.iter().any(|w| w.as_str().is_some_and(|w| w.contains(text))))
}

#[tokio::test]
async fn a_deal_goes_forward_to_a_stage_and_never_back() {
    let rig = rig().await;
    // A name that two pipelines have asks for the pipeline; beside it the pipeline only says which stage is meant.
    let record = sent(&rig, json!({ "stage_at_least": "Contacted" })).await;
    assert_eq!(record["ended"], "Dead");
    assert!(record["reason"].as_str().expect("a reason").contains("several pipelines have a stage of this name"), "{record:#}");
    sent(&rig, json!({ "stage_at_least": "Contacted", "pipeline": "Sales" })).await;
    assert_eq!(stage(&rig), "Contacted", "a new deal starts there");
    sent(&rig, json!({ "stage_at_least": "Negotiation" })).await;
    assert_eq!(stage(&rig), "Negotiation");
    let writes = rig.writes().len();
    for back in ["Qualified", "Proposal"] {
        let record = sent(&rig, json!({ "stage_at_least": back })).await;
        assert_eq!((record["ended"].as_str(), stage(&rig)), (Some("Done"), "Negotiation"), "{back}");
    }
    assert_eq!(rig.writes().len(), writes, "nothing was sent to move it back");
    // What a person moved back stays there while the events say the same.
    sent(&rig, json!({ "stage_at_least": "Negotiation" })).await;
    by_hand(&rig, json!({ "stage_id": 1 }));
    sent(&rig, json!({ "stage_at_least": "Negotiation" })).await;
    assert_eq!(stage(&rig), "Qualified");
}

#[tokio::test]
async fn a_deal_in_another_pipeline_or_closed_is_not_moved_and_the_record_says_so() {
    let rig = rig().await;
    sent(&rig, json!({ "stage_at_least": "Qualified" })).await;
    by_hand(&rig, json!({ "pipeline_id": 2 }));
    let record = sent(&rig, json!({ "stage_at_least": "Proposal", "pipeline": "Sales" })).await;
    assert_eq!(deal(&rig)["pipeline_id"], 2);
    assert!(warned(&record, "the deal is in the pipeline `Onboarding`"), "{record:#}");
    by_hand(&rig, json!({ "stage_id": 1 }));
    by_hand(&rig, json!({ "status": "won" }));
    let record = sent(&rig, json!({ "stage_at_least": "Negotiation" })).await;
    assert_eq!((stage(&rig), &deal(&rig)["status"]), ("Qualified", &json!("won")));
    assert!(warned(&record, "the deal is won"), "{record:#}");
    // Both ways to say where it is to be are a mistake of the script.
    let record = sent(&rig, json!({ "stage_at_least": "Proposal", "stage": "Qualified" })).await;
    assert!(record["reason"].as_str().expect("a reason").contains("`stage` and `stage_at_least`"), "{record:#}");
}

#[tokio::test]
async fn only_the_word_open_reopens_a_deal() {
    let rig = rig().await;
    sent(&rig, json!({ "value": 10 })).await;
    by_hand(&rig, json!({ "status": "lost", "lost_reason": "price" }));
    // An update without status, a stage, and a match that finds the closed deal leave it closed.
    for fields in [json!({ "value": 20 }), json!({ "stage": "Proposal" }), json!({ "title": "More seats" })] {
        let record = sent(&rig, fields.clone()).await;
        assert_eq!(record["ended"], "Done", "{fields}");
        assert_eq!((&deal(&rig)["status"], &deal(&rig)["lost_reason"]), (&json!("lost"), &json!("price")), "{fields}");
    }
    assert_eq!((stage(&rig), &deal(&rig)["value"]), ("Proposal", &json!(20)));
    sent(&rig, json!({ "status": "open" })).await;
    assert_eq!(deal(&rig)["status"], "open");
}

#[tokio::test]
async fn a_lost_reason_goes_with_lost_and_is_refused_before_anything_is_sent() {
    let rig = rig().await;
    let record = sent(&rig, json!({ "status": "won", "lost_reason": "price" })).await;
    assert!(record["reason"].as_str().expect("a reason").contains("`lost_reason` is for deals whose status is `lost`"));
    assert!(rig.writes().is_empty());
    sent(&rig, json!({ "status": "lost", "lost_reason": "price" })).await;
    assert_eq!(deal(&rig)["lost_reason"], "price");
    // The deal is lost already: the reason alone is enough.
    assert_eq!(sent(&rig, json!({ "lost_reason": "no budget" })).await["ended"], "Done");
    assert_eq!(deal(&rig)["lost_reason"], "no budget");
}

#[tokio::test]
async fn of_several_deals_the_open_one_is_meant_and_a_closed_one_alone_stays_closed() {
    let script = r#"fn handle(event) { deal::update(#{ title: "Seats" }, #{ value: event.properties.value }); }"#;
    let rig = Setup::new().rule("deal", "type = \"track\"", script).start().await;
    let person = rig.aside("/api/v2/persons", json!({ "name": "Ada" }))["id"].clone();
    let made = |status: &str| {
        let body = json!({ "title": "Seats", "person_id": person, "status": status });
        rig.aside("/api/v2/deals", body)["id"].clone()
    };
    let (lost, open) = (made("lost"), made("open"));
    rig.track("u1", "Deal", json!({ "value": 5 })).await;
    rig.settled().await;
    let value = |id: &Value| rig.mock.entity("deals", id).expect("it")["value"].clone();
    assert_eq!((value(&lost), value(&open)), (json!(0), json!(5)));
    rig.delete_aside(&format!("/api/v2/deals/{open}"));
    rig.track("u1", "Deal", json!({ "value": 6 })).await;
    rig.settled().await;
    assert_eq!((value(&lost), &rig.mock.entity("deals", &lost).expect("it")["status"]), (json!(6), &json!("lost")));
    assert!(rig.calls(Method::Post, "/deals").is_empty());
}

#[tokio::test]
async fn a_title_is_needed_by_new_deals_only() {
    let script = r#"fn handle(event) {
        deal::upsert(#{ "Segment Deal ID": event.properties.deal_id }, event.properties.fields, #{ unlinked: true });
    }"#;
    let rig = Setup::new().rule("deal", "type = \"track\"", script).start().await;
    let record = sent(&rig, json!({ "value": 1 })).await;
    assert!(record["reason"].as_str().expect("a reason").contains("a new deal needs `title`"), "{record:#}");
    sent(&rig, json!({ "title": "Seats" })).await;
    assert_eq!(sent(&rig, json!({ "value": 2 })).await["ended"], json!(format!("{:?}", DeliveryState::Done)));
    assert_eq!((&deal(&rig)["title"], &deal(&rig)["value"]), (&json!("Seats"), &json!(2)));
}

/// The example of docs/scripting.md.
const PRODUCTS: &str = r#"
fn handle(event) {
    let deal = deal::find(#{ "Segment Deal ID": event.properties?.deal_id });
    if deal == () { retry("the deal is not there yet", 0); }
    for item in event.properties?.products ?? [] {
        pipedrive::request("POST", `/api/v2/deals/${deal.id}/products`,
            #{ product_id: item.product_id, item_price: item.price, quantity: item.quantity });
    }
}
"#;

#[tokio::test]
async fn products_go_to_their_deal_by_raw_requests_once_it_is_there() {
    let rig = Setup::new().rule("deal", "type = \"track\"", DEAL).rule("products", "type = \"track\"", PRODUCTS).start().await;
    let added = Fault::Status { status: 201, body: json!({ "success": true, "data": { "id": 1 } }) };
    let which = FaultMatch { method: Some(Method::Post), path: Some("/products".into()), times: 2, ..FaultMatch::default() };
    rig.mock.fail_matching(which, added);
    let products = json!([
        { "product_id": 7, "price": 12.5, "quantity": 20 },
        { "product_id": 8, "price": 100, "quantity": 1 },
    ]);
    let message = rig.track("u1", "Deal", json!({ "deal_id": "d1", "fields": {}, "products": products })).await;
    rig.settled().await;
    assert!(rig.rows(&message).await.iter().all(|row| row.state == DeliveryState::Done));
    let sent = rig.calls(Method::Post, "/products");
    let path = format!("/api/v2/deals/{}/products", deal(&rig)["id"]);
    assert!(sent.len() == 2 && sent.iter().all(|call| call.path == path), "{sent:#?}");
    assert_eq!(sent[0].body.clone().unwrap_or_default(), json!({ "product_id": 7, "item_price": 12.5, "quantity": 20 }));
}
