//! An embedded Pipedrive in the test's own process, behind HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use pipewright::mock::{self, Mock, MockOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::loopback;

/// An account that the test can make fail; served until it is dropped.
pub(crate) struct Served {
    pub(crate) mock: Arc<Mock>,
    pub(crate) at: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn start(options: MockOptions) -> Self {
        let (listener, at) = loopback().await;
        let mock = Mock::new(options);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(mock::serve(listener, mock.clone(), stopped));
        Self { mock, at, stop, task }
    }

    /// As `base_url` has it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Stops it and waits until it has ended.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.expect("the mock ends");
    }
}
