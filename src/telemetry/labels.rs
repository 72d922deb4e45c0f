//! Label values: escaped, and folded into fixed lists where a stranger could choose them.

use std::borrow::Cow;
use std::fmt::Write as _;

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// The labels of one series.
pub(super) type Labels<const N: usize> = [(&'static str, Text); N];

/// A label value. The exposition format needs escapes that the encoder does not write by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Text(Cow<'static, str>);

impl EncodeLabelValue for Text {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        for c in self.0.chars() {
            match c {
                '\\' => encoder.write_str("\\\\")?,
                '"' => encoder.write_str("\\\"")?,
                '\n' => encoder.write_str("\\n")?,
                c => encoder.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A name out of `rules.toml`.
pub(super) fn name(text: &str) -> Text {
    Text(Cow::Owned(text.to_owned()))
}

/// A word out of a fixed list in our own code.
pub(super) const fn word(text: &'static str) -> Text {
    Text(Cow::Borrowed(text))
}

/// The event type, or `unknown` for whatever else a sender wrote there.
pub(super) fn event_type(text: &str) -> Text {
    const TYPES: [&str; 7] = ["identify", "track", "group", "page", "screen", "alias", "delete"];
    word(TYPES.into_iter().find(|t| *t == text).unwrap_or("unknown"))
}

/// `2xx` and so on; `none` when no answer came.
pub(super) fn status_class(status: Option<u16>) -> Text {
    word(match status {
        Some(429) => "429",
        Some(100..=199) => "1xx",
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        Some(400..=499) => "4xx",
        Some(500..=599) => "5xx",
        Some(_) => "other",
        None => "none",
    })
}
