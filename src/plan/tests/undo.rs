//! What is put back, and by what it is known.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value as Json, json};

use crate::crm::{Address, Logged};
use crate::pipedrive::Kind;
use crate::plan::fixture::metadata;
use crate::plan::{Before, Change, KnownBy, Left, Undo, Written, undo};

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second)
}

/// A write of the job title that was sent between two seconds.
fn title(before: Json, before_is: Option<Before>, after: &str, (from, to): (i64, i64)) -> Written {
    let address = Some(Address::Standard("job_title".to_owned()));
    let change = Change {
        field: "job_title".to_owned(),
        before,
        after: after.into(),
        before_name: None,
        after_name: None,
        address,
        before_is,
    };
    Written { change, from: at(from), to: at(to) }
}

fn entry(old: Option<&str>, new: Option<&str>, second: i64) -> Logged {
    let text = |text: Option<&str>| text.map(str::to_owned);
    Logged { key: "job_title".to_owned(), old: text(old), new: text(new), at: at(second) }
}

fn of(present: &str, written: &[Written], log: Option<&[Logged]>) -> Undo {
    let present: Map<String, Json> = Map::from_iter([("job_title".to_owned(), present.into())]);
    undo(Kind::Person, &present, written, log, &metadata())
}

/// `VALUE by WHAT`, or why it stays.
fn came(undo: &Undo) -> String {
    match (undo.back.as_slice(), undo.left.as_slice()) {
        ([back], []) => {
            assert_eq!(undo.body, Map::from_iter([("job_title".to_owned(), back.change.after.clone())]));
            format!("{} by {:?}", back.change.after, back.known_by)
        }
        ([], [left]) => format!("{:?}", left.why),
        _ => panic!("{undo:?}"),
    }
}

#[test]
fn what_a_record_does_not_know_is_taken_from_entries_of_the_very_writes() {
    let first = || title(Json::Null, None, "Broken", (0, 10));
    let one = [first()];
    assert_eq!(came(&of("Broken", &one, None)), "NotKnown");
    for (log, came_to) in [
        (vec![entry(Some("CTO"), Some("Broken"), 5)], "\"CTO\" by Changelog"),
        // Pipedrive takes no empty job title.
        (vec![entry(None, Some("Broken"), 5)], "CannotBeEmptied"),
        // Clocks differ by less than a minute.
        (vec![entry(Some("CTO"), Some("Broken"), -59)], "\"CTO\" by Changelog"),
        // Somebody had written the same long before: our write changed nothing.
        (vec![entry(Some("CTO"), Some("Broken"), -100)], "NotLogged"),
        (vec![entry(Some("CTO"), Some("Broken"), 100)], "NotLogged"),
        (vec![entry(Some("CTO"), Some("Other"), 5)], "NotLogged"),
        (vec![], "NotLogged"),
        (vec![Logged { key: "name".to_owned(), ..entry(Some("CTO"), Some("Broken"), 5) }], "NotLogged"),
    ] {
        assert_eq!(came(&of("Broken", &one, Some(&log))), came_to, "{log:?}");
    }
    assert_eq!(came(&of("Boss", &one, Some(&[entry(Some("CTO"), Some("Broken"), 5)]))), "Edited");
}

#[test]
fn a_chain_of_writes_needs_an_entry_for_each_that_changed_something() {
    let sent = |before: &str, after: &str, second| title(before.into(), Some(Before::Sent), after, (second, second + 10));
    let chain = [title(Json::Null, None, "A", (0, 10)), sent("A", "B", 100), sent("B", "B", 200)];
    let log = [entry(Some("A"), Some("B"), 105), entry(Some("CTO"), Some("A"), 5)];
    assert_eq!(came(&of("B", &chain, Some(&log))), "\"CTO\" by Changelog");
    assert_eq!(came(&of("B", &chain, Some(&log[..1]))), "NotLogged", "the first is missing");
    // Somebody wrote in between: theirs stands, and it was not ours to put back further.
    let between = [title(Json::Null, None, "A", (0, 10)), sent("Theirs", "B", 100)];
    assert_eq!(came(&of("B", &between, None)), "\"Theirs\" by Record");
}

#[test]
fn values_of_the_changelog_are_read_by_the_fields_type() {
    let metadata = metadata();
    let write = |kind: Kind, key: &str, after: Json, present: Json, old: &str| {
        let field = metadata.custom_named(kind, key);
        let address = field.first().map_or(Address::Standard(key.to_owned()), |f| Address::Custom(f.key.clone()));
        let name = if kind == Kind::Deal && key == "owner_id" { "user_id" } else { address.key() };
        let new = after.as_str().map_or_else(|| after.to_string(), str::to_owned);
        let log = Logged { key: name.to_owned(), old: Some(old.to_owned()), new: Some(new), at: at(5) };
        let change = Change { address: Some(address.clone()), after, ..title(Json::Null, None, "", (0, 10)).change };
        let entity: Map<String, Json> = match &address {
            Address::Standard(key) => Map::from_iter([(key.clone(), present)]),
            Address::Custom(key) => Map::from_iter([("custom_fields".to_owned(), json!({ key: present }))]),
        };
        let written = Written { change, from: at(0), to: at(10) };
        let came = undo(kind, &entity, &[written], Some(&[log]), &metadata);
        came.back.first().map(|back| (back.change.after.clone(), back.known_by)).ok_or(came.left)
    };
    let known = |value: Json| Ok((value, KnownBy::Changelog));
    assert_eq!(write(Kind::Deal, "value", json!(10), json!(10), "7.5"), known(json!(7.5)));
    assert_eq!(write(Kind::Deal, "stage_id", json!(2), json!(2), "1"), known(json!(1)));
    assert_eq!(write(Kind::Deal, "owner_id", json!(2), json!(2), "1"), known(json!(1)));
    assert_eq!(
        write(Kind::Deal, "expected_close_date", json!("2026-01-02"), json!("2026-01-02"), "2026-01-01"),
        known(json!("2026-01-01"))
    );
    assert_eq!(write(Kind::Person, "Plan", json!(2), json!(2), "1"), known(json!(1)));
    // How lists are written there is not published.
    let left =
        write(Kind::Person, "emails", json!([{ "value": "a@b.c" }]), json!([{ "value": "a@b.c" }]), "x@y.z").expect_err("a list");
    assert_eq!(left[0].why, Left::NotLogged);
}
