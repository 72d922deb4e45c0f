//! The listener: connections, their number, their time-outs, their end.
//!
//! Invariants: no more than `server.max_connections` are open, further ones wait in the accept queue; a client that sends no
//! headers within `server.header_timeout`, also between two requests, is cut; at a stop no new connection is taken, requests
//! under way get their answer within `server.shutdown_grace`, and nothing is left running afterwards.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Ingest;
use super::door::Door;
use super::files;
use crate::crash;

/// Largest request head, and the size of read buffers.
const MAX_HEAD: usize = 64 * 1024;

/// How long to wait after a connection could not be accepted, such as for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves events until `shutdown` is true (or its sender is gone); returns after the connections have ended.
pub async fn serve(listener: TcpListener, ingest: Ingest, mut shutdown: watch::Receiver<bool>) {
    let live = ingest.live.clone();
    let door = Arc::new(Door::new(ingest));
    let slots = Arc::new(Semaphore::new(files::connections(live.load().config.server.max_connections)));
    door.ingest.metrics.connections_limited(slots.available_permits());
    let graceful = GracefulShutdown::new();
    // Dropped to cut what has not ended in time.
    let (cut, _) = watch::channel(());

    loop {
        let (slot, stream) = tokio::select! {
            biased;
            () = stopped(&mut shutdown) => break,
            connection = next(&listener, &slots) => connection,
        };
        let connection = connection(&door, stream);
        let connection = graceful.watch(connection);
        let counted = door.ingest.metrics.connection_opened();
        let mut cut = cut.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    crash::point(crash::AFTER_ANSWER);
                }
                // Nothing is ever sent: this ends when the sender is dropped.
                _ = cut.changed() => {}
            }
            drop((slot, counted));
        });
    }

    drop(listener);
    let grace = live.load().config.server.shutdown_grace.get();
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections to the event listener were cut at the end of server.shutdown_grace");
    }
    drop(cut);
}

/// The next connection, with its slot.
async fn next(listener: &TcpListener, slots: &Arc<Semaphore>) -> (OwnedSemaphorePermit, TcpStream) {
    let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (slot, stream),
            Err(error) => {
                tracing::warn!(%error, "a connection to the event listener could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn connection(
    door: &Arc<Door>,
    stream: TcpStream,
) -> http1::Connection<
    TokioIo<TcpStream>,
    impl hyper::service::Service<
        http::Request<hyper::body::Incoming>,
        Response = super::refused::Answer,
        Error = Infallible,
        Future: Send,
    > + use<>,
> {
    // Answers are one small write each; waiting to fill a packet would only delay them. Without it all still works.
    drop(stream.set_nodelay(true));
    let header_timeout = door.ingest.live.load().config.server.header_timeout.get();
    let door = door.clone();
    let service = service_fn(move |request| {
        let door = door.clone();
        async move { Ok::<_, Infallible>(door.answer(request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
}

async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    drop(shutdown.wait_for(|stop| *stop).await);
}
