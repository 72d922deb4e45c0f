//! Where things stand in `rules.toml`, for messages that come after it was read.
//!
//! Invariant: the text that messages show has every secret that was written in by mistake replaced by stars.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::Diagnostic;

/// The file's tree with its places.
#[derive(Debug)]
pub(crate) struct Places {
    file: String,
    /// As the file, secrets masked; same length in bytes.
    shown: String,
    root: Node,
}

/// What places are found in: the tree without its values.
#[derive(Debug)]
struct Node {
    span: Range<usize>,
    children: Children,
}

#[derive(Debug)]
enum Children {
    None,
    Items(Vec<Node>),
    /// Keys with their places.
    Keys(Vec<(String, Range<usize>, Node)>),
}

impl Node {
    fn of_table(table: &DeTable<'_>, span: Range<usize>) -> Self {
        let keys = table.iter().map(|(key, value)| (key.get_ref().to_string(), key.span(), Self::of(value)));
        Self { span, children: Children::Keys(keys.collect()) }
    }

    fn of(value: &Spanned<DeValue<'_>>) -> Self {
        let span = value.span();
        match value.get_ref() {
            DeValue::Table(table) => Self::of_table(table, span),
            DeValue::Array(items) => Self { span, children: Children::Items(items.iter().map(Self::of).collect()) },
            _ => Self { span, children: Children::None },
        }
    }

    /// The place of a child's key, when it has one, and the child.
    fn child(&self, name: &str) -> Option<(Option<Range<usize>>, &Self)> {
        match &self.children {
            Children::None => None,
            Children::Items(items) => Some((None, items.get(name.parse::<usize>().ok()?)?)),
            Children::Keys(keys) => keys.iter().find(|(key, ..)| key == name).map(|(_, span, node)| (Some(span.clone()), node)),
        }
    }
}

impl Places {
    /// Reads what can be read of a text.
    pub(crate) fn new(file: &str, text: &str) -> Self {
        let (root, _) = DeTable::parse_recoverable(text);
        let mut secrets = secret_lines(text);
        secret_values(root.get_ref(), false, &mut secrets);
        let root = Node::of_table(root.get_ref(), root.span());
        let mut places = Self { file: file.to_owned(), shown: text.to_owned(), root };
        for span in secrets {
            places.mask(span);
        }
        places
    }

    /// Hides a part of the text from messages.
    pub(super) fn mask(&mut self, span: Range<usize>) {
        if let Some(part) = self.shown.get(span.clone()) {
            let stars =
                part.chars().map(|c| if c == '\n' { "\n".to_owned() } else { "*".repeat(c.len_utf8()) }).collect::<String>();
            self.shown.replace_range(span, &stars);
        }
    }

    /// Places a diagnostic at a byte range.
    pub(super) fn at_span(&self, diagnostic: Diagnostic, span: Range<usize>) -> Diagnostic {
        diagnostic.at_span(&self.file, &self.shown, span)
    }

    /// Places a diagnostic at the value of a path (`["rules", "2", "when"]`), else at the nearest thing above it that exists.
    pub(crate) fn at(&self, diagnostic: Diagnostic, path: &[&str]) -> Diagnostic {
        match self.find(path) {
            Some((_, value)) => self.at_span(diagnostic, value),
            None => self.at_key(diagnostic, &path[..path.len().saturating_sub(1)]),
        }
    }

    /// Places a diagnostic at the key or table header of a path, else at the nearest thing above it.
    pub(crate) fn at_key(&self, diagnostic: Diagnostic, path: &[&str]) -> Diagnostic {
        match self.find(path) {
            _ if path.is_empty() => diagnostic.at_span(&self.file, &self.shown, 0..0),
            Some((key, value)) => self.at_span(diagnostic, key.unwrap_or(value)),
            None => self.at_key(diagnostic, &path[..path.len() - 1]),
        }
    }

    /// Places a diagnostic at a character (from 1) of the text that stands at a path.
    pub(crate) fn at_char(&self, diagnostic: Diagnostic, path: &[&str], column: usize) -> Diagnostic {
        let Some((_, span)) = self.find(path) else { return self.at(diagnostic, path) };
        let Some(raw) = self.shown.get(span.clone()) else { return self.at(diagnostic, path) };
        let start = span.start + offset_in_literal(raw, column - 1);
        let width = self.shown[start..span.end].chars().next().map_or(0, char::len_utf8);
        self.at_span(diagnostic, start..start + width)
    }

    /// The places of the key (none for an array's item) and the value of a path.
    fn find(&self, path: &[&str]) -> Option<(Option<Range<usize>>, Range<usize>)> {
        let mut found = (None, &self.root);
        for part in path {
            found = found.1.child(part)?;
        }
        Some((found.0, found.1.span.clone()))
    }
}

/// Whether a key of that name holds a secret, or was meant to.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    ["token", "secret", "key", "password"].iter().any(|word| key.contains(word))
}

fn is_reference(text: &str) -> bool {
    ["env:", "file:"].iter().any(|scheme| text.trim_start_matches(['"', '\'', ' ', '[']).starts_with(scheme))
}

/// Values that stand behind the name of a secret on the same line: they are found even when the file is no TOML.
fn secret_lines(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.split('#').next().unwrap_or_default();
        if let Some((key, value)) = content.split_once('=')
            && is_secret(key)
            && !is_reference(value)
            && !key.contains("when")
        {
            let from = start + key.len() + 1;
            spans.push(from..from + value.trim_end().len());
        }
        start += line.len();
    }
    spans
}

/// Texts and numbers under a secret's name that are no reference.
fn secret_values(table: &DeTable<'_>, inside: bool, spans: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        if !matches!(key.get_ref().as_ref(), "match_fields" | "fields") {
            secret_value(value, inside || is_secret(key.get_ref()), spans);
        }
    }
}

fn secret_value(value: &Spanned<DeValue<'_>>, secret: bool, spans: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => secret_values(table, secret, spans),
        DeValue::Array(items) => items.iter().for_each(|item| secret_value(item, secret, spans)),
        DeValue::String(text) if secret && !is_reference(text) => spans.push(value.span()),
        DeValue::Integer(_) | DeValue::Float(_) if secret => spans.push(value.span()),
        _ => {}
    }
}

/// The byte in a TOML text's source where its character `wanted` (from 0) begins.
fn offset_in_literal(raw: &str, wanted: usize) -> usize {
    let (open, escapes) = match raw {
        r if r.starts_with("\"\"\"") => (3, true),
        r if r.starts_with("'''") => (3, false),
        r if r.starts_with('"') => (1, true),
        _ => (1, false),
    };
    // A line break right after the opening is not part of a multi-line text.
    let mut at = open + if open == 3 && raw[open..].starts_with('\n') { 1 } else { 0 };
    let mut seen = 0;
    while seen < wanted {
        let Some(c) = raw[at..].chars().next() else { break };
        at += c.len_utf8();
        if c == '\\' && escapes {
            let Some(kind) = raw[at..].chars().next() else { break };
            at += kind.len_utf8();
            match kind {
                'u' => at += 4,
                'U' => at += 8,
                // The line break and the blanks that follow are left out.
                '\n' => {
                    at += raw[at..].len() - raw[at..].trim_start().len();
                    continue;
                }
                _ => {}
            }
        }
        seen += 1;
        if at >= raw.len() {
            break;
        }
    }
    at.min(raw.len())
}
