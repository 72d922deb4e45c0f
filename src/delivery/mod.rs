//! Lanes, workers, executing a plan, retry policy, reconciliation.
//!
//! Invariants: deliveries of one rule and lane run in the order in which their events were accepted, across retries and
//! restarts; an entity has one writer at a time; nothing that changes data is sent before the plan is pinned.

mod handle;

pub use handle::{AccountStatus, Command, ControlError, DeliveryStatus, Handle, PauseInfo, Replayed, RuleStatus, Scope};
