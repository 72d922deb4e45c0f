//! The five failure classes. Every error enum of the crate maps each of its variants to exactly one of them; what is done
//! about a failure depends on the class alone, never on the text of a message.

use serde::{Deserialize, Serialize};

/// What a failure means for the delivery, the lane and the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Likely to go away by itself (5xx, connect error, time-out of a read): retried with backoff; the lane waits.
    Transient,
    /// Too many requests or no budget (429, HTML 403): waits until it may go on; no attempt is charged.
    Throttled,
    /// A write was sent and its answer did not arrive: reconciled before anything is sent again.
    UnknownOutcome,
    /// Will fail the same way again (400, script error, validation): dead letter; the lane goes on.
    Permanent,
    /// The account or the rule is set up wrongly (401, 402, JSON 403, an unknown name): it pauses, loudly.
    Misconfigured,
}

impl FailureClass {
    /// The class as it is written in records, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::UnknownOutcome => "unknown_outcome",
            Self::Permanent => "permanent",
            Self::Misconfigured => "misconfigured",
        }
    }
}

impl std::fmt::Display for FailureClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
