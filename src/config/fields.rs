//! `[pipedrive.NAME.fields]`: the custom fields that the rules need. `pipewright fields ensure` compares them with the account.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Declared custom fields, per kind. Leads have the deals' fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeclaredFields {
    /// Of persons.
    pub person: Vec<DeclaredField>,
    /// Of organizations.
    pub organization: Vec<DeclaredField>,
    /// Of deals and leads.
    pub deal: Vec<DeclaredField>,
}

impl DeclaredFields {
    /// The lists by their keys in `rules.toml`, in a fixed order.
    #[must_use]
    pub fn by_kind(&self) -> [(&'static str, &[DeclaredField]); 3] {
        [("person", &self.person), ("organization", &self.organization), ("deal", &self.deal)]
    }
}

/// One declared custom field.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredField {
    /// Name, as it is seen in Pipedrive.
    pub name: String,
    /// Type.
    #[serde(rename = "type")]
    pub field_type: CustomType,
    /// Labels of the options that it must have; it may have more.
    #[serde(default)]
    pub options: Vec<String>,
}

/// The types of custom fields; names as Pipedrive's API has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomType {
    /// Up to 255 characters.
    Varchar,
    /// The same, with completion.
    VarcharAuto,
    /// Long text.
    Text,
    /// A number.
    Double,
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
}

impl CustomType {
    /// Whether fields of the type have options.
    #[must_use]
    pub const fn has_options(self) -> bool {
        matches!(self, Self::Enum | Self::Set)
    }
}

impl fmt::Display for CustomType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
