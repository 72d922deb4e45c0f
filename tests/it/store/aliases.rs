//! Classes of ids that aliases have joined: durable with their events, bounded, erasable.

use std::sync::Arc;

use parking_lot::Mutex;
use pipewright::store::sqlite::{Fault, SqliteStore};
use pipewright::store::{Alias, Appended, AsOf, Erase, NewEvent, Seq, Store, TO_FORGET, ToForget, UnmatchedFilter};

use super::support::{add, event, open, open_with, soon};

/// An alias event that no rule wants.
fn alias(message_id: &str, user: &str, previous: &str) -> NewEvent {
    let alias = Alias { user: user.to_owned(), previous: previous.to_owned() };
    NewEvent { kind: "alias", user: Some(user.to_owned()), alias: Some(alias), ..event(message_id, &[]) }
}

fn erase(ids: &[&str], as_of: u64) -> Erase {
    Erase::Aliases { ids: ids.iter().map(|id| (*id).to_owned()).collect(), as_of: Seq(as_of) }
}

/// The class of an id, its first one first.
fn class(store: &SqliteStore, id: &str) -> String {
    store.aliases().class_of(id).map(|class| class.join(" ")).unwrap_or_default()
}

async fn note(store: &SqliteStore, seq: Seq) -> Option<String> {
    store.event(seq).await.expect("reads").expect("is kept").note
}

#[tokio::test]
async fn aliases_of_one_call_see_each_other_and_stand_over_a_drop_without_close() {
    let opened = open();
    assert!(opened.store.aliases().is_empty());
    let calls =
        vec![alias("m1", "u", "p"), alias("m2", "v", "u"), alias("m3", "a", "b"), alias("m4", "p", "v"), alias("m5", "x", "x")];
    opened.store.append(calls).await.expect("appends");
    let opened = opened.reopen();
    for id in ["p", "u", "v"] {
        assert_eq!(class(&opened.store, id), "p v u", "{id}");
    }
    assert_eq!((class(&opened.store, "a").as_str(), class(&opened.store, "x").as_str()), ("a b", ""));
    add(&opened.store, alias("m6", "a", "u")).await;
    assert_eq!(class(&opened.store, "b"), "a p v u b");
    assert_eq!(opened.store.aliases().len(), 5);
    let opened = opened.reopen();
    assert_eq!(class(&opened.store, "v"), "a p v u b");
}

#[tokio::test]
async fn a_duplicate_joins_nothing_and_an_alias_that_is_not_kept_does() {
    let opened = open();
    add(&opened.store, alias("m1", "u", "p")).await;
    opened.store.erase(erase(&["u"], 1)).await.expect("erases");
    assert_eq!(opened.store.append(vec![alias("m1", "u", "p")]).await.expect("answers"), [Appended::Duplicate(Seq(1))]);
    assert!(opened.store.aliases().is_empty());
    let mut unkept = alias("m2", "u", "p");
    unkept.kept = false;
    add(&opened.store, unkept).await;
    assert_eq!(opened.store.stats().await.expect("counts").unmatched, 1, "the first one only");
    assert_eq!(class(&opened.reopen().store, "p"), "u p");
}

#[tokio::test]
async fn what_is_beyond_a_bound_joins_nothing_and_its_event_says_so() {
    let opened = open_with(|o| o.max_aliases = 20);
    for n in 1..16 {
        let seq = add(&opened.store, alias(&format!("m{n}"), "u", &format!("p{n}"))).await;
        assert_eq!(note(&opened.store, seq).await, None);
    }
    let mut wanted = alias("m16", "u", "p16");
    wanted.deliveries = event("", &["person"]).deliveries;
    let beyond = add(&opened.store, wanted).await;
    let said = note(&opened.store, beyond).await.expect("a note");
    assert!(said.contains("joined nothing: together they would be more than 16 ids"), "{said}");
    let long = add(&opened.store, alias("m17", "w", &"x".repeat(513))).await;
    assert!(note(&opened.store, long).await.expect("a note").contains("longer than 512 bytes"));
    // Two of four places are left.
    add(&opened.store, alias("m18", "a", "b")).await;
    add(&opened.store, alias("m19", "c", "d")).await;
    let full = add(&opened.store, alias("m20", "e", "f")).await;
    assert!(note(&opened.store, full).await.expect("a note").contains("20 ids already"));
    add(&opened.store, alias("m21", "c", "b")).await;
    assert_eq!(class(&opened.store, "d"), "c a b d", "what needs no place is joined still");
    for id in ["p16", "w", "e"] {
        assert_eq!(class(&opened.store, id), "", "{id}");
    }
    let listed = opened.store.unmatched(&UnmatchedFilter { limit: 100, ..UnmatchedFilter::default() }).await.expect("lists");
    assert_eq!(listed.iter().filter(|row| row.note.is_some()).count(), 2, "the third has a delivery");
    opened.store.erase(erase(&["a", "b"], 21)).await.expect("erases");
    add(&opened.store, alias("m22", "e", "f")).await;
    assert_eq!(class(&opened.store, "e"), "e f", "there is room again");
}

#[tokio::test]
async fn an_erased_id_leaves_its_class_and_a_class_of_one_is_none() {
    let opened = open();
    let calls = vec![alias("m1", "u", "p"), alias("m2", "u", "q"), alias("m3", "q", "r"), alias("m4", "a", "b")];
    opened.store.append(calls).await.expect("appends");
    opened.store.erase(erase(&["u", "nobody"], 4)).await.expect("erases");
    let classes = ["u", "p", "q"].map(|id| class(&opened.store, id));
    assert_eq!(classes, ["", "", "q r"], "at once, and what only the erased one tied together falls apart");
    opened.store.erase(erase(&["q", "b"], 4)).await.expect("erases");
    assert!(opened.store.aliases().is_empty());
    let opened = opened.reopen();
    assert!(opened.store.aliases().is_empty());
    add(&opened.store, alias("m5", "u", "p")).await;
    assert_eq!(class(&opened.store, "p"), "u p");
}

#[tokio::test]
async fn what_later_aliases_have_joined_stays_as_if_there_had_been_no_others() {
    let opened = open();
    let earlier = [alias("m1", "u", "p"), alias("m2", "v", "u"), alias("m3", "u", "o")];
    // One of these says again what an earlier one has said.
    let later = [alias("m4", "u", "x"), alias("m5", "x", "y"), alias("m6", "v", "z"), alias("m7", "u", "p")];
    opened.store.append([&earlier[..], &later].concat()).await.expect("appends");
    assert_eq!(class(&opened.store, "p").split(' ').count(), 7);
    opened.store.erase(erase(&["u", "p", "v", "o"], 3)).await.expect("erases");
    let classes = |store: &SqliteStore| ["u", "p", "x", "y", "v", "z", "o"].map(|id| class(store, id));
    let (new, aside) = ("u p x y", "v z");
    let expected = [new, new, new, new, aside, aside, ""];
    assert_eq!(classes(&opened.store), expected);
    let opened = opened.reopen();
    assert_eq!((classes(&opened.store), opened.store.aliases().len()), (expected.map(str::to_owned), 6));
    // Both go on being told apart.
    add(&opened.store, alias("m8", "z", "w")).await;
    assert_eq!((class(&opened.store, "w").as_str(), class(&opened.store, "y").as_str()), ("z w v", new));
}

#[tokio::test]
async fn a_delete_event_notes_its_user_as_of_it_also_when_it_is_not_kept_and_a_duplicate_does_not() {
    let opened = open();
    let delete = |message_id: &str, user: &str, kept: bool| NewEvent {
        kind: "delete",
        user: Some(user.to_owned()),
        forget: true,
        kept,
        ..event(message_id, &[])
    };
    let calls = vec![alias("m1", "u", "p"), delete("m2", "p", true), alias("m3", "u", "later"), delete("m4", "z", false)];
    opened.store.append(calls).await.expect("appends");
    assert_eq!(opened.store.append(vec![delete("m2", "p", true)]).await.expect("answers"), [Appended::Duplicate(Seq(2))]);
    let opened = opened.reopen();
    let noted = opened.store.kv_list(TO_FORGET).await.expect("reads");
    let noted: Vec<ToForget> = noted.iter().map(|(_, wish)| serde_json::from_slice(wish).expect("a note")).collect();
    let wish = |user: &str, ids: &[&str], seq: u64| ToForget {
        user: user.to_owned(),
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        as_of: AsOf { seq: Seq(seq), at: super::support::at(0) },
    };
    assert_eq!(noted, [wish("p", &["u", "p"], 2), wish("z", &[], 4)]);
    assert_eq!(opened.store.newest().await.expect("reads"), Seq(4));
}

#[tokio::test]
async fn what_was_rolled_back_has_joined_nothing() {
    let fault = Arc::new(Mutex::new(None));
    let shared = Arc::clone(&fault);
    let opened = open_with(|o| {
        o.max_aliases = 4;
        o.fault = Some(Arc::new(move |_| *shared.lock()));
    });
    add(&opened.store, alias("m1", "u", "p")).await;
    *fault.lock() = Some(Fault::DiskFull);
    opened.store.append(vec![alias("m2", "v", "u"), alias("m3", "a", "b")]).await.expect_err("full");
    assert_eq!((class(&opened.store, "u").as_str(), opened.store.aliases().len()), ("u p", 2));
    *fault.lock() = None;
    soon(async {
        while opened.store.append(vec![alias("m4", "a", "b")]).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((class(&opened.store, "b").as_str(), opened.store.aliases().len()), ("a b", 4), "nor taken up room");
    assert_eq!(class(&opened.reopen().store, "v"), "");
}
