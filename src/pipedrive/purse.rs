//! Where the tokens of a request come from. The wire asks before it sends; who keeps the account's budget stands above it.

use std::fmt::Debug;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Caller, Purpose};

/// Keeps the tokens of one account.
pub trait Purse: Debug + Send + Sync + 'static {
    /// Takes the tokens of a request that is sent now.
    ///
    /// # Errors
    /// When the budget has no tokens for it: then it is not sent.
    fn take(&self, caller: &Caller, purpose: Purpose, tokens: u32) -> Result<(), Withheld>;

    /// Notes tokens that need not be spent.
    fn saved(&self, caller: &Caller, saving: Saving, tokens: u32);
}

/// The budget has no tokens for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// The numbers, for a person; no value of an event is in it.
    pub reason: String,
    /// How long until there are tokens again.
    pub wait: Duration,
}

/// What spares requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Saving {
    /// The match index knew the entity: no search.
    MatchIndex,
    /// The known values say that nothing changes: no write.
    KnownValues,
    /// The mirror knew that there is none: no search.
    Mirror,
    /// Several updates of one entity went out as one.
    Squash,
    /// Several look-ups went out as one.
    Batch,
}

impl Saving {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::MatchIndex, Self::KnownValues, Self::Mirror, Self::Squash, Self::Batch];

    /// As it stands in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MatchIndex => "match_index",
            Self::KnownValues => "known_values",
            Self::Mirror => "mirror",
            Self::Squash => "squash",
            Self::Batch => "batch",
        }
    }

    /// In a person's words.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::MatchIndex => "searches that the match index spared",
            Self::KnownValues => "writes of what stands there already",
            Self::Mirror => "searches that the mirror spared",
            Self::Squash => "updates that went out with another one",
            Self::Batch => "look-ups that went out with others",
        }
    }
}
