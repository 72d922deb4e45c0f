//! Shadow scripts: run on live events after the rule's own script, compared with it, counted and listed.
//!
//! Invariants:
//! - A shadow sends nothing and reads nothing: its reads are answered with what the rule's own run was told, and where that run did not
//!   ask, or not after the same writes, it is not known what the shadow would do.
//! - It delays no delivery and fails none: it runs on a thread of its own, after what it is compared with is decided for good, under the
//!   limits of `[scripts]`; when others wait already, it is dropped and counted.
//! - A delivery is compared once: when its plan is pinned, or when it ends without.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::plan::{ActionChange, compare};
use crate::rules::ScriptSet;
use crate::script::{Asked, Came, Memo, Outcome, Pool, RunRequest, answer_holds};
use crate::store::{DeliveryId, ShadowRun, ShadowVerdict, Store, Write};
use crate::telemetry::Metrics;

/// Runs that may be under way or wait.
const MOST_WAITING: usize = 32;

/// Runs shadow scripts. Clones share it.
#[derive(Clone)]
pub struct Shadows {
    pool: Arc<Pool>,
    room: Arc<Semaphore>,
    store: Arc<dyn Store>,
    metrics: Metrics,
}

impl std::fmt::Debug for Shadows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shadows")
    }
}

/// What a shadow is compared with.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) came: Came,
    /// What it read, after which writes, and what it was told.
    pub(super) asked: Vec<Asked>,
    pub(super) memo: Memo,
}

/// One delivery for a shadow.
#[derive(Debug)]
pub(super) struct Shadowed {
    pub(super) id: DeliveryId,
    pub(super) set: Arc<ScriptSet>,
    pub(super) payload: Bytes,
    pub(super) message_id: String,
    pub(super) original: Original,
}

/// How a script ends, where it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowEnds {
    /// `plan`, `skip`, `fail`, `retry`, `error`.
    pub outcome: String,
    /// Why, where it is no plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a shadow differs on one delivery, or why it cannot be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowDifference {
    /// What it came to.
    pub verdict: ShadowVerdict,
    /// The rule's own script.
    pub own: ShadowEnds,
    /// The shadow; none: that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowEnds>,
    /// The actions that differ, from the own script's to the shadow's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ActionChange>,
    /// Why it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl ShadowEnds {
    fn of(came: &Came) -> Self {
        Self { outcome: came.word().to_owned(), reason: came.reason().map(str::to_owned) }
    }
}

impl Shadows {
    /// Shadows whose runs are counted in this store.
    #[must_use]
    pub fn start(store: Arc<dyn Store>, metrics: Metrics) -> Self {
        Self { pool: Arc::new(Pool::start(1)), room: Arc::new(Semaphore::new(MOST_WAITING)), store, metrics }
    }

    /// Runs the shadow of a delivery's rule beside everything else.
    pub(super) fn run(&self, shadowed: Shadowed) {
        let this = self.clone();
        let permit = this.room.clone().try_acquire_owned();
        tokio::spawn(async move {
            let Some(rule) = shadowed.set.rule(&shadowed.id.rule) else { return };
            let (Some(script), Some(scripts)) = (rule.config.shadow.as_deref(), &rule.compared) else { return };
            let (verdict, difference) = match &permit {
                Ok(_) => this.compared(&shadowed, script).await,
                Err(_) => (ShadowVerdict::Dropped, None),
            };
            this.metrics.shadow_ran(&rule.name, verdict.as_str());
            let difference =
                difference.map(|d| serde_json::to_vec(&d).expect("a difference serialises: its maps have string keys"));
            let run =
                ShadowRun { id: shadowed.id.clone(), at: Timestamp::now(), scripts: scripts.to_string(), verdict, difference };
            // The counts are no promise: a store that fails says so to the deliveries.
            if let Err(error) = this.store.commit(vec![Write::Shadow(run)]).await {
                tracing::debug!(delivery = %shadowed.id, %error, "what its shadow came to could not be counted");
            }
        });
    }

    /// Starts no further run.
    pub fn stop(&self) {
        self.pool.stop();
    }

    async fn compared(&self, shadowed: &Shadowed, script: &str) -> (ShadowVerdict, Option<ShadowDifference>) {
        let Shadowed { id, set, payload, message_id, original } = shadowed;
        let told = |verdict, shadow: Option<&Came>, actions, why: Option<String>| {
            let (own, shadow) = (ShadowEnds::of(&original.came), shadow.map(ShadowEnds::of));
            (verdict, Some(ShadowDifference { verdict, own, shadow, actions, why }))
        };
        let mut memo = Memo::default();
        let came = loop {
            let request = RunRequest {
                rule: id.rule.clone(),
                script: Arc::from(script),
                payload: payload.clone(),
                message_id: message_id.clone(),
                memo: memo.clone(),
            };
            let outcome = self.pool.run(set.program.clone(), request).await.outcome;
            let Outcome::Read { read, at, so_far } = outcome else {
                let Some(came) = Came::of(&outcome) else {
                    let why = "it ran into its deadline, or the daemon stopped".to_owned();
                    return told(ShadowVerdict::Failed, None, Vec::new(), Some(why));
                };
                break came;
            };
            let answer = original.memo.0.iter().find(|(asked, _)| *asked == read).map(|(_, answer)| answer.clone());
            let place = format!("scripts/{}:{}", at.file, at.line);
            let why = match answer {
                Some(answer) if answer_holds(&original.asked, &read, &so_far) => {
                    memo.0.push((read, answer));
                    continue;
                }
                Some(_) => format!("{place} reads after it wrote something else than the rule's own script"),
                None => format!("{place} reads what the rule's own script did not read"),
            };
            return told(ShadowVerdict::Unknown, None, Vec::new(), Some(why));
        };
        let actions = compare(&original.came.plan(), &came.plan());
        let alike = original.came.word() == came.word() && original.came.reason() == came.reason() && actions.is_empty();
        match &came {
            Came::Error(_) => told(ShadowVerdict::Failed, Some(&came), Vec::new(), None),
            _ if alike => (ShadowVerdict::Same, None),
            _ => told(ShadowVerdict::Different, Some(&came), actions, None),
        }
    }
}
