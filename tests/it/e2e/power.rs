//! Power cuts: the disk holds what was synced and nothing else, and what was acknowledged is there all the same.
//!
//! SIGKILL does not show whether a commit was synced: what a dead process has written, the system still writes. So the program runs on a disk
//! that keeps synced writes only (`power/disk.c`, preloaded), is killed, and goes on with what that disk kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::chaos::{Dice, try_request};
use super::harness::{Daemon, Folder};
use crate::support::account::Served;
use crate::support::get;
use pipewright::mock::MockOptions;

const USERS: u64 = 4;

/// Builds the disk with the compiler that SQLite was built with.
async fn disk(folder: &Folder) -> PathBuf {
    let library = folder.path().join("disk.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/e2e/power/disk.c");
    let mut compiler = tokio::process::Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(&source).args(["-ldl", "-lpthread"]);
    let built = compiler.output().await.expect("a C compiler, as SQLite needs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
}

/// A person and a note, whose text tells them apart.
fn event(user: u64, n: u64) -> Value {
    json!({ "batch": [
        { "type": "identify", "userId": format!("u{user}"), "messageId": format!("p-{user}-{n}"), "traits": { "name": format!("u{user} {n:03}") } },
        { "type": "track", "userId": format!("u{user}"), "messageId": format!("n-{user}-{n}"), "event": "Note Upserted",
            "properties": { "content": format!("u{user} {n:03}") } },
    ], "writeKey": "mock" })
}

/// Sends one after the other until nobody answers; says how many were acknowledged.
async fn send_until_the_end(
    at: std::net::SocketAddr,
    user: u64,
    begin: u64,
    acknowledged: tokio::sync::mpsc::UnboundedSender<()>,
) -> u64 {
    for n in begin.. {
        match try_request(at, "POST", "/v1/batch", &event(user, n).to_string()).await {
            Some(reply) if reply.status == 200 => drop(acknowledged.send(())),
            _ => return n,
        }
    }
    unreachable!("numbers do not end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_power_cuts() {
    let mut dice = Dice::new(7);
    let account = Served::start(MockOptions { seed: false, ..MockOptions::unlimited() }).await;
    let folder = Folder::init().await;
    folder.use_address(account.at);
    folder.edit("rules.toml", "writes = \"off\"", "writes = \"on\"");
    let library = disk(&folder).await;
    let (data, kept) = (folder.path().join("data"), folder.path().join("kept"));
    std::fs::create_dir(&kept).expect("a folder");
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let variables = [("LD_PRELOAD", text(&library)), ("PIPEWRIGHT_DISK_OF", text(&data)), ("PIPEWRIGHT_DISK_KEEPS", text(&kept))];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));

    let mut sent = [0; USERS as usize];
    for cut in 0..4 {
        let daemon = Daemon::try_serve(&folder, &variables).await.expect("it starts");
        let (acknowledged, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let senders: Vec<_> = (0..USERS)
            .map(|user| tokio::spawn(send_until_the_end(daemon.events, user, sent[user as usize], acknowledged.clone())))
            .collect();
        for _ in 0..10 + dice.below(30) {
            seen.recv().await.expect("it takes events");
        }
        let said = daemon.process.saying();
        daemon.process.kill().await;
        for (user, sender) in senders.into_iter().enumerate() {
            let now = sender.await.expect("no panic");
            assert!(now > sent[user] || cut > 0, "{}", said.lock());
            sent[user] = now;
        }
        // What was not synced is gone.
        for file in ["pipewright.db", "pipewright.db-wal"] {
            std::fs::copy(kept.join(file), data.join(file)).unwrap_or_else(|e| panic!("{file} was never synced: {e}"));
        }
        std::fs::remove_file(data.join("pipewright.db-shm")).expect("the index of the WAL");
    }

    let daemon = Daemon::serve(&folder, &[]).await;
    daemon.all_ended().await;
    for user in 0..USERS {
        let path = format!("/api/events?user=u{user}&limit=1000");
        let list = get(daemon.admin, &path).await.json();
        let ids: Vec<&str> =
            list["deliveries"].as_array().expect("a list").iter().filter_map(|d| d["message_id"].as_str()).collect();
        for n in 0..sent[user as usize] {
            for id in [format!("p-{user}-{n}"), format!("n-{user}-{n}")] {
                assert_eq!(ids.iter().filter(|known| **known == id).count(), 1, "{id} of {}", sent[user as usize]);
            }
        }
        assert_eq!(account.mock.find("persons", "Segment User ID", &json!(format!("u{user}"))).len(), 1);
    }
    // Also what was sent before a cut and whose outcome was not stored is there once.
    let mut notes: BTreeMap<String, usize> = BTreeMap::new();
    for note in account.mock.entities("notes") {
        *notes.entry(note["content"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    assert!(notes.values().all(|count| *count == 1), "{notes:#?}");
    daemon.process.kill().await;
    account.stop().await;
}
