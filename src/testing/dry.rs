//! What one event would do: triggers met or not, and each delivery with its plan and requests.
//!
//! Invariant: nothing is written but to an embedded Pipedrive that is thrown away.

use std::sync::Arc;

use serde::Serialize;

use super::room::Room;
use super::sandbox::{Delivered, Door, Sandbox, SandboxError};
use crate::event::Event;
use crate::mock::Mock;
use crate::rules::{Rule, ScriptSet, TriggerExplanation};

/// What to plan against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Against {
    /// A fresh embedded Pipedrive: that of the schema file without records, or its own account with some.
    Mock,
    /// The accounts as configured, with reads only.
    Accounts,
}

/// Which rules run.
#[derive(Debug, Clone, Copy)]
pub enum Wish<'a> {
    /// Those that want the event.
    Wanted,
    /// This one, whether its trigger is met or not.
    Only(&'a str),
}

/// One rule and what it makes of the event.
#[derive(Debug, Clone, Serialize)]
pub struct Tried {
    /// Rule.
    pub rule: Arc<str>,
    /// Account.
    pub account: Arc<str>,
    /// Whether it is on.
    pub enabled: bool,
    /// Whether it takes events of the event's source.
    pub listens: bool,
    /// Its trigger, as written.
    pub when: String,
    /// Whether the event meets it, and what keeps it from it.
    pub trigger: TriggerExplanation,
    /// What came of it; none when it did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivered>,
}

/// What one event would do.
#[derive(Debug, Clone, Serialize)]
pub struct DryRun {
    /// What it was planned against.
    pub against: Against,
    /// The rules, in order.
    pub rules: Vec<Tried>,
}

impl DryRun {
    /// Whether a rule failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.rules.iter().filter_map(|tried| tried.delivery.as_ref()).any(Delivered::failed)
    }
}

/// Runs the rules over one event.
///
/// # Errors
/// When there is no room for it on this machine, or an account cannot be reached as it is configured.
pub async fn dry_run(set: &Arc<ScriptSet>, event: Event, against: Against, wish: Wish<'_>) -> Result<DryRun, SandboxError> {
    let room = Arc::new(Room::open()?);
    let door = match against {
        Against::Mock => Door::Mock { mock: Mock::new(set.mock_options()), metadata: None },
        Against::Accounts => Door::ReadOnly,
    };
    let chosen: Vec<&Rule> = match wish {
        Wish::Wanted => set.wanted(&event),
        Wish::Only(name) => set.rule(name).into_iter().collect(),
    };
    let asked = |rule: &Rule| match wish {
        Wish::Wanted => true,
        Wish::Only(name) => &*rule.name == name,
    };
    let mut rules: Vec<Tried> = set.rules.iter().filter(|rule| asked(rule)).map(|rule| tried(rule, &event)).collect();
    let sandbox = Sandbox::new(room, set.clone(), &door).await?;
    for rule in &chosen {
        sandbox.warm_up(&rule.account).await;
    }
    for delivered in sandbox.deliver_to(&chosen, event).await? {
        if let Some(tried) = rules.iter_mut().find(|tried| tried.rule == delivered.rule) {
            tried.delivery = Some(delivered);
        }
    }
    Ok(DryRun { against, rules })
}

fn tried(rule: &Rule, event: &Event) -> Tried {
    Tried {
        rule: rule.name.clone(),
        account: rule.account.clone(),
        enabled: rule.config.enabled,
        listens: rule.listens_to(&event.source),
        when: rule.config.when.clone(),
        trigger: rule.trigger.explain(event),
        delivery: None,
    }
}
