//! Lists that several deliveries ask for at the same time, read once: the deals of one person, the leads of one organization.
//!
//! Invariants: an answer is shared only with those whose work began before the list was asked for, so nobody is told what was so before;
//! a request that the budget has kept back answers nobody else; who waits for another's list takes no place from those who could go on; the
//! records of all who shared a list say so.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Account;
use crate::pipedrive::{ApiError, Entity, ErrorKind, Kind, PAGE, Purpose, Request, Saving, Session, tokens};

/// Kind, filters, and how long it may be.
type Key = (Kind, Vec<(String, String)>, usize);
/// Held by whoever reads; what it was told last.
type Flight = tokio::sync::Mutex<Option<Read>>;

/// Lists that are read or waited for.
#[derive(Debug, Default)]
pub(super) struct Lists(Mutex<HashMap<Key, Arc<Flight>>>);

#[derive(Debug)]
struct Read {
    /// Before it was sent.
    began: Instant,
    /// The same by the wall clock.
    at: Timestamp,
    answer: Result<Arc<[Entity]>, ApiError>,
}

/// Somebody who reads or waits. What nobody wants any more is forgotten.
struct Ticket<'l> {
    lists: &'l Lists,
    key: Key,
    flight: Arc<Flight>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut flights = self.lists.0.lock();
        // The map's and ours.
        if Arc::strong_count(&self.flight) == 2 {
            flights.remove(&self.key);
        }
    }
}

impl Lists {
    fn ticket(&self, key: Key) -> Ticket<'_> {
        let flight = self.0.lock().entry(key.clone()).or_default().clone();
        Ticket { lists: self, key, flight }
    }
}

impl Account {
    /// The entities that fit the filters, at most `max`, as of a moment after the session's work began.
    ///
    /// # Errors
    /// Any failure of one of its pages.
    pub(super) async fn list(
        &self,
        session: &Session,
        kind: Kind,
        filters: &[(&str, String)],
        max: usize,
    ) -> Result<Arc<[Entity]>, ApiError> {
        let named = filters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let ticket = self.lists.ticket((kind, named, max));
        let mut last = match ticket.flight.try_lock() {
            Ok(last) => last,
            Err(_) => {
                let _waiting = self.gathering.wait();
                ticket.flight.lock().await
            }
        };
        if let Some(read) = last.as_ref().filter(|read| read.began >= session.caller().began) {
            let mut request = Request::get(kind.path());
            for (name, value) in filters {
                request = request.query(name, value.as_str());
            }
            session.trace().shared(&request, Purpose::Lookup, read.at, read.answer.as_ref().err());
            if let Ok(entities) = &read.answer {
                let pages = u32::try_from(entities.len().div_ceil(PAGE).max(1)).unwrap_or(u32::MAX);
                session.saved(Saving::Batch, tokens(&request).saturating_mul(pages));
            }
            return read.answer.clone();
        }
        let (began, at) = (Instant::now(), Timestamp::now());
        let answer = session.list(kind, filters, max, Purpose::Lookup).await.map(Arc::from);
        let kept_back = matches!(&answer, Err(ApiError { kind: ErrorKind::Withheld { .. }, .. }));
        *last = (!kept_back).then(|| Read { began, at, answer: answer.clone() });
        answer
    }
}
