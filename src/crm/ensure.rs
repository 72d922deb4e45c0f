//! What `rules.toml` declares of an account's custom fields, beside what the account has, and the calls that make what is missing.
//!
//! Invariants: names that the schema file pins count, so a field that was renamed in Pipedrive is there and not missing; nothing is
//! ever renamed, retyped or deleted; what the account has beyond what is declared is no matter.

use serde::Serialize;
use serde_json::{Value, json};

use super::fetch::{field_of, fields_path};
use super::{Field, FieldType, Metadata, adding_costs, same_name, standard};
use crate::config::{AccountConfig, DeclaredField};
use crate::pipedrive::{ApiError, Kind, Method, Purpose, Request, Session, tokens};

/// A declared field, and how it stands in the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldState {
    /// Kind.
    pub kind: Kind,
    /// Place in its list in `rules.toml`, from 0.
    #[serde(skip)]
    pub place: usize,
    /// Name as declared.
    pub name: String,
    /// Type as declared.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// Key, when the account has the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its name in Pipedrive, when that is another by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// How it stands.
    #[serde(flatten)]
    pub state: State,
}

/// How a declared field stands in the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It is there, with all declared options.
    There,
    /// There is none of that name.
    Missing,
    /// It is there without these options.
    LacksOptions {
        /// Their labels.
        options: Vec<String>,
    },
    /// It is there and of another type.
    OtherType {
        /// That type.
        found: FieldType,
    },
    /// Several fields have the name.
    Ambiguous {
        /// Key and type of each.
        fields: Vec<(String, FieldType)>,
    },
}

impl FieldState {
    /// Tokens that making what is missing costs.
    #[must_use]
    pub fn cost(&self) -> u32 {
        match &self.state {
            State::Missing => tokens(&Request::new(Method::Post, fields_path(self.kind))),
            State::LacksOptions { options } => adding_costs(self.kind) * u32::try_from(options.len()).unwrap_or(u32::MAX),
            State::There | State::OtherType { .. } | State::Ambiguous { .. } => 0,
        }
    }

    /// How many things are missing: a field with its options is one, an option of a field that is there is one.
    #[must_use]
    pub fn lacks(&self) -> usize {
        match &self.state {
            State::Missing => 1,
            State::LacksOptions { options } => options.len(),
            State::There | State::OtherType { .. } | State::Ambiguous { .. } => 0,
        }
    }
}

/// The declared fields in the order of `rules.toml`, beside those of the account; `known` is its answer with the names that the schema
/// file pins.
#[must_use]
pub fn compare(config: &AccountConfig, known: &Metadata, answer: &Metadata) -> Vec<FieldState> {
    let mut states = Vec::new();
    for (word, list) in config.fields.by_kind() {
        let Some(kind) = Kind::parse(word) else { continue };
        states.extend(list.iter().enumerate().map(|(place, declared)| state(kind, place, declared, known, answer)));
    }
    states
}

fn state(kind: Kind, place: usize, declared: &DeclaredField, known: &Metadata, answer: &Metadata) -> FieldState {
    let field_type = FieldType::from(declared.field_type);
    let (key, state) = match known.custom_named(kind, &declared.name).as_slice() {
        [] => (None, State::Missing),
        [field] if field.field_type != field_type => (Some(&field.key), State::OtherType { found: field.field_type.clone() }),
        [field] => {
            let has = |label: &str| field.options.iter().any(|option| same_name(&option.label, label));
            let options: Vec<String> = declared.options.iter().filter(|label| !has(label)).cloned().collect();
            (Some(&field.key), if options.is_empty() { State::There } else { State::LacksOptions { options } })
        }
        several => {
            let fields = several.iter().map(|field| (field.key.clone(), field.field_type.clone())).collect();
            (None, State::Ambiguous { fields })
        }
    };
    let now = key.and_then(|key| answer.custom_field(kind, key)).map(|field| field.name.clone());
    let now = now.filter(|now| !same_name(now, &declared.name));
    FieldState { kind, place, name: declared.name.clone(), field_type, key: key.cloned(), now, state }
}

/// The match fields that are neither declared nor in the account.
#[must_use]
pub fn unmatched(config: &AccountConfig, known: &Metadata) -> Vec<(Kind, String)> {
    let declared = config.fields.by_kind();
    let mut all = Vec::new();
    for ((word, name), (_, list)) in config.match_fields.by_kind().into_iter().zip(declared) {
        let Some(kind) = Kind::parse(word) else { continue };
        let there = standard::find(kind, name).is_some()
            || known.custom_field(kind, name).is_some()
            || !known.custom_named(kind, name).is_empty()
            || list.iter().any(|field| same_name(&field.name, name));
        if !there {
            all.push((kind, name.to_owned()));
        }
    }
    all
}

/// Makes a custom field; answers it as the account has it now. Not repeated after an unknown outcome: whether it was made is seen in
/// the account's list.
///
/// # Errors
/// When Pipedrive does not make it, or its answer cannot be read.
pub async fn create_field(session: &Session, kind: Kind, declared: &DeclaredField) -> Result<Field, ApiError> {
    let path = fields_path(kind);
    let mut body = json!({ "field_name": declared.name, "field_type": declared.field_type });
    if declared.field_type.has_options() {
        body["options"] = declared.options.iter().map(|label| json!({ "label": label })).collect::<Value>();
    }
    let answer = session.send(&Request::new(Method::Post, path).body(body), Purpose::Write).await?;
    field_of(path, &answer).map_err(|error| ApiError { write: true, ..error })
}
