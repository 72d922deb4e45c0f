//! What became of the runs of shadow scripts.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::DeliveryId;

/// Differing deliveries that are kept of one rule, the newest.
pub const SHADOW_DIFFERENCES: usize = 100;

/// What a run of a shadow script came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShadowVerdict {
    /// It makes the same of the event as the rule's own script.
    Same,
    /// It makes something else of it.
    Different,
    /// It reads what the rule's own script did not read, or not after the same writes.
    Unknown,
    /// It fails, or ran into its deadline.
    Failed,
    /// It was not run: others waited already.
    Dropped,
}

impl ShadowVerdict {
    /// Every verdict, in a fixed order.
    pub const ALL: [Self; 5] = [Self::Same, Self::Different, Self::Unknown, Self::Failed, Self::Dropped];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different => "different",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

impl fmt::Display for ShadowVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One run of a shadow script, to be counted.
#[derive(Debug, Clone)]
pub struct ShadowRun {
    /// Delivery.
    pub id: DeliveryId,
    /// When.
    pub at: jiff::Timestamp,
    /// Names both scripts by their content: with others the count begins anew.
    pub scripts: String,
    /// What it came to.
    pub verdict: ShadowVerdict,
    /// Where it is not the same: how (JSON). Kept with the event, of the newest [`SHADOW_DIFFERENCES`] of a rule.
    pub difference: Option<Vec<u8>>,
}

/// How many runs of a rule's shadow came to what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowCount {
    /// Rule.
    pub rule: Arc<str>,
    /// The scripts, as [`ShadowRun::scripts`] names them.
    pub scripts: String,
    /// What.
    pub verdict: ShadowVerdict,
    /// How many.
    pub runs: u64,
    /// When the first of them was.
    pub since: jiff::Timestamp,
}

/// A delivery of which the shadow makes something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowRow {
    /// Delivery.
    pub id: DeliveryId,
    /// When.
    pub at: jiff::Timestamp,
    /// How (JSON).
    pub difference: Vec<u8>,
}
