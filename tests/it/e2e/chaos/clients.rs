//! Clients that send the story, and send again what was not acknowledged.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::story::{CLIENTS, Story};
use crate::support::{CAP, Connection, Reply};

/// How long a client waits for an answer before it sends again, as SDKs do.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Clients {
    address: watch::Sender<Option<SocketAddr>>,
    open: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Clients {
    /// They begin as soon as there is somewhere to go.
    pub(super) fn start(story: &Story) -> Self {
        let (address, at) = watch::channel(None);
        let open = Arc::new(AtomicUsize::new(CLIENTS));
        let tasks = (0..CLIENTS).map(|client| {
            let users = story.users.iter().skip(client).step_by(CLIENTS);
            let events = users.map(|user| user.events.iter().cloned().collect()).collect();
            tokio::spawn(send_all(events, at.clone(), open.clone()))
        });
        Self { address, open: open.clone(), tasks: tasks.collect() }
    }

    /// Where the program listens now.
    pub(super) fn go_to(&self, at: Option<SocketAddr>) {
        self.address.send_replace(at);
    }

    /// Hears of it, too.
    pub(super) fn where_to(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.address.subscribe()
    }

    /// Whether everything is acknowledged.
    pub(super) fn done(&self) -> bool {
        self.open.load(Ordering::SeqCst) == 0
    }

    pub(super) async fn finish(self) {
        for task in self.tasks {
            tokio::time::timeout(2 * CAP, task).await.expect("everything is acknowledged in time").expect("a client ends well");
        }
    }
}

/// The events of each user in order; those of different users in turn, some of them together.
async fn send_all(mut users: Vec<VecDeque<Value>>, mut at: watch::Receiver<Option<SocketAddr>>, open: Arc<AtomicUsize>) {
    let mut together = 1;
    while users.iter().any(|events| !events.is_empty()) {
        let next = users.iter_mut().flat_map(|events| events.drain(..together.min(events.len()))).collect::<Vec<_>>();
        let batch = json!({ "batch": next, "writeKey": "mock" }).to_string();
        loop {
            let there = at.wait_for(Option::is_some).await.expect("the round goes on").expect("an address");
            match try_request(there, "POST", "/v1/batch", &batch).await {
                Some(reply) if reply.status == 200 => break,
                Some(reply) if matches!(reply.status, 429 | 503) => {}
                Some(reply) => panic!("{}: {}", reply.status, reply.text()),
                None => {}
            }
            // Gone or going: the next one listens elsewhere, or here in a moment.
            drop(tokio::time::timeout(Duration::from_millis(20), at.changed()).await);
        }
        together = together % 3 + 1;
    }
    open.fetch_sub(1, Ordering::SeqCst);
}

/// A request to a program that may die meanwhile.
pub(in super::super) async fn try_request(at: SocketAddr, method: &str, path: &str, body: &str) -> Option<Reply> {
    let exchange = async {
        let stream = TcpStream::connect(at).await.ok()?;
        let mut connection = Connection::try_over(stream, at.to_string()).await?;
        connection.try_send(method, path, &[("content-type", "application/json")], body.to_owned()).await.ok()
    };
    tokio::time::timeout(PATIENCE, exchange).await.ok()?
}
