//! Updates of archived deals and leads, which Pipedrive refuses.
//!
//! Invariants: nothing is asked before an update is refused, unless the entity was read anyway; only `on_archived: "unarchive"`
//! takes anything out of the archive, and only for an update that has something to send.

use serde_json::{Map, Value as Json, json};

use super::apply::Sent;
use super::execute::{Executor, Via};
use super::links::Links;
use super::trouble::Trouble;
use crate::failure::FailureClass;
use crate::pipedrive::{ApiError, Entity, Id, Kind, Purpose};
use crate::plan::{OnArchived, Step};

/// Whether a body goes to an entity that is archived, as far as it was read.
pub(super) fn goes_to_archive(kind: Kind, present: Option<&Entity>, body: &Map<String, Json>) -> bool {
    can_be_archived(kind) && present.is_some_and(is_archived) && !body.contains_key("is_archived")
}

const fn can_be_archived(kind: Kind) -> bool {
    matches!(kind, Kind::Deal | Kind::Lead)
}

fn is_archived(entity: &Entity) -> bool {
    entity.get("is_archived") == Some(&Json::Bool(true))
}

impl Executor<'_> {
    /// Whether an update was refused because the entity is archived.
    pub(super) async fn refused_as_archived(&self, kind: Kind, id: &Id, error: &ApiError) -> Result<bool, Trouble> {
        if !can_be_archived(kind) || error.class() != FailureClass::Permanent {
            return Ok(false);
        }
        Ok(self.session.get(kind, id, Purpose::ReadBeforeWrite).await?.is_some_and(|entity| is_archived(&entity)))
    }

    /// An update, with the policy for archived ones.
    pub(super) async fn update_by_policy(
        &mut self,
        at: usize,
        step: &Step,
        kind: Kind,
        id: &Id,
        via: Option<&Via<'_>>,
        links: &Links,
    ) -> Result<Sent, Trouble> {
        let sent = self.update_once(at, step, kind, id, via, links).await?;
        if !matches!(sent, Sent::Archived) {
            return Ok(sent);
        }
        let what = format!("the {kind} {id} is archived, and Pipedrive lets nothing be changed there");
        match step.on_archived {
            OnArchived::Fail => Err(Trouble::permanent(format!(
                "{what} (on_archived: fail); take it out of the archive and replay, or set on_archived to skip or unarchive"
            ))),
            OnArchived::Skip => {
                self.skip(at, format!("on_archived: skip: {what}"));
                Ok(Sent::Done)
            }
            OnArchived::Unarchive => {
                self.ensure_pinned().await?;
                let body = json!({ "is_archived": false }).as_object().cloned().unwrap_or_default();
                if let Err(error) = self.session.update(kind, id, body).await {
                    return Err(self.write_failed(error));
                }
                self.plan_mut().steps[at].warnings.push(format!("the {kind} {id} was taken out of the archive (on_archived)"));
                // What was read before says that it is archived.
                let via = via.map(|v| Via { lookups: v.lookups, hit: v.hit, entity: None, when: v.when, aliased: v.aliased });
                match self.update_once(at, step, kind, id, via.as_ref(), links).await? {
                    Sent::Archived => Err(Trouble::permanent(format!("{what}, also after it was taken out of the archive"))),
                    sent => Ok(sent),
                }
            }
        }
    }
}
