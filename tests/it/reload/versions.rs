//! The sets that were live, and going back to them.

use std::path::Path;

use pipewright::reload::{LiveBy, ReloadOutcome, RollbackRequest, VersionError, Versions};

use super::{Running, rules, script, seed};
use crate::support::{temp_dir, wait_until, write};

/// What lies on disk is read when it is asked for, and at no other time.
fn unwatched(more: &str) -> String {
    rules(more).replace("poll = \"1h\"", "watch = false")
}

impl Running {
    /// Saves the script of this number, and waits until it is live.
    async fn save(&self, dir: &Path, number: u32) -> String {
        write(dir, "scripts/a.rhai", &script(number));
        match self.handle.reload().await {
            ReloadOutcome::Swapped { version, .. } => version.0.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn runs(&self) -> String {
        self.live.load().files.sources.scripts["a.rhai"].to_string()
    }

    async fn kept(&self) -> Vec<pipewright::reload::KeptVersion> {
        Versions::new(&*self.store).list().await.expect("readable")
    }

    async fn rollback(&self, version: Option<&str>) -> Result<String, VersionError> {
        let request = RollbackRequest { version: version.map(str::to_owned), ..RollbackRequest::default() };
        self.handle.rollback(request).await.map(|done| done.version.0.to_string())
    }
}

#[tokio::test]
async fn every_set_that_was_live_is_kept_with_its_times_and_each_file_once() {
    let dir = temp_dir();
    seed(dir.path());
    write(dir.path(), "rules.toml", &unwatched(""));
    write(dir.path(), "scripts/tables/x.csv", "a,b\n1,2\n");
    let running = Running::start(dir.path()).await;
    let first = running.live.load().version.0.to_string();
    let second = running.save(dir.path(), 1).await;
    let again = running.save(dir.path(), 0).await;
    assert_eq!(first, again);
    let kept = running.kept().await;
    let seen: Vec<_> = kept.iter().map(|kept| (kept.version.0.to_string(), kept.went_live.len())).collect();
    assert_eq!(seen, [(first.clone(), 2), (second.clone(), 1)], "the newest first");
    assert!(kept[0].went_live.iter().all(|live| live.by == LiveBy::Files));
    assert_eq!(kept[0].first_live_at, kept[0].went_live[0].at);
    assert!(kept[1].last_live_at() > kept[0].first_live_at && kept[1].last_live_at() < kept[0].last_live_at());
    let paths: Vec<&str> = kept[0].files.keys().map(String::as_str).collect();
    assert_eq!(paths, ["rules.toml", "scripts/a.rhai", "scripts/tables/x.csv"]);
    let files = running.store.kv_list("script_files").await.expect("readable");
    assert_eq!(files.len(), 4, "two scripts, and what both have once");

    let texts = Versions::new(&*running.store).texts(&kept[1]).await.expect("whole");
    assert_eq!((texts["scripts/a.rhai"].as_str(), texts["scripts/tables/x.csv"].as_str()), (&*script(1), "a,b\n1,2\n"));
    running.stop().await;
    // A restart goes on with what was live; that is no going live.
    let running = Running::start(dir.path()).await;
    assert_eq!(running.kept().await, kept);
    running.stop().await;
}

#[tokio::test]
async fn beyond_the_bound_the_oldest_go_with_the_files_that_nobody_else_has() {
    let dir = temp_dir();
    seed(dir.path());
    write(dir.path(), "rules.toml", &unwatched("[retention]\nversions = 2"));
    let running = Running::start(dir.path()).await;
    for number in 1..5 {
        running.save(dir.path(), number).await;
    }
    let live = running.live.load().version.clone();
    let kept = running.kept().await;
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[0].version, live);
    assert_eq!(running.store.kv_list("script_files").await.expect("readable").len(), 3);
    // What is pinned stays, however old it grows.
    let old = running.rollback(None).await.expect("there is one before");
    for number in 5..8 {
        write(dir.path(), "scripts/a.rhai", &script(number));
        assert!(matches!(running.handle.reload().await, ReloadOutcome::Pinned { .. }));
    }
    assert_eq!(running.kept().await[0].version.0.to_string(), old);
    running.stop().await;
}

#[tokio::test]
async fn a_rollback_stays_whatever_is_saved_across_a_restart_until_it_is_unpinned() {
    let dir = temp_dir();
    seed(dir.path());
    write(dir.path(), "rules.toml", &unwatched(""));
    let running = Running::start(dir.path()).await;
    let second = running.save(dir.path(), 1).await;
    let first = running.rollback(None).await.expect("there is one before");
    assert_eq!((running.runs(), &*running.live.load().version.0), (script(0), &*first));
    let pin = running.handle.status().pin.expect("a pin");
    assert_eq!((&*pin.version.0, pin.waiting.map(|w| w.0.to_string())), (&*first, Some(second.clone())), "it says what waits");
    assert!(running.metrics.render().contains("pipewright_script_set_pinned 1"));

    // A save is looked at, tried and told.
    write(dir.path(), "scripts/a.rhai", &script(2));
    match running.handle.reload().await {
        ReloadOutcome::Pinned { version, files, .. } => assert!(*version.0 == *first && *files.0 != *second),
        other => panic!("{other:?}"),
    }
    write(dir.path(), "scripts/a.rhai", "fn handle(event) { nonsense(; }\n");
    assert!(matches!(running.handle.reload().await, ReloadOutcome::Refused { .. }));
    let status = running.handle.status();
    assert!(status.refused.is_some() && status.pin.expect("still").waiting.is_none());
    running.stop().await;

    // Even files that are broken are no matter to what is pinned.
    let running = Running::try_start(dir.path()).await.expect("the pinned set");
    assert_eq!(running.runs(), script(0));
    let status = running.handle.status();
    assert!(status.pin.is_some() && !status.from_store);

    write(dir.path(), "scripts/a.rhai", &script(3));
    assert!(matches!(running.handle.reload().await, ReloadOutcome::Pinned { .. }));
    assert!(matches!(running.handle.unpin().await, Ok(ReloadOutcome::Swapped { .. })));
    assert_eq!((running.runs(), running.handle.status().pin), (script(3), None));
    assert!(running.metrics.render().contains("pipewright_script_set_pinned 0"));
    assert!(matches!(running.handle.unpin().await, Err(VersionError::NotPinned)));
    running.stop().await;
    let running = Running::start(dir.path()).await;
    assert_eq!(running.runs(), script(3));
    running.stop().await;
}

#[tokio::test]
async fn going_back_again_goes_further_back_and_a_name_must_be_one() {
    let dir = temp_dir();
    seed(dir.path());
    write(dir.path(), "rules.toml", &unwatched(""));
    let running = Running::start(dir.path()).await;
    assert!(matches!(running.rollback(None).await, Err(VersionError::NoneBefore(_))));
    let first = running.live.load().version.0.to_string();
    let second = running.save(dir.path(), 1).await;
    let third = running.save(dir.path(), 2).await;
    assert_eq!(running.rollback(None).await.expect("one"), second);
    assert_eq!(running.rollback(None).await.expect("one more"), first);
    assert!(matches!(running.rollback(None).await, Err(VersionError::NoneBefore(_))));
    assert_eq!(running.rollback(Some(&third[..9])).await.expect("by its beginning"), third);

    let unknown = running.rollback(Some("zzz")).await.expect_err("no such version").to_string();
    for version in [&first, &second, &third] {
        assert!(unknown.contains(&version[..12]), "{unknown} does not list {version}");
    }
    assert!(matches!(running.rollback(Some("")).await, Err(VersionError::Unknown { .. })));
    // The one that is live already is pinned all the same.
    assert_eq!(running.rollback(Some(&third)).await.expect("it stays"), third);
    running.stop().await;
}

#[tokio::test]
async fn a_version_whose_secret_is_gone_is_refused_with_the_reason() {
    let dir = temp_dir();
    seed(dir.path());
    let keyed = unwatched("").replacen("env:PW_TEST_UNSET", "file:key.txt", 1);
    write(dir.path(), "key.txt", "secret\n");
    write(dir.path(), "rules.toml", &keyed);
    let running = Running::start(dir.path()).await;
    write(dir.path(), "rules.toml", &unwatched(""));
    assert!(matches!(running.handle.reload().await, ReloadOutcome::Swapped { .. }));
    let live = running.live.load().version.clone();
    std::fs::remove_file(dir.path().join("key.txt")).expect("deleted");
    match running.rollback(None).await {
        Err(VersionError::Refused { diagnostics, .. }) => {
            assert!(diagnostics[0].message.contains("key.txt"), "{diagnostics:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((running.live.load().version.clone(), running.handle.status().pin), (live, None));
    running.stop().await;
}

#[tokio::test]
async fn a_rollback_waits_for_no_trial() {
    let dir = temp_dir();
    seed(dir.path());
    let running = Running::start(dir.path()).await;
    write(dir.path(), "scripts/a.rhai", &script(1));
    running.handle.reload().await;
    wait_until("number 1 to be live", || async { (running.runs() == script(1)).then_some(()) }).await;
    write(dir.path(), "scripts/tests/slow_test.rhai", &super::gate::endless());
    write(dir.path(), "scripts/a.rhai", &script(2));
    wait_until("the slow set to be tried", || async { running.handle.status().trying }).await;
    running.rollback(None).await.expect("there is one before");
    assert_eq!(running.runs(), script(0));
    running.stop().await;
}
