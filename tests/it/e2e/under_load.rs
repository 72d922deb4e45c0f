//! What people set going while events come in: nothing is lost, doubled, or out of order.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use pipewright::mock::{Mock, MockOptions};
use pipewright::pipedrive::{Body, Method, Request};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::harness::{Daemon, Folder, KEY};
use crate::support::account::Served;
use crate::support::{Connection, get, post_json, wait_until};

/// Connections that send at once, and users whose events each of them sends, in turn.
const SENDERS: usize = 4;
const USERS: usize = 3;
/// Rounds that are sent at most while something else goes on.
const MOST_ROUNDS: usize = 8;

/// Makes one record an event, so that each can be counted and has its place.
const SCRIPT: &str = "fn handle(event) {\n    \
    organization::create(#{ name: `${event.userId} ${event.properties.n}` });\n}\n";

/// The rule of that script.
fn rule(event: &str) -> String {
    format!("\n[[rules]]\nname = \"step\"\nwhen = 'type = \"track\" and event = \"{event}\"'\nscript = \"step.rhai\"\n")
}

/// Events that keep coming. The users' events are numbered from 0, and each is taken before the user's next one is sent.
struct Load {
    rounds: Vec<mpsc::UnboundedSender<()>>,
    senders: Vec<JoinHandle<()>>,
    asked: usize,
    taken: watch::Receiver<usize>,
}

impl Load {
    fn on(to: SocketAddr) -> Self {
        let (count, taken) = watch::channel(0);
        let mut load = Self { rounds: Vec::new(), senders: Vec::new(), asked: 0, taken };
        for sender in 0..SENDERS {
            let (round, mut rounds) = mpsc::unbounded_channel();
            load.rounds.push(round);
            let count = count.clone();
            load.senders.push(tokio::spawn(async move {
                let mut connection = Connection::open(to).await;
                let mut n = 0;
                while rounds.recv().await.is_some() {
                    for user in 0..USERS {
                        let event = json!({
                            "userId": format!("s{sender}u{user}"), "event": "Step", "properties": { "n": n }, "writeKey": KEY,
                        });
                        let reply = connection.send("POST", "/v1/track", &[], event.to_string()).await;
                        assert_eq!(reply.status, 200, "{}", reply.text());
                        count.send_modify(|taken| *taken += 1);
                    }
                    n += 1;
                }
            }));
        }
        load
    }

    /// Sends one event of every user and waits until all so far are taken.
    async fn round(&mut self) {
        self.rounds.iter().for_each(|round| round.send(()).expect("the sender goes on"));
        self.asked += SENDERS * USERS;
        self.taken.wait_for(|taken| *taken >= self.asked).await.expect("the senders go on");
    }

    /// Keeps sending, at least one round, while something is done.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        for _ in 0..MOST_ROUNDS {
            tokio::select! {
                biased;
                () = self.round() => {}
                done = &mut work => return done,
            }
        }
        work.await
    }

    /// Waits until everything is taken; how many events that were.
    async fn end(self) -> usize {
        drop(self.rounds);
        for sender in self.senders {
            sender.await.expect("all were taken");
        }
        *self.taken.borrow()
    }
}

/// The numbers of each user's events as they were made in Pipedrive, in the order of making.
fn made(mock: &Mock) -> BTreeMap<String, Vec<usize>> {
    let mut records = mock.entities("organizations");
    records.sort_by_key(|record| record["id"].as_u64());
    let mut users = BTreeMap::<String, Vec<usize>>::new();
    for record in records {
        let (user, n) = record["name"].as_str().and_then(|name| name.split_once(' ')).expect("a name of the script");
        users.entry(user.to_owned()).or_default().push(n.parse().expect("a number"));
    }
    users
}

async fn begin(rules: &str) -> (Served, Folder, Daemon, Load) {
    let account = Served::start(MockOptions { seed: false, ..MockOptions::unlimited() }).await;
    let folder = Folder::init().await;
    folder.use_address(account.at);
    folder.write("rules.toml", &(folder.read("rules.toml") + rules));
    folder.write("scripts/step.rhai", SCRIPT);
    let daemon = Daemon::serve(&folder, &[]).await;
    let load = Load::on(daemon.events);
    (account, folder, daemon, load)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_observed_is_released_in_order_while_events_come_in() {
    let (account, folder, daemon, mut load) = begin(&rule("Step")).await;
    for _ in 0..3 {
        load.round().await;
    }
    // As `events release --help` has it.
    load.during(folder.run(&["pause", "account", "main"])).await.ok();
    wait_until("what was under way is observed", || async {
        let status = get(daemon.admin, "/api/status").await.json();
        (status["delivery"]["accounts"][0]["running"] == 0).then_some(())
    })
    .await;
    assert_eq!(made(&account.mock), BTreeMap::new(), "only observed so far");
    folder.edit("rules.toml", "writes = \"off\"", "writes = \"on\"");
    load.during(folder.run(&["reload"])).await.ok();
    let observed = folder.json(&["events", "list", "--state", "observed", "--limit", "1000"]).await;
    let observed = observed["deliveries"].as_array().expect("a list").len();
    assert!(observed > 0, "something was observed before the pause");
    let released = load.during(folder.run(&["events", "release", "--rule", "step", "--yes"])).await.ok();
    assert_eq!(released.lines().last(), Some(format!("released: {observed}").as_str()));
    load.during(folder.run(&["resume", "account", "main"])).await.ok();
    load.round().await;
    let taken = load.end().await;
    daemon.all_ended().await;

    let made = made(&account.mock);
    assert_eq!(made.values().map(Vec::len).sum::<usize>(), taken);
    for (user, numbers) in made {
        assert_eq!(numbers, (0..taken / (SENDERS * USERS)).collect::<Vec<_>>(), "{user}");
    }
    let left = folder.json(&["events", "list", "--state", "observed"]).await;
    assert_eq!(left["deliveries"], json!([]), "{left:#}");
}

/// Persons of the senders' users, whom the account has already. The import must neither be overtaken by a create of the same user nor make
/// one: each user has one record in the end, whichever came first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_are_imported_while_events_of_the_same_users_come_in() {
    let (account, folder, daemon, mut load) = begin(&rule("Step")).await;
    let users: Vec<String> = (0..SENDERS).flat_map(|s| (0..USERS).map(move |u| format!("s{s}u{u}"))).collect();
    let mut rows = "segment_id,pipedrive_id\n".to_owned();
    for user in &users {
        let request = Request::new(Method::Post, "/api/v2/persons").body(json!({ "name": format!("Old {user}") }));
        let Body::Json(made) = account.mock.aside(&request).body else { panic!("no JSON") };
        rows.push_str(&format!("{user},{}\n", made["data"]["id"]));
    }
    folder.write("people.csv", &rows);
    folder.write(
        "scripts/step.rhai",
        "fn handle(event) {\n    person::upsert(#{ \"Segment User ID\": event.userId },\n        \
         #{ phones: `+4420794600${event.properties.n}` }, #{ on_create: #{ name: `New ${event.userId}` } });\n}\n",
    );
    folder.edit("rules.toml", "writes = \"off\"", "writes = \"on\"");
    folder.run(&["reload"]).await.ok();
    let ended = load.during(folder.run(&["ids", "import", "people.csv", "--yes", "--json"])).await;
    load.round().await;
    load.end().await;
    daemon.all_ended().await;

    let said: serde_json::Value = serde_json::from_str(&ended.out).expect("an answer");
    let refused = said["refused"].as_array().expect("a list");
    let key = account.mock.custom_key("persons", "Segment User ID").expect("the field");
    let persons = account.mock.entities("persons");
    for (n, user) in users.iter().enumerate() {
        let refusal = refused.iter().find(|refusal| refusal["line"] == n + 2);
        let holders: Vec<_> = persons.iter().filter(|person| person["custom_fields"][&key] == user.as_str()).collect();
        assert_eq!(holders.len(), 1, "{user}: {refusal:?}: {holders:#?}");
        let whose = if refusal.is_some() { "New" } else { "Old" };
        assert_eq!(holders[0]["name"], format!("{whose} {user}"), "{refusal:?}");
        assert!(holders[0]["phones"].as_array().is_some_and(|phones| phones.len() >= 2), "{:#}", holders[0]);
    }
    assert_eq!(persons.len(), users.len() + refused.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unmatched_events_are_replayed_once_while_others_come_in() {
    let (account, folder, daemon, mut load) = begin(&rule("Stpe")).await;
    folder.edit("rules.toml", "writes = \"off\"", "writes = \"on\"");
    load.during(folder.run(&["reload"])).await.ok();
    load.round().await;
    let before = load.asked / (SENDERS * USERS);
    folder.edit("rules.toml", "event = \"Stpe\"", "event = \"Step\"");
    load.during(folder.run(&["reload"])).await.ok();
    // Two people at once, as it happens.
    let replay = async || {
        let all = json!({ "unmatched": {} });
        let reply = post_json(daemon.admin, "/api/events/replay", &all).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["unmatched"]["deliveries"].as_u64().expect("a count")
    };
    let (one, other) = load.during(async { tokio::join!(replay(), replay()) }).await;
    let after = load.asked / (SENDERS * USERS);
    load.round().await;
    let taken = load.end().await;
    // What was at the door when the trigger was mended.
    folder.run(&["events", "replay", "--unmatched"]).await.ok();
    daemon.all_ended().await;

    assert!(one + other > 0, "something was replayed");
    let deliveries = get(daemon.admin, "/api/events?rule=step&limit=1000").await.json();
    let deliveries = deliveries["deliveries"].as_array().expect("a list").len();
    assert_eq!(deliveries, taken, "replayed: {one} and {other}");
    let made = made(&account.mock);
    assert_eq!(made.values().map(Vec::len).sum::<usize>(), taken);
    for (user, numbers) in made {
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..taken / (SENDERS * USERS)).collect::<Vec<_>>(), "{user}");
        // What is replayed comes behind what waits already. Among itself it keeps its order, and so do those that came in by themselves.
        for part in [0..before, after..usize::MAX] {
            let of_part: Vec<_> = numbers.iter().filter(|n| part.contains(n)).collect();
            assert!(of_part.is_sorted(), "{user}: {of_part:?}");
        }
    }
}
