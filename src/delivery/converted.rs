//! Leads that became deals: what is written to them follows.
//!
//! Invariants: an update of a converted lead goes to its deal, a delete leaves the deal alone, a note or an activity links the deal. Before a
//! lead that answers 404 counts as gone, its deal is looked for; the record says which deal it became, or why that cannot be known. A step of
//! a lead that went to a deal has the deal's id, which is a number where those of leads are uuids.

use super::apply::Sent;
use super::execute::{Executor, Via};
use super::links::Links;
use super::trouble::Trouble;
use crate::crm::{self, Found, Kin, LeadFate, OnMany, WireTarget, WireValue, index};
use crate::pipedrive::{Id, Kind, Purpose};
use crate::plan::{self, Operation, Step};

impl Executor<'_> {
    /// The deal that a lead is known to have become; a deal itself where an earlier step came to it.
    pub(super) async fn deal_known(&self, lead: &Id) -> Result<Option<Id>, Trouble> {
        if lead.fits(Kind::Deal) {
            return Ok(Some(lead.clone()));
        }
        Ok(crm::deal_of_lead(&*self.account.store, &self.account.name, lead).await?)
    }

    /// The deal that a lead became which Pipedrive says is gone; the record says so, or why it cannot be known.
    pub(super) async fn deal_of_gone(&mut self, at: usize, step: &Step, lead: &Id, kin: Kin) -> Result<Option<Id>, Trouble> {
        let kin = self.kin_of(step, kin).await?;
        let why = match crm::find_deal_of_lead(self.account, &self.session, lead, kin).await? {
            LeadFate::Deal(deal) => return Ok(Some(deal)),
            LeadFate::NoDeal => format!(
                "the lead {lead} is gone; none of the deals of its person or organization was that lead, and none has its key"
            ),
            LeadFate::CannotTell => format!(
                "the lead {lead} is gone; whether it became a deal cannot be known, since neither its person nor its organization is, nor a key"
            ),
        };
        self.remark(at, vec![why], Vec::new());
        Ok(None)
    }

    /// Adds the persons and organizations that a step names beside its lead.
    async fn kin_of(&self, step: &Step, mut kin: Kin) -> Result<Kin, Trouble> {
        if let Operation::Upsert { lookups, .. }
        | Operation::Update { target: WireTarget::Lookups(lookups), .. }
        | Operation::Convert { target: WireTarget::Lookups(lookups) } = &step.operation
        {
            kin.add_lookups(lookups);
        }
        for field in step.all_fields() {
            let WireValue::Link { kind: kind @ (Kind::Person | Kind::Organization), target, .. } = &field.value else { continue };
            let id = match target {
                WireTarget::Id(id) => Some(id.clone()),
                WireTarget::Reference(ordinal) => self.plan().reference(*ordinal),
                WireTarget::Lookups(lookups) => {
                    match crm::find_known(self.account, &self.session, *kind, lookups, OnMany::Oldest).await? {
                        Found::Hit { id, .. } => Some(id),
                        Found::Miss => None,
                    }
                }
            };
            if let Some(id) = id {
                kin.add(field.address.key(), id);
            }
        }
        Ok(kin)
    }

    /// Says once which deal a lead became.
    pub(super) fn say_converted(&mut self, at: usize, lead: &Id, deal: &Id) {
        if lead != deal {
            self.remark(at, vec![format!("lead {lead} was converted to deal {deal}")], Vec::new());
        }
    }

    /// An update, at the deal when it is of a lead that became one.
    pub(super) async fn update_where_it_is(
        &mut self,
        at: usize,
        step: &Step,
        kind: Kind,
        id: &Id,
        via: Option<&Via<'_>>,
        links: &Links,
    ) -> Result<Sent, Trouble> {
        if kind != Kind::Lead {
            return self.update_by_policy(at, step, kind, id, via, links).await;
        }
        let deal = match self.deal_known(id).await? {
            Some(deal) => deal,
            None => match self.update_by_policy(at, step, kind, id, via, links).await? {
                Sent::Gone => match self.deal_of_gone(at, step, id, Kin::default()).await? {
                    Some(deal) => deal,
                    None => return Ok(Sent::Gone),
                },
                sent => return Ok(sent),
            },
        };
        let sent = self.update_deal(at, step, id, &deal, links).await?;
        if !matches!(sent, Sent::Gone) {
            return Ok(sent);
        }
        // Deleted, or merged into another one, which has the key then.
        self.attempt.outbox.push(index::forget(&self.account.name, Kind::Deal, &deal));
        self.attempt.commit(Vec::new()).await?;
        match self.deal_of_gone(at, step, id, Kin::default()).await? {
            Some(other) if other != deal => self.update_deal(at, step, id, &other, links).await,
            _ => Ok(Sent::Gone),
        }
    }

    /// An update of a lead, at the deal that it became.
    async fn update_deal(&mut self, at: usize, step: &Step, lead: &Id, deal: &Id, links: &Links) -> Result<Sent, Trouble> {
        self.say_converted(at, lead, deal);
        let (of_deal, notes) = plan::lead_as_deal(step, deal, &self.metadata);
        self.remark(at, notes, Vec::new());
        self.lock_entities(Kind::Deal, &[deal]).await;
        let sent = self.update_by_policy(at, &of_deal, Kind::Deal, deal, None, links).await?;
        if matches!(sent, Sent::Gone) {
            self.remark(at, vec![format!("the deal {deal} is gone, too")], Vec::new());
            // The lead's lock is the next one to be let go.
            self.attempt.held.pop();
        }
        Ok(sent)
    }

    /// A note or an activity with links to the deals that its leads are known to have become.
    pub(super) async fn follow_leads(&mut self, at: usize, step: &Step, links: &Links) -> Result<Step, Trouble> {
        let mut step = step.clone();
        let leads: Vec<Id> = plan::linked_leads(&step).filter_map(|target| links.id(target)).collect();
        for lead in leads {
            if let Some(deal) = self.deal_known(&lead).await? {
                let (linked, note) = plan::lead_link_as_deal(&step, &deal, |target| links.id(target).is_some());
                self.say_converted(at, &lead, &deal);
                self.remark(at, note.into_iter().collect(), Vec::new());
                step = linked;
            }
        }
        Ok(step)
    }

    /// After a refusal of a note or an activity: the same with links to the deals that its leads turn out to have become.
    pub(super) async fn leads_anew(&mut self, at: usize, step: &Step, links: &Links) -> Result<Option<Step>, Trouble> {
        let leads: Vec<Id> = plan::linked_leads(step).filter_map(|target| links.id(target)).collect();
        let mut any = false;
        for lead in leads {
            let unknown = self.deal_known(&lead).await?.is_none();
            if unknown && self.session.get(Kind::Lead, &lead, Purpose::Lookup).await?.is_none() {
                any |= self.deal_of_gone(at, step, &lead, Kin::default()).await?.is_some();
            }
        }
        if any { self.follow_leads(at, step, links).await.map(Some) } else { Ok(None) }
    }
}
