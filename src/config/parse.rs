//! Text to [`Config`]: every mistake that can be told apart is reported, not only the first.
//!
//! The tree is deserialised as a whole. When that fails, the smallest entry that the error points at is reported and taken
//! out, and the rest is tried again.

use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::{Config, Places, places, validate};
use crate::diagnostic::{Code, Diagnostic, did_you_mean};

/// More mistakes than this are not listed.
const MAX_PROBLEMS: usize = 20;

pub(super) fn parse(file: &str, text: &str) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut places = Places::new(file, text);
    let (tree, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problems = errors.iter().take(MAX_PROBLEMS);
        return Err(problems.map(|e| places.at_span(not_toml(e.message()), e.span().unwrap_or(0..0))).collect());
    }
    let mut reader = Reader { tree, rules: Vec::new(), broken: Vec::new(), problems: Vec::new() };
    reader.rules = (0..reader.rule_count()).collect();
    let config = reader.read(&mut places);
    let Reader { rules, broken, mut problems, .. } = reader;
    let mut warnings = Vec::new();
    if let Some(config) = &config {
        let mut found = validate::validate(config, &rules);
        // What rests on an entry that could not be read is not reported a second time.
        found.retain(|f| !broken.iter().any(|b| f.rests_on(b)));
        let (errors, others): (Vec<_>, Vec<_>) = found.into_iter().map(|f| f.place(&places)).partition(Diagnostic::is_error);
        problems.extend(errors);
        warnings = others;
    }
    problems.sort_by_key(position);
    problems.truncate(MAX_PROBLEMS);
    warnings.sort_by_key(position);
    match config {
        Some(config) if problems.is_empty() => Ok((config, warnings)),
        _ => Err(problems),
    }
}

pub(super) fn data_dir_hint(text: &str) -> Option<PathBuf> {
    let (tree, _) = DeTable::parse_recoverable(text);
    let server = tree.get_ref().get("server")?.get_ref().as_table()?;
    server.get("data_dir")?.get_ref().as_str().filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

fn position(diagnostic: &Diagnostic) -> (usize, usize) {
    diagnostic.place.as_ref().map_or((0, 0), |p| (p.line, p.column))
}

struct Reader<'i> {
    tree: Spanned<DeTable<'i>>,
    /// The place in the file of each rule that is still in the tree.
    rules: Vec<usize>,
    /// Paths that were taken out.
    broken: Vec<Vec<String>>,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn rule_count(&self) -> usize {
        self.tree.get_ref().get("rules").and_then(|r| r.get_ref().as_array()).map_or(0, |rules| rules.len())
    }

    /// The configuration without what could not be read; none when a mistake has no place that can be taken out.
    fn read(&mut self, places: &mut Places) -> Option<Config> {
        loop {
            let error = match Config::deserialize(Deserializer::from(self.tree.clone())) {
                Ok(config) => return Some(config),
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            let Some(path) = self.smallest_at(&span) else {
                self.problems.push(places.at_span(not_toml(error.message()), span));
                return None;
            };
            self.report(error.message(), &span, &path, places);
            let mut shown = path.clone();
            if let [first, index, ..] = shown.as_mut_slice()
                && first == "rules"
                && let Ok(i) = index.parse::<usize>()
            {
                *index = self.rules[i].to_string();
                if path.len() == 2 {
                    self.rules.remove(i);
                }
            }
            take_out(self.tree.get_mut(), &path);
            self.broken.push(shown);
            if self.problems.len() >= MAX_PROBLEMS {
                return None;
            }
        }
    }

    fn report(&mut self, message: &str, span: &Range<usize>, path: &[String], places: &mut Places) {
        let key = path.last().map_or("", String::as_str);
        let dotted = path.iter().filter(|p| p.parse::<usize>().is_err()).cloned().collect::<Vec<_>>().join(".");
        if let Some(name) = message.strip_prefix("missing field ").map(|n| n.trim_matches('`')) {
            // The key was there and could not be read: already reported.
            let reported = self.broken.iter().any(|b| b.last().is_some_and(|l| l == name) && b.len() == path.len() + 1);
            if !reported {
                let what =
                    Diagnostic::error(format!("`{name}` is missing in `{dotted}`")).help(format!("add a line `{name} = ...`"));
                self.problems.push(places.at_span(what.code(Code::Missing), span.clone()));
            }
            return;
        }
        let diagnostic = if message.starts_with("unknown field") {
            // What was meant may be a secret.
            if let Some(value) = value_at(self.tree.get_ref(), path) {
                each_plain(value, &mut |span| places.mask(span));
            }
            let known = candidates(message);
            let section = dotted.rsplit_once('.').map_or_else(|| "rules.toml".to_owned(), |(above, _)| format!("`{above}`"));
            let d = Diagnostic::error(format!("unknown key `{key}` in {section}")).code(Code::UnknownKey);
            match did_you_mean(key, known.iter().map(String::as_str)) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => d.help(format!("known keys: {}", known.join(", "))),
            }
        } else if message.starts_with("unknown variant") {
            let known = candidates(message);
            let d = Diagnostic::error(format!("`{dotted}` must be one of {}", known.join(", ")));
            let given = message.split('`').nth(1).unwrap_or_default();
            match did_you_mean(given, known.iter().map(String::as_str)) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => d,
            }
        } else if places::is_secret(key) || path.iter().any(|p| p == "write_keys") {
            // The message may repeat the value.
            Diagnostic::error(format!(
                "`{dotted}`: a secret is given by reference: \"env:NAME\" or \"file:PATH\", never as plain text"
            ))
            .code(Code::Secret)
        } else {
            Diagnostic::error(format!("`{dotted}`: {}", plain_words(message)))
        };
        self.problems.push(places.at_span(diagnostic.or_code(Code::Unfit), span.clone()));
    }

    /// The path of the smallest entry whose key or value holds the span.
    fn smallest_at(&self, span: &Range<usize>) -> Option<Vec<String>> {
        let mut best = None;
        let mut path = Vec::new();
        in_table(self.tree.get_ref(), span, &mut path, &mut best);
        best.map(|(_, path)| path)
    }
}

type Best = Option<(usize, Vec<String>)>;

fn offer(span: &Range<usize>, held: &Range<usize>, path: &[String], best: &mut Best) {
    let holds = held.start <= span.start && span.end <= held.end;
    if holds && best.as_ref().is_none_or(|(size, _)| held.len() <= *size) {
        *best = Some((held.len(), path.to_vec()));
    }
}

fn in_table(table: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>, best: &mut Best) {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        offer(span, &key.span(), path, best);
        in_value(value, span, path, best);
        path.pop();
    }
}

fn in_value(value: &Spanned<DeValue<'_>>, span: &Range<usize>, path: &mut Vec<String>, best: &mut Best) {
    offer(span, &value.span(), path, best);
    match value.get_ref() {
        DeValue::Table(table) => in_table(table, span, path, best),
        DeValue::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                path.push(i.to_string());
                in_value(item, span, path, best);
                path.pop();
            }
        }
        _ => {}
    }
}

/// The plain values in a value: a table's span is its header, which is no value.
fn each_plain(value: &Spanned<DeValue<'_>>, tell: &mut impl FnMut(Range<usize>)) {
    match value.get_ref() {
        DeValue::Table(table) => table.iter().for_each(|(_, value)| each_plain(value, tell)),
        DeValue::Array(items) => items.iter().for_each(|value| each_plain(value, tell)),
        _ => tell(value.span()),
    }
}

fn value_at<'t, 'i>(table: &'t DeTable<'i>, path: &[String]) -> Option<&'t Spanned<DeValue<'i>>> {
    let (first, rest) = path.split_first()?;
    let mut value = table.get(first.as_str())?;
    for part in rest {
        value = match value.get_ref() {
            DeValue::Table(table) => table.get(part.as_str())?,
            DeValue::Array(items) => items.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

fn take_out(table: &mut DeTable<'_>, path: &[String]) {
    match path {
        [] => {}
        [key] => drop(table.remove(key.as_str())),
        [key, rest @ ..] => {
            if let Some(value) = table.get_mut(key.as_str()) {
                take_out_of(value, rest);
            }
        }
    }
}

fn take_out_of<'i>(value: &mut Spanned<DeValue<'i>>, path: &[String]) {
    match value.get_mut() {
        DeValue::Table(table) => take_out(table, path),
        DeValue::Array(items) => {
            let Some(index) = path[0].parse::<usize>().ok() else { return };
            if path.len() > 1 {
                if let Some(item) = items.get_mut(index) {
                    take_out_of(item, &path[1..]);
                }
            } else {
                let kept = std::mem::replace(items, DeArray::new())
                    .into_iter()
                    .enumerate()
                    .filter(|(i, _)| *i != index)
                    .map(|(_, item)| item);
                *items = kept.collect::<DeArray<'i>>();
            }
        }
        _ => {}
    }
}

/// The names in backticks after `expected`.
fn candidates(message: &str) -> Vec<String> {
    let list = message.rsplit_once("expected ").map_or("", |(_, list)| list);
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The deserialiser's words as an ops person would say them.
fn plain_words(message: &str) -> String {
    let mut text = message.to_owned();
    for (theirs, ours) in [
        ("expected usize", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected u32", "expected a whole number"),
        ("expected u8", "expected a whole number"),
        ("expected a boolean", "expected true or false"),
        ("expected a string", "expected a quoted text"),
        ("expected socket address", "expected a quoted address such as \"127.0.0.1:8080\""),
        ("invalid socket address syntax", "this is no address; write it as \"127.0.0.1:8080\""),
        ("expected struct BudgetConfig", "expected a table, such as { tokens_per_day = 30000 }"),
        ("expected path string", "expected a quoted path"),
        ("expected a sequence", "expected a list, such as [\"a\", \"b\"]"),
    ] {
        text = text.replace(theirs, ours);
    }
    text
}

fn not_toml(message: &str) -> Diagnostic {
    Diagnostic::error(format!("this is no valid TOML: {}", message.trim().replace('\n', ", "))).code(Code::NoToml)
}
