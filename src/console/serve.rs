//! The admin API on its two doors: the admin listener and the Unix socket.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::socket::{self, SocketError};
use super::{Access, State, router};
use crate::config::Secret;

/// How long a stop waits for requests that are under way.
const GRACE: Duration = Duration::from_secs(3);

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

async fn run<L>(listener: L, state: State, access: Access, shutdown: watch::Receiver<bool>)
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let stopped = |mut shutdown: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, and with it the daemon.
        drop(shutdown.wait_for(|stop| *stop).await);
    };
    let late = {
        let stopped = stopped(shutdown.clone());
        async move {
            stopped.await;
            tokio::time::sleep(GRACE).await;
        }
    };
    let serving = axum::serve(listener, router(state, access)).with_graceful_shutdown(stopped(shutdown));
    tokio::select! {
        served = serving => if let Err(error) = served {
            tracing::error!(%error, "admin listener ended");
        },
        () = late => tracing::debug!("admin requests cut off at shutdown"),
    }
}
