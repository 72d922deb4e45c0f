//! Records of the v2 kinds: what a write gives, what a read shows, how lists page.

use std::time::Duration;

use pipewright::pipedrive::{Method, Request};
use serde_json::{Value, json};

use super::{call, data, done, get, manual, plain, send};
use pipewright::mock::MockOptions;

#[tokio::test]
async fn a_person_is_created_read_changed_and_deleted() {
    let mock = plain();
    let plan = mock.custom_key("persons", "Plan").expect("the field");
    let pro = mock.option_id("persons", "Plan", "Pro").expect("the option");
    let made = done(
        &mock,
        Method::Post,
        "/api/v2/persons",
        json!({
            "name": "Jane van Doe", "org_id": 1, "emails": [{ "value": "Jane@X.example" }, { "value": "j@y.example", "label": "home" }],
            "custom_fields": { &plan: pro },
        }),
    )
    .await;
    assert_eq!(made["first_name"], "Jane");
    assert_eq!(made["last_name"], "van Doe");
    assert_eq!(
        made["emails"],
        json!([
            { "value": "Jane@X.example", "primary": true, "label": "work" },
            { "value": "j@y.example", "primary": false, "label": "home" }
        ])
    );
    assert_eq!(made["add_time"], "2026-03-01T12:00:00Z");
    assert_eq!(made["custom_fields"][&plan], json!(pro));
    assert_eq!(made["custom_fields"][mock.custom_key("persons", "Score").expect("the field")], json!(null));

    mock.advance(Duration::from_secs(5));
    let path = format!("/api/v2/persons/{}", made["id"]);
    let changed = done(
        &mock,
        Method::Patch,
        &path,
        json!({ "emails": [{ "value": "new@x.example", "primary": true }], "custom_fields": { &plan: null } }),
    )
    .await;
    assert_eq!(changed["emails"].as_array().expect("a list").len(), 1, "the list is replaced");
    assert_eq!(changed["name"], "Jane van Doe");
    assert_eq!(changed["update_time"], "2026-03-01T12:00:05Z");
    assert_eq!(changed["custom_fields"][&plan], json!(null));

    assert_eq!(done(&mock, Method::Delete, &path, json!({})).await, json!({ "id": made["id"] }));
    assert_eq!(data(&mock, &path).await["is_deleted"], true);
    assert_eq!(call(&mock, Method::Patch, &path, json!({ "name": "X" })).await.0, 404);
    assert_eq!(data(&mock, &format!("/api/v2/persons?ids={}", made["id"])).await, json!([]));
    mock.advance(Duration::from_secs(31 * 86_400));
    assert_eq!(get(&mock, &path).await.0, 404, "purged after thirty days");
}

#[tokio::test]
async fn a_deal_follows_its_stage_and_status() {
    let mock = plain();
    let stages = data(&mock, "/api/v2/stages?pipeline_id=2").await;
    let onboarding = stages[1]["id"].clone();
    let deal = done(&mock, Method::Post, "/api/v2/deals", json!({ "title": "D", "stage_id": onboarding })).await;
    assert_eq!(deal["pipeline_id"], 2, "the stage decides the pipeline");
    assert_eq!((&deal["currency"], &deal["status"]), (&json!("EUR"), &json!("open")));
    let path = format!("/api/v2/deals/{}", deal["id"]);

    let moved = done(&mock, Method::Patch, &path, json!({ "pipeline_id": 1 })).await;
    assert_eq!(moved["stage_id"], 1, "a pipeline alone means its first stage");
    let lost = done(&mock, Method::Patch, &path, json!({ "status": "lost", "lost_reason": "price" })).await;
    assert_eq!((&lost["lost_reason"], &lost["lost_time"]), (&json!("price"), &json!("2026-03-01T12:00:00Z")));
    let open = done(&mock, Method::Patch, &path, json!({ "status": "open" })).await;
    assert_eq!((&open["lost_reason"], &open["lost_time"]), (&json!(null), &json!(null)));

    done(&mock, Method::Patch, &path, json!({ "is_archived": true })).await;
    assert_eq!(call(&mock, Method::Patch, &path, json!({ "title": "E" })).await.0, 400, "archived: not editable");
    assert_eq!(data(&mock, &format!("/api/v2/deals?ids={}", deal["id"])).await, json!([]));
    assert_eq!(data(&mock, &format!("/api/v2/deals/archived?ids={}", deal["id"])).await[0]["id"], deal["id"]);
    done(&mock, Method::Patch, &path, json!({ "is_archived": false, "title": "E" })).await;
}

#[tokio::test]
async fn an_activity_takes_its_person_from_the_participants() {
    let mock = plain();
    let body = json!({
        "subject": "S", "type": "meeting", "due_time": "09:30", "duration": "01:00", "deal_id": 1, "done": true,
        "participants": [{ "person_id": 2 }, { "person_id": 1, "primary": true }],
    });
    let made = done(&mock, Method::Post, "/api/v2/activities", body).await;
    assert_eq!(made["person_id"], 1);
    assert_eq!((&made["due_time"], &made["duration"]), (&json!("09:30:00"), &json!("01:00:00")));
    assert_eq!(made["marked_as_done_time"], "2026-03-01T12:00:00Z");
    assert!(made.get("custom_fields").is_none());
    let of_person = data(&mock, "/api/v2/activities?person_id=1&done=true").await;
    assert!(of_person.as_array().expect("a list").iter().any(|a| a["id"] == made["id"]));
}

#[tokio::test]
async fn lists_page_by_cursor_in_every_order() {
    let mock = manual(MockOptions { seed: false, ..MockOptions::unlimited() });
    for i in 0..25 {
        mock.advance(Duration::from_secs(1));
        done(&mock, Method::Post, "/api/v2/organizations", json!({ "name": format!("O{i}") })).await;
    }
    for (sort, direction) in [("id", "asc"), ("id", "desc"), ("update_time", "asc"), ("add_time", "desc")] {
        let mut seen = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut request = Request::get("/api/v2/organizations")
                .query("limit", "10")
                .query("sort_by", sort)
                .query("sort_direction", direction);
            if let Some(cursor) = &cursor {
                request = request.query("cursor", cursor.as_str());
            }
            let (status, page) = send(&mock, request).await;
            assert_eq!(status, 200, "{page}");
            seen.extend(page["data"].as_array().expect("a list").iter().map(|o| o["id"].as_u64().expect("an id")));
            cursor = page["additional_data"]["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        let mut expected: Vec<u64> = (1..=25).collect();
        if direction == "desc" {
            expected.reverse();
        }
        assert_eq!(seen, expected, "{sort} {direction}");
    }
}

#[tokio::test]
async fn changes_since_a_second_include_that_second() {
    let mock = manual(MockOptions { seed: false, ..MockOptions::unlimited() });
    done(&mock, Method::Post, "/api/v2/persons", json!({ "name": "Before" })).await;
    mock.advance(Duration::from_millis(1_700));
    done(&mock, Method::Post, "/api/v2/persons", json!({ "name": "After" })).await;
    let names = data(&mock, "/api/v2/persons?updated_since=2026-03-01T12:00:01Z").await;
    assert_eq!(names.as_array().map(Vec::len), Some(1));
    assert_eq!(names[0]["name"], "After");
    let before = data(&mock, "/api/v2/persons?updated_until=2026-03-01T12:00:01Z").await;
    assert_eq!(before[0]["name"], "Before");
    let (status, answer) = get(&mock, "/api/v2/persons?updated_since=2026-03-01T12:00:01.500Z").await;
    assert_eq!((status, &answer["code"]), (400, &json!("ERR_SCHEMA_VALIDATION_FAILED")));
}

#[tokio::test]
async fn a_merge_keeps_the_named_record_and_moves_what_hangs_on_the_other() {
    let mock = plain();
    let made = done(&mock, Method::Put, "/v1/persons/3/merge", json!({ "merge_with_id": 1 })).await;
    assert_eq!((&made["id"], &made["merge_what_id"]), (&json!(1), &json!(3)));
    let kept = mock.entity("persons", 1).expect("the person");
    assert_eq!(kept["name"], "Hank Scorpio");
    assert_eq!(kept["emails"].as_array().expect("a list").len(), 2);
    assert_eq!(mock.entity("persons", 3).expect("the row")["is_deleted"], true);
    assert_eq!(mock.entity("deals", 2).expect("the deal")["person_id"], 1);
}

#[tokio::test]
async fn the_changelog_tells_updates_newest_first_and_no_creation() {
    let mock = plain();
    let id = done(&mock, Method::Post, "/api/v2/persons", json!({ "name": "Ada" })).await["id"].clone();
    let log = format!("/api/v1/persons/{id}/changelog");
    assert_eq!(data(&mock, &log).await, json!([]));
    let path = format!("/api/v2/persons/{id}");
    done(&mock, Method::Patch, &path, json!({ "job_title": "CTO" })).await;
    done(&mock, Method::Patch, &path, json!({ "job_title": "CTO" })).await;
    done(
        &mock,
        Method::Patch,
        &path,
        json!({ "job_title": "CEO", "emails": [{ "value": "a@b.example" }, { "value": "c@d.example" }] }),
    )
    .await;
    let all = data(&mock, &log).await;
    let told = |entry: &Value| (entry["field_key"].clone(), entry["old_value"].clone(), entry["new_value"].clone());
    let all: Vec<_> = all.as_array().expect("a list").iter().map(told).collect();
    assert_eq!(all.len(), 3, "a write of what is there is no change: {all:?}");
    assert_eq!(all[2], (json!("job_title"), Value::Null, json!("CTO")));
    assert!(all.contains(&(json!("job_title"), json!("CTO"), json!("CEO"))), "{all:?}");
    assert!(all.contains(&(json!("email"), Value::Null, json!("a@b.example,c@d.example"))), "{all:?}");
    let (_, first) = get(&mock, &format!("{log}?limit=2")).await;
    let cursor = first["additional_data"]["next_cursor"].as_str().expect("more");
    let (_, rest) = get(&mock, &format!("{log}?limit=2&cursor={cursor}")).await;
    assert_eq!((rest["data"].as_array().map(Vec::len), &rest["additional_data"]["next_cursor"]), (Some(1), &Value::Null));
    assert_eq!(get(&mock, "/api/v1/persons/99999/changelog").await.0, 404);
}
