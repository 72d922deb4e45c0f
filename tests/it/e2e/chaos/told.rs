//! The account's webhooks on their way to a program that comes and goes.

use std::net::SocketAddr;

use pipewright::mock::Mock;
use pipewright::pipedrive::{Method, Request};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::super::harness::KEY;
use crate::support::loopback;

/// One address for all programs of a round, as a proxy has it. Nobody answers there while none runs.
pub(super) struct Told {
    pub(super) at: SocketAddr,
    relay: tokio::task::JoinHandle<()>,
}

impl Told {
    /// Lets the account tell of everything, to whoever runs.
    pub(super) async fn start(mock: &Mock, program: watch::Receiver<Option<SocketAddr>>) -> Self {
        let (listener, at) = loopback().await;
        let relay = tokio::spawn(async move {
            let mut passed = JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                let Some(to) = *program.borrow() else { continue };
                passed.spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(to).await {
                        drop(tokio::io::copy_bidirectional(&mut from, &mut to).await);
                    }
                });
            }
        });
        let wish = json!({
            "subscription_url": format!("http://{at}/pipedrive/main"), "event_action": "*", "event_object": "*", "version": "2.0",
            "name": "told", "http_auth_user": "pipewright", "http_auth_password": KEY,
        });
        let made = mock.aside(&Request::new(Method::Post, "/api/v1/webhooks").body(wish));
        assert_eq!(made.status, 201);
        Self { at, relay }
    }

    /// How many webhooks were taken and how many were not.
    pub(super) fn end(self, mock: &Mock) -> (usize, usize) {
        self.relay.abort();
        let log = mock.webhook_log();
        let taken = log.iter().filter(|sent| sent.status == Some(200)).count();
        // Whoever answers has stored it, says why not, or is about to stop.
        let refused = log.iter().filter_map(|sent| sent.status).find(|status| !matches!(status, 200 | 503));
        assert_eq!(refused, None);
        (taken, log.len() - taken)
    }
}
