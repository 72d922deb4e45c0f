//! `[pipedrive.NAME]`: one Pipedrive account.

use serde::{Deserialize, Serialize};

use super::{BudgetConfig, DeclaredFields, MirrorConfig, SecretRef, Span, WebhooksConfig};

/// One account.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountConfig {
    /// `acme` of `https://acme.pipedrive.com`.
    pub domain: Option<String>,
    /// The API token, sent as `x-api-token`.
    pub api_token: Option<SecretRef>,
    /// Another host that speaks the same API; takes the place of `domain`.
    pub base_url: Option<String>,
    /// Pipedrive plan: sets the burst limit until the account's answers tell it.
    pub plan: Plan,
    /// Whether anything is sent.
    pub writes: Writes,
    /// Field that a bare id in a script or a link default stands for, per kind.
    pub match_fields: MatchFields,
    /// Custom fields that the account is to have.
    pub fields: DeclaredFields,
    /// Time-out of one request.
    pub timeout: Span,
    /// Most requests under way at once.
    pub concurrency: usize,
    /// How long fields, stages, users and labels are trusted before they are fetched again.
    pub metadata_ttl: Span,
    /// Whether lists are kept that make searches needless.
    pub mirror: MirrorConfig,
    /// Tokens a day; none: they are counted, not limited.
    pub budget: Option<BudgetConfig>,
    /// Where Pipedrive tells what people change; none: nowhere.
    pub webhooks: Option<WebhooksConfig>,
}

impl Default for AccountConfig {
    fn default() -> Self {
        Self {
            domain: None,
            api_token: None,
            base_url: None,
            plan: Plan::Lite,
            writes: Writes::On,
            match_fields: MatchFields::default(),
            fields: DeclaredFields::default(),
            timeout: Span::secs(20),
            concurrency: 8,
            metadata_ttl: Span::secs(3600),
            mirror: MirrorConfig::default(),
            budget: None,
            webhooks: None,
        }
    }
}

/// Field name, 40-character key or `id`, per kind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MatchFields {
    /// Persons.
    pub person: String,
    /// Organizations.
    pub organization: String,
    /// Deals.
    pub deal: String,
}

impl MatchFields {
    /// The fields by their keys in `rules.toml`.
    #[must_use]
    pub fn by_kind(&self) -> [(&'static str, &str); 3] {
        [("person", &self.person), ("organization", &self.organization), ("deal", &self.deal)]
    }
}

impl Default for MatchFields {
    fn default() -> Self {
        Self {
            person: "Segment User ID".to_owned(),
            organization: "Segment Group ID".to_owned(),
            deal: "Segment Deal ID".to_owned(),
        }
    }
}

/// Whether plans are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Writes {
    /// Plans are carried out.
    On,
    /// Real reads, nothing sent; deliveries end as `observed`.
    Off,
}

/// Pipedrive's plans, by what an API token may send in 2 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    /// 20 requests in 2 s.
    Lite,
    /// 40.
    Growth,
    /// 100.
    Premium,
    /// 120.
    Ultimate,
}

impl Plan {
    /// Requests that one API token may send in any 2 s.
    #[must_use]
    pub const fn burst(self) -> u32 {
        match self {
            Self::Lite => 20,
            Self::Growth => 40,
            Self::Premium => 100,
            Self::Ultimate => 120,
        }
    }
}
