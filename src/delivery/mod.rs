//! Lanes, workers, executing a plan, retry policy, reconciliation.
//!
//! Invariants: deliveries of one rule and lane run in the order in which their events were accepted, across retries and
//! restarts; an entity has one writer at a time; nothing that changes a record is sent before the plan is pinned. Options that
//! `on_unknown: "create"` adds come before it: their ids are part of the plan.

mod ahead;
mod apply;
mod archived;
mod attempt;
mod backfill;
mod budget;
mod cause;
mod change;
mod clock;
mod control;
mod converted;
mod creates;
mod decide;
mod direct;
mod edit;
mod erasure;
mod execute;
mod handle;
mod hold;
mod import;
mod lanes;
mod links;
mod locks;
mod new_options;
mod outage;
mod pauses;
mod pinned;
mod policy;
mod reads;
mod record;
mod replay;
mod restored;
mod revert;
mod runtime;
mod scheduler;
mod shadow;
mod trouble;
mod wake;

pub use creates::Creates;
pub use direct::{Finished, run_to_end};
pub use erasure::{Counts, Erasure, Person, Progress, Tombstone, follow as follow_deletes};
pub use handle::{
    AccountStatus, Command, ControlError, DeliveryStatus, Dropped, Edited, Handle, PauseInfo, Replayed, RuleStatus, Scope,
};
pub use hold::PlanHold;
pub use import::{IdImport, IdPair, ImportError, Imported, RefusedPair};
pub use locks::Locks;
pub use record::{Effect, Record, Resolution, StepRecord, StepState};
pub use restored::RestoredFrom;
pub use revert::{Page as RevertPage, Place, Revert, RevertError, Reverted, Wish as RevertWish};
pub use runtime::Runtime;
pub use scheduler::Scheduler;
pub use shadow::{ShadowDifference, ShadowEnds, Shadows};
pub use wake::Wakeup;
