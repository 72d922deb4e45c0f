//! Deletes, merges, conversions and raw requests.
//!
//! Invariants: a delete of what is gone is done; a merge is looked at after an unknown outcome; of a conversion or a raw request
//! nothing can be proved, so after an unknown outcome it ends as uncertain and is never sent again by itself.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::decide::diagnose;
use super::execute::Executor;
use super::links::Links;
use super::record::{Effect, StepState};
use super::trouble::Trouble;
use crate::crm::{WireTarget, index};
use crate::failure::FailureClass;
use crate::pipedrive::{ApiError, ConversionState, Id, Kind, Method, Purpose};
use crate::plan::{self, BodyFor, PlanProblem, ProblemKind, Step};

/// Polls of a conversion, a second or `delivery.retry_first` apart, before the delivery is tried again later.
const POLLS: u32 = 30;

impl Executor<'_> {
    pub(super) async fn delete(&mut self, at: usize, kind: Kind, id: Id) -> Result<(), Trouble> {
        self.lock_entities(kind, &[&id]).await;
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
            return Err(Trouble::plan(&[problem], |problem| diagnose(&self.attempt.set, problem)));
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

    pub(super) async fn convert(&mut self, at: usize, step: &Step, id: Id, links: &Links) -> Result<(), Trouble> {
        self.lock_entities(Kind::Lead, &[&id]).await;
        if self.observe {
            self.sending(at, Json::Null, Some(&id)).await?;
            let outcome = self.conversion_body(step, links)?;
            self.session.raw(Method::Post, &format!("/api/v2/leads/{id}/convert/deal"), Some(outcome), Purpose::Write).await?;
            self.plan_mut().done(at, Effect::Converted, None);
            return Ok(());
        }
        let conversion = match &self.plan().steps[at].state {
            // It was begun: only its end is waited for.
            StepState::Sending { body: Json::String(conversion), .. } => conversion.clone(),
            StepState::Sending { .. } => {
                let reason = format!(
                    "the conversion of lead {id} was sent and its answer was lost; look in Pipedrive whether it is a deal"
                );
                return Err(Trouble::uncertain(reason));
            }
            _ => {
                let body = self.conversion_body(step, links)?;
                self.sending(at, Json::Null, Some(&id)).await?;
                let conversion = match self.session.convert_lead(&id, body.as_object().cloned().unwrap_or_default()).await {
                    Ok(conversion) => conversion,
                    Err(error) if error.class() == FailureClass::UnknownOutcome => {
                        return Err(Trouble::uncertain(format!("{error}; look in Pipedrive whether lead {id} is a deal")));
                    }
                    Err(error) => {
                        self.plan_mut().steps[at].state = StepState::Todo;
                        return Err(error.into());
                    }
                };
                self.sending(at, Json::String(conversion.clone()), Some(&id)).await?;
                conversion
            }
        };
        let between = self.attempt.set.config.delivery.retry_first.get().min(Duration::from_secs(1));
        for _ in 0..POLLS {
            let conversion = self.session.conversion_status(&id, &conversion).await?;
            match conversion.state {
                ConversionState::Completed => {
                    self.forget(Kind::Lead, &id);
                    self.plan_mut().done(at, Effect::Converted, conversion.deal);
                    return Ok(());
                }
                ConversionState::Failed => {
                    return Err(Trouble::permanent(format!("Pipedrive did not convert lead {id}")));
                }
                ConversionState::Running => tokio::time::sleep(between).await,
            }
        }
        Err(Trouble::new(FailureClass::Transient, super::trouble::Whose::Delivery, "the conversion is still running"))
    }

    pub(super) async fn request(&mut self, at: usize, method: Method, path: &str, body: Option<&Json>) -> Result<(), Trouble> {
        if let StepState::Sending { .. } = self.plan().steps[at].state {
            let reason =
                format!("{method} {} was sent and its answer was lost; whether it was carried out cannot be told", bare(path));
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

    fn conversion_body(&self, step: &Step, links: &Links) -> Result<Json, Trouble> {
        let outcome = plan::body(step, BodyFor::Create, &|target| links.id(target), &self.metadata);
        outcome.map(|o| Json::Object(o.body)).map_err(|p| Trouble::permanent(p.to_string()))
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

/// A path without its query, which may hold personal data.
fn bare(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}
