//! Backup and restore of the store: one moment, whole or not at all, and nothing that was there is lost.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pipewright::store::sqlite::{Replaced, SqliteStore, backup, restore};
use pipewright::store::{COPIES, COPY_OF, CopyError, CopyOf, Held, Seq, Store};
use tempfile::TempDir;

use super::support::{add, all_pending, event, open, options, take_back_to};

fn on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn back_up(dir: &TempDir, to: &Path) -> Result<Held, CopyError> {
    backup(dir.path(), to, false, &mut on)
}

fn put_back(from: &Path, dir: &TempDir) -> Result<Replaced, CopyError> {
    restore(from, dir.path(), &mut on)
}

/// The names of a folder's files, in order.
fn names(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).expect("a folder").map(|file| file.expect("a file").file_name());
    let mut names: Vec<String> = files.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A store with so many events that it has many pages, and a backup of it.
async fn backed_up(events: usize) -> (super::support::Opened, TempDir, PathBuf) {
    let opened = open();
    for page in 0..events.div_ceil(100) {
        let events = (0..100).map(|n| event(&format!("m{page}-{n}"), &["person"])).collect();
        opened.store.append(events).await.expect("appends");
    }
    let elsewhere = TempDir::new().expect("a directory");
    let file = elsewhere.path().join("b.db");
    back_up(&opened.dir, &file).expect("backs up");
    (opened, elsewhere, file)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_one_moment_with_all_that_was_answered_before() {
    let opened = open();
    let store = Arc::new(opened.store);
    let answered = Arc::new(AtomicU64::new(0));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let (store, answered, stopped) = (Arc::clone(&store), Arc::clone(&answered), stopped.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    if *stopped.borrow() {
                        return;
                    }
                    add(&store, event(&format!("s{sender}-{n}"), &["person"])).await;
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let elsewhere = TempDir::new().expect("a directory");
    let mut backups = Vec::new();
    for n in 0..5 {
        let wanted = answered.load(Ordering::SeqCst) + 20;
        while answered.load(Ordering::SeqCst) < wanted {
            tokio::task::yield_now().await;
        }
        let before = answered.load(Ordering::SeqCst);
        let (dir, file) = (opened.dir.path().to_owned(), elsewhere.path().join(format!("{n}.db")));
        let to = file.clone();
        let held = tokio::task::spawn_blocking(move || backup(&dir, &to, false, &mut on)).await.expect("no panic");
        backups.push((before, file, held.expect("backs up")));
    }
    stop.send_replace(true);
    for sender in senders {
        sender.await.expect("all were appended");
    }
    for (before, file, held) in backups {
        assert!(held.newest.0 >= before, "{before} were answered before, {held:?}");
        assert_eq!((held.events, held.pending), (held.newest.0, held.newest.0), "one moment");
        let dir = TempDir::new().expect("a directory");
        put_back(&file, &dir).expect("restores");
        let (restored, _feed) = SqliteStore::open(options(&dir)).expect("opens");
        let pending = all_pending(&restored, 1_000).await;
        assert_eq!(pending.iter().map(|p| p.id.seq.0).collect::<Vec<_>>(), (1..=held.newest.0).collect::<Vec<_>>());
        assert_eq!(add(&restored, event("next", &["person"])).await, Seq(held.newest.0 + 1), "numbers go on");
    }
}

#[tokio::test]
async fn a_backup_replaces_nothing_unless_told_and_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (opened, elsewhere, file) = backed_up(100).await;
    let refused = back_up(&opened.dir, &file).expect_err("is there").to_string();
    assert!(refused.contains("b.db is there already") && refused.contains("--force"), "{refused}");
    add(&opened.store, event("later", &["person"])).await;
    let held = backup(opened.dir.path(), &file, true, &mut on).expect("replaces");
    assert_eq!(held.events, 101);
    assert_eq!(names(elsewhere.path()), ["b.db"]);
    assert_eq!(std::fs::metadata(&file).expect("is there").permissions().mode() & 0o777, 0o600);
    // What was never a store is not made one.
    let empty = TempDir::new().expect("a directory");
    let refused = back_up(&empty, &elsewhere.path().join("c.db")).expect_err("no store").to_string();
    assert!(refused.contains("no daemon has run on this data directory"), "{refused}");
    assert_eq!((names(empty.path()), names(elsewhere.path())), (Vec::<String>::new(), vec!["b.db".to_owned()]));
}

#[tokio::test]
async fn one_that_is_stopped_leaves_nothing_and_one_that_was_killed_is_cleared_away() {
    let (opened, elsewhere, _) = backed_up(100).await;
    let to = elsewhere.path().join("c.db");
    let stopped = backup(opened.dir.path(), &to, false, &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(CopyError::Stopped)), "{stopped:?}");
    assert_eq!(names(elsewhere.path()), ["b.db"]);
    for suffix in ["", "-wal", "-journal"] {
        std::fs::write(elsewhere.path().join(format!(".c.db.unfinished{suffix}")), b"half").expect("writes");
    }
    back_up(&opened.dir, &to).expect("backs up");
    assert_eq!(names(elsewhere.path()), ["b.db", "c.db"]);
    let missing = back_up(&opened.dir, &elsewhere.path().join("no/d.db")).expect_err("no folder").to_string();
    assert!(missing.contains("no/d.db") && missing.contains("No such file"), "{missing}");
}

#[tokio::test]
async fn a_restore_sets_aside_what_was_there() {
    let (opened, _elsewhere, file) = backed_up(100).await;
    add(&opened.store, event("later", &["person"])).await;
    let running = put_back(&file, &opened.dir).expect_err("a daemon runs").to_string();
    assert!(running.contains("another Pipewright daemon is running"), "{running}");
    let dir = opened.dir;
    drop((opened.store, opened.feed));
    let replaced = put_back(&file, &dir).expect("restores");
    assert_eq!((replaced.held.events, replaced.store), (100, dir.path().join("pipewright.db")));
    let kept = replaced.kept.expect("something was there");
    // As good as it was, its log of changes included.
    let (before, _feed) =
        SqliteStore::open(pipewright::store::sqlite::OpenOptions { dir: kept, ..options(&dir) }).expect("opens");
    assert_eq!(before.stats().await.expect("counts").events, 101);
    let (restored, _feed) = SqliteStore::open(options(&dir)).expect("opens");
    assert_eq!(restored.stats().await.expect("counts").events, 100);
    assert!(!names(dir.path()).iter().any(|name| name.contains("restoring")), "{:?}", names(dir.path()));
}

#[tokio::test]
async fn what_is_no_sound_backup_is_refused_and_changes_nothing() {
    let (opened, elsewhere, file) = backed_up(3_000).await;
    let good = std::fs::read(&file).expect("reads");
    let dir = opened.dir;
    drop((opened.store, opened.feed));
    let before = names(dir.path());
    let with = |name: &str, bytes: &[u8]| {
        let path = elsewhere.path().join(name);
        std::fs::write(&path, bytes).expect("writes");
        path
    };
    let damaged = |at: usize| {
        let mut bytes = good.clone();
        bytes[at..at + 4_096].fill(0xa5);
        bytes
    };
    let newer = with("newer", &good);
    rusqlite::Connection::open(&newer).expect("opens").pragma_update(None, "user_version", 999).expect("writes");
    let theirs = elsewhere.path().join("theirs");
    rusqlite::Connection::open(&theirs).expect("opens").execute_batch("CREATE TABLE theirs (x)").expect("writes");
    for (path, says) in [
        (elsewhere.path().join("missing"), "cannot be read"),
        (with("text", b"this is no database, only a text of some length"), "no backup of Pipewright"),
        (with("empty", b""), "there is nothing in it"),
        (theirs, "database of another program"),
        (newer, "newer Pipewright (schema 999"),
        (with("truncated", &good[..good.len() / 2]), "damaged"),
        (with("page", &damaged(good.len() / 2)), "damaged"),
        (with("last", &damaged(good.len() - 8_192)), "damaged"),
    ] {
        let refused = put_back(&path, &dir).expect_err(says).to_string();
        let shown = path.display().to_string();
        assert!(
            refused.contains(says) && refused.contains(&shown) && refused.contains("nothing was changed"),
            "{shown}: {refused}"
        );
        assert_eq!(names(dir.path()), before, "{shown}");
    }
    let (store, _feed) = SqliteStore::open(options(&dir)).expect("opens");
    assert_eq!(store.stats().await.expect("counts").events, 3_000);
}

#[tokio::test]
async fn a_damaged_store_is_found_when_it_is_backed_up() {
    let (opened, elsewhere, _) = backed_up(3_000).await;
    opened.store.close().await;
    let path = opened.dir.path().join("pipewright.db");
    let mut bytes = std::fs::read(&path).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4_096].fill(0xa5);
    std::fs::write(&path, bytes).expect("writes");
    let refused = back_up(&opened.dir, &elsewhere.path().join("c.db")).expect_err("is damaged").to_string();
    assert!(refused.contains("damaged") && refused.contains("restore an earlier backup"), "{refused}");
    assert_eq!(names(elsewhere.path()), ["b.db"]);
}

/// As a folder looks after a power cut, or when somebody copies the files of a stopped daemon by hand.
#[tokio::test]
async fn files_that_were_copied_by_hand_are_taken_with_their_log() {
    let opened = open();
    for n in 0..30 {
        add(&opened.store, event(&format!("m{n}"), &["person"])).await;
    }
    let copied = TempDir::new().expect("a directory");
    for name in ["pipewright.db", "pipewright.db-wal"] {
        std::fs::copy(opened.dir.path().join(name), copied.path().join(name)).expect("copies");
    }
    assert!(std::fs::metadata(copied.path().join("pipewright.db-wal")).expect("is there").len() > 0);
    let dir = TempDir::new().expect("a directory");
    let replaced = put_back(&copied.path().join("pipewright.db"), &dir).expect("restores");
    assert_eq!((replaced.held.events, replaced.kept), (30, None));
    let (restored, _feed) = SqliteStore::open(options(&dir)).expect("opens");
    assert_eq!(all_pending(&restored, 100).await.len(), 30);
}

async fn moment(store: &SqliteStore) -> Option<CopyOf> {
    let value = store.kv_get(COPIES, COPY_OF).await.expect("reads")?;
    Some(serde_json::from_slice(&value).expect("a moment"))
}

#[tokio::test]
async fn a_copy_says_of_which_moment_it_is_and_a_copy_of_it_says_the_same() {
    let opened = open();
    // Nothing is pending, so that only the missing start keeps the moment.
    add(&opened.store, event("m1", &[])).await;
    let elsewhere = TempDir::new().expect("a directory");
    let file = elsewhere.path().join("b.db");
    back_up(&opened.dir, &file).expect("backs up");
    assert_eq!(moment(&opened.store).await, None, "the store itself is no copy");
    let dir = TempDir::new().expect("a directory");
    put_back(&file, &dir).expect("restores");
    let again = elsewhere.path().join("again.db");
    back_up(&dir, &again).expect("backs up");
    let (store, _feed) = SqliteStore::open(options(&dir)).expect("opens");
    let first = moment(&store).await.expect("it was a copy");
    assert_eq!((first.newest, first.started), (Seq(1), None));
    let other = TempDir::new().expect("a directory");
    put_back(&again, &other).expect("restores");
    let (second, _feed) = SqliteStore::open(options(&other)).expect("opens");
    assert_eq!(moment(&second).await, Some(first), "no daemon has gone on in between");
}

#[tokio::test]
async fn a_backup_of_an_older_version_is_restored_and_brought_up_to_date_at_the_start() {
    let (_opened, _elsewhere, file) = backed_up(100).await;
    take_back_to(6, &rusqlite::Connection::open(&file).expect("opens"));
    let dir = TempDir::new().expect("a directory");
    assert_eq!(put_back(&file, &dir).expect("restores").held.schema, 6);
    let (store, _feed) = SqliteStore::open(options(&dir)).expect("opens");
    assert_eq!(all_pending(&store, 1_000).await.len(), 100);
}
