//! `ids import`: existing records are found by the first event of their users, and no row does harm.

use pipewright::mock::{Mock, MockOptions};
use pipewright::pipedrive::{Method, Request};
use serde_json::{Map, Value, json};

use super::harness::{Daemon, Folder};
use crate::support::account::Served;

/// A daemon of the shipped rules that writes to an account with these persons, their ids counting from 1.
async fn begin(persons: &[Value]) -> (Served, Folder, Daemon) {
    let account = Served::start(MockOptions { seed: false, ..MockOptions::unlimited() }).await;
    for person in persons {
        add(&account.mock, person.clone());
    }
    let folder = Folder::init().await;
    folder.use_address(account.at);
    folder.edit("rules.toml", "writes = \"off\"", "writes = \"on\"");
    let daemon = Daemon::serve(&folder, &[]).await;
    account.mock.clear_log();
    (account, folder, daemon)
}

fn add(mock: &Mock, person: Value) {
    let answer = mock.aside(&Request::new(Method::Post, "/api/v2/persons").body(person));
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn key(mock: &Mock) -> String {
    mock.custom_key("persons", "Segment User ID").expect("the field")
}

/// The requests since the log was cleared, without those for metadata.
fn asked(mock: &Mock) -> Vec<String> {
    let about = |path: &str| path.starts_with("/api/v2/persons");
    mock.log().iter().filter(|exchange| about(&exchange.path)).map(|exchange| exchange.call()).collect()
}

#[tokio::test]
async fn an_imported_record_is_found_without_a_search_and_gets_its_id_with_the_first_update() {
    let (account, folder, daemon) = begin(&[json!({ "name": "Ada" }), json!({ "name": "Bob" })]).await;
    folder.write("people.csv", "segment_id,pipedrive_id\nu-1,1\nu-2,2\nu-1,1\n");

    let counted = folder.run(&["ids", "import", "people.csv"]).await.ok();
    assert_eq!(
        counted,
        "2 rows for persons of account main, by `Segment User ID`. Looking at the records costs at most 10 tokens.\n\
         Add --yes to import them.\n"
    );
    assert_eq!(asked(&account.mock), [""; 0], "only counted");
    let said = folder.run(&["ids", "import", "people.csv", "--yes"]).await.ok();
    // Two records are read one by one, for a token each.
    assert!(said.starts_with("persons of account main, by `Segment User ID`: 2 imported, 1 known before, 0 refused, "), "{said}");
    assert_eq!(account.mock.writes().len(), 0, "nothing is written by the import");

    account.mock.clear_log();
    daemon.accept("/v1/identify", &json!({ "userId": "u-1", "traits": { "phone": "+44 20 7946 0958" } })).await;
    daemon.done("u-1", 1).await;
    // Read, for a list is changed and a field is filled that was empty when it was imported.
    assert_eq!(asked(&account.mock), ["GET /api/v2/persons/1", "PATCH /api/v2/persons/1"]);
    let ada = account.mock.entity("persons", 1).expect("Ada");
    assert_eq!(ada["custom_fields"][key(&account.mock)], "u-1");
    assert_eq!(account.mock.count("persons"), 2, "nobody was created");

    // Filled once: what a person makes of it stands.
    account.mock.edit("persons", 1, Map::from_iter([("custom_fields".to_owned(), json!({ key(&account.mock): null }))]));
    account.mock.clear_log();
    daemon.accept("/v1/identify", &json!({ "userId": "u-1", "traits": { "phone": "+44 20 7946 0958" } })).await;
    daemon.done("u-1", 2).await;
    assert_eq!(asked(&account.mock), [""; 0], "nothing changed");

    let again = folder.json(&["ids", "import", "people.csv", "--yes"]).await;
    assert_eq!((&again["imported"], &again["unchanged"], &again["refused"]), (&json!(0), &json!(3), &json!([])));
}

#[tokio::test]
async fn bad_rows_are_named_with_their_lines_and_the_rest_is_taken() {
    let persons = [json!({ "name": "Ada" }), json!({ "name": "Bob" }), json!({ "name": "Cyd" })];
    let (account, folder, daemon) = begin(&persons).await;
    account.mock.edit("persons", 2, Map::from_iter([("custom_fields".to_owned(), json!({ key(&account.mock): "other" }))]));
    daemon.accept("/v1/identify", &json!({ "userId": "u-9", "traits": { "email": "nine@example.com" } })).await;
    daemon.done("u-9", 1).await;
    let rows = [
        "Our ID;Person - ID;Name",
        "u-1;1;Ada",
        ";2;nobody",
        "u-2",
        "u-3;two;a word",
        "u-4;ad2b3c00-0000-11ee-a000-000000000000;a lead",
        "u-5;77;not there",
        "u-6;2;of another user",
        "u-9;3;known as 4 already",
        "u-1;3;twice",
        "u-7;3;Cyd",
    ];
    folder.write("people.csv", &rows.join("\r\n"));
    let columns = ["--segment-column", "our id", "--pipedrive-column", "Person - ID"];
    // What the file alone shows is said before anything is taken.
    let counted = folder.run(&[&["ids", "import", "people.csv"], columns.as_slice()].concat()).await;
    assert_eq!(counted.code, Some(1), "{counted:?}");
    assert!(counted.out.starts_with("5 rows for persons of account main"), "{}", counted.out);
    let tables = counted.out.split_once("to import them.\n\n").expect("tables").1;
    assert_eq!(
        tables,
        "LINE  LOOK AT\n\
         11    line 9 gives the same record another id: what both do is written to it\n\n\
         LINE  REFUSED BECAUSE\n\
         3     `our id` is empty\n\
         4     there is no `Person - ID`: the line has 1 columns\n\
         5     the Pipedrive id is not the id of a person: it must be a whole number\n\
         6     the Pipedrive id is not the id of a person: it must be a whole number\n\
         10    line 2 gives this `our id` to another record\n"
    );
    let import = [&["ids", "import", "people.csv", "--yes"], columns.as_slice()].concat();
    let ended = folder.run(&import).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let (summary, table) = ended.out.split_once("\n\n").expect("a summary and a table");
    assert!(summary.contains(": 2 imported, 0 known before, 8 refused, "), "{summary}");
    assert_eq!(
        table,
        "LINE  REFUSED BECAUSE\n\
         3     `our id` is empty\n\
         4     there is no `Person - ID`: the line has 1 columns\n\
         5     the Pipedrive id is not the id of a person: it must be a whole number\n\
         6     the Pipedrive id is not the id of a person: it must be a whole number\n\
         7     Pipedrive has no person 77, or it is deleted\n\
         8     the person 2 holds another value in `Segment User ID`\n\
         9     the Segment id leads to the person 4 already; merge the two in Pipedrive if they are one\n\
         10    line 2 gives this `our id` to another record\n"
    );
    for user in ["u-1", "u-7"] {
        daemon.accept("/v1/identify", &json!({ "userId": user, "traits": { "name": "Named" } })).await;
        daemon.done(user, 1).await;
    }
    assert_eq!(account.mock.count("persons"), 4, "nobody was created but u-9");
    assert!(!daemon.process.said().contains("u-7"), "no id in the log");
}

#[tokio::test]
async fn what_cannot_be_imported_says_why() {
    let (account, folder, _daemon) = begin(&[json!({ "name": "Ada" })]).await;
    folder.write("people.csv", "segment_id,pipedrive_id\nu-1,1\n");
    let said = async |args: &[&str]| {
        let counted = folder.run(&[&["ids", "import", "people.csv"], args].concat()).await;
        let ended = folder.run(&[&["ids", "import", "people.csv", "--yes"], args].concat()).await;
        assert_eq!((counted.code, &counted.err), (ended.code, &ended.err), "the same without --yes");
        (ended.code, ended.err)
    };
    let refused = |reason: &str| (Some(2), format!("error: {reason}\n"));
    assert_eq!(
        said(&["--kind", "lead"]).await,
        refused(
            "leads are matched by Pipedrive's own `id`, which needs no import; name the field that your rules match on with --field"
        )
    );
    let (code, text) = said(&["--field", "Segment User"]).await;
    assert!(code == Some(2) && text.contains("did you mean `Segment User ID`?"), "{text}");
    let (code, text) = said(&["--field", "label_ids"]).await;
    assert!(code == Some(2) && text.contains("a person cannot be found by `label_ids`; use id, emails"), "{text}");
    let (code, text) = said(&["--account", "mian"]).await;
    assert!(code == Some(2) && text.contains("did you mean `main`?"), "{text}");
    folder.write("people.csv", "user,pipedrive_id\nu-1,1\n");
    let (code, text) = said(&[]).await;
    assert!(code == Some(2) && text.contains("people.csv: line 1: there is no column `segment_id`"), "{text}");
    assert_eq!(asked(&account.mock), [""; 0]);
}

#[tokio::test]
async fn a_delivery_that_waits_for_a_person_goes_on_when_the_import_brings_it() {
    let (account, folder, daemon) = begin(&[json!({ "name": "Ada" })]).await;
    let note = json!({ "userId": "u-1", "event": "Note Upserted", "properties": { "content": "Called." } });
    daemon.accept("/v1/track", &note).await;
    crate::support::wait_until("it waits for its person", || async {
        let list = folder.json(&["events", "list", "--user", "u-1"]).await;
        list["deliveries"][0]["reason"].as_str().map(str::to_owned)
    })
    .await;
    folder.write("people.csv", "segment_id,pipedrive_id\nu-1,1\n");
    folder.run(&["ids", "import", "people.csv", "--yes", "--no-verify"]).await.ok();
    daemon.done("u-1", 1).await;
    assert_eq!(account.mock.entities("notes")[0]["person_id"], 1);
}
