//! The admin API on its two doors: the admin listener and the Unix socket.
//!
//! Invariants: a client that sends no headers within `server.header_timeout`, or no body within `server.body_timeout`, is cut; few
//! connections are open, further ones wait; nothing is left running after a stop's grace.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::socket::{self, SocketError};
use super::{Access, State, router};
use crate::config::Secret;

/// How long a stop waits for requests that are under way.
const GRACE: Duration = Duration::from_secs(3);
/// Open connections of one door.
const MAX_CONNECTIONS: usize = 256;

/// The admin API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Reachable from elsewhere, and nobody would be asked who they are.
    #[error("admin.listen = \"{0}\" can be reached from other machines; set admin.token, or listen on 127.0.0.1")]
    Open(SocketAddr),
    /// The listener has no address.
    #[error("the admin listener cannot be used: {0}")]
    Listener(#[from] std::io::Error),
    /// The command socket cannot be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

/// Serves the admin API on a TCP listener until `shutdown` says true (or its sender is gone), then for a short grace.
///
/// # Errors
/// At once, when the listener is not on loopback and there is no token.
pub fn serve(
    listener: TcpListener,
    state: State,
    token: Option<Secret>,
    shutdown: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + Send + 'static, ConsoleError> {
    let addr = listener.local_addr()?;
    let access = match token {
        Some(token) => Access::Token(token),
        None if addr.ip().is_loopback() => Access::Loopback,
        None => return Err(ConsoleError::Open(addr)),
    };
    Ok(run(listener, state, access, shutdown))
}

/// Serves the admin API on the data folder's command socket, likewise. The socket is bound when this returns.
///
/// # Errors
/// When another daemon answers on it, or it cannot be made.
pub fn serve_socket(
    data_dir: &Path,
    state: State,
    shutdown: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + Send + 'static, ConsoleError> {
    let (listener, file) = socket::bind(data_dir)?;
    Ok(async move {
        run(listener, state, Access::Socket, shutdown).await;
        drop(file);
    })
}

async fn run<L>(mut listener: L, state: State, access: Access, mut shutdown: watch::Receiver<bool>)
where
    L: Listener<Io: AsyncRead + AsyncWrite + Unpin + Send>,
{
    let live = state.live.clone();
    let service = TowerToHyperService::new(router(state, access));
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    // Dropped to cut what has not ended in time.
    let (cut, _) = watch::channel(());

    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
            (slot, listener.accept().await.0)
        };
        let (slot, stream) = tokio::select! {
            biased;
            // An error means that the sender is gone, and with it the daemon.
            _ = shutdown.wait_for(|stop| *stop) => break,
            connection = next => connection,
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(live.load().config.server.header_timeout.get())
            .serve_connection(TokioIo::new(stream), service.clone());
        let connection = graceful.watch(connection);
        let mut cut = cut.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "an admin connection ended early");
                },
                // Nothing is ever sent: this ends when the sender is dropped.
                _ = cut.changed() => {}
            }
            drop(slot);
        });
    }

    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::debug!("admin requests cut off at shutdown");
    }
    drop(cut);
}
