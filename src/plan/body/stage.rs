//! `stage_at_least`: a deal goes forward to a stage, never back.
//!
//! Invariants: only an open deal is moved, and only within the pipeline that it is in; a deal that is there already or further
//! on is left where a person or an earlier event put it.

use serde_json::{Map, Value as Json};

use crate::crm::standard::STAGE_AT_LEAST;
use crate::crm::{Address, Metadata, Stage};
use crate::plan::field::FieldRef;

/// Whether the field is `stage_at_least`.
pub(super) fn is_at_least(field: &FieldRef<'_>) -> bool {
    field.address.key() == STAGE_AT_LEAST
}

/// The field that is written for it.
pub(super) fn written<'a>(field: &FieldRef<'a>) -> FieldRef<'a> {
    let mut written = field.clone();
    written.address = Address::Standard("stage_id".to_owned());
    written
}

/// What becomes of a deal that is to have reached a stage.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// It goes there.
    Forward,
    /// It is there, or further on.
    Reached,
    /// It stays where it is, for this reason.
    Stays(String),
}

/// Compares the deal, as Pipedrive answered it, with the stage that it is to have reached.
pub(super) fn movement(deal: &Map<String, Json>, wanted: &Json, metadata: &Metadata) -> Move {
    let stage = |id: &Json| metadata.stages.iter().find(|s| Some(s.id) == id.as_i64());
    let status = deal.get("status").and_then(Json::as_str).unwrap_or("open");
    if status != "open" {
        return Move::Stays(format!("the deal is {status}, so `{STAGE_AT_LEAST}` does not move it"));
    }
    let present = deal.get("stage_id").and_then(stage);
    let (Some(present), Some(wanted)) = (present, stage(wanted)) else {
        return Move::Stays(format!(
            "the deal's stage is not known to the account's list, so `{STAGE_AT_LEAST}` does not move it"
        ));
    };
    if present.pipeline_id != wanted.pipeline_id {
        let name =
            metadata.pipelines.iter().find(|p| p.id == present.pipeline_id).map_or("another pipeline", |p| p.name.as_str());
        return Move::Stays(format!("the deal is in the pipeline `{name}`, so `{STAGE_AT_LEAST}` does not move it"));
    }
    let place = |s: &Stage| (s.order, s.id);
    if place(present) < place(wanted) { Move::Forward } else { Move::Reached }
}
