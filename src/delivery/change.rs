//! Deletes, merges, conversions and raw requests.
//!
//! Invariants: a delete of what is gone is done; a merge is looked at after an unknown outcome. A conversion is sent once: after an unknown
//! outcome it is done when the lead is gone and its deal is found, and never sent again by itself. Of a raw request nothing can be proved,
//! so it ends as uncertain then.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::execute::{Executor, Via};
use super::links::Links;
use super::record::{Effect, StepState};
use super::trouble::{Trouble, Whose};
use crate::crm::{self, Kin, Known, WireTarget, index};
use crate::failure::FailureClass;
use crate::pipedrive::{ApiError, ConversionState, Id, Kind, Method, Purpose};
use crate::plan::{self, BodyFor, PlanProblem, ProblemKind, Step};

/// Polls of a conversion, a second or `delivery.retry_first` apart, before the delivery is tried again later.
const POLLS: u32 = 30;

/// How often a conversion whose answer was lost is looked for while the lead is a lead still.
const LOOKS: u32 = 5;

impl Executor<'_> {
    pub(super) async fn delete(&mut self, at: usize, kind: Kind, id: Id) -> Result<(), Trouble> {
        if kind == Kind::Lead
            && let Some(deal) = self.deal_known(&id).await?
        {
            self.say_converted(at, &id, &deal);
            self.remark(at, vec![format!("the deal {deal} stays: `deal::delete` deletes deals")], Vec::new());
            self.plan_mut().done(at, Effect::Skipped, None);
            return Ok(());
        }
        self.lock_entities(kind, &[&id]).await;
        if !self.attempt.overwrites() {
            let known = Known::load(&*self.attempt.runtime.store, &self.account.name, kind, &id).await?;
            if let Some(by) = known.newest().filter(|by| *by > self.attempt.origin()) {
                let line = format!(
                    "replay: a later event (event {by}) has written to the {kind} {id}, which is not deleted (--overwrite)"
                );
                self.skip(at, line);
                return Ok(());
            }
        }
        self.sending(at, Json::Null, Some(&id)).await?;
        match self.session.delete(kind, &id).await {
            Ok(()) => {}
            Err(error) if error.is_gone() => {
                self.plan_mut().steps[at].warnings.push(format!("the {kind} {id} was gone already"));
            }
            Err(error) => return Err(self.refused(at, error)),
        }
        self.forget(kind, &id);
        self.plan_mut().done(at, Effect::Deleted, Some(id));
        Ok(())
    }

    pub(super) async fn merge(
        &mut self,
        at: usize,
        step: &Step,
        kind: Kind,
        keep: &WireTarget,
        drop: &WireTarget,
    ) -> Result<(), Trouble> {
        let mut ids = Vec::with_capacity(2);
        let lookups = [keep, drop].into_iter().flat_map(|target| match target {
            WireTarget::Lookups(lookups) => lookups.as_slice(),
            WireTarget::Id(_) | WireTarget::Reference(_) => &[],
        });
        let sent_before = match &self.plan().steps[at].state {
            StepState::Sending { body, target: Some(keep), .. } => Id::from_json(body).map(|drop| [keep.clone(), drop]),
            _ => None,
        };
        ids.extend(sent_before.iter().flatten().cloned());
        for (which, target) in [("keep", keep), ("drop", drop)].into_iter().filter(|_| sent_before.is_none()) {
            match self.target(at, step, kind, target).await? {
                Some((id, _)) => ids.push(id),
                None => return Err(Trouble::permanent(format!("the {kind} to {which} was not found; nothing was merged"))),
            }
            // The next target's criteria are locked after this one's are let go: entity locks come last.
            self.attempt.held.clear();
        }
        let [keep, drop] = <[Id; 2]>::try_from(ids).expect("two targets give two ids");
        if keep == drop {
            let problem = PlanProblem {
                at: step.at.clone(),
                ordinal: step.ordinal,
                message: format!("both targets of the merge are the {kind} {keep}, which cannot be merged with itself"),
                help: Some("where they are one already, nothing is left to merge: discard the delivery, or let the script skip such events".into()),
                value: None,
                kind: ProblemKind::Link,
                unknown: false,
                adds: None,
            };
            return Err(Trouble::plan(&self.attempt.set, &[problem]));
        }
        self.lock_entities(kind, &[&keep, &drop]).await;
        let merged = sent_before.is_some() && self.session.get(kind, &drop, Purpose::Reconcile).await?.is_none();
        if !merged {
            self.sending(at, drop.to_json(), Some(&keep)).await?;
            if let Err(error) = self.session.merge(kind, &keep, &drop).await {
                return Err(self.refused(at, error));
            }
        }
        // Whatever found the one that went finds the one that stays, also by values that Pipedrive did not keep.
        let account = &self.account.name;
        let mut writes = vec![index::remap(account, kind, &drop, &keep)];
        writes.extend(lookups.flat_map(|lookup| index::put_lookup(account, kind, &keep, lookup, &self.metadata)));
        self.learn(writes);
        self.plan_mut().done(at, Effect::Merged, Some(keep));
        Ok(())
    }

    pub(super) async fn convert(
        &mut self,
        at: usize,
        step: &Step,
        id: Id,
        via: Option<Via<'_>>,
        links: &Links,
    ) -> Result<(), Trouble> {
        if let Some(deal) = self.deal_known(&id).await? {
            return self.converted_before(at, &id, deal);
        }
        self.lock_entities(Kind::Lead, &[&id]).await;
        let conversion = match self.plan().steps[at].state.clone() {
            StepState::Sending { body, tries, .. } => match conversion_id(&body) {
                // It was begun: only its end is waited for.
                Some(conversion) => conversion.to_owned(),
                None => return self.look_after_conversion(at, step, &id, body, tries).await,
            },
            _ => match self.begin_conversion(at, step, &id, via, links).await? {
                Some(conversion) => conversion,
                None => return Ok(()),
            },
        };
        let between = self.attempt.set.config.delivery.retry_first.get().min(Duration::from_secs(1));
        for _ in 0..POLLS {
            let conversion = match self.session.conversion_status(&id, &conversion).await {
                Ok(conversion) => conversion,
                Err(error) if error.is_gone() => {
                    // Pipedrive keeps it for some days.
                    let StepState::Sending { body, tries, .. } = self.plan().steps[at].state.clone() else {
                        return Err(error.into());
                    };
                    return self.look_after_conversion(at, step, &id, body, tries).await;
                }
                Err(error) => return Err(error.into()),
            };
            match conversion.state {
                ConversionState::Completed => {
                    let deal = match conversion.deal {
                        Some(deal) => Some(deal),
                        None => self.deal_of_gone(at, step, &id, self.kin_sent(at)).await?,
                    };
                    return self.is_converted(at, &id, deal).await;
                }
                ConversionState::Failed => {
                    self.plan_mut().steps[at].state = StepState::Todo;
                    return Err(Trouble::permanent(format!("Pipedrive did not convert lead {id}")));
                }
                ConversionState::Running => tokio::time::sleep(between).await,
            }
        }
        Err(Trouble::new(FailureClass::Transient, Whose::Delivery, "the conversion is still running"))
    }

    /// Sends a conversion; answers its id. None: the step has ended.
    async fn begin_conversion(
        &mut self,
        at: usize,
        step: &Step,
        id: &Id,
        via: Option<Via<'_>>,
        links: &Links,
    ) -> Result<Option<String>, Trouble> {
        let body = self.conversion_body(step, links)?;
        if self.observe {
            let path = format!("/api/v2/leads/{id}/convert/deal");
            self.session.raw(Method::Post, &path, Some(Json::Object(body)), Purpose::Write).await?;
            self.plan_mut().done(at, Effect::Converted, None);
            return Ok(None);
        }
        let hit = via.as_ref().map(|via| &via.lookups[via.hit]);
        let entries = hit.map(|lookup| index::put_lookup(&self.account.name, Kind::Lead, id, lookup, &self.metadata));
        // Its person and organization cannot be read any more once it is a deal, and are what the deal is found by.
        let lead = match via.and_then(|via| via.entity) {
            Some(lead) => Some(lead),
            None => self.session.get(Kind::Lead, id, Purpose::ReadBeforeWrite).await?,
        };
        let Some(lead) = lead else {
            return self.not_there_to_convert(at, step, id, Kin::default()).await.map(|()| None);
        };
        self.learn(entries.into_iter().flatten());
        let kin = |field: &str| lead.get(field).and_then(Id::from_json).map(|id| id.to_json());
        let mut sent = json!({ "person_id": kin("person_id"), "organization_id": kin("organization_id") });
        self.sending(at, sent.clone(), Some(id)).await?;
        match self.session.convert_lead(id, body).await {
            Ok(conversion) => {
                sent["conversion"] = conversion.clone().into();
                self.sending(at, sent, Some(id)).await?;
                Ok(Some(conversion))
            }
            Err(error) if error.class() == FailureClass::UnknownOutcome => Err(self.write_failed(error)),
            Err(error) => {
                let kin = self.kin_sent(at);
                self.plan_mut().steps[at].state = StepState::Todo;
                if error.is_gone() {
                    return self.not_there_to_convert(at, step, id, kin).await.map(|()| None);
                }
                Err(error.into())
            }
        }
    }

    /// The answer to a conversion was lost: is the lead a deal?
    async fn look_after_conversion(&mut self, at: usize, step: &Step, id: &Id, sent: Json, tries: u32) -> Result<(), Trouble> {
        if self.session.get(Kind::Lead, id, Purpose::Reconcile).await?.is_none() {
            return match self.deal_of_gone(at, step, id, self.kin_sent(at)).await? {
                Some(deal) => {
                    self.remark(at, vec!["its answer was lost; the deal was found".to_owned()], Vec::new());
                    self.is_converted(at, id, Some(deal)).await
                }
                None => Err(Trouble::uncertain(format!(
                    "the conversion of lead {id} was sent and its answer was lost; the lead is gone, and no deal was found that it became"
                ))),
            };
        }
        if tries > LOOKS {
            return Err(Trouble::uncertain(format!(
                "the conversion of lead {id} was sent and its answer was lost, and it is a lead still; look in Pipedrive, and replay to convert it"
            )));
        }
        self.sending(at, sent, Some(id)).await?;
        let reason =
            format!("the conversion of lead {id} was sent and its answer was lost; whether it is a deal is looked at again");
        Err(Trouble::new(FailureClass::UnknownOutcome, Whose::Delivery, reason))
    }

    /// The lead is gone: it may be a deal already.
    async fn not_there_to_convert(&mut self, at: usize, step: &Step, id: &Id, kin: Kin) -> Result<(), Trouble> {
        match self.deal_of_gone(at, step, id, kin).await? {
            Some(deal) => self.converted_before(at, id, deal),
            None => {
                self.forget(Kind::Lead, id);
                self.missed(at, step, Kind::Lead, &WireTarget::Id(id.clone()))
            }
        }
    }

    fn converted_before(&mut self, at: usize, lead: &Id, deal: Id) -> Result<(), Trouble> {
        self.say_converted(at, lead, &deal);
        self.plan_mut().done(at, Effect::Unchanged, Some(deal));
        Ok(())
    }

    async fn is_converted(&mut self, at: usize, lead: &Id, deal: Option<Id>) -> Result<(), Trouble> {
        match &deal {
            Some(deal) => {
                let writes = crm::became_deal(self.account, lead, deal).await?;
                self.learn(writes);
                self.say_converted(at, lead, deal);
            }
            None => self.forget(Kind::Lead, lead),
        }
        self.plan_mut().done(at, Effect::Converted, deal);
        Ok(())
    }

    /// The person and the organization of the lead that a conversion was sent for.
    fn kin_sent(&self, at: usize) -> Kin {
        let mut kin = Kin::default();
        if let StepState::Sending { body: Json::Object(sent), .. } = &self.plan().steps[at].state {
            kin.add_entity(sent);
        }
        kin
    }

    pub(super) async fn request(&mut self, at: usize, method: Method, path: &str, body: Option<&Json>) -> Result<(), Trouble> {
        if let StepState::Sending { .. } = self.plan().steps[at].state {
            let reason =
                format!("{method} {} was sent and its answer was lost; whether it was carried out cannot be told", bare(path));
            return Err(Trouble::uncertain(reason));
        }
        if let Some(reason) = self.attempt.unknown.of_requests().filter(|_| !self.observe) {
            return Err(Trouble::uncertain(reason));
        }
        self.sending(at, body.cloned().unwrap_or(Json::Null), None).await?;
        match self.session.raw(method, path, body.cloned(), Purpose::Write).await {
            Ok(_) => {
                self.plan_mut().done(at, Effect::Requested, None);
                Ok(())
            }
            Err(error) if error.class() == FailureClass::UnknownOutcome => {
                Err(Trouble::uncertain(format!("{error}; whether it was carried out cannot be told")))
            }
            Err(error) => {
                self.plan_mut().steps[at].state = StepState::Todo;
                Err(error.into())
            }
        }
    }

    fn conversion_body(&self, step: &Step, links: &Links) -> Result<Map<String, Json>, Trouble> {
        let outcome = plan::body(step, BodyFor::Create, &|target| links.id(target), &self.metadata);
        outcome.map(|o| o.body).map_err(|p| Trouble::permanent(p.to_string()))
    }

    /// Records that the step is about to be sent.
    async fn sending(&mut self, at: usize, body: Json, target: Option<&Id>) -> Result<(), Trouble> {
        let tries = match self.plan().steps[at].state {
            StepState::Sending { tries, .. } => tries,
            _ => 0,
        };
        self.plan_mut().steps[at].state =
            StepState::Sending { since: Timestamp::now(), body, tries: tries + 1, target: target.cloned() };
        self.pin().await
    }

    /// A write failed: unless its outcome is unknown, nothing was sent.
    fn refused(&mut self, at: usize, error: ApiError) -> Trouble {
        if error.class() != FailureClass::UnknownOutcome {
            self.plan_mut().steps[at].state = StepState::Todo;
        }
        self.write_failed(error)
    }

    fn forget(&mut self, kind: Kind, id: &Id) {
        self.learn([index::forget(&self.account.name, kind, id)]);
    }
}

/// The id of a conversion, once Pipedrive has answered it. Plans of earlier versions hold it alone.
fn conversion_id(sent: &Json) -> Option<&str> {
    sent.get("conversion").unwrap_or(sent).as_str()
}

/// A path without its query, which may hold personal data.
fn bare(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}
