//! A store that is full or fails, under a whole daemon: no event is acknowledged that is not kept, and none has to be sent twice.

use pipewright::delivery::Scope;
use pipewright::store::sqlite::Fault;
use pipewright::store::{DeliveryState, Write};
use serde_json::json;

use super::harness::{PERSON, Rig, Setup};
use crate::support::{Reply, get, in_time, wait_until};

async fn identify(rig: &Rig, user: &str) -> Reply {
    let event = json!({ "userId": user, "messageId": user, "traits": { "name": user } });
    rig.post("/v1/identify", &event).await
}

fn refused_for_now(reply: &Reply, code: &str) {
    assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (503, Some(code)), "{}", reply.text());
    assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{:?}", reply.headers);
}

#[tokio::test]
async fn a_full_disk_refuses_events_carries_out_what_waits_and_takes_events_again_when_there_is_room() {
    let rig = Setup::person(PERSON).start().await;
    let account = || Scope::Account("main".to_owned());
    rig.daemon().delivery().pause(account(), "first".to_owned()).await.expect("paused");
    assert_eq!(identify(&rig, "before").await.status, 200);

    rig.fail_intake(Some(Fault::DiskFull));
    refused_for_now(&identify(&rig, "during").await, "disk_full");
    let ready = get(rig.daemon().admin_addr(), "/readyz").await;
    assert!(ready.status == 503 && ready.text().contains("new events are refused"), "{}", ready.text());
    rig.daemon().delivery().resume(account()).await.expect("resumed");
    rig.settled().await;
    assert_eq!((rig.row("before").await.state, rig.persons("before")), (DeliveryState::Done, 1));

    rig.fail_intake(None);
    wait_until("events are taken again", async || (identify(&rig, "during").await.status == 200).then_some(())).await;
    rig.settled().await;
    assert_eq!((rig.row("during").await.state, rig.persons("during")), (DeliveryState::Done, 1));
    assert_eq!(get(rig.daemon().admin_addr(), "/readyz").await.status, 200);
}

#[tokio::test]
async fn a_store_that_fails_acknowledges_nothing_and_ends_the_daemon_which_goes_on_from_the_disk() {
    let mut rig = Setup::person(PERSON).start().await;
    rig.daemon().delivery().pause(Scope::Account("main".to_owned()), "first".to_owned()).await.expect("paused");
    assert_eq!(identify(&rig, "before").await.status, 200);

    rig.fail_intake(Some(Fault::Io));
    refused_for_now(&identify(&rig, "during").await, "store_failed");
    // No write is believed any more, not even once the disk is well again.
    rig.fail_intake(None);
    refused_for_now(&identify(&rig, "during").await, "store_failed");
    let why = in_time("the daemon asks to be ended", rig.daemon().failed()).await;
    assert!(!why.is_empty());

    rig.restart().await;
    assert_eq!(identify(&rig, "during").await.status, 200);
    rig.daemon().delivery().resume(Scope::Account("main".to_owned())).await.expect("resumed");
    rig.settled().await;
    for user in ["before", "during"] {
        assert_eq!((rig.row(user).await.state, rig.persons(user)), (DeliveryState::Done, 1), "{user}");
    }
}

/// What failed before the clock was set back waits until a time that is far away now.
#[tokio::test]
async fn a_clock_that_was_set_back_before_a_restart_keeps_nothing_waiting_and_gives_nothing_up() {
    let mut rig = Setup::person(PERSON).start().await;
    // Not the account: letting that go on hurries what waits.
    let rule = || Scope::Rule("person".to_owned());
    rig.daemon().delivery().pause(rule(), "first".to_owned()).await.expect("paused");
    assert_eq!(identify(&rig, "u1").await.status, 200);
    let id = rig.row("u1").await.id;
    let next_week = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(7 * 24);
    let retry = Write::Retry { id, run_at: next_week, attempts: 3, first_failed_at: next_week };
    rig.store().commit(vec![retry]).await.expect("commits");
    rig.restart().await;
    rig.daemon().delivery().resume(rule()).await.expect("resumed");
    rig.settled().await;
    assert_eq!((rig.row("u1").await.state, rig.persons("u1")), (DeliveryState::Done, 1));
}
