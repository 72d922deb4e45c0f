//! `budget` of an account: how many of the company's tokens a day are Pipewright's.

use std::fmt;

use serde::{Deserialize, Deserializer, de::Error as _};

/// What may be spent from one reset to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetConfig {
    /// Tokens from reset to reset, the reserve included.
    pub tokens_per_day: u64,
    /// The part of them that is kept for what must end.
    #[serde(default)]
    pub reserve: Share,
    /// When the day begins.
    #[serde(default)]
    pub reset: ResetHour,
}

impl BudgetConfig {
    /// Tokens that are kept for what must end.
    #[must_use]
    pub const fn reserved(&self) -> u64 {
        self.tokens_per_day.saturating_mul(self.reserve.0 as u64).div_ceil(100)
    }

    /// Tokens for everything else.
    #[must_use]
    pub const fn ordinary(&self) -> u64 {
        self.tokens_per_day.saturating_sub(self.reserved())
    }
}

/// A part of the whole, in per cent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u8);

impl Default for Share {
    fn default() -> Self {
        Self(10)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text.strip_suffix('%').map(str::trim_end).and_then(|number| number.parse().ok());
        number.filter(|percent| *percent <= 100).map(Self).ok_or_else(|| {
            let bare = text.trim().parse::<u8>().ok().filter(|percent| *percent <= 100);
            let hint = bare.map_or_else(|| "write it as \"10%\"".to_owned(), |percent| format!("did you mean \"{percent}%\"?"));
            D::Error::custom(format!("`{text}` is no whole percentage from 0% to 100%; {hint}"))
        })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// An hour of the day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResetHour(pub u8);

impl<'de> Deserialize<'de> for ResetHour {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        read_hour(&text).map(Self).map_err(|why| D::Error::custom(format!("`{text}` {why}")))
    }
}

fn read_hour(text: &str) -> Result<u8, String> {
    let write = "write it as \"00:00 UTC\" or \"06:00 UTC\"";
    let (clock, zone) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let parsed = clock.split_once(':').and_then(|(hour, minute)| Some((hour.parse::<u8>().ok()?, minute.parse::<u8>().ok()?)));
    let Some((hour, minute)) = parsed.filter(|(hour, minute)| *hour < 24 && *minute < 60) else {
        return Err(format!("is no hour of the day; {write}"));
    };
    match zone.trim() {
        "UTC" => {}
        "" => return Err(format!("does not say in which zone; did you mean \"{hour:02}:00 UTC\"?")),
        _ => return Err("is not in UTC; write the same moment as \"HH:00 UTC\"".to_owned()),
    }
    if minute != 0 {
        return Err(format!("is no whole hour; did you mean \"{hour:02}:00 UTC\"?"));
    }
    Ok(hour)
}

impl fmt::Display for ResetHour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:00 UTC", self.0)
    }
}
