//! How many deliveries ended how, by script set.

use pipewright::config::{Bytes, RetentionConfig, Span};
use pipewright::store::{
    Appended, DeliveryState, Erase, Finish, NewDelivery, SHADOW_DIFFERENCES, Seq, ShadowCount, ShadowRun, ShadowVerdict, Store,
    Write,
};

use super::support::{Opened, WEEK, at, event, finish, id, open};

/// `v1 person done 2`, a line each.
async fn counts(opened: &Opened) -> Vec<String> {
    let counts = opened.store.outcomes().await.expect("reads");
    let mut lines: Vec<String> =
        counts.iter().map(|c| format!("{} {} {} {}", c.version, c.rule, c.state, c.deliveries)).collect();
    lines.sort();
    lines
}

fn finish_by(seq: u64, rule: &str, state: DeliveryState, version: Option<&str>) -> Write {
    Write::Finish(Finish { id: id(Seq(seq), rule), state, at: at(2), version: version.map(str::to_owned), reason: None })
}

#[tokio::test]
async fn outcomes_are_counted_where_they_end_by_set_rule_and_state() {
    let opened = open();
    let events = (1..=3).map(|n| event(&format!("m{n}"), &["person", "deal"])).collect();
    opened.store.append(events).await.expect("appends");
    let writes = vec![
        finish_by(1, "person", DeliveryState::Done, Some("v1")),
        finish_by(1, "deal", DeliveryState::Dead, Some("v1")),
        finish_by(2, "person", DeliveryState::Done, Some("v1")),
        finish_by(2, "deal", DeliveryState::Observed, Some("v1")),
        finish_by(3, "person", DeliveryState::Done, Some("v2")),
        // Nothing has run of what a person drops before.
        finish_by(3, "deal", DeliveryState::Discarded, None),
    ];
    opened.store.commit(writes).await.expect("commits");
    let before = ["v1 deal dead 1", "v1 deal observed 1", "v1 person done 2", "v2 person done 1"];
    assert_eq!(counts(&opened).await, before);

    // A failure that is discarded moves; what is released counts again when it ends, for the set that ran then.
    opened.store.commit(vec![finish_by(1, "deal", DeliveryState::Discarded, None)]).await.expect("commits");
    let delivery =
        NewDelivery { rule: "deal".into(), account: "main".into(), key: "u:1".to_owned(), after: Vec::new(), behind: Vec::new() };
    opened.store.commit(vec![Write::Release { id: id(Seq(2), "deal"), delivery, at: at(3) }]).await.expect("commits");
    assert_eq!(counts(&opened).await, ["v1 deal discarded 1", "v1 person done 2", "v2 person done 1"]);
    opened.store.commit(vec![finish_by(2, "deal", DeliveryState::Done, Some("v2"))]).await.expect("commits");

    // What retention drops has ended all the same.
    let policy =
        RetentionConfig { events: Span::secs(0), dead: Span::secs(0), max_bytes: Bytes(1 << 40), ..RetentionConfig::default() };
    let pruned = opened.store.prune(&policy, WEEK, at(100)).await.expect("prunes");
    assert_eq!(pruned, 3);
    let opened = opened.reopen();
    let after = ["v1 deal discarded 1", "v1 person done 2", "v2 deal done 1", "v2 person done 1"];
    assert_eq!(counts(&opened).await, after);

    opened.store.commit(vec![Write::ForgetOutcomes { version: "v1".to_owned() }]).await.expect("commits");
    opened.store.commit(vec![Write::ForgetOutcomes { version: "never".to_owned() }]).await.expect("commits");
    assert_eq!(counts(&opened).await, ["v2 deal done 1", "v2 person done 1"]);
}

#[tokio::test]
async fn the_sets_whose_plans_are_pinned_are_known_and_plans_of_others_left_out() {
    let opened = open();
    opened.store.append(vec![event("m1", &["a", "b", "c"])]).await.expect("appends");
    let pin = |rule: &str, plan: &str| Write::Pin { id: id(Seq(1), rule), plan: plan.as_bytes().to_vec() };
    let writes = vec![
        pin("a", r#"{"version":"one","steps":[]}"#),
        pin("b", r#"{"version":"two","steps":[]}"#),
        pin("c", "no JSON"),
        finish(id(Seq(1), "b"), DeliveryState::Done, at(2)),
    ];
    opened.store.commit(writes).await.expect("commits");
    assert_eq!(opened.store.planned_by().await.expect("reads"), ["one"]);
}

#[tokio::test]
async fn of_shadows_the_newest_differences_are_kept_as_long_as_their_events() {
    let opened = open();
    let many = SHADOW_DIFFERENCES as u64 + 5;
    opened.store.append((1..=many).map(|n| event(&format!("m{n}"), &["person"])).collect()).await.expect("appends");
    let run = |seq: u64, scripts: &str, verdict: ShadowVerdict| {
        let difference = (verdict != ShadowVerdict::Same).then(|| b"{}".to_vec());
        Write::Shadow(ShadowRun { id: id(Seq(seq), "person"), at: at(1), scripts: scripts.to_owned(), verdict, difference })
    };
    let all = (1..=many).map(|seq| run(seq, "one", ShadowVerdict::Different)).chain([run(1, "one", ShadowVerdict::Same)]);
    opened.store.commit(all.collect()).await.expect("commits");
    let counts = |counts: Vec<ShadowCount>| -> Vec<(String, u64)> {
        let mut all: Vec<_> = counts.into_iter().map(|c| (format!("{} {}", c.scripts, c.verdict), c.runs)).collect();
        all.sort();
        all
    };
    let seen = counts(opened.store.shadow_counts().await.expect("reads"));
    assert_eq!(seen, [("one different".to_owned(), many), ("one same".to_owned(), 1)]);
    let kept = opened.store.shadow_differences("person", 1_000).await.expect("reads");
    assert_eq!((kept.len(), kept[0].id.seq, kept.last().expect("some").id.seq), (SHADOW_DIFFERENCES, Seq(many), Seq(6)));
    assert!(opened.store.shadow_differences("nobody", 10).await.expect("reads").is_empty());

    let done = (1..=many).map(|seq| finish(id(Seq(seq), "person"), DeliveryState::Done, at(2))).collect();
    opened.store.commit(done).await.expect("commits");
    let erased = Erase::Events { seqs: vec![Seq(many)], account: None };
    opened.store.erase(erased).await.expect("erases");
    // A run that ends after its event was erased brings nothing of it back.
    opened.store.commit(vec![run(many, "one", ShadowVerdict::Different)]).await.expect("commits");
    let kept = opened.store.shadow_differences("person", 1_000).await.expect("reads");
    assert_eq!((kept.len(), kept[0].id.seq), (SHADOW_DIFFERENCES - 1, Seq(many - 1)));
    let policy =
        RetentionConfig { events: Span::secs(0), dead: Span::secs(0), max_bytes: Bytes(1 << 40), ..RetentionConfig::default() };
    opened.store.prune(&policy, WEEK, at(100)).await.expect("prunes");
    assert!(opened.store.shadow_differences("person", 10).await.expect("reads").is_empty());

    // Nor when only the delivery was erased, and its event stays for another one that is not finished.
    let Appended::Fresh(seq) = opened.store.append(vec![event("both", &["person", "deal"])]).await.expect("appends")[0] else {
        panic!("it is new")
    };
    opened.store.commit(vec![run(seq.0, "one", ShadowVerdict::Different)]).await.expect("commits");
    assert_eq!(opened.store.shadow_differences("person", 10).await.expect("reads").len(), 1, "it runs while its plan is pinned");
    opened.store.commit(vec![finish(id(seq, "person"), DeliveryState::Done, at(2))]).await.expect("commits");
    opened.store.erase(Erase::Events { seqs: vec![seq], account: None }).await.expect("erases");
    opened.store.commit(vec![run(seq.0, "one", ShadowVerdict::Different)]).await.expect("commits");
    assert!(opened.store.shadow_differences("person", 10).await.expect("reads").is_empty());

    // Other scripts, another count.
    opened.store.commit(vec![run(1, "two", ShadowVerdict::Same)]).await.expect("commits");
    assert_eq!(counts(opened.store.shadow_counts().await.expect("reads")), [("two same".to_owned(), 1)]);
}
