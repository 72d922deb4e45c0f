//! Creates that are under way or just answered, so that nobody who looks for a lost one takes them.
//!
//! Invariants: a create stands here from before it is sent until the store has what became of it, so a reconciliation that does
//! not find it here finds it in the store's known values. One that may be what is looked for, and has no answer yet, is waited
//! for; those that wait hold nothing that the one under way needs.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::watch;

use super::reconcile::same_content;
use crate::pipedrive::{Entity, Id, Kind};
use crate::store::DeliveryId;

/// The creates under way. Clones share them.
#[derive(Debug, Clone)]
pub struct Claims(Arc<watch::Sender<Vec<Claim>>>);

#[derive(Debug)]
struct Claim {
    account: Arc<str>,
    kind: Kind,
    by: DeliveryId,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Sent, and not answered yet.
    Sent(Map<String, Value>),
    /// Answered with this id, which the store may not have yet.
    Has(Id),
}

impl Default for Claims {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }
}

impl Claims {
    /// A delivery is about to send a create.
    pub fn sending(&self, account: &Arc<str>, kind: Kind, by: &DeliveryId, body: &Map<String, Value>) {
        self.add(account, kind, by, What::Sent(body.clone()));
    }

    /// A delivery's create was answered, or found.
    pub fn answered(&self, account: &Arc<str>, kind: Kind, by: &DeliveryId, id: &Id) {
        self.add(account, kind, by, What::Has(id.clone()));
    }

    fn add(&self, account: &Arc<str>, kind: Kind, by: &DeliveryId, what: What) {
        let claim = Claim { account: account.clone(), kind, by: by.clone(), what };
        self.0.send_modify(|claims| {
            claims.retain(|c| c.by != claim.by || matches!(c.what, What::Has(_)));
            claims.push(claim);
        });
    }

    /// A delivery's create was refused, or its answer was lost: it is no longer under way.
    pub fn lost(&self, by: &DeliveryId) {
        self.remove(|claim| claim.by == *by && matches!(claim.what, What::Sent(_)));
    }

    /// The store has what a delivery created.
    pub fn settled(&self, by: &DeliveryId) {
        self.remove(|claim| claim.by == *by);
    }

    fn remove(&self, which: impl Fn(&Claim) -> bool) {
        self.0.send_if_modified(|claims| {
            let before = claims.len();
            claims.retain(|claim| !which(claim));
            claims.len() != before
        });
    }

    /// Whether another delivery has created this entity. Waits for the answers of those that may have.
    pub(super) async fn taken(&self, account: &str, kind: Kind, by: &DeliveryId, id: &Id, entity: &Entity) -> bool {
        let mut changes = self.0.subscribe();
        loop {
            let mut open = false;
            for claim in changes.borrow_and_update().iter() {
                if *claim.account != *account || claim.kind != kind || claim.by == *by {
                    continue;
                }
                match &claim.what {
                    What::Has(theirs) if theirs == id => return true,
                    What::Has(_) => {}
                    What::Sent(body) => open |= same_content(kind, body, entity),
                }
            }
            // The sender lives as long as `self`.
            if !open || changes.changed().await.is_err() {
                return false;
            }
        }
    }
}
