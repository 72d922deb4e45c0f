//! Why a name or a value was refused, before it is known where in the plan it stood.

use std::fmt::Display;

use serde_json::Value as Json;

use crate::crm::NewOption;
use crate::diagnostic::did_you_mean;
use crate::plan::ProblemKind;

/// A refusal. `message` and `help` hold no value of an event; `value` may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: ProblemKind,
    pub(super) message: String,
    pub(super) help: Option<String>,
    pub(super) value: Option<String>,
    /// The value is well formed but the account does not know it: `on_unknown` decides.
    pub(super) unknown: bool,
    /// The option that may be added to the account for it.
    pub(super) adds: Option<NewOption>,
}

impl Refusal {
    fn new(kind: ProblemKind, message: String) -> Self {
        Self { kind, message, help: None, value: None, unknown: false, adds: None }
    }

    /// A name that the account does not have.
    pub(super) fn name(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Name, message.into())
    }

    /// A missing or misdirected link.
    pub(super) fn link(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Link, message.into())
    }

    /// A value that the field cannot take.
    pub(super) fn value(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Value, message.into())
    }

    /// A missing field.
    pub(super) fn required(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Required, message.into())
    }

    /// A value of the wrong type.
    pub(super) fn wrong(field: &str, wanted: &str, got: &Json) -> Self {
        let help = "convert it in the script, or leave the field out with `()`";
        Self::value(format!("`{field}` takes {wanted}, not {}", kind_of(got))).help(help).showing(got)
    }

    /// A value that is well formed but not known to the account.
    pub(super) fn unknown<'a, I: PartialEq + Display>(
        what: String,
        given: &str,
        known: impl IntoIterator<Item = Candidate<'a, I>>,
    ) -> Self {
        let known: Vec<Candidate<'a, I>> = known.into_iter().collect();
        let help = match did_you_mean(given, known.iter().map(|one| one.name)) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None if known.is_empty() => None,
            None => Some(format!("known here: {}", told_apart(&known, given.parse::<i64>().is_ok()))),
        };
        Self { unknown: true, help, value: Some(given.to_owned()), ..Self::value(what) }
    }

    /// Adds what to do.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the value in question, cut to a bound.
    pub(super) fn showing(mut self, value: &Json) -> Self {
        let text = match value {
            Json::String(s) => s.clone(),
            other => other.to_string(),
        };
        self.value = Some(text.chars().take(200).collect());
        self
    }
}

/// Something that the account knows, under one of its names: a renamed one stands there again under its new name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a, I> {
    pub(super) id: I,
    pub(super) name: &'a str,
    /// The pipeline, where names alone do not tell things apart.
    pub(super) within: Option<&'a str>,
}

impl<'a, I> Candidate<'a, I> {
    pub(super) const fn new(id: I, name: &'a str) -> Self {
        Self { id, name, within: None }
    }
}

/// At most eight of the things, each once: its name, its id where an id was given, and what it is called by now.
fn told_apart<I: PartialEq + Display>(known: &[Candidate<'_, I>], by_id: bool) -> String {
    let first = |at: usize| !known[..at].iter().any(|before| before.id == known[at].id);
    let things: Vec<usize> = (0..known.len()).filter(|at| first(*at)).collect();
    let shown = things.iter().take(8).map(|at| {
        let one = &known[*at];
        let now = known[at + 1..].iter().find(|later| later.id == one.id).map(|later| format!("now `{}`", later.name));
        let id = by_id.then(|| one.id.to_string()).filter(|id| id != one.name);
        let more: Vec<String> = id.into_iter().chain(one.within.map(|of| format!("in `{of}`"))).chain(now).collect();
        if more.is_empty() { format!("`{}`", one.name) } else { format!("`{}` ({})", one.name, more.join(", ")) }
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if things.len() > 8 {
        text.push_str(", ...");
    }
    text
}

/// At most eight of the names, quoted.
pub(super) fn listed(names: &[&str]) -> String {
    let mut text = names.iter().take(8).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    if names.len() > 8 {
        text.push_str(", ...");
    }
    text
}

/// The value's kind, in the words of scripts.
pub(super) const fn kind_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "nothing",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "a map",
    }
}
