//! How everything stands, for people.

use super::Scheduler;
use crate::delivery::Scope;
use crate::delivery::handle::{AccountStatus, DeliveryStatus, RuleStatus};
use crate::delivery::lanes::Counts;

impl Scheduler {
    pub(super) fn status(&self) -> DeliveryStatus {
        let Counts { lanes, pending, running, waiting, parked, .. } = self.lanes.counts();
        let set = self.runtime.live.load();
        let mut accounts: Vec<AccountStatus> = set.config.pipedrive.keys().map(|name| idle_account(name)).collect();
        for (name, pending, running) in self.lanes.by_account() {
            let at = match accounts.iter().position(|a| *a.name == **name) {
                Some(at) => at,
                None => {
                    accounts.push(idle_account(name));
                    accounts.len() - 1
                }
            };
            accounts[at].pending = pending;
            accounts[at].running = running;
        }
        for account in &mut accounts {
            let scope = Scope::Account(account.name.clone());
            account.paused = self.pauses.get(&scope).cloned().or_else(|| self.budgets.of_scope(&scope, &set));
            account.budget = self.budgets.outlook(&account.name);
            let known = self.runtime.accounts.read().get(account.name.as_str()).cloned();
            account.mirror = known.as_ref().map(|known| known.mirror.status(known)).unwrap_or_default();
            account.webhooks = known.as_ref().and_then(|known| known.webhooks.status(known));
            let changes = known.map(|known| known.schema_changes()).unwrap_or_default();
            account.writes = self.writes.get(account.name.as_str()).copied();
            account.observed = self.observed.get(account.name.as_str()).copied().unwrap_or_default();
            account.schema = changes.iter().filter(|change| change.matters()).map(ToString::to_string).collect();
        }
        let mut rules: Vec<RuleStatus> = set.rules.iter().map(|r| idle_rule(&r.name)).collect();
        for (name, pending) in self.lanes.by_rule() {
            match rules.iter_mut().find(|r| *r.name == **name) {
                Some(rule) => rule.pending = pending,
                None if pending > 0 => rules.push(RuleStatus { pending, ..idle_rule(name) }),
                None => {}
            }
        }
        for rule in &mut rules {
            let scope = Scope::Rule(rule.name.clone());
            rule.paused = self.pauses.get(&scope).cloned().or_else(|| self.budgets.of_scope(&scope, &set));
            rule.running = self.under_way.values().filter(|(_, pending)| *pending.id.rule == *rule.name).count() as u64;
        }
        let held_account = |name: &str| accounts.iter().any(|a| a.name == name && a.paused.is_some());
        // A rule's deliveries are counted once, with its account when that is paused, too.
        let of_rules =
            rules.iter().filter(|r| r.paused.is_some() && !set.rule(&r.name).is_some_and(|rule| held_account(&rule.account)));
        let of_accounts = accounts.iter().filter(|a| a.paused.is_some());
        let held = of_accounts.map(|a| a.pending.saturating_sub(a.running)).sum::<u64>()
            + of_rules.map(|r| r.pending.saturating_sub(r.running)).sum::<u64>();
        let plans_held = self.held_plans.len() as u64;
        let waiting = waiting.saturating_sub(plans_held);
        DeliveryStatus { lanes, pending, running, waiting, parked, held, plans_held, accounts, rules }
    }
}

fn idle_account(name: &str) -> AccountStatus {
    let name = name.to_owned();
    AccountStatus {
        name,
        pending: 0,
        running: 0,
        writes: None,
        observed: 0,
        paused: None,
        budget: None,
        schema: Vec::new(),
        mirror: Vec::new(),
        webhooks: None,
    }
}

fn idle_rule(name: &str) -> RuleStatus {
    RuleStatus { name: name.to_owned(), pending: 0, running: 0, paused: None }
}
