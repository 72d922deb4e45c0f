//! One account's fields, options, stages, users and labels; no records.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::same_name;
use crate::config::CustomType;
use crate::pipedrive::Kind;

/// The metadata of one account, as fetched together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Fields by kind, standard and custom, as Pipedrive lists them. Leads have the deals' custom fields.
    pub fields: BTreeMap<Kind, Vec<Field>>,
    /// Pipelines.
    pub pipelines: Vec<Pipeline>,
    /// Stages of all pipelines.
    pub stages: Vec<Stage>,
    /// Users, active and not.
    pub users: Vec<User>,
    /// Lead labels. Labels of the other kinds are the options of their `label_ids` field.
    pub lead_labels: Vec<LeadLabel>,
    /// Activity types: (`key_string`, name).
    pub activity_types: Vec<(String, String)>,
    /// The token's user and the company.
    pub me: Me,
}

/// A field of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// `field_code`: API name, or 40 hexadecimal characters for a custom field.
    pub key: String,
    /// Name as seen in Pipedrive. Not unique.
    pub name: String,
    /// Type.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// Options of enum and set fields (labels included).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<FieldOption>,
    /// Made by the account's users.
    pub custom: bool,
}

/// An option of an enum or set field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldOption {
    /// Id, as bodies want it.
    pub id: i64,
    /// Label as seen in Pipedrive.
    pub label: String,
}

/// Pipedrive's field types; names as the API has them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// Up to 255 characters.
    Varchar,
    /// The same, with completion.
    VarcharAuto,
    /// Long text.
    Text,
    /// A number.
    Double,
    /// A whole number (standard fields).
    Int,
    /// True or false (standard fields).
    Boolean,
    /// Amount with currency.
    Monetary,
    /// One option.
    Enum,
    /// Several options.
    Set,
    /// A user.
    User,
    /// An organization.
    Org,
    /// A person.
    People,
    /// A phone number.
    Phone,
    /// A date.
    Date,
    /// From date to date.
    Daterange,
    /// A time of day.
    Time,
    /// From time to time.
    Timerange,
    /// A postal address.
    Address,
    /// Anything else (standard fields only): left to the table of standard fields.
    #[serde(untagged)]
    Other(String),
}

impl fmt::Display for FieldType {
    /// The type as the API calls it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl From<CustomType> for FieldType {
    fn from(declared: CustomType) -> Self {
        match declared {
            CustomType::Varchar => Self::Varchar,
            CustomType::VarcharAuto => Self::VarcharAuto,
            CustomType::Text => Self::Text,
            CustomType::Double => Self::Double,
            CustomType::Monetary => Self::Monetary,
            CustomType::Enum => Self::Enum,
            CustomType::Set => Self::Set,
            CustomType::User => Self::User,
            CustomType::Org => Self::Org,
            CustomType::People => Self::People,
            CustomType::Phone => Self::Phone,
            CustomType::Date => Self::Date,
            CustomType::Daterange => Self::Daterange,
            CustomType::Time => Self::Time,
            CustomType::Timerange => Self::Timerange,
            CustomType::Address => Self::Address,
        }
    }
}

/// A pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Id.
    pub id: i64,
    /// Name.
    pub name: String,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Id.
    pub id: i64,
    /// Name. Not unique over pipelines.
    pub name: String,
    /// Its pipeline.
    pub pipeline_id: i64,
    /// Place within the pipeline, from 0 or 1 as Pipedrive gives it.
    pub order: i64,
}

/// A user of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Id.
    pub id: i64,
    /// Name.
    pub name: String,
    /// E-mail.
    pub email: String,
    /// Not deactivated.
    pub active: bool,
}

/// A lead label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadLabel {
    /// Uuid.
    pub id: String,
    /// Name.
    pub name: String,
}

/// The token's user and the company.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    /// User id: the creator of what we create. None (0) in schema files.
    #[serde(default, skip_serializing_if = "is_none")]
    pub user_id: i64,
    /// Company id.
    pub company_id: i64,
    /// Company domain.
    pub company_domain: String,
    /// ISO 4217 code.
    pub default_currency: String,
    /// IANA zone.
    pub timezone: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_none(id: &i64) -> bool {
    *id == 0
}

impl Metadata {
    /// The fields of a kind; leads answer with the deals' fields.
    #[must_use]
    pub fn fields_of(&self, kind: Kind) -> &[Field] {
        let kind = if kind == Kind::Lead { Kind::Deal } else { kind };
        self.fields.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// The field of a custom field's key.
    #[must_use]
    pub fn custom_field(&self, kind: Kind, key: &str) -> Option<&Field> {
        self.fields_of(kind).iter().find(|field| field.custom && field.key == key)
    }

    /// The custom fields of a name, each once: of exactly this name, else without regard to case and outer blanks.
    #[must_use]
    pub fn custom_named(&self, kind: Kind, name: &str) -> Vec<&Field> {
        let named = |fits: &dyn Fn(&str) -> bool| {
            let mut found: Vec<&Field> = Vec::new();
            for field in self.fields_of(kind).iter().filter(|field| field.custom && fits(&field.name)) {
                if !found.iter().any(|known| known.key == field.key) {
                    found.push(field);
                }
            }
            found
        };
        let exact = named(&|known| known == name);
        if exact.is_empty() { named(&|known| same_name(known, name)) } else { exact }
    }

    /// A field as people know it: a custom field by its name, a standard field by its API name.
    #[must_use]
    pub fn name_of<'a>(&'a self, kind: Kind, address: &'a super::Address) -> &'a str {
        match address {
            super::Address::Custom(key) => self.custom_field(kind, key).map_or(key, |field| &field.name),
            super::Address::Standard(key) => key,
        }
    }

    /// The type of a custom field; none for standard fields, whose types are those of [`super::standard`].
    #[must_use]
    pub fn type_of(&self, kind: Kind, address: &super::Address) -> Option<&FieldType> {
        match address {
            super::Address::Custom(key) => self.custom_field(kind, key).map(|field| &field.field_type),
            super::Address::Standard(_) => None,
        }
    }
}
