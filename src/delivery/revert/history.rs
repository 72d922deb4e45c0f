//! What a rule has done to which records, out of its decision records.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use crate::delivery::record::{Effect, StepRecord, StepState};
use crate::pipedrive::{Id, Kind};
use crate::plan::Written;
use crate::store::{DeliveryFilter, DeliveryId, DeliveryState, Seq, Store, StoreError};

/// Deliveries of one page.
const PAGE: usize = 500;

/// A record in Pipedrive.
pub(super) type Target = (Arc<str>, Kind, Id);

/// What was done to one of them.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Fields that were written, oldest first.
    pub(super) changes: Vec<Written>,
    /// It was created.
    pub(super) created: bool,
    /// What cannot be put back: it was merged, deleted, converted.
    pub(super) other: Vec<Effect>,
    /// By which deliveries, oldest first.
    pub(super) deliveries: Vec<DeliveryId>,
}

/// All that a rule did.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) touched: BTreeMap<Target, Touched>,
    /// Deliveries that changed something.
    pub(super) deliveries: u64,
    /// Raw requests: what they changed is not known.
    pub(super) requests: Vec<DeliveryId>,
    /// Deliveries whose record cannot be read.
    pub(super) unreadable: Vec<DeliveryId>,
}

/// One delivery's newest record, as far as it is of use here.
#[derive(Deserialize)]
struct Record {
    account: Arc<str>,
    finished_at: Timestamp,
    #[serde(default)]
    steps: Vec<StepRecord>,
}

/// Reads what a rule's deliveries did, of events received from `since` and before `until`.
pub(super) async fn read(store: &dyn Store, rule: &str, since: Timestamp, until: Option<Timestamp>) -> Result<Done, StoreError> {
    let mut done = Done::default();
    let mut records: Vec<(Timestamp, DeliveryId, Record)> = Vec::new();
    let mut before: Option<Seq> = None;
    loop {
        let filter = DeliveryFilter {
            states: vec![DeliveryState::Done, DeliveryState::Partial, DeliveryState::Uncertain, DeliveryState::Pending],
            rule: Some(rule.to_owned()),
            since: Some(since),
            before,
            limit: PAGE,
            ..DeliveryFilter::default()
        };
        let page = store.deliveries(&filter).await?;
        before = page.last().map(|row| row.id.seq);
        let full = page.len() >= PAGE;
        for row in page.into_iter().filter(|row| until.is_none_or(|until| row.received_at < until)) {
            // A later attempt's record holds the steps of those before it.
            let Some(newest) = store.records(&row.id).await?.pop() else { continue };
            match serde_json::from_slice::<Record>(&newest) {
                Ok(record) => records.push((row.received_at, row.id, record)),
                Err(_) => done.unreadable.push(row.id),
            }
        }
        if !full {
            break;
        }
    }
    records.sort_by(|(_, a_id, a), (_, b_id, b)| (a.finished_at, a_id).cmp(&(b.finished_at, b_id)));
    for (received_at, id, record) in records {
        let mut changed = false;
        for step in record.steps {
            changed |= done.step(&record.account, &id, step, (received_at, record.finished_at));
        }
        done.deliveries += u64::from(changed);
    }
    Ok(done)
}

impl Done {
    /// Notes what a step did; whether it changed something.
    fn step(&mut self, account: &Arc<str>, by: &DeliveryId, step: StepRecord, (from, to): (Timestamp, Timestamp)) -> bool {
        let StepState::Done { effect, id } = step.state else { return false };
        if !effect.wrote() {
            return false;
        }
        let (Some(kind), Some(id)) = (step.kind, id) else {
            self.requests.push(by.clone());
            return true;
        };
        let touched = self.touched.entry((account.clone(), kind, id)).or_default();
        match effect {
            Effect::Created => touched.created = true,
            Effect::Updated => touched.changes.extend(step.changes.into_iter().map(|change| Written { change, from, to })),
            other => touched.other.push(other),
        }
        if touched.deliveries.last() != Some(by) {
            touched.deliveries.push(by.clone());
        }
        true
    }
}
