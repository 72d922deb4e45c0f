//! Before the first write: what all matches and links of a plan come to.
//!
//! Invariants: what can be known to have to wait is not looked up: links that are not there yet, a create for which the rule has no place, and
//! criteria of which another delivery finds out what it created come first. What hangs on no reference is resolved here, all of it or nothing is written; what it links to and is not there yet is waited
//! for outside the lane, while there is time.

use std::time::Duration;

use jiff::Timestamp;

use super::Executor;
use crate::crm::{self, Found, Lookup, OnMany, Term, WireTarget, WireValue};
use crate::delivery::attempt::End;
use crate::delivery::locks;
use crate::delivery::pinned::FoundLink;
use crate::delivery::policy::later;
use crate::delivery::trouble::Trouble;
use crate::delivery::wake::Want;
use crate::pipedrive::{Id, Kind, awaited_id};
use crate::plan::{OnMissing, Operation, Step};

impl Executor<'_> {
    /// Resolves the matches and links of all steps that hang on no reference.
    pub(in crate::delivery) async fn resolve(&mut self) -> Result<Option<End>, Trouble> {
        self.metadata = self.account.ready_metadata(&self.session).await?;
        self.look_at_taken().await?;
        let steps: Vec<Step> = self.plan().steps.iter().map(|s| s.step.clone()).collect();
        self.give_way_to_doubts(&steps).await?;
        for (at, step) in steps.iter().enumerate() {
            if let Some(park) = self.check_links(step, &steps[..at]).await? {
                return Ok(Some(park));
            }
        }
        for (at, step) in steps.iter().enumerate() {
            let found = match step.operation.kind().zip(matched(step)) {
                Some((kind, lookups)) if !lookups.is_empty() => {
                    self.place_first(step, kind, lookups).await?;
                    Some(self.find_dated(kind, lookups, step.on_many).await?)
                }
                _ => None,
            };
            if let Some((found, _)) = &found {
                self.note_found(at, found, &step.operation);
            }
            self.plan_mut().steps[at].found = found;
        }
        Ok(None)
    }

    /// Another delivery may be creating by the same criteria or under the same key: its answer is waited for as for a lock, and what has to be
    /// found out is left to it.
    async fn give_way_to_doubts(&self, steps: &[Step]) -> Result<(), Trouble> {
        let (locks, me) = (&self.attempt.runtime.locks, &self.attempt.pending.id);
        let account = &self.account.name;
        for step in steps.iter().filter(|_| !self.observe) {
            let Some(kind) = step.operation.kind() else { continue };
            let lookups = crm::with_aliases(self.account, kind, matched(step).unwrap_or_default(), &self.metadata);
            let key = step.key.iter().map(|key| locks::key_name(account, kind, key));
            let names: Vec<String> = locks::criteria_names(account, kind, &lookups).chain(key).collect();
            if locks.are_doubtful(&names, me) {
                let held = locks.acquire(names).await;
                if locks.is_doubtful(&held, me) {
                    return Err(Trouble::gives_way());
                }
            }
        }
        Ok(())
    }

    /// Where the rule's places for creates are scarce, one is taken before it is looked for what may have to be created.
    pub(super) async fn place_first(&mut self, step: &Step, kind: Kind, lookups: &[Lookup]) -> Result<(), Trouble> {
        let creates = matches!(step.operation, Operation::Upsert { .. }) && self.place.is_none();
        if !creates || !self.attempt.runtime.creates.are_scarce(&self.attempt.pending.id.rule) {
            return Ok(());
        }
        if matches!(crm::find_known(self.account, &self.session, kind, lookups, step.on_many).await?, Found::Miss) {
            self.place = self.brake()?;
        }
        Ok(())
    }

    /// Parks the delivery when a linked entity is not there yet and there is time left to wait for it. One that only observes goes on with
    /// the link left open.
    async fn check_links(&mut self, step: &Step, before: &[Step]) -> Result<Option<End>, Trouble> {
        let link_wait = self.attempt.rule()?.config.link_wait.get();
        let since = self.attempt.pending.released_at.unwrap_or(self.stored.received_at);
        let now = Timestamp::now();
        let mut until: Option<(Timestamp, Kind)> = None;
        let mut wanted = Vec::new();
        let mut omitted = Vec::new();
        let mut open = Vec::new();
        for (place, Linked { field, kind, lookups, wait }) in linked(step).enumerate() {
            // What an earlier action makes sure of will be there.
            if lookups.is_empty() || before.iter().any(|earlier| makes(earlier, kind, lookups)) {
                continue;
            }
            let at = Timestamp::now();
            if let Some(id) = self.find_link(kind, lookups).await?.id() {
                self.plan_mut().steps[before.len()].links.push(FoundLink { place, id: id.clone(), at });
                continue;
            }
            self.attempt.absent.extend(lookups.iter().map(|lookup| (kind, lookup.clone())));
            let wait = wait.map_or(link_wait, |seconds| Duration::from_secs(seconds.into()));
            let deadline = later(since, wait);
            // When it only observes, its time begins anew with its release.
            if self.observe && !wait.is_zero() {
                self.awaited.push((kind, lookups.to_vec()));
                open.push(format!("`{field}` ({kind}, at most {})", humantime::format_duration(wait)));
                continue;
            }
            if now < deadline && self.attempt.patient {
                let lookups = crm::with_aliases(self.account, kind, lookups, &self.metadata);
                wanted.extend(wants(&self.account.name, kind, &lookups));
                until = until.max(Some((deadline, kind)));
                continue;
            }
            if step.on_missing == OnMissing::Fail {
                let reason = format!("the {kind} that action {} links to was not found within {wait:?}", step.ordinal + 1);
                return Err(Trouble::permanent(reason));
            }
            omitted.push(format!("`{field}` ({kind}, within {wait:?})"));
        }
        if !open.is_empty() {
            let line = format!("link_wait: it would wait for what it links to: {}", open.join(", "));
            self.plan_mut().steps[before.len()].step.decisions.push(line);
        }
        let Some((until, kind)) = until else {
            if !omitted.is_empty() {
                let line = format!("on_missing: omit: not found in time, left out: {}", omitted.join(", "));
                self.plan_mut().steps[before.len()].step.decisions.push(line);
            }
            return Ok(None);
        };
        let reason = format!("waits for the {kind} it links to, at most until {}", until.strftime("%Y-%m-%d %H:%M:%SZ"));
        Ok(Some(End::Park { until, reason, wants: wanted }))
    }

    /// The entity that a link leads to. One that was looked for in vain is looked for in the index only.
    pub(in crate::delivery) async fn find_link(&self, kind: Kind, lookups: &[Lookup]) -> Result<Found, Trouble> {
        let absent = &self.attempt.absent;
        if lookups.iter().all(|lookup| absent.iter().any(|(of, known)| *of == kind && known == lookup)) {
            return Ok(crm::find_known(self.account, &self.session, kind, lookups, OnMany::Oldest).await?);
        }
        Ok(self.find_dated(kind, lookups, OnMany::Oldest).await?.0)
    }

    /// The entity that a step's link leads to now: what the index knows, else what was found before the first write.
    pub(in crate::delivery) async fn link_now(
        &self,
        at: usize,
        place: usize,
        kind: Kind,
        lookups: &[Lookup],
    ) -> Result<Option<Id>, Trouble> {
        let earlier = self.plan().steps[at].links.iter().find(|link| link.place == place);
        let found = match earlier {
            None => self.find_link(kind, lookups).await?,
            Some(_) => crm::find_known(self.account, &self.session, kind, lookups, OnMany::Oldest).await?,
        };
        Ok(found.id().or(earlier.map(|link| &link.id)).cloned())
    }

    /// When it only observes: the made-up id of what a link would be waited for, or of what an earlier action would have created. Nothing
    /// comes into being, so neither is to be looked for.
    pub(in crate::delivery) fn made_up(&self, kind: Kind, lookups: &[Lookup]) -> Option<Id> {
        if !self.observe {
            return None;
        }
        let awaited = self.awaited.iter().position(|(of, awaited)| *of == kind && awaited == lookups);
        let made = || {
            self.plan().steps.iter().filter(|s| makes(&s.step, kind, lookups)).find_map(|s| self.plan().reference(s.step.ordinal))
        };
        awaited.map(|n| awaited_id(kind, n)).or_else(made)
    }
}

/// A `by(..)` link of a step.
pub(in crate::delivery) struct Linked<'s> {
    /// The link field, as the script has it.
    field: &'s str,
    pub(in crate::delivery) kind: Kind,
    pub(in crate::delivery) lookups: &'s [Lookup],
    /// Seconds, when the rule's `link_wait` does not count.
    wait: Option<u32>,
}

/// The `by(..)` links of a step.
pub(in crate::delivery) fn linked(step: &Step) -> impl Iterator<Item = Linked<'_>> {
    step.all_fields().filter_map(|field| match &field.value {
        WireValue::Link { kind, target: WireTarget::Lookups(lookups), wait } => {
            Some(Linked { field: &field.name, kind: *kind, lookups, wait: *wait })
        }
        _ => None,
    })
}

/// The criteria that a step finds its entity by, before anything is written.
fn matched(step: &Step) -> Option<&[Lookup]> {
    match &step.operation {
        Operation::Upsert { lookups, .. }
        | Operation::Update { target: WireTarget::Lookups(lookups), .. }
        | Operation::Delete { target: WireTarget::Lookups(lookups), .. } => Some(lookups),
        _ => None,
    }
}

/// The index keys that would end the wait for these look-ups.
fn wants(account: &str, kind: Kind, lookups: &[Lookup]) -> Vec<Want> {
    let want = |term: &Term| Want {
        account: account.to_owned(),
        kind: kind.as_str().to_owned(),
        field: term.address.key().to_owned(),
        value: term.value.clone(),
    };
    lookups.iter().flat_map(|l| &l.0).map(want).collect()
}

/// Whether after this step an entity stands that the look-ups find.
fn makes(step: &Step, kind: Kind, lookups: &[Lookup]) -> bool {
    let Operation::Upsert { kind: made, lookups: theirs } = &step.operation else { return false };
    let same = |a: &Lookup, b: &Lookup| {
        a.0.len() == b.0.len() && a.0.iter().all(|x| b.0.iter().any(|y| x.address == y.address && x.value == y.value))
    };
    *made == kind && theirs.iter().any(|a| lookups.iter().any(|b| same(a, b)))
}
