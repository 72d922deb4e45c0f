//! A disk in trouble, as whoever runs the daemon sees it: what is said, what to do, and that nothing acknowledged is lost.

use std::os::unix::fs::FileExt as _;
use std::process::Stdio;

use serde_json::{Value, json};

use super::harness::{Daemon, Folder, send};
use crate::support::{wait_or, wait_until};

const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

fn page(n: usize) -> Value {
    json!({ "type": "identify", "messageId": format!("m{n}"), "userId": format!("u{n}"), "traits": { "about": "x".repeat(4_000) } })
}

/// A folder whose account is nowhere, on this machine.
async fn alone() -> Folder {
    let folder = Folder::init().await;
    folder.use_address(([127, 0, 0, 1], 1).into());
    folder
}

/// A folder on which a daemon has run that took so many events and delivered none.
async fn used(events: usize) -> Folder {
    let folder = alone().await;
    let daemon = Daemon::serve(&folder, &[]).await;
    folder.run(&["pause", "account", "main"]).await.ok();
    for n in 0..events {
        daemon.accept("/v1/identify", &page(n)).await;
    }
    let mut process = daemon.process;
    process.signal("TERM").await;
    assert_eq!(process.ended().await, Some(0), "{}", process.said());
    folder
}

async fn refused(folder: &Folder, parts: &[&str]) {
    let ended = folder.run(&SERVE).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in parts {
        assert!(ended.err.contains(part), "{part:?} is missing in:\n{}", ended.err);
    }
}

/// The system refuses a write in the middle, as a dying disk does: here because the file may not grow. It stands for a failed fsync, too:
/// both leave unknown what is on the disk.
#[tokio::test]
async fn a_write_that_fails_ends_the_daemon_and_the_next_start_has_what_was_acknowledged() {
    let folder = used(3).await;
    let mut limited = tokio::process::Command::new("sh");
    // Of 512 bytes each, or 1024, as the shell likes it.
    let run = format!("trap '' XFSZ; ulimit -f 600; exec \"$0\" {}", SERVE.join(" "));
    limited.args(["-c", &run, env!("CARGO_BIN_EXE_pipewright")]);
    limited.current_dir(folder.path()).env("PIPEWRIGHT_WRITE_KEY", "mock").env("PIPEDRIVE_API_TOKEN", "mock");
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut daemon = Daemon::from_command(limited).await;
    let mut taken = 3;
    let failed = loop {
        let reply = send(daemon.events, "/v1/identify", &page(taken)).await;
        if reply.status != 200 {
            break reply;
        }
        taken += 1;
        assert!(taken < 2_000, "the limit is never met");
    };
    assert_eq!((failed.status, failed.json()["error"]["code"].as_str()), (503, Some("store_failed")), "{}", failed.text());
    assert_eq!(daemon.process.ended().await, Some(1), "{}", daemon.process.said());
    // Its last words may still be on their way.
    for part in ["the store failed and must be reopened", "Start again: it goes on from what is on the disk"] {
        wait_or(
            || async { daemon.process.said().contains(part).then_some(()) },
            || async { format!("{part:?} is missing in:\n{}", daemon.process.said()) },
        )
        .await;
    }
    let _daemon = Daemon::serve(&folder, &[]).await;
    let list = folder.json(&["events", "list", "--state", "pending", "--limit", "5000"]).await;
    let kept: Vec<&str> =
        list["deliveries"].as_array().expect("a list").iter().filter_map(|d| d["message_id"].as_str()).collect();
    for n in 0..taken {
        assert!(kept.contains(&format!("m{n}").as_str()), "m{n} was acknowledged and is gone");
    }
}

/// The reserve cannot be written: to the daemon the disk is full until it can.
#[tokio::test]
async fn a_start_on_a_full_disk_says_so_and_goes_on_by_itself_once_there_is_room() {
    let folder = used(1).await;
    let reserve = folder.path().join("data/reserve");
    std::fs::remove_file(&reserve).expect("is there");
    std::os::unix::fs::symlink("/dev/full", &reserve).expect("a link");
    let daemon = Daemon::serve(&folder, &[]).await;
    wait_until("events are taken again", || async { (daemon.send("/v1/identify", &page(9)).await.status == 200).then_some(()) })
        .await;
    let said = daemon.process.said();
    for part in ["the disk is full: new events are refused", "there is room again: new events are taken"] {
        assert!(said.contains(part), "{part:?} is missing in:\n{said}");
    }
}

#[tokio::test]
async fn folders_and_files_that_cannot_be_written_are_named_with_what_to_do() {
    let folder = Folder::init().await;
    // No permission opens this one, not even the superuser's.
    folder.edit("rules.toml", "data_dir = \"data\"", "data_dir = \"/proc/pipewright\"");
    refused(&folder, &["/proc/pipewright", "the data directory cannot be made", "check the path and its permissions"]).await;

    let folder = Folder::init().await;
    std::fs::create_dir_all(folder.path().join("data/pipewright.db")).expect("a folder");
    refused(&folder, &["data/pipewright.db", "the file cannot be written; check its owner and permissions"]).await;

    let folder = Folder::init().await;
    std::fs::create_dir_all(folder.path().join("data/lock")).expect("a folder");
    refused(&folder, &["the lock file cannot be opened", "check the path and its permissions"]).await;
}

#[tokio::test]
async fn a_damaged_store_is_refused_at_the_start_and_a_backup_brings_it_back() {
    let advice = ["damaged", "pipewright restore", "sqlite3 FILE .recover"];
    let folder = used(40).await;
    folder.run(&["backup", "copy.db"]).await.ok();
    let path = folder.path().join("data/pipewright.db");
    let whole = std::fs::read(&path).expect("reads");
    let beginning = |bytes: &mut Vec<u8>| bytes[..100].fill(0xa5);
    let middle = |bytes: &mut Vec<u8>| {
        let from = 8_192;
        bytes[from..].fill(0xa5);
    };
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    for damage in [&beginning as &dyn Fn(&mut Vec<u8>), &middle, &cut] {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        std::fs::write(&path, bytes).expect("writes");
        refused(&folder, &advice).await;
    }
    let said = folder.run(&["restore", "copy.db"]).await.ok();
    assert!(said.contains("what was there before: ") && said.contains("before-restore-"), "{said}");
    let daemon = Daemon::serve(&folder, &[]).await;
    let list = folder.json(&["events", "list", "--state", "pending", "--limit", "100"]).await;
    assert_eq!(list["deliveries"].as_array().map(Vec::len), Some(40));
    drop(daemon);
}

/// As a power cut leaves it in the middle of a write: the end of the log is torn, or is of something else.
#[tokio::test]
async fn a_torn_end_of_the_log_is_left_out_and_what_is_before_it_is_there() {
    let folder = alone().await;
    let daemon = Daemon::serve(&folder, &[]).await;
    folder.run(&["pause", "account", "main"]).await.ok();
    for n in 0..5 {
        daemon.accept("/v1/identify", &page(n)).await;
    }
    daemon.process.kill().await;
    let wal = std::fs::OpenOptions::new().write(true).open(folder.path().join("data/pipewright.db-wal")).expect("is there");
    let end = wal.metadata().expect("its length").len();
    assert!(end > 0, "all of it is in the log still, or some");
    wal.write_all_at(&[0xa5; 5_000], end).expect("writes");
    let daemon = Daemon::serve(&folder, &[]).await;
    let list = folder.json(&["events", "list", "--state", "pending", "--limit", "100"]).await;
    assert_eq!(list["deliveries"].as_array().map(Vec::len), Some(5), "{}", daemon.process.said());
    // Known as duplicates, too.
    daemon.accept("/v1/identify", &page(0)).await;
    let list = folder.json(&["events", "list", "--state", "pending", "--limit", "100"]).await;
    assert_eq!(list["deliveries"].as_array().map(Vec::len), Some(5));
}

#[tokio::test]
async fn the_store_of_a_newer_version_is_left_alone() {
    let folder = used(1).await;
    let path = folder.path().join("data/pipewright.db");
    rusqlite::Connection::open(&path).expect("opens").pragma_update(None, "user_version", 999).expect("writes");
    let before = std::fs::read(&path).expect("reads");
    refused(&folder, &["written by a newer Pipewright (schema 999", "run that version or a later one"]).await;
    assert_eq!(std::fs::read(&path).expect("reads"), before);
    let backup = folder.run(&["backup", "copy.db"]).await;
    assert!(backup.code == Some(1) && backup.err.contains("newer Pipewright"), "{backup:?}");
}
