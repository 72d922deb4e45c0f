//! `[[rules]]`: a name, a trigger and a script.

use serde::{Deserialize, Serialize};

use super::Span;

/// One rule.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Unique; names its deliveries.
    pub name: String,
    /// The trigger, in Segment's FQL.
    pub when: String,
    /// File in `scripts/`.
    pub script: String,
    /// File in `scripts/` that runs beside it, is compared with it and sends nothing.
    #[serde(default)]
    pub shadow: Option<String>,
    /// Off: the rule takes no new events.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Account to write to; may be left out when there is one.
    #[serde(default)]
    pub account: Option<String>,
    /// Sources it listens to; empty: all.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Dotted path of the event value whose equals are processed in order; falls back to `anonymousId`, `groupId`, `messageId`.
    #[serde(default = "user_id")]
    pub order_by: String,
    /// Lower goes first when the budget is short. 0 to 9.
    #[serde(default = "five")]
    pub priority: u8,
    /// Older events (by `timestamp`) are recorded, not executed.
    #[serde(default)]
    pub max_event_age: Option<Span>,
    /// More creates than this in an hour pause the rule.
    #[serde(default)]
    pub max_creates_per_hour: Option<u32>,
    /// Which fields are sent.
    #[serde(default)]
    pub write: WritePolicy,
    /// How long a delivery waits for the entity it links to.
    #[serde(default = "quarter_hour")]
    pub link_wait: Span,
    /// How long what was last read or written of a list or a value with parts is trusted before it is read again.
    #[serde(default = "at_once")]
    pub reread_after: Span,
}

impl RuleConfig {
    /// Its scripts, each with the key that names it.
    pub fn scripts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let shadow = self.shadow.as_deref().map(|script| ("shadow", script));
        std::iter::once(("script", self.script.as_str())).chain(shadow)
    }
}

/// Which fields of an update are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WritePolicy {
    /// Those whose value differs from what this field was last sent; people's edits stand.
    #[default]
    Changed,
    /// Those whose value differs from the known value in Pipedrive.
    Differs,
    /// All.
    Always,
}

const fn yes() -> bool {
    true
}

fn user_id() -> String {
    "userId".to_owned()
}

const fn five() -> u8 {
    5
}

const fn at_once() -> Span {
    Span::secs(0)
}

const fn quarter_hour() -> Span {
    Span::secs(15 * 60)
}
