//! Running mended triggers over events that no rule wanted when they came.

use super::accept::{deliveries, row};
use crate::event::Event;
use crate::rules::ScriptSet;
use crate::store::{Dedupe, DeliveryFilter, Joined, Seq, Store, StoreError, UnmatchedFilter};

/// What a replay of unmatched events did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Replayed {
    /// Events looked at.
    pub seen: usize,
    /// Events that a rule wants now, and that were appended anew.
    pub events: usize,
    /// Deliveries made.
    pub deliveries: usize,
    /// Events that no rule wants now either.
    pub still_unmatched: usize,
    /// Where the next page begins; none: this was the last.
    pub next: Option<Seq>,
}

/// Makes the deliveries that the set's triggers want of a page of unmatched events, oldest first, at their lanes' tails.
/// A rule that has had a message already does not get it again, so that repeating the replay makes no second delivery.
///
/// # Errors
/// When the store fails; what was appended before stays.
pub async fn replay_unmatched(
    store: &dyn Store,
    set: &ScriptSet,
    rule: Option<&str>,
    filter: &UnmatchedFilter,
) -> Result<Replayed, StoreError> {
    let mut report = Replayed::default();
    let filter = UnmatchedFilter { after: Some(filter.after.unwrap_or(Seq(0))), ..filter.clone() };
    let page = store.unmatched(&filter).await?;
    if page.len() >= filter.limit.max(1) {
        report.next = page.last().map(|last| last.seq);
    }
    for kept in page {
        report.seen += 1;
        let Some(stored) = store.event(kept.seq).await? else { continue };
        let event = match Event::from_payload(&stored.source, stored.received_at, &stored.payload) {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(seq = kept.seq.0, %error, "an unmatched event cannot be read and is not replayed");
                continue;
            }
        };
        let mut wanted = deliveries(set, &event, &Joined::new(store.aliases()));
        report.still_unmatched += usize::from(wanted.is_empty());
        wanted.retain(|delivery| rule.is_none_or(|rule| rule == &*delivery.rule));
        let mut missing = Vec::with_capacity(wanted.len());
        for delivery in wanted {
            let had = DeliveryFilter {
                rule: Some(delivery.rule.to_string()),
                message_id: Some(event.message_id.clone()),
                limit: 1,
                ..DeliveryFilter::default()
            };
            if store.deliveries(&had).await?.is_empty() {
                missing.push(delivery);
            }
        }
        if !missing.is_empty() {
            report.events += 1;
            report.deliveries += missing.len();
            store.append(vec![row(event, stored.payload, missing, Dedupe::Never)]).await?;
        }
    }
    Ok(report)
}
