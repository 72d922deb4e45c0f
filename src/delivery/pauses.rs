//! What is paused, by whom, and until when.
//!
//! Invariants: a person's pause is stored and ends only with `resume`; an automatic one ends by itself, with a reload, or when
//! the account answers again, and is not stored: after a restart things are tried afresh.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::clock::moved;
use super::lanes::LaneId;
use super::policy::{backoff, later};
use super::{PauseInfo, Scope};
use crate::failure::FailureClass;
use crate::store::{Store, StoreError, Write};

/// Space of the store's small values that holds persons' pauses.
const SPACE: &str = "pauses";

#[derive(Debug, Default)]
pub(super) struct Pauses {
    held: BTreeMap<String, (Scope, PauseInfo)>,
    troubles: HashMap<Arc<str>, Trouble>,
    script_failures: HashMap<Arc<str>, u32>,
}

/// An account that fails transiently.
#[derive(Debug, Default)]
struct Trouble {
    lanes: BTreeSet<LaneId>,
    probes: u32,
}

impl Pauses {
    pub(super) async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let mut pauses = Self::default();
        for (key, value) in store.kv_list(SPACE).await? {
            match serde_json::from_slice::<(Scope, PauseInfo)>(&value) {
                Ok(pause) => {
                    pauses.held.insert(key, pause);
                }
                Err(error) => tracing::error!(key, %error, "a stored pause cannot be read and is left out"),
            }
        }
        Ok(pauses)
    }

    pub(super) fn held(&self) -> Vec<Scope> {
        self.held.values().map(|(scope, _)| scope.clone()).collect()
    }

    pub(super) fn get(&self, scope: &Scope) -> Option<&PauseInfo> {
        self.held.get(&name(scope)).map(|(_, info)| info)
    }

    /// Sets a pause; a person's is not replaced by an automatic one.
    pub(super) fn set(&mut self, scope: Scope, info: PauseInfo) {
        if info.class.is_none() || self.get(&scope).is_none_or(|p| p.class.is_some()) {
            self.held.insert(name(&scope), (scope, info));
        }
    }

    pub(super) fn clear(&mut self, scope: &Scope) {
        self.held.remove(&name(scope));
        match scope {
            Scope::Account(account) => {
                self.troubles.remove(account.as_str());
            }
            Scope::Rule(rule) => {
                self.script_failures.remove(rule.as_str());
            }
        }
    }

    /// The write that stores a person's pause.
    pub(super) fn stored(scope: &Scope, info: &PauseInfo) -> Write {
        let value = serde_json::to_vec(&(scope, info)).expect("a pause serialises");
        Write::KvPut { space: SPACE.to_owned(), key: name(scope), value }
    }

    /// The write that forgets it.
    pub(super) fn unstored(scope: &Scope) -> Write {
        Write::KvDelete { space: SPACE.to_owned(), key: name(scope) }
    }

    /// A delivery of the account got through with what it sent at `at`. True: it had been paused for trouble and may go on. What was sent
    /// before the pause says nothing of it.
    pub(super) fn works(&mut self, account: &Arc<str>, at: Timestamp) -> bool {
        let scope = Scope::Account(account.to_string());
        let automatic = match self.get(&scope) {
            Some(pause) if pause.class.is_some() && at < pause.since => return false,
            pause => pause.is_some_and(|pause| pause.class.is_some()),
        };
        self.troubles.remove(account);
        if automatic {
            self.held.remove(&name(&scope));
        }
        automatic
    }

    /// A delivery of the account failed transiently. The pause to set, when enough lanes did.
    pub(super) fn trouble(
        &mut self,
        account: &Arc<str>,
        lane: LaneId,
        lanes: u32,
        probe: (Duration, Duration),
        now: Timestamp,
    ) -> Option<PauseInfo> {
        let paused = self.get(&Scope::Account(account.to_string())).is_some();
        let trouble = self.troubles.entry(account.clone()).or_default();
        trouble.lanes.insert(lane);
        if !paused && trouble.lanes.len() < lanes as usize {
            return None;
        }
        trouble.probes += 1;
        let wait = backoff(probe.0, probe.1, trouble.probes, account);
        Some(PauseInfo {
            reason: format!("{} lanes in a row could not reach Pipedrive; probing until it answers", trouble.lanes.len()),
            class: Some(FailureClass::Transient),
            since: now,
            until: Some(later(now, wait)),
        })
    }

    /// A run of the rule ended. The pause to set, when its script failed too often in a row.
    pub(super) fn rule_ran(&mut self, rule: &Arc<str>, failed: bool, limit: u32, now: Timestamp) -> Option<PauseInfo> {
        if !failed {
            self.script_failures.remove(rule);
            return None;
        }
        let failures = self.script_failures.entry(rule.clone()).or_default();
        *failures += 1;
        (*failures >= limit && limit > 0).then(|| PauseInfo {
            reason: format!("its script failed {failures} times in a row; mend it (a reload lets it go on) or resume it"),
            class: Some(FailureClass::Misconfigured),
            since: now,
            until: None,
        })
    }

    /// Pauses whose time has come; each is put off, so that it comes once.
    pub(super) fn due(&mut self, again: Duration, now: Timestamp) -> Vec<(Scope, PauseInfo)> {
        let mut due = Vec::new();
        for (scope, info) in self.held.values_mut() {
            if info.until.is_some_and(|until| until <= now) {
                due.push((scope.clone(), info.clone()));
                info.until = Some(later(now, again));
            }
        }
        due
    }

    /// The clock was set back: what is tried again by itself is so as soon as before.
    pub(super) fn set_back(&mut self, by: Duration) {
        self.held.values_mut().for_each(|(_, info)| moved(&mut info.until, by));
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.held.values().filter_map(|(_, info)| info.until).min()
    }

    /// Another set is live: automatic pauses of rules and those for misconfiguration end. Answers what may go on.
    pub(super) fn reloaded(&mut self) -> Vec<Scope> {
        self.script_failures.clear();
        let mended: Vec<Scope> = self
            .held
            .values()
            .filter(|(scope, info)| match scope {
                Scope::Account(_) => info.class == Some(FailureClass::Misconfigured),
                Scope::Rule(_) => info.class.is_some(),
            })
            .map(|(scope, _)| scope.clone())
            .collect();
        for scope in &mended {
            self.held.remove(&name(scope));
        }
        mended
    }
}

fn name(scope: &Scope) -> String {
    match scope {
        Scope::Account(name) => format!("account/{name}"),
        Scope::Rule(name) => format!("rule/{name}"),
    }
}
