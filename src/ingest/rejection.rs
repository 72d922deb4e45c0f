//! Why one event is refused.
//!
//! Invariant: the text holds nothing that came from the event, so it may be logged.

use crate::failure::FailureClass;

/// Why one event is refused. It would be refused the same way again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Not JSON.
    #[error("not JSON: line {line}, column {column}: {what}")]
    Malformed {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// JSON, but no object.
    #[error("an event must be a JSON object")]
    NotAnObject,
    /// No `type`.
    #[error("`type` is missing; it must be one of identify, track, group, page, screen and alias")]
    NoType,
    /// A `type` that Segment does not have.
    #[error("`type` must be one of identify, track, group, page, screen and alias")]
    UnknownType,
    /// `delete` through the Tracking API.
    #[error("events of type delete are taken from webhooks only")]
    DeleteNotHere,
    /// Nobody did it.
    #[error("`userId` or `anonymousId` is missing; one of them must be a string or a number")]
    NoIdentity,
    /// A track call without its name.
    #[error("`event` is missing; a track call names what was done, such as \"Order Completed\"")]
    NoEventName,
    /// A group call without its group.
    #[error("`groupId` is missing; a group call names its group")]
    NoGroupId,
    /// An alias call without the old id.
    #[error("`previousId` is missing; an alias call needs it beside `userId`")]
    NoPreviousId,
    /// An alias or delete call without the user.
    #[error("`userId` is missing")]
    NoUserId,
    /// A part of the event has the wrong shape.
    #[error("`{0}` must be an object")]
    NotAnObjectAt(&'static str),
    /// A `messageId` that is no text.
    #[error("`messageId` must be a string")]
    BadMessageId,
    /// Larger than allowed.
    #[error("the event is {bytes} bytes long; at most {limit} are taken (server.max_event)")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: u64,
    },
    /// Behind the last event that a batch may hold. It stands for all that follow it, too.
    #[error("a batch may hold {limit} events (server.max_batch_events); this one{} behind the last", and_more(*more))]
    TooMany {
        /// The limit.
        limit: usize,
        /// How many follow it.
        more: usize,
    },
    /// No room is left for it among the events of its request.
    #[error(
        "the events of a request may be {limit} bytes long with the `context` and `integrations` they share, {times} times server.max_batch; this one goes beyond"
    )]
    TooLong {
        /// The limit.
        limit: u64,
        /// Of `server.max_batch`.
        times: u64,
    },
}

/// Those that one surplus event stands for.
fn and_more(more: usize) -> String {
    if more == 0 { " is".to_owned() } else { format!(" and the {more} after it are") }
}

impl Rejection {
    /// The failure class: sending it again changes nothing.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        FailureClass::Permanent
    }

    /// How many events it refuses.
    pub(super) const fn events(&self) -> usize {
        match self {
            Self::TooMany { more, .. } => more.saturating_add(1),
            _ => 1,
        }
    }

    /// The key of the event that it is about, where there is one.
    #[must_use]
    pub const fn key(&self) -> Option<&'static str> {
        match self {
            Self::UnknownType | Self::DeleteNotHere => Some("type"),
            Self::NotAnObjectAt(key) => Some(key),
            Self::BadMessageId => Some("messageId"),
            _ => None,
        }
    }

    /// A stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed_json",
            Self::NotAnObject => "not_an_object",
            Self::NoType => "missing_type",
            Self::UnknownType | Self::DeleteNotHere => "unknown_type",
            Self::NoIdentity | Self::NoUserId => "missing_user",
            Self::NoEventName => "missing_event_name",
            Self::NoGroupId => "missing_group",
            Self::NoPreviousId => "missing_previous_id",
            Self::NotAnObjectAt(_) | Self::BadMessageId => "wrong_shape",
            Self::TooLarge { .. } => "event_too_large",
            Self::TooMany { .. } => "too_many_events",
            Self::TooLong { .. } => "batch_too_long",
        }
    }

    /// What a JSON error says, without repeating what was sent.
    #[must_use]
    pub fn json(error: &serde_json::Error) -> Self {
        use serde_json::error::Category;
        let what = match error.classify() {
            Category::Eof => "the text ends too early",
            // The one syntax error whose cause does not show at the place it points at.
            Category::Syntax if error.to_string().starts_with("recursion limit") => "nested too deeply",
            Category::Syntax => "unexpected text",
            Category::Data => "not the expected shape",
            Category::Io => "unreadable",
        };
        Self::Malformed { line: error.line(), column: error.column(), what }
    }
}
