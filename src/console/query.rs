//! What `GET /api/events` may be asked.

use serde::{Deserialize, Serialize};

use super::problem::Failed;
use crate::diagnostic::did_you_mean;
use crate::store::{DeliveryFilter, DeliveryState, Seq, UnmatchedFilter};

/// Most rows in an answer.
const MOST: usize = 1000;

/// The query of `GET /api/events`, and what `events list` sends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsQuery {
    /// States, with commas between; `failed` stands for dead, partial and uncertain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Event type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of track events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// User.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `messageId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Cause, by its name or the beginning of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Script set, by its version or the beginning of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `1`: only what was not repeated since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<u8>,
    /// Received at or after: a timestamp, or a span before now (`2h`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Only events before this one (paging).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// At most; 50 unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// `1`: what was refused at the door, instead of deliveries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<u8>,
    /// `1`: what no rule wanted, instead of deliveries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmatched: Option<u8>,
}

impl EventsQuery {
    /// Whether it narrows deliveries down; a limit alone does not, nor does the choice of another list.
    #[must_use]
    pub fn has_conditions(&self) -> bool {
        Self { limit: None, rejected: None, unmatched: None, open: None, ..self.clone() } != Self::default()
    }

    /// Rows wanted.
    #[must_use]
    pub(super) fn limit(&self) -> usize {
        match self.limit {
            None | Some(0) => 50,
            Some(n) => n.min(MOST),
        }
    }

    /// The filter of unmatched events that it stands for; they have no state and no rule.
    pub(super) fn unmatched(&self, now: jiff::Timestamp) -> Result<UnmatchedFilter, Failed> {
        let of_deliveries = [&self.state, &self.rule, &self.cause, &self.version];
        if of_deliveries.iter().any(|given| given.is_some()) || self.open.is_some() {
            let why = "unmatched events have no deliveries, so no `state`, `rule`, `cause`, `version` or `open` to choose by";
            return Err(Failed::bad_request(why));
        }
        Ok(UnmatchedFilter {
            kind: self.kind.clone(),
            name: self.name.clone(),
            user: self.user.clone(),
            message_id: self.message_id.clone(),
            since: self.since(now)?,
            before: self.before.map(Seq),
            after: None,
            limit: self.limit(),
        })
    }

    fn since(&self, now: jiff::Timestamp) -> Result<Option<jiff::Timestamp>, Failed> {
        self.since.as_deref().map(|text| parse_since(text, now)).transpose().map_err(Failed::bad_request)
    }

    /// The filter that it stands for. `now` is what spans in `since` count from.
    pub(super) fn filter(&self, now: jiff::Timestamp) -> Result<DeliveryFilter, Failed> {
        let since = self.since(now)?;
        Ok(DeliveryFilter {
            states: self.state.as_deref().map_or(Ok(Vec::new()), parse_states)?,
            rule: self.rule.clone(),
            seq: self.seq.map(Seq),
            kind: self.kind.clone(),
            name: self.name.clone(),
            user: self.user.clone(),
            message_id: self.message_id.clone(),
            cause: self.cause.clone(),
            version: self.version.clone(),
            open: self.open.is_some_and(|open| open != 0),
            since,
            before: self.before.map(Seq),
            limit: self.limit(),
        })
    }
}

/// What has failed: the states that `failed` stands for.
pub(super) fn failed_states() -> Vec<DeliveryState> {
    DeliveryState::ALL.into_iter().filter(|s| s.is_failure()).collect()
}

fn parse_states(text: &str) -> Result<Vec<DeliveryState>, Failed> {
    let mut states = Vec::new();
    for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
        if word == "failed" {
            states.extend(failed_states());
            continue;
        }
        let names = DeliveryState::ALL.into_iter().map(DeliveryState::as_str);
        let state = DeliveryState::parse(word).ok_or_else(|| {
            let hint = did_you_mean(word, names.clone()).map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
            let all = names.collect::<Vec<_>>().join(", ");
            Failed::bad_request(format!("`{word}` is no state{hint}; states are {all}, and `failed` for all that failed"))
        })?;
        states.push(state);
    }
    Ok(states)
}

/// Reads a timestamp (`2026-07-01T12:00:00Z`) or a span before `now` (`2h`, `7d`).
///
/// # Errors
/// When it is neither.
pub fn parse_since(text: &str, now: jiff::Timestamp) -> Result<jiff::Timestamp, String> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at);
    }
    humantime::parse_duration(text)
        .ok()
        .and_then(|span| now.checked_sub(span).ok())
        .ok_or_else(|| format!("`{text}` is no time; write it as 2h, 7d or 2026-07-01T12:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_a_span_before_now() {
        let now: jiff::Timestamp = "2026-07-01T12:00:00Z".parse().expect("a time");
        assert_eq!(parse_since("2h", now).expect("a span").to_string(), "2026-07-01T10:00:00Z");
        assert_eq!(parse_since("2026-06-01T00:00:00Z", now).expect("a time").to_string(), "2026-06-01T00:00:00Z");
        assert!(parse_since("yesterday", now).expect_err("neither").contains("write it as"));
    }

    #[test]
    fn states_are_words_with_failed_for_all_failures() {
        assert_eq!(parse_states("done, dead").expect("states"), [DeliveryState::Done, DeliveryState::Dead]);
        assert_eq!(parse_states("failed").expect("states").len(), 3);
        assert!(format!("{:?}", parse_states("ded").expect_err("no state")).contains("did you mean `dead`?"));
    }
}
