//! Reads of single entities, made together where many are wanted at the same time: a list of up to 100 ids costs what ten reads do, and is
//! one request.
//!
//! Invariants: what is answered was read after it was asked for; what a list does not have is read by itself, since lists leave archived
//! deals out; while nothing else is under way nobody waits for company.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Account;
use crate::pipedrive::{ApiError, BATCH_FROM, Entity, IDS, Id, Kind, Purpose, Request, Saving, Session, is_made_up};

/// How long a read waits for others while there is something else to do.
const GATHER: Duration = Duration::from_secs(1);

/// So many that wait are not made to wait for more.
const ENOUGH: usize = 50;

/// What whoever read for others tells one of them.
#[derive(Debug)]
enum Answer {
    /// What it is.
    Entity(Box<Entity>),
    /// It is to be read by itself.
    Alone,
    /// The request failed.
    Failed(Box<ApiError>),
}

type Asked = (Id, oneshot::Sender<Answer>);

/// Reads that wait, by kind.
#[derive(Debug, Default)]
pub(super) struct Together {
    waiting: Mutex<HashMap<Kind, Vec<Asked>>>,
    /// Held by whoever reads.
    turn: tokio::sync::Mutex<()>,
}

impl Account {
    /// One entity as it is now; none when it is gone or marked deleted.
    ///
    /// # Errors
    /// Any failure but 404 and 410.
    pub async fn read(&self, session: &Session, kind: Kind, id: &Id, purpose: Purpose) -> Result<Option<Entity>, ApiError> {
        if !kind.is_v2() || is_made_up(id).is_some() || !self.gathering.is_scheduled() {
            return session.get(kind, id, purpose).await;
        }
        loop {
            let alone = self.gathering.alone();
            tokio::pin!(alone);
            alone.as_mut().enable();
            let (sender, mut answer) = oneshot::channel();
            let asked = Timestamp::now();
            self.together.waiting.lock().entry(kind).or_default().push((id.clone(), sender));
            let waiting = self.gathering.wait();
            let told = tokio::select! {
                biased;
                told = &mut answer => told,
                _turn = self.together.turn.lock() => {
                    self.gathering.gather(Some(Instant::now() + GATHER), ENOUGH, alone).await;
                    self.read_together(session, kind, purpose).await;
                    (&mut answer).await
                }
            };
            drop(waiting);
            match told {
                Ok(Answer::Entity(entity)) => {
                    // Who read for all has spent what ten reads cost.
                    session.saved(Saving::Batch, 1);
                    session.trace().shared(&Request::get(format!("{}/{id}", kind.path())), purpose, asked, None);
                    return Ok(Some(*entity));
                }
                Ok(Answer::Alone) => return session.get(kind, id, purpose).await,
                Ok(Answer::Failed(error)) => return Err(*error),
                // Whoever read has been stopped half-way.
                Err(_) => {}
            }
        }
    }

    /// Reads for all who wait for one of a kind.
    async fn read_together(&self, session: &Session, kind: Kind, purpose: Purpose) {
        let asked = self.together.waiting.lock().remove(&kind).unwrap_or_default();
        // Who was stopped wants no answer any more.
        let mut asked: Vec<Asked> = asked.into_iter().filter(|(_, sender)| !sender.is_closed()).collect();
        asked.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut ids: Vec<Id> = asked.iter().map(|(id, _)| id.clone()).collect();
        ids.dedup();
        if ids.len() < BATCH_FROM {
            for (_, sender) in asked {
                drop(sender.send(Answer::Alone));
            }
            return;
        }
        for ids in ids.chunks(IDS) {
            let read = session.get_many(kind, ids, purpose).await;
            let those: Vec<Asked> = {
                let (those, others) = std::mem::take(&mut asked).into_iter().partition(|(id, _)| ids.contains(id));
                asked = others;
                those
            };
            for (id, sender) in those {
                let answer = match &read {
                    Ok(read) => match read.iter().find(|(there, _)| *there == id) {
                        Some((_, entity)) => Answer::Entity(Box::new(entity.clone())),
                        None => Answer::Alone,
                    },
                    Err(error) => Answer::Failed(Box::new(error.clone())),
                };
                drop(sender.send(answer));
            }
        }
    }
}
