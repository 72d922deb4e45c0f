//! Errors of the interpreter as diagnostics: file, line, caret, call chain, and what to do.
//!
//! Values that came from an event are not shown: an error names types, functions and properties. What a script throws or logs
//! is its own text.

use rhai::{Engine, EvalAltResult, LexError, ParseError, ParseErrorType, Position};
use std::collections::BTreeMap;

use super::engine::{MAX_CALLS, MAX_EXPR, MAX_FUNCTIONS, MAX_MODULES, MAX_VARIABLES, PARSE_OVERDUE};
use super::execute::Raised;
use super::known::Known;
use super::program::{ENTRY, Program, Script};
use super::run::ScriptErrorKind;
use super::state::Refusal;
use super::value::type_word;
use crate::diagnostic::{Code, Diagnostic, did_you_mean};
use crate::lines::cut;
use crate::plan::At;

/// Longest text of a `throw`, in bytes.
const MAX_THROWN: usize = 500;

const A_REFERENCE: &str = "a reference";
/// What to do with a reference where a value is wanted.
const REFERENCE_HELP: &str = "the id of what a reference stands for is known only when the plan is carried out: give the reference itself to a later action";

/// What an error is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    /// The program.
    pub program: &'a Program,
    /// The rule's script.
    pub script: &'a str,
    /// The event's `messageId`.
    pub message_id: &'a str,
}

impl About<'_> {
    /// Names the event.
    pub(super) fn finish(&self, problem: Diagnostic) -> Diagnostic {
        // A script test is about no one event.
        if self.message_id.is_empty() { problem } else { problem.note(format!("event {}", self.message_id)) }
    }

    /// A run that was stopped; the error that came back may still say where.
    pub(super) fn stopped(&self, message: String, help: Option<String>, at: Option<&At>, raised: Option<Raised>) -> Diagnostic {
        let mut problem = Diagnostic::error(message);
        problem.help = help;
        let scripts = &self.program.scripts;
        let trace = match &raised {
            Some(Raised::Script(error)) => Some(Trace::of(error, self.script)),
            _ => None,
        };
        problem = match (at, &trace) {
            (Some(at), _) => {
                let (line, column) = (usize::try_from(at.line).unwrap_or(0), usize::try_from(at.column).unwrap_or(0));
                place(problem, scripts, &at.file, line, column)
            }
            (None, Some(trace)) => trace.place(problem, scripts),
            (None, None) => problem.in_file(self.script),
        };
        if let Some(trace) = &trace {
            problem = trace.chain(problem);
        }
        self.finish(problem)
    }

    /// An error of the script.
    pub(super) fn raised(&self, raised: &Raised) -> (ScriptErrorKind, Diagnostic) {
        let (kind, problem) = match raised {
            Raised::NoScript => (ScriptErrorKind::Runtime, Diagnostic::error(format!("there is no script {}", self.script))),
            Raised::Payload(reason) => {
                (ScriptErrorKind::Runtime, Diagnostic::error(format!("the event cannot be read: {reason}")))
            }
            Raised::Script(error) => {
                let trace = Trace::of(error, self.script);
                let (kind, problem) = describe(trace.leaf, self.program);
                let problem = trace.place(problem, &self.program.scripts);
                (kind, trace.chain(problem))
            }
        };
        (kind, self.finish(problem))
    }
}

/// A syntax error, or an undefined variable.
pub(super) fn of_parse(file: &str, text: &str, error: &ParseError, engine: &Engine) -> Diagnostic {
    let position = error.position();
    let (line, column) = (position.line().unwrap_or(1), position.position().unwrap_or(1));
    let (message, help) = match (error.err_type(), reserved_at(text, line, column)) {
        (ParseErrorType::PropertyExpected | ParseErrorType::VariableExpected, Some(word)) => reserved(word),
        (other, _) => parse_message(other, text, engine),
    };
    let problem = Diagnostic::error(message).code(parse_code(error.err_type())).at(file, text, line, column, 1);
    widen(help.into_iter().fold(problem, Diagnostic::help), column)
}

fn parse_code(error: &ParseErrorType) -> Code {
    match error {
        ParseErrorType::VariableUndefined(_) | ParseErrorType::ModuleUndefined(_) => Code::UndefinedName,
        ParseErrorType::BadInput(LexError::Runtime(reason)) if reason == PARSE_OVERDUE => Code::TooMuch,
        ParseErrorType::BadInput(LexError::ImproperSymbol(symbol, _)) if symbol == "eval" => Code::NotHere,
        ParseErrorType::ExprTooDeep | ParseErrorType::TooManyFunctions => Code::TooMuch,
        _ => Code::Syntax,
    }
}

fn parse_message(error: &ParseErrorType, text: &str, engine: &Engine) -> (String, Option<String>) {
    let help = |h: &str| Some(h.to_owned());
    match error {
        ParseErrorType::VariableUndefined(name) => {
            let code = without_comments(text);
            let constant = || code.contains(&format!("const {name} ")) || code.contains(&format!("const {name}="));
            let help = match foreign(name) {
                Some(ours) => ours.to_owned(),
                None if constant() => {
                    format!("functions see constants of the script behind `global::`: write `global::{name}`")
                }
                None => did_you_mean(name, words(&code).filter(|w| w != name)).map_or_else(
                    || "functions see their parameters and their own variables only".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                ),
            };
            (format!("undefined variable `{name}`"), Some(help))
        }
        ParseErrorType::ModuleUndefined(name) => {
            let help = did_you_mean(name, Known::of(engine).modules()).map_or_else(
                || format!("import it at the top of the file: `import \"lib/{name}\" as {name};`"),
                |near| format!("did you mean `{near}`?"),
            );
            (format!("undefined module `{name}`"), Some(help))
        }
        ParseErrorType::Reserved(word) => reserved(word),
        ParseErrorType::BadInput(LexError::Runtime(reason)) if reason == PARSE_OVERDUE => {
            (PARSE_OVERDUE.to_owned(), help("put parts of it into files of their own and import them"))
        }
        ParseErrorType::BadInput(LexError::ImproperSymbol(symbol, _)) if symbol == "eval" => {
            ("`eval` does not exist here".to_owned(), help("call a function instead"))
        }
        ParseErrorType::ExprTooDeep => (
            format!("the expression is nested deeper than {} levels ({} in functions)", MAX_EXPR.0, MAX_EXPR.1),
            help("put parts of it into variables"),
        ),
        ParseErrorType::TooManyFunctions => (format!("the script defines more than {MAX_FUNCTIONS} functions"), None),
        ParseErrorType::FnDuplicatedDefinition(name, params) => {
            (format!("function `{name}` with {params} parameters is defined twice"), None)
        }
        other => (lower_first(&other.to_string()), None),
    }
}

/// What a name of another language is called here.
fn foreign(name: &str) -> Option<&'static str> {
    match name {
        "null" | "nil" | "None" | "undefined" | "NULL" => {
            Some("nothing is written `()` here: `value == ()`, or `value ?? other`")
        }
        "console" => Some("write `log::info(..)`"),
        "True" => Some("write `true`"),
        "False" => Some("write `false`"),
        "JSON" => Some("write `value.to_json()` or `parse_json(text)`"),
        _ => None,
    }
}

/// A script's text with blanks in place of its line comments.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.find("//").map_or(line, |at| &line[..at])).collect::<Vec<_>>().join("\n")
}

fn reserved(word: &str) -> (String, Option<String>) {
    if let Some(ours) = foreign(word) {
        return (format!("`{word}` does not exist here"), Some(ours.to_owned()));
    }
    (
        format!("`{word}` is a reserved word"),
        Some(format!(
            "as a key of a map write it in brackets: `event.properties[\"{word}\"]`, `#{{ \"{word}\": .. }}`; a variable needs another name"
        )),
    )
}

/// The word at a place where the parser wanted a name: one that it keeps for itself.
fn reserved_at(text: &str, line: usize, column: usize) -> Option<&str> {
    let line = text.lines().nth(line.checked_sub(1)?)?;
    let (start, first) = line.char_indices().nth(column.checked_sub(1)?)?;
    let rest = &line[start..];
    let word = &rest[..rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())];
    first.is_ascii_lowercase().then_some(word)
}

/// A script whose body fails when it is loaded for import.
pub(super) fn of_loading(script: &Script, error: &EvalAltResult, scripts: &BTreeMap<String, Script>) -> Diagnostic {
    let trace = Trace::of(error, &script.file);
    let message = match trace.leaf {
        EvalAltResult::ErrorTerminated(..) => {
            "the script does too much when it is loaded: its body may define functions and constants only".to_owned()
        }
        EvalAltResult::ErrorRuntime(value, _) => thrown(value).0,
        other => lower_first(&bare(other)),
    };
    let mut problem = Diagnostic::error(message).code(Code::Import);
    if let EvalAltResult::ErrorRuntime(value, _) = trace.leaf {
        problem.help = thrown(value).1;
    }
    trace.chain(trace.place(problem, scripts))
}

/// The way from the outermost call to the error.
struct Trace<'e> {
    leaf: &'e EvalAltResult,
    file: String,
    position: Position,
    /// Called function, file and position of the call; outermost first.
    calls: Vec<(String, String, Position)>,
}

impl<'e> Trace<'e> {
    fn of(error: &'e EvalAltResult, entry: &str) -> Self {
        let mut file = entry.to_owned();
        let mut calls = Vec::new();
        let mut leaf = error;
        loop {
            leaf = match leaf {
                EvalAltResult::ErrorInFunctionCall(name, source, inner, position) => {
                    calls.push((name.clone(), file.clone(), *position));
                    if !source.is_empty() {
                        file.clone_from(source);
                    }
                    inner
                }
                EvalAltResult::ErrorInModule(_, inner, _) => inner,
                _ => break,
            };
        }
        Self { leaf, file, position: leaf.position(), calls }
    }

    fn place(&self, problem: Diagnostic, scripts: &BTreeMap<String, Script>) -> Diagnostic {
        if let Some(line) = self.position.line() {
            return place(problem, scripts, &self.file, line, self.position.position().unwrap_or(0));
        }
        // An empty loop has no position of its own: the function is pointed at, or the call that led there.
        let function = self.calls.last().map_or(ENTRY, |(name, ..)| name.as_str());
        let header = format!("fn {function}");
        if let Some(script) = scripts.get(&self.file)
            && let Some(at) = script.text.find(&header)
        {
            return problem.at_span(&self.file, &script.text, at..at + header.len());
        }
        match self.calls.last() {
            Some((_, caller, call)) => place(problem, scripts, caller, call.line().unwrap_or(0), call.position().unwrap_or(0)),
            None => problem.in_file(&self.file),
        }
    }

    fn chain(&self, mut problem: Diagnostic) -> Diagnostic {
        for (function, file, position) in self.calls.iter().rev() {
            let function = if function.starts_with("anon$") { "a closure".to_owned() } else { format!("`{function}`") };
            let at = match (position.line(), position.position()) {
                (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
                (Some(line), None) => format!("{file}:{line}"),
                _ => file.clone(),
            };
            problem = problem.note(format!("in {function}, called at {at}"));
        }
        problem
    }
}

fn place(problem: Diagnostic, scripts: &BTreeMap<String, Script>, file: &str, line: usize, column: usize) -> Diagnostic {
    match scripts.get(file) {
        Some(script) if line > 0 => widen(problem.at(file, &script.text, line, column.max(1), 1), column.max(1)),
        _ => problem.in_file(file),
    }
}

/// Makes the caret as wide as the word or text that it points to.
fn widen(mut problem: Diagnostic, column: usize) -> Diagnostic {
    if let Some(place) = &mut problem.place {
        place.width = token_width(&place.text, column);
    }
    problem
}

/// The width in characters of the token at a column (from 1) of a line.
pub(super) fn token_width(line: &str, column: usize) -> usize {
    let mut rest = line.chars().skip(column.saturating_sub(1)).peekable();
    match rest.peek() {
        Some(c) if c.is_alphanumeric() || *c == '_' => rest.take_while(|c| c.is_alphanumeric() || *c == '_').count(),
        Some(&quote @ ('"' | '`')) => {
            rest.next();
            let mut width = 1;
            for c in rest {
                width += 1;
                if c == quote {
                    break;
                }
            }
            width
        }
        _ => 1,
    }
}

fn describe(error: &EvalAltResult, program: &Program) -> (ScriptErrorKind, Diagnostic) {
    use EvalAltResult as E;
    let (message, help) = match error {
        E::ErrorRuntime(value, _) => thrown(value),
        E::ErrorFunctionNotFound(signature, _) => unknown_function(signature, program),
        E::ErrorIndexingType(types, _) if types.starts_with("() [") => (
            "there is nothing to look into: the value before `[` is `()`".to_owned(),
            Some("write `?[` for what may be missing: `found?[\"Plan\"]`".to_owned()),
        ),
        E::ErrorDotExpr(..) | E::ErrorPropertyNotFound(..) | E::ErrorIndexingType(..) => property(error),
        E::ErrorStackOverflow(_) => {
            return limit(format!("calls are nested deeper than {MAX_CALLS}"), "make the recursion shallower");
        }
        E::ErrorDataTooLarge(what, _) => return limit(format!("{} is too large", too_large(what)), too_large_help(what)),
        E::ErrorTooManyVariables(_) => {
            return limit(format!("more than {MAX_VARIABLES} variables"), "use fewer variables, or a map");
        }
        E::ErrorTooManyModules(_) => return limit(format!("more than {MAX_MODULES} imports"), "import fewer scripts"),
        E::ErrorTooManyOperations(_) | E::ErrorTerminated(..) => {
            return limit("the script was ended".to_owned(), "look for a loop that does not end");
        }
        E::ErrorArithmetic(reason, _) => (lower_first(reason.split(':').next().unwrap_or(reason)), None),
        E::ErrorArrayBounds(count, ..) => (format!("the index is outside of the array, which has {count} items"), None),
        E::ErrorStringBounds(count, ..) => (format!("the index is outside of the text, which has {count} characters"), None),
        E::ErrorIndexNotFound(..) => ("there is nothing at this index".to_owned(), None),
        E::ErrorMismatchDataType(wanted, found, _) => {
            let help = (type_name(found) == A_REFERENCE).then(|| REFERENCE_HELP.to_owned());
            (format!("expected {}, found {}", type_name(wanted), type_name(found)), help)
        }
        E::ErrorVariableNotFound(name, _) => (format!("undefined variable `{name}`"), None),
        E::ErrorModuleNotFound(name, _) => (
            format!("undefined module `{name}`"),
            Some("modules are `person`, `text` and so on, or the alias of an `import` at the top of this file".to_owned()),
        ),
        // A closure shares the variables that it uses, and a method holds the value that it is called on.
        E::ErrorDataRace(..) => (
            "a closure uses the variable that the function around it is called on".to_owned(),
            Some("take out before what the closure needs: `let first = list[0];`".to_owned()),
        ),
        E::ErrorFor(_) => (
            "`for` goes over arrays, ranges, texts and the like; this value is none".to_owned(),
            Some("for a value that may be missing write `for x in (list ?? []) { .. }`".to_owned()),
        ),
        other => (lower_first(&bare(other)), None),
    };
    let mut problem = Diagnostic::error(message);
    problem.help = help;
    (ScriptErrorKind::Runtime, problem)
}

fn limit(message: String, help: &str) -> (ScriptErrorKind, Diagnostic) {
    (ScriptErrorKind::Limit, Diagnostic::error(message).help(help))
}

fn too_large(what: &str) -> &'static str {
    if what.contains("string") {
        "a text"
    } else if what.contains("map") {
        "a map"
    } else {
        "an array"
    }
}

fn too_large_help(what: &str) -> &'static str {
    if what.contains("string") {
        "raise `max_string` under [scripts] in rules.toml, or make less of it"
    } else if what.contains("map") {
        "raise `max_map` under [scripts] in rules.toml, or make less of it"
    } else {
        "raise `max_array` under [scripts] in rules.toml, or make less of it"
    }
}

/// What an error says, without its place.
pub(super) fn said(error: &EvalAltResult) -> String {
    match Trace::of(error, "").leaf {
        EvalAltResult::ErrorRuntime(value, _) => thrown(value).0,
        other => lower_first(&bare(other)),
    }
}

/// What a `throw` or a refusal says.
fn thrown(value: &rhai::Dynamic) -> (String, Option<String>) {
    if let Some(refusal) = value.read_lock::<Refusal>() {
        return (refusal.message.clone(), refusal.help.clone());
    }
    match value.as_immutable_string_ref() {
        Ok(text) => (cut(&text, MAX_THROWN), None),
        Err(_) => (format!("the script threw {}", type_word(value)), Some("throw a text: `throw \"why\";`".to_owned())),
    }
}

fn unknown_function(signature: &str, program: &Program) -> (String, Option<String>) {
    let (name, types) = signature.split_once(" (").or_else(|| signature.split_once('(')).unwrap_or((signature, ""));
    let name = name.trim();
    let types: Vec<&str> = types.strip_suffix(')').unwrap_or(types).split(',').map(str::trim).filter(|t| !t.is_empty()).collect();
    let given = types.iter().map(|t| type_name(t)).collect::<Vec<_>>().join(" and ");
    let nothing = types.contains(&"()");
    let missing = || nothing.then(|| "a value is missing: give another with `??`, or test for `()` first".to_owned());
    let reference = || types.iter().any(|t| type_name(t) == A_REFERENCE).then(|| REFERENCE_HELP.to_owned());
    let known = Known::of(&program.engine);
    if !name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_') {
        return (format!("`{name}` cannot take {given}"), missing().or_else(reference));
    }
    if known.arities(name).is_some_and(|a| a.contains(&types.len())) {
        return (format!("`{name}` cannot take {given}"), missing().or_else(reference));
    }
    let own: Vec<&str> = program.scripts.values().flat_map(|s| s.ast.iter_functions()).map(|f| f.name).collect();
    (known.unknown_message(name, types.len(), &own), known.suggestion(name, types.len(), &own).or_else(missing))
}

fn property(error: &EvalAltResult) -> (String, Option<String>) {
    let text = bare(error);
    let nothing = text.contains("'()'") || text.contains("type ()");
    let name = text.split('\'').nth(1).filter(|n| *n != "()").map(str::to_owned);
    if nothing {
        let message = name
            .map_or_else(|| "`()` has no properties".to_owned(), |n| format!("cannot read `{n}`: the value before it is `()`"));
        return (message, Some("write `?.` for what may be missing: `event.traits?.company?.name`".to_owned()));
    }
    (lower_first(&text), None)
}

/// The interpreter's own text, without the position.
fn bare(error: &EvalAltResult) -> String {
    let text = error.to_string();
    match text.rfind(" (line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

fn type_name(name: &str) -> &str {
    match name {
        "string" | "&str" | "&str | ImmutableString | String" | "char" => "a text",
        "i64" | "f64" => "a number",
        "bool" => "a boolean",
        "map" => "a map",
        "array" => "an array",
        "()" => "nothing `()`",
        "Reference" => A_REFERENCE,
        // Where the interpreter does not know the name that a type was given.
        other if other.ends_with("::Reference") => A_REFERENCE,
        "Fn" => "a function",
        other => other,
    }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => first.to_lowercase().chain(text.chars().skip(1)).collect(),
        _ => text.to_owned(),
    }
}

/// The words of a text: candidates for a misspelt variable.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|w| w.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_'))
}
