//! An environment of its own: accounts, match index, known values, and deliveries that run to their end at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::RwLock;
use serde::Serialize;
use serde_json::{Value as Json, json};
use tokio::sync::watch;

use super::room::Room;
use crate::config::{AccountConfig, MirrorMode, Writes};
use crate::crm::{Account, Metadata};
use crate::delivery::{self, Creates, Locks, PlanHold, Runtime, Wakeup};
use crate::event::Event;
use crate::ingest;
use crate::mock::Mock;
use crate::pipedrive::{Client, ClientOptions, HttpTransport, Trace, Transport, base_url};
use crate::rules::{Rule, ScriptSet};
use crate::store::{Appended, Dedupe, DeliveryState, Joined, NewEvent, Store as _, StoreError, Write};

/// Attempts against a mock: what passes by itself is tried again at once.
const ATTEMPTS: u32 = 3;

/// Where a sandbox's requests go.
#[derive(Clone)]
pub enum Door {
    /// All accounts to one embedded Pipedrive, which is written to.
    Mock {
        /// It.
        mock: Arc<Mock>,
        /// Its metadata, when it is known; else it is fetched.
        metadata: Option<Arc<Metadata>>,
    },
    /// To the accounts as they are configured, with reads only.
    ReadOnly,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mock { .. } => "Mock",
            Self::ReadOnly => "ReadOnly",
        })
    }
}

/// Why a sandbox cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Its store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An account cannot be reached as it is configured.
    #[error("[pipedrive.{account}]: {reason}")]
    Account {
        /// Account.
        account: String,
        /// Why.
        reason: String,
    },
}

/// One delivery that has run to its end.
#[derive(Debug, Clone, Serialize)]
pub struct Delivered {
    /// Rule.
    pub rule: Arc<str>,
    /// Account.
    pub account: Arc<str>,
    /// Its state; pending when the daemon would try again later.
    pub state: DeliveryState,
    /// Why, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The decision record of each attempt, oldest first.
    pub records: Vec<Json>,
}

impl Delivered {
    /// Whether it failed, or would wait for a person.
    #[must_use]
    pub const fn failed(&self) -> bool {
        matches!(self.state, DeliveryState::Dead | DeliveryState::Partial | DeliveryState::Uncertain | DeliveryState::Pending)
    }

    /// The last decision record.
    #[must_use]
    pub fn record(&self) -> Json {
        self.records.last().cloned().unwrap_or(Json::Null)
    }

    /// The steps of the plan, as the last attempt left them.
    pub(super) fn plan(&self) -> Vec<Json> {
        self.record().get("steps").and_then(Json::as_array).cloned().unwrap_or_default()
    }

    /// All requests, over all attempts.
    pub(super) fn requests(&self) -> Vec<Json> {
        let of = |record: &Json| record.get("exchanges").and_then(Json::as_array).cloned().unwrap_or_default();
        self.records.iter().flat_map(of).collect()
    }

    /// What the script logged in the last attempt.
    pub(super) fn logs(&self) -> Json {
        self.record().get("logs").cloned().unwrap_or_else(|| json!([]))
    }
}

/// An environment of its own.
pub struct Sandbox {
    room: Arc<Room>,
    runtime: Arc<Runtime>,
    set: Arc<ScriptSet>,
    attempts: u32,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Makes one in a room. What an earlier one learned there is forgotten.
    ///
    /// # Errors
    /// When the store fails, or an account cannot be reached as it is configured.
    pub async fn new(room: Arc<Room>, set: Arc<ScriptSet>, door: &Door) -> Result<Self, SandboxError> {
        let forget = set.config.pipedrive.keys().map(|account| Write::ForgetAccount { account: account.clone() });
        room.store.commit(forget.collect()).await?;
        let mut accounts = BTreeMap::new();
        for (name, config) in &set.config.pipedrive {
            accounts.insert(Arc::from(name.as_str()), Arc::new(account(&room, &set, name, config, door)?));
        }
        // Nobody is parked in a sandbox, and nothing outlives its store.
        let (wakes, _) = Wakeup::channel();
        let (fatal, _) = watch::channel(None);
        let runtime = Runtime {
            restored: None,
            store: room.store(),
            live: Arc::new(ArcSwap::new(set.clone())),
            pool: room.pool.clone(),
            accounts: Arc::new(RwLock::new(accounts)),
            locks: Locks::default(),
            creates: Creates::default(),
            hold: PlanHold::default(),
            // What is tried has no live traffic to be compared on.
            shadows: None,
            metrics: room.metrics.clone(),
            wakes,
            fatal,
        };
        let attempts = match door {
            Door::Mock { .. } => ATTEMPTS,
            Door::ReadOnly => 1,
        };
        Ok(Self { room, runtime: Arc::new(runtime), set, attempts })
    }

    /// The script set.
    #[must_use]
    pub const fn set(&self) -> &Arc<ScriptSet> {
        &self.set
    }

    /// Fetches what is not known of the accounts' fields, so that no decision record begins with it. Where that fails, the
    /// delivery meets the same failure and says so.
    pub async fn warm_up(&self, account: &str) {
        let account = self.runtime.accounts.read().get(account).cloned();
        if let Some(account) = account {
            let session = account.client.session(Trace::default());
            drop(account.ready_metadata(&session).await);
        }
    }

    /// Runs all rules that want the event, in their order, each to its end.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn deliver(&self, event: Event) -> Result<Vec<Delivered>, StoreError> {
        let wanted = self.set.wanted(&event);
        self.deliver_to(&wanted, event).await
    }

    /// Runs these rules, whether their trigger is met or not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn deliver_to(&self, rules: &[&Rule], event: Event) -> Result<Vec<Delivered>, StoreError> {
        if rules.is_empty() {
            return Ok(Vec::new());
        }
        let joined = Joined::new(self.room.store.aliases());
        let row = NewEvent {
            kind: event.kind.as_str(),
            name: event.name().map(str::to_owned),
            user: event.user_id().or_else(|| event.anonymous_id()),
            received_at: event.received_at,
            payload: Bytes::from(event.payload()),
            deliveries: rules.iter().map(|rule| ingest::delivery(&event, rule, &joined)).collect(),
            dedupe: Dedupe::Never,
            repeats: None,
            kept: true,
            alias: None,
            forget: false,
            source: event.source,
            message_id: event.message_id,
        };
        let appended = self.room.store.append(vec![row]).await?;
        let Some(Appended::Fresh(seq)) = appended.first().copied() else { return Ok(Vec::new()) };
        let mut announced = self.room.announced().await?;
        announced.retain(|pending| pending.id.seq == seq);
        announced.sort_by_key(|pending| pending.position);
        let mut all = Vec::with_capacity(announced.len());
        for pending in announced {
            let (rule, account) = (pending.id.rule.clone(), pending.account.clone());
            let finished = delivery::run_to_end(&self.runtime, pending, self.attempts).await?;
            all.push(Delivered { rule, account, state: finished.state, reason: finished.reason, records: finished.records });
        }
        Ok(all)
    }
}

fn account(room: &Room, set: &ScriptSet, name: &str, config: &AccountConfig, door: &Door) -> Result<Account, SandboxError> {
    let wrong = |reason: String| SandboxError::Account { account: name.to_owned(), reason };
    let mut config = config.clone();
    // A few events are not worth a list.
    config.mirror = MirrorMode::Off.into();
    let transport: Arc<dyn Transport> = match door {
        Door::Mock { mock, .. } => {
            config.writes = Writes::On;
            mock.clone()
        }
        Door::ReadOnly => {
            config.writes = Writes::Off;
            let token = set.tokens.get(name).ok_or_else(|| wrong("it has no api_token".to_owned()))?;
            let url = base_url(&config).map_err(|e| wrong(e.to_string()))?;
            Arc::new(HttpTransport::new(&url, token, config.timeout.get()).map_err(|e| wrong(e.to_string()))?)
        }
    };
    let (burst, search_burst) = match door {
        Door::Mock { .. } => (u32::MAX, u32::MAX),
        Door::ReadOnly => (config.plan.burst(), ClientOptions::default().search_burst),
    };
    let (concurrency, account) = (config.concurrency, name.to_owned());
    let options = ClientOptions { burst, search_burst, concurrency, account, ..ClientOptions::default() };
    let account = Account::new(name, Client::new(transport, options), room.store(), config, room.metrics.clone());
    if let Door::Mock { metadata: Some(metadata), .. } = door {
        account.set_metadata(Metadata::clone(metadata));
    }
    if matches!(door, Door::ReadOnly) {
        account.pin_to(set.schemas.get(name).cloned());
    }
    Ok(account)
}
