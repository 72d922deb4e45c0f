//! How a command ends.

use std::io;
use std::process::ExitCode;

use serde_json::json;

use super::{Format, output};
use crate::diagnostic::{Diagnostic, render_all};

/// Found something, or could not do it.
pub(super) const FOUND: u8 = 1;
/// Wrong arguments or configuration.
pub(super) const USED_WRONGLY: u8 = 2;

/// What a command comes to.
pub(super) type Outcome = Result<(), Failure>;

/// A command that did not end well.
#[derive(Debug)]
pub(super) enum Failure {
    /// Exit code 1, with what was found or why it could not be done.
    Found(String),
    /// Exit code 2, with what to do instead.
    Wrong(String),
    /// Diagnostics for a person, and the exit code.
    Refused(Vec<Diagnostic>, u8),
    /// All is said; only the exit code is left.
    Code(u8),
    /// Whoever read the output has gone away.
    PipeClosed,
}

impl Failure {
    pub(super) fn found(reason: impl std::fmt::Display) -> Self {
        Self::Found(reason.to_string())
    }

    pub(super) fn wrong(reason: impl std::fmt::Display) -> Self {
        Self::Wrong(reason.to_string())
    }

    /// What is wrong with `rules.toml` or a schema file is wrong use; what is wrong with scripts was found.
    pub(super) fn refused(diagnostics: Vec<Diagnostic>) -> Self {
        let in_scripts =
            |d: &Diagnostic| d.place.as_ref().is_some_and(|p| p.file != "rules.toml" && !p.file.starts_with("schema."));
        let code = if diagnostics.iter().filter(|d| d.is_error()).all(in_scripts) { FOUND } else { USED_WRONGLY };
        Self::Refused(diagnostics, code)
    }

    /// The same, as the one JSON document of the answer when a program reads it.
    pub(super) fn refused_as(format: Format, diagnostics: Vec<Diagnostic>) -> Self {
        match Self::refused(diagnostics) {
            Self::Refused(diagnostics, code) if format.json => {
                match output::say_json(&json!({ "ok": false, "diagnostics": diagnostics })) {
                    Ok(()) => Self::Code(code),
                    Err(error) => error.into(),
                }
            }
            failure => failure,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::PipeClosed,
            _ => Self::Found(error.to_string()),
        }
    }
}

/// Says what is to be said on standard error, and gives the exit code.
pub(super) fn report(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) | Err(Failure::PipeClosed) => ExitCode::SUCCESS,
        Err(Failure::Code(code)) => ExitCode::from(code),
        Err(Failure::Found(reason)) => {
            output::complain(&format!("error: {reason}"));
            ExitCode::from(FOUND)
        }
        Err(Failure::Wrong(reason)) => {
            output::complain(&format!("error: {reason}"));
            ExitCode::from(USED_WRONGLY)
        }
        Err(Failure::Refused(diagnostics, code)) => {
            output::complain(&render_all(&diagnostics));
            ExitCode::from(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_rules_toml_is_wrong_use_and_a_wrong_script_is_a_finding() {
        let in_file = |file| Failure::refused(vec![Diagnostic::error("x").in_file(file)]);
        assert!(matches!(in_file("rules.toml"), Failure::Refused(_, USED_WRONGLY)));
        assert!(matches!(in_file("scripts/person.rhai"), Failure::Refused(_, FOUND)));
        assert!(matches!(Failure::refused(vec![Diagnostic::error("no folder")]), Failure::Refused(_, USED_WRONGLY)));
    }
}
