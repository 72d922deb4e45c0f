//! One thing that a changed set must pass before it goes live, as it is written in `[reload] require`.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// What stands before the percentage.
const COVERAGE: &str = "coverage>=";
/// As they are written, with an example of a percentage.
const WORDS: &[&str] = &["check", "tests", "coverage>=80"];
/// What stands behind it.
const PERCENT: &str = "a whole percentage from 0 to 100, as in \"coverage>=80\"";

/// One thing that a changed set must pass before it goes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// `pipewright check` finds no error.
    Check,
    /// All tests in `scripts/tests/` pass.
    Tests,
    /// Tests run at least this percentage of the lines and branches of the rules' scripts.
    Coverage(u8),
}

impl<'de> Deserialize<'de> for Requirement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Read by a visitor, so that what is wrong with a word is told at its place.
        deserializer.deserialize_str(Word)
    }
}

struct Word;

impl Visitor<'_> for Word {
    type Value = Requirement;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quoted text")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Requirement, E> {
        let Some(percent) = word.strip_prefix(COVERAGE) else {
            return match word {
                "check" => Ok(Requirement::Check),
                "tests" => Ok(Requirement::Tests),
                _ => Err(E::unknown_variant(word, WORDS)),
            };
        };
        let percent = percent.trim().parse().ok().filter(|percent: &u8| *percent <= 100);
        percent.map(Requirement::Coverage).ok_or_else(|| E::invalid_value(Unexpected::Str(word), &PERCENT))
    }
}
