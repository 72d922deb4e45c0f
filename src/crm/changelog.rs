//! What was changed in a record, and when, as Pipedrive remembers it.
//!
//! Invariants: persons, organizations and deals only, the newest changes of a record; values are texts, as v1 gives them.

use jiff::Timestamp;

use super::time;
use crate::pipedrive::{ApiError, Entity, Id, Kind, PAGE, Purpose, Session};

/// A field that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// API name of v1, or the key of a custom field.
    pub key: String,
    /// Before.
    pub old: Option<String>,
    /// After.
    pub new: Option<String>,
    /// When, to the second.
    pub at: Timestamp,
}

/// Whether Pipedrive remembers the changes of such records.
#[must_use]
pub const fn is_logged(kind: Kind) -> bool {
    matches!(kind, Kind::Person | Kind::Organization | Kind::Deal)
}

/// The newest changes of a record, newest first: one request of 20 tokens. What cannot be read is left out.
///
/// # Errors
/// Any failure of the call.
pub async fn changelog(session: &Session, kind: Kind, id: &Id) -> Result<Vec<Logged>, ApiError> {
    let collection = match kind {
        Kind::Person => "persons",
        Kind::Organization => "organizations",
        Kind::Deal => "deals",
        Kind::Lead | Kind::Activity | Kind::Note => return Ok(Vec::new()),
    };
    let path = format!("/api/v1/{collection}/{id}/changelog");
    let (page, _) = session.list_page(&path, &[], PAGE, None, Purpose::ReadBeforeWrite).await?;
    Ok(page.iter().filter_map(read).collect())
}

fn read(entry: &Entity) -> Option<Logged> {
    let text = |name: &str| entry.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    Some(Logged { key: text("field_key")?, old: text("old_value"), new: text("new_value"), at: time::read(&text("time")?)? })
}
