//! Scripts that try to hang, crash or starve the program, in the real program: each ends by a limit, the threads that ran them serve the next,
//! and the deliveries of other rules go on.
//!
//! What a run takes is judged by the processor's time, which a busy machine does not stretch. `PIPEWRIGHT_BINARY` names another build to try,
//! such as the release one.

mod parsing;
mod scripts;

use std::collections::BTreeMap;
use std::time::Duration;

use pipewright::mock::MockOptions;
use serde_json::json;

use super::harness::{Daemon, Folder};
use crate::support::account::Served;
use crate::support::{get, post_json, wait_or, wait_until};

/// A run's deadline, and what it may take at most.
const DEADLINE: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_millis(300);

/// What the process may hold in memory at most.
const MOST_MEMORY: u64 = 1 << 30;

fn families() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    [
        ("loops", scripts::LOOPS),
        ("recursion", scripts::RECURSION),
        ("memory", scripts::MEMORY),
        ("callbacks", scripts::CALLBACKS),
        ("sorts", scripts::SORTS),
        ("swallows", scripts::SWALLOWS),
        ("forbidden", scripts::FORBIDDEN),
        ("values", scripts::VALUES),
    ]
    .into_iter()
}

fn settings(folder: &Folder, rules: &str) {
    let text = folder.read("rules.toml");
    let begin = text.find("\n[[rules]]\n").expect("the shipped rules");
    let text = text[..=begin]
        .replace("require = [\"check\"]", "require = []")
        .replace("deadline = \"200ms\"", &format!("deadline = \"{}ms\"", DEADLINE.as_millis()));
    let text = text.replace("max_attempts = ", "max_attempts = 1 # ");
    folder.write("rules.toml", &(text + rules));
}

fn rule(name: &str, script: &str) -> String {
    format!("[[rules]]\nname = \"{name}\"\nwhen = 'event = \"{name}\"'\nscript = \"{script}\"\n\n")
}

const GOOD: &str = "fn handle(event) { person::create(#{ name: event.properties.name }); }\n";

fn event(name: &str, user: &str) -> serde_json::Value {
    json!({ "userId": user, "event": name, "properties": { "name": user } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_script_ends_by_its_limit_and_the_threads_serve_the_next() {
    let folder = Folder::init().await;
    folder.write("scripts/good.rhai", GOOD);
    let mut bodies = BTreeMap::new();
    for (family, scripts) in families() {
        for (n, body) in scripts.iter().enumerate() {
            let name = format!("{family}-{n:02}");
            folder.write(&format!("scripts/{name}.rhai"), &format!("{}\nfn handle(event) {{\n{body}\n}}\n", scripts::FUNCTIONS));
            bodies.insert(name, *body);
        }
    }
    let tried = bodies.len();
    // What is refused when it is read never runs: as good. Not all findings are told at once.
    loop {
        let rules: String = bodies.keys().map(|name| rule(name, &format!("{name}.rhai"))).collect();
        settings(&folder, &(rule("good", "good.rhai") + &rules));
        let check = folder.json(&["check"]).await;
        let errors = check["diagnostics"].as_array().expect("a list").iter().filter(|found| found["severity"] == "error");
        let refused: Vec<&str> = errors.filter_map(|found| found["place"]["file"].as_str()).collect();
        if refused.is_empty() {
            break;
        }
        let before = bodies.len();
        for file in &refused {
            // Already gone where two findings are about it.
            drop(std::fs::remove_file(folder.path().join(file)));
        }
        bodies.retain(|name, _| !refused.contains(&&*format!("scripts/{name}.rhai")));
        assert!(bodies.len() < before, "refused for something else: {check:#}");
    }
    assert!(tried + parsing::COUNT >= 120 && bodies.len() >= 100, "{} of {tried} run", bodies.len());
    let account = Served::start(MockOptions { seed: false, ..MockOptions::unlimited() }).await;
    folder.use_address(account.at);
    folder.edit("rules.toml", "writes = \"off\"", "writes = \"on\"");
    let daemon = Daemon::serve(&folder, &[]).await;
    // A good one between any two.
    for name in bodies.keys() {
        for event in [event(name, &format!("of-{name}")), event("good", &format!("beside-{name}"))] {
            daemon.accept("/v1/track", &event).await;
        }
    }
    wait_or(
        || async {
            let status = get(daemon.admin, "/api/status").await.json();
            (status["store"]["pending"] == 0).then_some(())
        },
        || async { format!("some do not end\n{}", daemon.process.said()) },
    )
    .await;

    let list = get(daemon.admin, "/api/events?limit=1000").await.json();
    let mut ended: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for delivery in list["deliveries"].as_array().expect("a list") {
        let rule = delivery["id"].as_str().and_then(|id| id.split_once('/')).expect("seq/rule").1;
        let reason = delivery["reason"].as_str().unwrap_or_default();
        assert!(!reason.contains("the interpreter failed"), "{rule}: {delivery:#}");
        ended.entry(rule.to_owned()).or_default().push(delivery["state"].as_str().expect("a state").to_owned());
    }
    assert_eq!(ended.remove("good"), Some(vec!["done".to_owned(); bodies.len()]));
    assert_eq!(ended.len(), bodies.len(), "all of them ran");
    let metrics = get(daemon.admin, "/metrics").await.text();
    let of = |metric: &str, rule: &str| -> f64 {
        let label = format!("rule=\"{rule}\"");
        let lines = metrics.lines().filter(|line| line.starts_with(&format!("pipewright_{metric}{{")) && line.contains(&label));
        lines.map(|line| line.rsplit(' ').next().and_then(|n| n.parse::<f64>().ok()).expect("a number")).sum()
    };
    for (name, body) in &bodies {
        let (runs, took) = (of("script_runs_total", name), of("script_cpu_seconds_total", name));
        assert!(runs > 0.0, "{name}: {body}");
        assert!(took / runs < MOST.as_secs_f64(), "{name} took {took:.3} s in {runs} runs: {body}");
    }
    #[cfg(target_os = "linux")]
    {
        let (_, most) = daemon.process.memory();
        assert!(most < MOST_MEMORY, "{} MiB", most >> 20);
    }
    daemon.process.kill().await;
    account.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_never_ends_does_not_hold_up_others() {
    let folder = Folder::init().await;
    folder.write("scripts/endless.rhai", "fn handle(event) { loop {} }\n");
    folder.write("scripts/good.rhai", GOOD);
    settings(&folder, &(rule("endless", "endless.rhai") + &rule("good", "good.rhai")));
    let daemon = Daemon::mocked(&folder).await;
    let batch = |name: &str, count: usize| {
        let events: Vec<_> = (0..count)
            .map(|n| {
                let mut event = event(name, &format!("{name}{n}"));
                event["type"] = "track".into();
                event
            })
            .collect();
        json!({ "batch": events, "writeKey": "mock" })
    };
    // More than a minute of it on the one thread that it may have.
    for (name, count) in [("endless", 400), ("good", 20)] {
        let reply = post_json(daemon.events, "/v1/batch", &batch(name, count)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let states = async |rule: &str| {
        let list = get(daemon.admin, &format!("/api/events?rule={rule}&limit=1000")).await.json();
        let states = list["deliveries"].as_array().expect("a list").iter();
        states.map(|d| d["state"].as_str().expect("a state").to_owned()).collect::<Vec<_>>()
    };
    wait_until("the good ones are done", async || states("good").await.iter().all(|state| state == "done").then_some(())).await;
    let left = states("endless").await.iter().filter(|state| *state == "pending").count();
    assert!(left > 200, "the good ones waited for those that never end; {left} of them are left");
    daemon.process.kill().await;
}
