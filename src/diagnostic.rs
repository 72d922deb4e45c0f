//! What an ops person reads when something is wrong: what happened, where (file, line, caret), why, and what to do.
//!
//! Invariants: line and column count from 1, columns in characters; a diagnostic never holds a secret or a value that came
//! from an event.

mod codes;

use std::borrow::Cow;

pub use codes::{Code, Weight};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::{Deserialize, Serialize};

use crate::lines;

/// Longest line that is shown with a finding, in bytes.
const LONGEST_LINE: usize = 1000;
/// Longest message, note or help, in bytes: it may hold a name as long as a script.
const LONGEST_MESSAGE: usize = 4000;

/// How bad it is. Errors refuse a script set; warnings are shown and let it pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The set is refused.
    Error,
    /// Shown; nothing is refused.
    Warning,
}

/// A place in a file that a user can open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Path as the user knows it, relative to the working folder.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters the caret underlines, at least 1.
    pub width: usize,
    /// The text of that line.
    pub text: String,
}

/// One message for a person, or for a program through `--json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Stable code (`PW001`) of everything that a check finds; errors of a run have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'static, str>>,
    /// What happened and why, in one sentence.
    pub message: String,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Further lines: the call chain, what was expected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

fn bounded(text: impl Into<String>) -> String {
    let text = text.into();
    if text.len() <= LONGEST_MESSAGE { text } else { lines::cut(&text, LONGEST_MESSAGE) }
}

impl Diagnostic {
    /// An error without a place yet.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code: None, message: bounded(message), place: None, notes: Vec::new(), help: None }
    }

    /// A warning without a place yet.
    #[must_use]
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// Adds the stable code.
    #[must_use]
    pub fn code(mut self, code: Code) -> Self {
        self.code = Some(Cow::Borrowed(code.id()));
        self
    }

    /// Adds the stable code where there is none yet.
    #[must_use]
    pub fn or_code(self, code: Code) -> Self {
        if self.code.is_some() { self } else { self.code(code) }
    }

    /// Whether it has this code.
    #[must_use]
    pub fn is(&self, code: Code) -> bool {
        self.code.as_deref() == Some(code.id())
    }

    /// Places it at line and column (both from 1) of `source`, the whole text of `file`.
    #[must_use]
    pub fn at(mut self, file: &str, source: &str, line: usize, column: usize, width: usize) -> Self {
        // A line that no screen shows is not shown; many findings of one would take memory without end.
        let text = source.lines().nth(line.saturating_sub(1)).filter(|text| text.len() <= LONGEST_LINE).unwrap_or("").to_owned();
        self.place = Some(Place { file: file.to_owned(), line: line.max(1), column: column.max(1), width: width.max(1), text });
        self
    }

    /// Places it at a byte range of `source`, the whole text of `file`.
    #[must_use]
    pub fn at_span(self, file: &str, source: &str, span: std::ops::Range<usize>) -> Self {
        let start = floor_boundary(source, span.start);
        let end = floor_boundary(source, span.end.max(span.start));
        let line = source[..start].matches('\n').count() + 1;
        let line_start = source[..start].rfind('\n').map_or(0, |i| i + 1);
        // The carriage return of a Windows line end is no column.
        let before = &source[line_start..start];
        let ends = source[start..].starts_with('\n');
        let before = before.strip_suffix('\r').filter(|_| ends).unwrap_or(before);
        let column = before.chars().count() + 1;
        let width = source[start..end].chars().take_while(|c| !matches!(c, '\r' | '\n')).count();
        self.at(file, source, line, column, width)
    }

    /// Names the file only.
    #[must_use]
    pub fn in_file(self, file: &str) -> Self {
        self.at(file, "", 1, 1, 1)
    }

    /// Adds a line of explanation.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(bounded(note));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(bounded(help));
        self
    }

    /// True for errors.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The message with its source line and caret, as plain text without a trailing newline.
    #[must_use]
    pub fn render(&self) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut title = level.primary_title(self.message.as_str());
        if let Some(code) = self.code.as_deref() {
            title = title.id(code);
        }
        let mut group = match &self.place {
            Some(place) if !place.text.is_empty() => {
                let span = caret(place);
                group_of(title, place, span)
            }
            Some(place) if place.line > 1 || place.column > 1 => {
                let origin = annotate_snippets::Origin::path(place.file.as_str()).line(place.line).char_column(place.column);
                Group::with_title(title).element(origin)
            }
            Some(place) => Group::with_title(title).element(annotate_snippets::Origin::path(place.file.as_str())),
            None => Group::with_title(title),
        };
        for note in &self.notes {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        Renderer::plain().render(&[group])
    }

    /// One line: `file:line:column: message [PW001]`, for logs and metrics details.
    #[must_use]
    pub fn one_line(&self) -> String {
        let code = self.code.as_deref().map_or_else(String::new, |code| format!(" [{code}]"));
        match &self.place {
            Some(p) => format!("{}:{}:{}: {}{code}", p.file, p.line, p.column, self.message),
            None => format!("{}{code}", self.message),
        }
    }
}

fn group_of<'a>(title: annotate_snippets::Title<'a>, place: &'a Place, span: std::ops::Range<usize>) -> Group<'a> {
    Group::with_title(title).element(
        Snippet::source(place.text.as_str())
            .line_start(place.line)
            .path(place.file.as_str())
            .annotation(AnnotationKind::Primary.span(span)),
    )
}

/// The byte range of the caret within the line's text.
fn caret(place: &Place) -> std::ops::Range<usize> {
    let byte = |chars: usize| place.text.char_indices().nth(chars).map_or(place.text.len(), |(i, _)| i);
    let start = byte(place.column - 1);
    start..byte(place.column - 1 + place.width).max(start)
}

fn floor_boundary(source: &str, mut index: usize) -> usize {
    index = index.min(source.len());
    while !source.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// The candidate nearest to `name`, when one is near enough to be meant.
pub fn did_you_mean<'a, I>(name: &str, candidates: I) -> Option<&'a str>
where
    I: IntoIterator<Item = &'a str>,
{
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&wanted, &c.to_lowercase()), c))
        .filter(|(distance, c)| *distance <= (c.chars().count().max(wanted.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// Several diagnostics, rendered one after the other with a blank line between.
#[must_use]
pub fn render_all(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(Diagnostic::render).collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_line_and_a_caret_under_the_span() {
        let source = "first\nlet x = fobar(1);\n";
        let d = Diagnostic::error("unknown function `fobar`").at_span("a.rhai", source, 14..19).help("did you mean `foobar`?");
        let text = d.render();
        assert!(text.contains("--> a.rhai:2:9"), "{text}");
        assert!(text.contains("^^^^^"), "{text}");
        assert!(text.contains("help: did you mean `foobar`?"), "{text}");
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(did_you_mean("emial", ["email", "name"]), Some("email"));
        assert_eq!(did_you_mean("zzzzzz", ["email", "name"]), None);
    }
}
