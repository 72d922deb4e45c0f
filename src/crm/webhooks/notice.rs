//! What Pipedrive sends: version 2 of its webhooks.
//!
//! Invariant: what is said of a body that is not taken repeats nothing of it, since it goes to the log.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::crm::time;
use crate::pipedrive::{Id, Kind};

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happened {
    /// It was made.
    Created,
    /// It has other values.
    Changed,
    /// It is gone.
    Deleted,
}

/// One body.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    pub(super) happened: Happened,
    /// None: it is about something else than what rules write.
    pub(super) entity: Option<(Kind, Id)>,
    pub(super) company: Option<i64>,
    /// Whose change it was.
    pub(super) user: Option<i64>,
    /// It came over the API.
    pub(super) by_api: bool,
    /// By Pipedrive's clock; the time of arrival where it does not say.
    pub(super) at: Timestamp,
    /// From 1; later ones come up to minutes late.
    pub(super) attempt: u32,
    /// What took over the one that is gone.
    pub(super) merged_into: Option<Id>,
    /// The values now; none of what is gone.
    pub(super) data: Option<Map<String, Value>>,
    /// What the fields held before that hold something else now.
    pub(super) previous: Option<Map<String, Value>>,
}

/// Why a body is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotANotice(String);

impl fmt::Display for NotANotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this is no body of Pipedrive's webhooks, version 2.0: {}", self.0)
    }
}

impl std::error::Error for NotANotice {}

#[derive(Deserialize)]
struct Body {
    meta: Meta,
    #[serde(default)]
    data: Option<Map<String, Value>>,
    #[serde(default)]
    previous: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Meta {
    action: String,
    entity: String,
    // Pipedrive writes ids as texts here, and as numbers in the API.
    #[serde(deserialize_with = "text_or_number")]
    entity_id: String,
    #[serde(default, deserialize_with = "number_or_text")]
    company_id: Option<i64>,
    #[serde(default, deserialize_with = "number_or_text")]
    user_id: Option<i64>,
    #[serde(default)]
    change_source: String,
    #[serde(default)]
    timestamp: Value,
    #[serde(default, deserialize_with = "number_or_text")]
    attempt: Option<i64>,
    #[serde(default)]
    merged_to_id: Value,
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(text_or_number(deserializer)?.parse().ok())
}

impl Notice {
    /// Reads a body.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, NotANotice> {
        let wrong = |what: String| NotANotice(what);
        // Version 1.0 has another `meta`: what it lacks would be complained about first.
        let body: Value = serde_json::from_slice(bytes)
            .map_err(|e| wrong(format!("it is not JSON at line {}, column {}", e.line(), e.column())))?;
        let version = body.pointer("/meta/version").and_then(Value::as_str).unwrap_or("2.0");
        if !version.starts_with("2.") {
            let help = "`meta.version` is another one; `pipewright webhooks register` makes one of version 2.0";
            return Err(wrong(help.to_owned()));
        }
        let Body { meta, data, previous } = Body::deserialize(body).map_err(|_| {
            wrong("`meta` with `action`, `entity` and `entity_id`, `data` and `previous` have another shape".to_owned())
        })?;
        let happened = match meta.action.as_str() {
            "create" => Happened::Created,
            "change" => Happened::Changed,
            "delete" => Happened::Deleted,
            _ => return Err(wrong("`meta.action` is none of create, change and delete".to_owned())),
        };
        let entity = match Kind::parse(&meta.entity) {
            Some(kind) => {
                let id: Id = meta.entity_id.parse().map_err(|_| wrong("`meta.entity_id` is no id".to_owned()))?;
                if !id.fits(kind) {
                    return Err(wrong(format!("`meta.entity_id` cannot be that of a {kind}")));
                }
                Some((kind, id))
            }
            None => None,
        };
        let merged_into = match (&entity, &meta.merged_to_id) {
            (None, _) | (_, Value::Null) => None,
            (Some((kind, _)), id) => {
                let id = id.as_str().and_then(|text| text.parse().ok()).or_else(|| Id::from_json(id));
                Some(id.filter(|id| id.fits(*kind)).ok_or_else(|| wrong("`meta.merged_to_id` is no id".to_owned()))?)
            }
        };
        Ok(Self {
            happened,
            entity,
            company: meta.company_id,
            user: meta.user_id,
            by_api: meta.change_source == "api",
            at: meta.timestamp.as_str().and_then(time::read).unwrap_or_else(Timestamp::now),
            attempt: meta.attempt.and_then(|attempt| u32::try_from(attempt).ok()).unwrap_or(1),
            merged_into,
            data,
            previous,
        })
    }
}
