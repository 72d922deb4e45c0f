//! The handle that the admin API holds on the scheduler.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::config::Writes;
use crate::crm::{MirrorStatus, WebhooksStatus};
use crate::event::Event;
use crate::failure::FailureClass;
use crate::store::{DeliveryId, ReplayOptions, Seq};

/// What a pause holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All deliveries of an account.
    Account(String),
    /// All deliveries of a rule.
    Rule(String),
}

/// Why something is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseInfo {
    /// For a person.
    pub reason: String,
    /// The class that caused it; none when a person did.
    pub class: Option<FailureClass>,
    /// Since when.
    pub since: jiff::Timestamp,
    /// When it is tried again by itself; none: only by `resume` or a reload.
    pub until: Option<jiff::Timestamp>,
}

/// How an account stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStatus {
    /// Name.
    pub name: String,
    /// Deliveries that are not finished.
    pub pending: u64,
    /// Under way now.
    pub running: u64,
    /// Whether anything is written to it; none while it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<Writes>,
    /// Deliveries that ended as observed since the start.
    #[serde(default)]
    pub observed: u64,
    /// Set when paused.
    pub paused: Option<PauseInfo>,
    /// When its budget will be spent and who waits before, a sentence; none while it suffices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// How it differs from its schema file: what was renamed or deleted in Pipedrive, and what to do, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schema: Vec<String>,
    /// Which lists are kept, and what a look-up costs so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirror: Vec<MirrorStatus>,
    /// How Pipedrive's webhooks stand; none where `rules.toml` has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<WebhooksStatus>,
}

/// How a rule stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleStatus {
    /// Name.
    pub name: String,
    /// Deliveries that are not finished.
    pub pending: u64,
    /// Under way now.
    #[serde(default)]
    pub running: u64,
    /// Set when paused.
    pub paused: Option<PauseInfo>,
}

/// How delivery stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryStatus {
    /// Lanes with something in them.
    pub lanes: u64,
    /// Deliveries that are not finished.
    pub pending: u64,
    /// Under way now.
    pub running: u64,
    /// Waiting for a retry.
    pub waiting: u64,
    /// Waiting for what they link to.
    #[serde(default)]
    pub parked: u64,
    /// Held by a pause of their account or rule; those that wait besides are among them.
    #[serde(default)]
    pub held: u64,
    /// Held with their plans by a rollback, until `unpin`.
    #[serde(default)]
    pub plans_held: u64,
    /// By account.
    pub accounts: Vec<AccountStatus>,
    /// By rule.
    pub rules: Vec<RuleStatus>,
}

/// A delivery that was made anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// The old one.
    pub of: DeliveryId,
    /// The new one.
    pub id: DeliveryId,
}

/// An event that was made anew as a person edited it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// The new event.
    pub event: Seq,
    /// Its deliveries, in rule order.
    pub deliveries: Vec<DeliveryId>,
    /// Rules that had the original and do not want it any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Arc<str>>,
}

/// What became of deliveries that an erasure wants gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many were dropped.
    pub dropped: u64,
    /// Those under way: they will have ended or wait again soon.
    pub under_way: Vec<DeliveryId>,
}

/// A command that could not be carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    /// No such account, rule or delivery.
    #[error("{0}")]
    Unknown(String),
    /// Not possible in its state.
    #[error("{0}")]
    Refused(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The scheduler has stopped.
    #[error("the daemon is shutting down")]
    Stopped,
}

type Reply<T> = oneshot::Sender<Result<T, ControlError>>;

/// What the handle asks the scheduler.
#[derive(Debug)]
pub enum Command {
    /// How do you stand?
    Status(Reply<DeliveryStatus>),
    /// Hold a scope.
    Pause(Scope, String, Reply<()>),
    /// Let it go on.
    Resume(Scope, Reply<()>),
    /// Make finished deliveries anew, with the current script, at their lanes' tails.
    Replay(Vec<DeliveryId>, ReplayOptions, Reply<Vec<Replayed>>),
    /// Make an event anew as it was edited.
    Edit(Seq, Box<Event>, ReplayOptions, Reply<Edited>),
    /// Carry out observed deliveries after all.
    Release(Vec<DeliveryId>, Reply<u64>),
    /// Drop pending or failed deliveries for good.
    Discard(Vec<DeliveryId>, Reply<u64>),
    /// Drop pending deliveries whose user is being erased.
    DropForErasure(Vec<DeliveryId>, Reply<Dropped>),
    /// Which of these are under way?
    UnderWay(Vec<DeliveryId>, Reply<Vec<DeliveryId>>),
    /// The live set was swapped: pauses of misconfigured rules and accounts are tried again.
    Reloaded,
}

/// Talks to the scheduler.
#[derive(Debug, Clone)]
pub struct Handle(pub(crate) mpsc::Sender<Command>);

impl Handle {
    /// A handle and the scheduler's end of it.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(64);
        (Self(sender), receiver)
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, ControlError> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(command(sender)).await.map_err(|_| ControlError::Stopped)?;
        receiver.await.map_err(|_| ControlError::Stopped)?
    }

    /// How delivery stands.
    ///
    /// # Errors
    /// When the scheduler has stopped.
    pub async fn status(&self) -> Result<DeliveryStatus, ControlError> {
        self.ask(Command::Status).await
    }

    /// Holds an account or a rule until [`Handle::resume`]. What is under way goes on to its end: the status says how much that is.
    ///
    /// # Errors
    /// When there is no such account or rule.
    pub async fn pause(&self, scope: Scope, reason: String) -> Result<(), ControlError> {
        self.ask(|reply| Command::Pause(scope, reason, reply)).await
    }

    /// Lets an account or a rule go on.
    ///
    /// # Errors
    /// When there is no such account or rule.
    pub async fn resume(&self, scope: Scope) -> Result<(), ControlError> {
        self.ask(|reply| Command::Resume(scope, reply)).await
    }

    /// Makes finished deliveries anew.
    ///
    /// # Errors
    /// When one of them does not exist or is not finished; then none is made.
    pub async fn replay(&self, ids: Vec<DeliveryId>, how: ReplayOptions) -> Result<Vec<Replayed>, ControlError> {
        self.ask(|reply| Command::Replay(ids, how, reply)).await
    }

    /// Makes an event anew as it was edited; its deliveries repeat those of the original.
    ///
    /// # Errors
    /// When it is not kept, has unfinished deliveries, or no rule wants it so.
    pub async fn edit(&self, seq: Seq, event: Event, how: ReplayOptions) -> Result<Edited, ControlError> {
        self.ask(|reply| Command::Edit(seq, Box::new(event), how, reply)).await
    }

    /// Carries out observed deliveries after all, each in its old place before newer ones of its rule and key; answers how many.
    ///
    /// # Errors
    /// When one of them does not exist, was not only observed, or would be observed again; then none is released.
    pub async fn release(&self, ids: Vec<DeliveryId>) -> Result<u64, ControlError> {
        self.ask(|reply| Command::Release(ids, reply)).await
    }

    /// Drops pending or failed deliveries for good; answers how many.
    ///
    /// # Errors
    /// When one of them does not exist or is under way; then none is dropped.
    pub async fn discard(&self, ids: Vec<DeliveryId>) -> Result<u64, ControlError> {
        self.ask(|reply| Command::Discard(ids, reply)).await
    }

    /// Drops those of the deliveries that are pending and not under way.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn drop_for_erasure(&self, ids: Vec<DeliveryId>) -> Result<Dropped, ControlError> {
        self.ask(|reply| Command::DropForErasure(ids, reply)).await
    }

    /// Those of the deliveries that are under way.
    ///
    /// # Errors
    /// When the scheduler has stopped.
    pub async fn under_way(&self, ids: Vec<DeliveryId>) -> Result<Vec<DeliveryId>, ControlError> {
        self.ask(|reply| Command::UnderWay(ids, reply)).await
    }

    /// Tells the scheduler that another set is live.
    pub async fn reloaded(&self) {
        // A stopped scheduler needs no telling.
        drop(self.0.send(Command::Reloaded).await);
    }
}
