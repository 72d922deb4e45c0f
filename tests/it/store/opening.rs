//! Which directories and files are taken, and how the others are refused.

use pipewright::store::sqlite::{OpenOptions, SqliteStore};
use pipewright::store::{Alias, AsOf, DeliveryState, Erase, NewEvent, Seq, Store, StoreError, TO_FORGET, ToForget, Write};
use tempfile::TempDir;

use super::support::{SCHEMA, add, all_pending, at, event, finish, id, open, options, take_back_to};

fn refusal(dir: &TempDir) -> String {
    match SqliteStore::open(options(dir)) {
        Err(error @ StoreError::Unusable { .. }) => error.to_string(),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("was opened"),
    }
}

fn raw(dir: &TempDir) -> rusqlite::Connection {
    rusqlite::Connection::open(dir.path().join("pipewright.db")).expect("opens")
}

#[tokio::test]
async fn a_second_daemon_is_refused_until_the_first_is_gone() {
    let opened = open();
    let message = refusal(&opened.dir);
    assert!(message.contains("another Pipewright daemon is running"), "{message}");
    add(&opened.store, event("m1", &["person"])).await;
    let opened = opened.reopen();
    opened.store.close().await;
    SqliteStore::open(options(&opened.dir)).expect("closing lets go of the directory");
}

#[test]
fn a_newer_file_is_refused() {
    let dir = TempDir::new().expect("a directory");
    drop(SqliteStore::open(options(&dir)).expect("opens"));
    raw(&dir).pragma_update(None, "user_version", 999).expect("writes");
    let message = refusal(&dir);
    assert!(message.contains("newer Pipewright (schema 999"), "{message}");
}

#[test]
fn the_database_of_another_program_is_refused_untouched() {
    let dir = TempDir::new().expect("a directory");
    raw(&dir).execute_batch("CREATE TABLE theirs (x)").expect("writes");
    let message = refusal(&dir);
    assert!(message.contains("another program"), "{message}");
    let tables: Vec<String> = raw(&dir)
        .prepare("SELECT name FROM sqlite_schema")
        .expect("prepares")
        .query_map([], |row| row.get(0))
        .expect("reads")
        .collect::<Result<_, _>>()
        .expect("reads");
    assert_eq!(tables, ["theirs"]);
}

#[test]
fn a_damaged_file_is_refused_with_what_to_do() {
    let dir = TempDir::new().expect("a directory");
    std::fs::write(dir.path().join("pipewright.db"), vec![b'x'; 8_192]).expect("writes");
    let message = refusal(&dir);
    assert!(message.contains("damaged") && message.contains("restore a backup"), "{message}");
    assert!(message.contains("pipewright.db"), "{message}");
}

#[test]
fn a_directory_that_cannot_be_made_is_refused() {
    let dir = TempDir::new().expect("a directory");
    std::fs::write(dir.path().join("file"), b"").expect("writes");
    let mut options = options(&dir);
    options.dir = dir.path().join("file/data");
    let Err(error) = SqliteStore::open(options) else { panic!("was opened") };
    assert!(error.to_string().contains("the data directory cannot be made"), "{error}");
}

#[cfg(unix)]
#[test]
fn others_cannot_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let opened = open();
    for name in ["pipewright.db", "pipewright.db-wal", "lock"] {
        let mode = std::fs::metadata(opened.dir.path().join(name)).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_file_from_before_aliases_is_brought_up_to_date_and_goes_on() {
    let mut opened = open();
    add(&opened.store, event("m1", &["person"])).await;
    add(&opened.store, event("m2", &[])).await;
    opened.store.close().await;
    drop(opened.store);
    // As the version before left it.
    take_back_to(4, &raw(&opened.dir));
    let (store, _feed) = SqliteStore::open(options(&opened.dir)).expect("opens");
    assert_eq!(raw(&opened.dir).pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).expect("reads"), SCHEMA);
    let pending = all_pending(&store, 10).await;
    assert_eq!(pending.iter().map(|p| (p.id.to_string(), p.behind.len())).collect::<Vec<_>>(), [("1/person".to_owned(), 0)]);
    assert_eq!(store.event(Seq(2)).await.expect("reads").expect("is there").note, None);
    let alias = Alias { user: "u".to_owned(), previous: "p".to_owned() };
    let seq = add(&store, NewEvent { alias: Some(alias), ..event("m3", &["person"]) }).await;
    assert_eq!(seq, Seq(3));
    assert_eq!(store.aliases().len(), 2);
    opened.store = store;
    assert_eq!(opened.reopen().store.aliases().len(), 2);
}

#[tokio::test]
async fn a_file_from_before_outcomes_were_counted_counts_what_it_holds() {
    let opened = open();
    opened.store.append(vec![event("m1", &["person", "deal"]), event("m2", &["person"])]).await.expect("appends");
    let done = |seq: u64, rule: &str| finish(id(Seq(seq), rule), DeliveryState::Done, at(1));
    opened.store.commit(vec![done(1, "person"), done(1, "deal"), done(2, "person")]).await.expect("commits");
    let counted = opened.store.outcomes().await.expect("reads");
    assert_eq!(counted.iter().map(|c| c.deliveries).sum::<u64>(), 3);
    opened.store.close().await;
    drop(opened.store);
    take_back_to(6, &raw(&opened.dir));
    let (store, _feed) = SqliteStore::open(options(&opened.dir)).expect("opens");
    assert_eq!(store.outcomes().await.expect("reads"), counted);
}

#[tokio::test]
async fn a_file_from_before_erasures_were_as_of_an_event_keeps_its_classes_and_its_wishes() {
    let opened = open();
    let alias = |id: &str, user: &str, previous: &str| {
        let alias = Alias { user: user.to_owned(), previous: previous.to_owned() };
        NewEvent { alias: Some(alias), ..event(id, &[]) }
    };
    for event in [alias("m1", "u", "p"), alias("m2", "v", "u"), alias("m3", "a", "b")] {
        add(&opened.store, event).await;
    }
    let at = jiff::Timestamp::UNIX_EPOCH;
    let old = |key: &str| Write::KvPut {
        space: TO_FORGET.to_owned(),
        key: key.to_owned(),
        value: serde_json::to_vec(&at).expect("serialises"),
    };
    opened.store.commit(vec![old("p"), old("z")]).await.expect("writes");
    opened.store.close().await;
    drop(opened.store);
    take_back_to(5, &raw(&opened.dir));
    let (store, _feed) = SqliteStore::open(options(&opened.dir)).expect("opens");
    let noted = store.kv_list(TO_FORGET).await.expect("reads");
    let noted: Vec<ToForget> = noted.iter().map(|(_, wish)| serde_json::from_slice(wish).expect("a note")).collect();
    let as_of = AsOf { seq: Seq(3), at };
    let ids = ["v", "u", "p"].map(str::to_owned).to_vec();
    assert_eq!(noted, [ToForget { user: "p".to_owned(), ids, as_of }, ToForget { user: "z".to_owned(), ids: vec![], as_of }]);
    add(&store, alias("m4", "w", "p")).await;
    store.erase(Erase::Aliases { ids: vec!["u".to_owned()], as_of: Seq(3) }).await.expect("erases");
    let class = |id: &str| store.aliases().class_of(id).map(|class| class.join(" "));
    assert_eq!(
        (class("p").as_deref(), class("v"), class("a").as_deref()),
        (Some("w v p"), Some("w v p".to_owned()), Some("a b"))
    );
}

#[cfg(unix)]
#[test]
fn a_folder_and_files_that_the_store_makes_are_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let outer = TempDir::new().expect("a directory");
    let dir = outer.path().join("var/data");
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    let store = SqliteStore::open(OpenOptions { dir: dir.clone(), ..options(&outer) }).expect("opens");
    assert_eq!((mode(&dir), mode(dir.parent().expect("a parent"))), (0o700, 0o700));
    for file in std::fs::read_dir(&dir).expect("a folder") {
        let path = file.expect("a file").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    drop(store);
    // Whoever made it otherwise, such as for a group that makes backups, is not overruled.
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o750)).expect("changes");
    drop(SqliteStore::open(OpenOptions { dir: dir.clone(), ..options(&outer) }).expect("opens again"));
    assert_eq!(mode(&dir), 0o750);
}
