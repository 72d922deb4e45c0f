//! `mirror` of an account: one word, or one a kind.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// Whether the lists of a kind are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MirrorMode {
    /// As far as it costs less than searching.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl MirrorMode {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// The modes by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MirrorConfig {
    /// Persons.
    pub person: MirrorMode,
    /// Organizations.
    pub organization: MirrorMode,
    /// Deals.
    pub deal: MirrorMode,
}

impl From<MirrorMode> for MirrorConfig {
    fn from(mode: MirrorMode) -> Self {
        Self { person: mode, organization: mode, deal: mode }
    }
}

impl<'de> Deserialize<'de> for MirrorConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// What is not given is decided by cost.
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct ByKind {
            person: MirrorMode,
            organization: MirrorMode,
            deal: MirrorMode,
        }
        match toml::Value::deserialize(deserializer)? {
            toml::Value::Table(table) => {
                let ByKind { person, organization, deal } = ByKind::deserialize(table).map_err(D::Error::custom)?;
                Ok(Self { person, organization, deal })
            }
            toml::Value::String(word) => MirrorMode::deserialize(serde::de::value::StringDeserializer::new(word)).map(Self::from),
            _ => Err(D::Error::custom(
                "it is \"auto\", \"on\" or \"off\", or one of them a kind: { person = \"on\", deal = \"off\" }",
            )),
        }
    }
}
