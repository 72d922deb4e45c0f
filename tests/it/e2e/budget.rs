//! The token ledger across kill -9, beside what Pipedrive counts.

use pipewright::mock::MockOptions;
use serde_json::{Value, json};

use super::harness::{Daemon, Folder};
use crate::support::account::Served;
use crate::support::wait_until;

/// Today's tokens and those that are not stored yet.
async fn ledger(folder: &Folder) -> (u64, u64) {
    let budget = folder.json(&["budget"]).await;
    let number = |value: &Value| value.as_u64().expect("a number");
    (number(&budget["accounts"][0]["today"]["spent"]["tokens"]), number(&budget["accounts"][0]["unsaved"]))
}

async fn send(daemon: &Daemon, users: std::ops::Range<usize>) {
    for user in users {
        let event = json!({ "type": "identify", "userId": format!("u{user}"), "traits": { "name": format!("Name {user}") } });
        daemon.accept("/v1/identify", &event).await;
    }
}

/// Waits until the ledger has what the account has been asked; answers that. It is charged first, so for a moment it may have more.
async fn same(folder: &Folder, account: &Served) -> u64 {
    wait_until("all is counted and stored", || async {
        let (tokens, unsaved) = ledger(folder).await;
        (tokens == account.mock.tokens_spent() && unsaved == 0).then_some(tokens)
    })
    .await
}

#[tokio::test]
async fn a_kill_forgets_the_last_second_at_most() {
    let account = Served::start(MockOptions { seed: false, ..MockOptions::unlimited() }).await;
    let folder = Folder::init().await;
    folder.use_address(account.at);
    folder.edit("rules.toml", "writes = \"off\"", "writes = \"on\"");
    let mut daemon = Daemon::serve(&folder, &[]).await;
    for round in 0..2 {
        send(&daemon, round * 10..round * 10 + 10).await;
        daemon.all_ended().await;
        same(&folder, &account).await;
        daemon.process.kill().await;
        // What the new one asks comes on top of what was stored.
        daemon = Daemon::serve(&folder, &[]).await;
    }
    let stored = same(&folder, &account).await;
    // In the middle of things something may be missing, and nothing is there that was not sent.
    send(&daemon, 20..40).await;
    daemon.process.kill().await;
    let daemon = Daemon::serve(&folder, &[]).await;
    daemon.all_ended().await;
    wait_until("nothing is on its way", || async {
        let (tokens, _) = ledger(&folder).await;
        (stored..=account.mock.tokens_spent()).contains(&tokens).then_some(())
    })
    .await;
    drop(daemon);
    account.stop().await;
}
