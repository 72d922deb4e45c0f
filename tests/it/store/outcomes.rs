//! How many deliveries ended how, by script set.

use pipewright::config::{Bytes, RetentionConfig, Span};
use pipewright::store::sqlite::SqliteStore;
use pipewright::store::{
    Appended, Cause, CauseCount, Dedupe, DeliveryFilter, DeliveryState, Erase, Finish, NewDelivery, NewEvent, Repeated, Repeats,
    ReplayOptions, SHADOW_DIFFERENCES, Seq, ShadowCount, ShadowRun, ShadowVerdict, Store, Write,
};

use super::support::{Opened, WEEK, add, at, event, finish, id, open, repeats};

/// `v1 person done 2`, a line each.
async fn counts(opened: &Opened) -> Vec<String> {
    let counts = opened.store.outcomes().await.expect("reads");
    let mut lines: Vec<String> =
        counts.iter().map(|c| format!("{} {} {} {}", c.version, c.rule, c.state, c.deliveries)).collect();
    lines.sort();
    lines
}

fn finish_by(seq: u64, rule: &str, state: DeliveryState, version: Option<&str>) -> Write {
    Write::Finish(Finish {
        id: id(Seq(seq), rule),
        state,
        at: at(2),
        version: version.map(str::to_owned),
        reason: None,
        cause: None,
    })
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

#[tokio::test]
async fn failures_are_counted_by_cause_and_what_was_repeated_is_left_to_its_repetition() {
    let opened = open();
    let cause = |what: &str| Some(Cause { class: "permanent".to_owned(), what: what.to_owned() });
    let dead = |seq: u64, rule: &str, cause: Option<Cause>| {
        let finish = Finish {
            id: id(Seq(seq), rule),
            state: DeliveryState::Dead,
            at: at(2),
            version: Some("v1".to_owned()),
            reason: Some(format!("reason of {seq}")),
            cause,
        };
        Write::Finish(finish)
    };
    for (n, rules) in [(1, &["person"][..]), (2, &["person"]), (3, &["person", "deal"]), (4, &["person"])] {
        add(&opened.store, event(&format!("m{n}"), rules)).await;
    }
    let writes = vec![
        dead(1, "person", cause("a")),
        dead(2, "person", cause("a")),
        dead(3, "person", cause("b")),
        dead(3, "deal", cause("a")),
        dead(4, "person", None),
    ];
    opened.store.commit(writes).await.expect("commits");
    let counted = async |store: &SqliteStore| -> Vec<(String, String, u64, String)> {
        let causes = store.causes().await.expect("reads");
        let what = |c: &CauseCount| c.cause.as_ref().map_or_else(String::new, |cause| cause.what.clone());
        causes.iter().map(|c| (what(c), c.newest.to_string(), c.deliveries, c.reason.clone().unwrap_or_default())).collect()
    };
    let row = |what: &str, newest: &str, n: u64, reason: &str| (what.to_owned(), newest.to_owned(), n, reason.to_owned());
    assert_eq!(counted(&opened.store).await[0], row("a", "2/person", 2, "reason of 2"));
    assert_eq!(counted(&opened.store).await.len(), 4);

    // A replay takes one rule's place, an edit that of the rules that want it.
    let dedupe = Dedupe::Never;
    add(&opened.store, NewEvent { repeats: Some(repeats(Seq(2), "person")), dedupe, ..event("m2", &["person"]) }).await;
    let edit = Some(Repeats { of: Repeated::Edited(Seq(3)), how: ReplayOptions::default() });
    add(&opened.store, NewEvent { repeats: edit, dedupe, ..event("m3", &["deal"]) }).await;
    let mut left = counted(&opened.store).await;
    left.sort();
    let expected =
        [row("", "4/person", 1, "reason of 4"), row("a", "1/person", 1, "reason of 1"), row("b", "3/person", 1, "reason of 3")];
    assert_eq!(left, expected);
    let of = |cause: Option<&str>, version: Option<&str>, open: bool| DeliveryFilter {
        cause: cause.map(str::to_owned),
        version: version.map(str::to_owned),
        open,
        ..DeliveryFilter::default()
    };
    let name =
        opened.store.causes().await.expect("reads").into_iter().find(|c| c.newest.to_string() == "1/person").and_then(|c| c.id);
    let fits = async |filter: DeliveryFilter| -> Vec<String> {
        opened.store.deliveries(&filter).await.expect("reads").iter().map(|row| row.id.to_string()).collect()
    };
    assert_eq!(fits(of(name.as_deref(), None, false)).await, ["3/deal", "2/person", "1/person"]);
    assert_eq!(fits(of(name.as_deref().map(|n| &n[..4]), None, true)).await, ["1/person"]);
    assert_eq!(fits(of(None, Some("v"), true)).await, ["4/person", "3/person", "1/person"]);
    assert_eq!(fits(of(None, Some("v2"), false)).await, Vec::<String>::new());
    // Those under way are open, too.
    assert_eq!(fits(of(None, None, true)).await.len(), 5);
}
