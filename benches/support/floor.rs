//! The floor under every durable store: append to a file, one fdatasync for all who wait, nothing else.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

type Call = (Vec<Bytes>, oneshot::Sender<()>);

/// A file with a writer thread.
#[derive(Debug, Clone)]
pub(crate) struct Floor(mpsc::Sender<Call>);

impl Floor {
    /// Starts the writer; it ends with the last clone.
    pub(crate) fn start(path: &Path) -> (Self, JoinHandle<()>) {
        let mut file = File::create(path).expect("the file can be made");
        let (sender, mut receiver) = mpsc::channel::<Call>(8_192);
        let thread = std::thread::spawn(move || {
            let mut calls = Vec::new();
            while receiver.blocking_recv_many(&mut calls, 2_048) > 0 {
                let group: Vec<u8> = calls.iter().flat_map(|(payloads, _)| payloads.iter().flatten().copied()).collect();
                file.write_all(&group).expect("the file can be written");
                file.sync_data().expect("the file can be synced");
                for (_, reply) in calls.drain(..) {
                    reply.send(()).expect("a producer waits for its answer");
                }
            }
        });
        (Self(sender), thread)
    }

    /// Appends; durable when it returns.
    pub(crate) async fn append(&self, payloads: Vec<Bytes>) {
        let (reply, answer) = oneshot::channel();
        self.0.send((payloads, reply)).await.expect("the writer lives");
        answer.await.expect("the writer answers");
    }
}
