//! Pipewright: the whole daemon, with a store on disk, over HTTP, against the embedded Pipedrive with its limits.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipewright::daemon::{Daemon, DaemonOptions, MockDoor, MockSetup};
use pipewright::mock::{Mock, MockOptions};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::account;
use super::policy::Policy;
use super::workload::{self, Workload};

/// Events of one batch.
const BATCH: usize = 100;
/// A part that has not drained by then has failed.
const CAP: Duration = Duration::from_secs(1_800);

/// How it is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) policy: Policy,
    /// Requests take along what later deliveries say.
    pub(crate) squash: bool,
    /// Requests and searches in 2 s; Pipedrive's plan "growth" is 40 and 10; `u32::MAX` for no limits.
    pub(crate) limits: (u32, u32),
    pub(crate) latency: Duration,
    pub(crate) search_lag: Duration,
    /// Further keys of `[delivery]`.
    pub(crate) delivery: &'static str,
    /// Called with the account before the first event.
    pub(crate) spoil: fn(&Mock),
}

/// What it came to.
pub(crate) struct Spent {
    pub(crate) mock: Arc<Mock>,
    /// Requests and tokens by purpose, as the daemon counts them.
    pub(crate) by_purpose: BTreeMap<String, (u64, u64)>,
    /// From the first event to the last delivery, without what people do in between.
    pub(crate) drained: Duration,
    /// Deliveries that did not end as done or skipped.
    pub(crate) failed: u64,
}

/// Runs the workload.
pub(crate) async fn run(workload: &Workload, setting: Setting) -> Spent {
    let (burst, search_burst) = setting.limits;
    let options = MockOptions {
        burst,
        search_burst,
        daily_tokens: u64::MAX,
        latency: setting.latency,
        search_lag: setting.search_lag,
        ..MockOptions::unlimited()
    };
    let mock = account::begin(workload, options);
    (setting.spoil)(&mock);
    let dir = tempfile::tempdir().expect("a folder");
    files(dir.path(), setting);
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let daemon = Daemon::start(DaemonOptions {
        dir: dir.path().to_owned(),
        mock: Some(MockSetup { mock: mock.clone(), door: MockDoor::InProcess, unlimited: burst == u32::MAX, writes_on: true }),
        listen: Some(loopback),
        admin_listen: Some(loopback),
        unpin: false,
        store_fault: None,
    })
    .await
    .expect("it starts");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("http://{}/v1/batch", daemon.ingest_addr());
    let (mut number, mut drained) = (0, Duration::ZERO);
    let groups = Workload::groups(workload.events());
    for part in &workload.parts {
        let started = Instant::now();
        for batch in part.events.chunks(BATCH) {
            let batch: Vec<Value> =
                batch.iter().enumerate().map(|(n, event)| workload::json(event, number + n, groups)).collect();
            number += batch.len();
            let send = client.post(&url).basic_auth("mock", Some("")).json(&json!({ "batch": batch }));
            let answer = send.send().await.expect("an answer");
            assert!(answer.status().is_success(), "{}", answer.status());
        }
        while daemon.delivery().status().await.expect("it runs").pending > 0 {
            assert!(started.elapsed() < CAP, "not drained within {CAP:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drained += started.elapsed();
        account::edit(&mock, &part.edits);
    }
    let text = client.get(format!("http://{}/metrics", daemon.admin_addr())).send().await.expect("an answer");
    let text = text.text().await.expect("a text");
    daemon.stop().await;
    let mut by_purpose: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (purpose, count) in counts(&text, "pipewright_pipedrive_requests_total", "purpose") {
        by_purpose.entry(purpose).or_default().0 += count;
    }
    for (purpose, count) in counts(&text, "pipewright_pipedrive_tokens_total", "purpose") {
        by_purpose.entry(purpose).or_default().1 += count;
    }
    let ended = counts(&text, "pipewright_deliveries_finished_total", "state");
    let failed = ended.filter(|(state, _)| !matches!(state.as_str(), "done" | "skipped")).map(|(_, count)| count).sum();
    Spent { mock, by_purpose, drained, failed }
}

/// The values of a counter by one of its labels.
fn counts<'t>(text: &'t str, name: &'t str, label: &'t str) -> impl Iterator<Item = (String, u64)> + use<'t> {
    text.lines().filter(move |line| line.starts_with(name)).filter_map(move |line| {
        let (labels, count) = line.rsplit_once(' ')?;
        let from = labels.find(&format!("{label}=\""))? + label.len() + 2;
        let to = from + labels[from..].find('"')?;
        Some((labels[from..to].to_owned(), count.parse::<f64>().ok()? as u64))
    })
}

fn files(dir: &Path, setting: Setting) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/economy");
    let rules = std::fs::read_to_string(from.join("rules.toml")).expect("the bench's rules.toml");
    let write = format!("[[rules]]\nwrite = \"{}\"", setting.policy.as_str());
    let rules =
        format!("{}\n[delivery]\nsquash = {}\n{}\n", rules.replace("[[rules]]", &write), setting.squash, setting.delivery);
    std::fs::write(dir.join("rules.toml"), rules).expect("rules.toml");
    std::fs::create_dir(dir.join("scripts")).expect("a folder");
    for entry in std::fs::read_dir(from.join("scripts")).expect("the bench's scripts").flatten() {
        std::fs::copy(entry.path(), dir.join("scripts").join(entry.file_name())).expect("a script");
    }
}
