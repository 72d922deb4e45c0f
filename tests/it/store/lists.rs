//! Lists and searches.

use pipewright::store::{DeliveryFilter, DeliveryState, NewEvent, Rejected, Seq, Store};

use super::support::{Opened, add, at, event, finish, id, open, open_with};

/// More events than a search block holds.
const MANY: usize = 5_000;

fn numbered(n: usize) -> NewEvent {
    let mut new = event(&format!("m{n}"), if n % 10 == 9 { &[] } else { &["person"] });
    new.user = Some(format!("u{}", n % 500));
    new.name = Some(if n.is_multiple_of(2) { "Signed Up" } else { "Order Completed" }.to_owned());
    new.received_at = at(n as i64);
    new
}

async fn filled() -> Opened {
    let opened = open();
    let events: Vec<_> = (0..MANY).map(numbered).collect();
    for batch in events.chunks(700) {
        opened.store.append(batch.to_vec()).await.expect("appends");
    }
    opened
}

async fn seqs(opened: &Opened, filter: DeliveryFilter) -> Vec<u64> {
    opened.store.deliveries(&filter).await.expect("reads").iter().map(|row| row.id.seq.0).collect()
}

#[tokio::test]
async fn a_search_finds_what_is_in_a_block_and_what_is_not_yet() {
    let opened = filled().await;
    for opened in [opened.reopen()] {
        for n in [0usize, 17, 4_095, 4_096, 4_990, MANY - 2] {
            let filter = DeliveryFilter { message_id: Some(format!("m{n}")), ..DeliveryFilter::default() };
            let expected: &[u64] = if n % 10 == 9 { &[] } else { &[n as u64 + 1] };
            assert_eq!(seqs(&opened, filter).await, expected, "m{n}");
        }
        let none = DeliveryFilter { message_id: Some("m5000".to_owned()), ..DeliveryFilter::default() };
        assert_eq!(seqs(&opened, none).await, [0u64; 0]);
        let user = DeliveryFilter { user: Some("u3".to_owned()), ..DeliveryFilter::default() };
        assert_eq!(seqs(&opened, user.clone()).await, (0..10).rev().map(|n| n * 500 + 4).collect::<Vec<_>>());
        let older = DeliveryFilter { before: Some(Seq(4_504)), limit: 2, ..user };
        assert_eq!(seqs(&opened, older).await, [4_004, 3_504]);
    }
}

#[tokio::test]
async fn filters_are_all_of_them_true() {
    let opened = filled().await;
    let name = DeliveryFilter { name: Some("Signed Up".to_owned()), limit: 3, ..DeliveryFilter::default() };
    assert_eq!(seqs(&opened, name.clone()).await, [4_999, 4_997, 4_995]);
    let and_user = DeliveryFilter { user: Some("u3".to_owned()), ..name.clone() };
    assert_eq!(seqs(&opened, and_user).await, [0u64; 0], "u3's events have the other name");
    let since = DeliveryFilter { since: Some(at(4_996)), limit: 0, ..name };
    assert_eq!(seqs(&opened, since).await, [4_999, 4_997]);
    let seq = DeliveryFilter { seq: Some(Seq(7)), message_id: Some("m6".to_owned()), ..DeliveryFilter::default() };
    assert_eq!(seqs(&opened, seq.clone()).await, [7]);
    assert_eq!(seqs(&opened, DeliveryFilter { user: Some("u9".to_owned()), ..seq.clone() }).await, [0u64; 0]);
    assert_eq!(seqs(&opened, DeliveryFilter { before: Some(Seq(7)), ..seq }).await, [0u64; 0]);
    let kind = DeliveryFilter { kind: Some("page".to_owned()), ..DeliveryFilter::default() };
    assert_eq!(seqs(&opened, kind).await, [0u64; 0]);
    let rule =
        DeliveryFilter { rule: Some("person".to_owned()), kind: Some("track".to_owned()), limit: 1, ..DeliveryFilter::default() };
    assert_eq!(seqs(&opened, rule.clone()).await, [4_999]);
    assert_eq!(seqs(&opened, DeliveryFilter { rule: Some("note".to_owned()), ..rule }).await, [0u64; 0]);
}

#[tokio::test]
async fn states_are_told_apart_and_a_rare_one_is_found_far_back() {
    let opened = filled().await;
    let ends = [(2, DeliveryState::Dead), (3, DeliveryState::Done), (4, DeliveryState::Partial), (4_998, DeliveryState::Done)];
    for (seq, ends) in ends {
        opened.store.commit(vec![finish(id(Seq(seq), "person"), ends, at(9_000))]).await.expect("commits");
    }
    let of = |states: &[DeliveryState]| DeliveryFilter { states: states.to_vec(), ..DeliveryFilter::default() };
    assert_eq!(seqs(&opened, of(&[DeliveryState::Dead])).await, [2]);
    assert_eq!(seqs(&opened, of(&[DeliveryState::Dead, DeliveryState::Partial])).await, [4, 2]);
    assert_eq!(seqs(&opened, of(&[DeliveryState::Done])).await, [4_998, 3]);
    assert_eq!(seqs(&opened, of(&[DeliveryState::Done, DeliveryState::Partial])).await, [4_998, 4, 3]);
    assert_eq!(seqs(&opened, DeliveryFilter { limit: 2, ..of(&[DeliveryState::Pending]) }).await, [4_999, 4_997]);
    assert_eq!(seqs(&opened, DeliveryFilter { limit: 2, ..of(&[]) }).await, [4_999, 4_998]);
    assert_eq!(seqs(&opened, of(&[DeliveryState::Observed])).await, [0u64; 0]);
}

#[tokio::test]
async fn the_deliveries_of_one_event_are_on_one_page() {
    let opened = open();
    for n in 0..5 {
        add(&opened.store, event(&format!("m{n}"), &["a", "b", "c"])).await;
    }
    opened.store.commit(vec![finish(id(Seq(4), "b"), DeliveryState::Done, at(1))]).await.expect("commits");
    let (mut before, mut pages) = (None, Vec::new());
    loop {
        let filter = DeliveryFilter { before, limit: 4, ..DeliveryFilter::default() };
        let rows = opened.store.deliveries(&filter).await.expect("reads");
        let Some(last) = rows.last() else { break };
        before = Some(last.id.seq);
        pages.push(rows.iter().map(|row| row.id.to_string()).collect::<Vec<_>>());
    }
    let expected: Vec<Vec<String>> = vec![
        ["5/a", "5/b", "5/c", "4/a", "4/b", "4/c"].map(str::to_owned).to_vec(),
        ["3/a", "3/b", "3/c", "2/a", "2/b", "2/c"].map(str::to_owned).to_vec(),
        ["1/a", "1/b", "1/c"].map(str::to_owned).to_vec(),
    ];
    assert_eq!(pages, expected);
}

#[tokio::test]
async fn events_are_found_by_message_whether_a_rule_wanted_them_or_not() {
    let opened = open();
    add(&opened.store, event("m1", &[])).await;
    let mut elsewhere = event("m1", &["person"]);
    elsewhere.source = "app".to_owned();
    add(&opened.store, elsewhere).await;
    add(&opened.store, event("m2", &["person"])).await;
    let rows = opened.store.events_by_message("m1").await.expect("reads");
    assert_eq!(rows.iter().map(|row| (row.seq.0, row.source.as_str())).collect::<Vec<_>>(), [(2, "app"), (1, "website")]);
    assert_eq!((rows[0].kind.as_str(), rows[0].received_at), ("track", at(0)));
}

#[tokio::test]
async fn the_newest_refused_events_are_kept() {
    let opened = open_with(|o| o.max_rejected = 5);
    let refused = |n: i64| Rejected {
        source: "website".to_owned(),
        message_id: (n % 2 == 0).then(|| format!("m{n}")),
        kind: None,
        at: at(n),
        reason: "no type".to_owned(),
        payload: "{\"a\":\u{e9}".into(),
    };
    for batch in 0..4 {
        opened.store.reject((0..2).map(|n| refused(batch * 2 + n)).collect()).await.expect("rejects");
    }
    let opened = opened.reopen();
    let rows = opened.store.rejected(100).await.expect("reads");
    assert_eq!(rows.iter().map(|row| row.at).collect::<Vec<_>>(), [7, 6, 5, 4, 3].map(at));
    assert_eq!(
        (rows[1].message_id.as_deref(), rows[1].reason.as_str(), rows[1].payload.as_str()),
        (Some("m6"), "no type", "{\"a\":\u{e9}")
    );
    assert_eq!(opened.store.stats().await.expect("reads").rejected, 5);
}
