//! The pool: fairness between rules, abandoned runs, stopping.

use std::sync::Arc;
use std::time::Duration;

use pipewright::config::{ScriptConfig, Span};
use pipewright::script::{Outcome, Pool, Program, RunRequest, ScriptErrorKind};
use tokio::time::timeout;

use super::support::{event, request, sources};

const SLOW: &str = "fn handle(event) { loop {} }";
const QUICK: &str = "fn handle(event) { skip(\"quick\") }";
const LONG: Duration = Duration::from_secs(30);

fn program(text: &str, deadline: Duration) -> Arc<Program> {
    let limits = ScriptConfig { deadline: Span(deadline), max_operations: u64::MAX, ..ScriptConfig::default() };
    Arc::new(Program::compile(&sources(&[("a.rhai", text)]), &limits).expect("compiles"))
}

fn of_rule(rule: &str) -> RunRequest {
    RunRequest { rule: Arc::from(rule), ..request(&event()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_rule_leaves_a_thread_to_the_others() {
    let pool = Pool::start(2);
    let slow = program(SLOW, Duration::from_secs(3));
    let runs: Vec<_> = (0..8).map(|_| tokio::spawn(pool.run(slow.clone(), of_rule("slow")))).collect();
    let quick = program(QUICK, LONG);
    for _ in 0..50 {
        let report =
            timeout(Duration::from_secs(2), pool.run(quick.clone(), of_rule("quick"))).await.expect("not behind the slow rule");
        assert!(matches!(report.outcome, Outcome::Skip(_)));
    }
    runs.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_thread_rules_take_turns() {
    let pool = Pool::start(1);
    let slow = program(SLOW, Duration::from_millis(100));
    let runs: Vec<_> = (0..200).map(|_| tokio::spawn(pool.run(slow.clone(), of_rule("slow")))).collect();
    let quick = program(QUICK, LONG);
    let report =
        timeout(Duration::from_secs(5), pool.run(quick, of_rule("quick"))).await.expect("after one slow run, not after 200");
    assert!(matches!(report.outcome, Outcome::Skip(_)));
    runs.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_runs_are_not_started() {
    let pool = Pool::start(1);
    let slow = program(SLOW, Duration::from_millis(200));
    // 100 runs of 200 ms, abandoned: what follows does not wait for them.
    let runs: Vec<_> = (0..100).map(|_| tokio::spawn(pool.run(slow.clone(), of_rule("rule")))).collect();
    tokio::task::yield_now().await;
    runs.iter().for_each(tokio::task::JoinHandle::abort);
    for run in runs {
        assert!(run.await.is_err());
    }
    let report = timeout(Duration::from_secs(5), pool.run(program(QUICK, LONG), of_rule("rule"))).await.expect("at once");
    assert!(matches!(report.outcome, Outcome::Skip(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_answers_what_waits() {
    let pool = Pool::start(1);
    let slow = program(SLOW, Duration::from_millis(500));
    // More than a rule's queue holds: some wait for a place.
    let runs: Vec<_> = (0..400).map(|_| tokio::spawn(pool.run(slow.clone(), of_rule("rule")))).collect();
    tokio::task::yield_now().await;
    pool.stop();
    let mut stopped = 0;
    for run in runs {
        let report = timeout(Duration::from_secs(10), run).await.expect("answered").expect("joined");
        match report.outcome {
            Outcome::Error(error) if error.kind == ScriptErrorKind::Stopped => stopped += 1,
            Outcome::Error(error) => assert_eq!(error.kind, ScriptErrorKind::Deadline),
            other => panic!("{other:?}"),
        }
    }
    assert!(stopped >= 399, "{stopped}");
    let report = pool.run(slow, of_rule("rule")).await;
    assert!(matches!(report.outcome, Outcome::Error(e) if e.kind == ScriptErrorKind::Stopped));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_runs_of_many_rules_all_end() {
    let pool = Pool::start(2);
    let quick = program(QUICK, LONG);
    let runs: Vec<_> = (0..3000).map(|i| tokio::spawn(pool.run(quick.clone(), of_rule(&format!("rule{}", i % 7))))).collect();
    for run in runs {
        let report = timeout(LONG, run).await.expect("ends").expect("joined");
        assert!(matches!(report.outcome, Outcome::Skip(_)));
    }
}
