//! What is wrong with a script although it parses: functions that do not exist or take other numbers of arguments, tables and
//! options that do not exist. (Undefined variables are refused when the script is compiled.) And what is worth a look in one that
//! works: names that nothing uses, code that never runs, reads in loops.

mod deprecated;
mod overwrites;
mod reads;
mod unreachable;
mod unused;
mod variables;

use std::collections::{BTreeMap, BTreeSet};

use rhai::{Expr, FnAccess, Position};

use super::calls::{self, Call};
use super::engine::FORBIDDEN;
use super::errors::token_width;
use super::host::{options, table};
use super::known::{self, Functions, Known};
use super::outline::Outline;
use super::program::{Program, Script};
use super::switches;
use crate::diagnostic::{Code, Diagnostic, did_you_mean};
use crate::pipedrive::Kind;

pub(super) use deprecated::MARK as DEPRECATED;
pub use overwrites::Overwrite;

impl Program {
    /// What is worth a look in scripts that work.
    #[must_use]
    pub fn advice(&self) -> Vec<Diagnostic> {
        let known = Known::of(&self.engine);
        let outlines: BTreeMap<&str, Outline> =
            self.scripts.iter().map(|(file, script)| (file.as_str(), Outline::of(&script.ast))).collect();
        let mut found = reads::problems(self, &outlines);
        found.extend(unused::problems(self, &outlines));
        for (file, outline) in &outlines {
            let script = &self.scripts[*file];
            found.extend(variables::problems(script, outline));
            found.extend(unreachable::problems(script, outline));
            let lint = Lint { program: self, known, script, own: functions(script, true) };
            calls::each(&script.ast, &mut |call| {
                found.extend(lint.deprecated(call).map(|problem| script.place(problem, call.position)));
            });
        }
        found
    }

    /// What is wrong with the scripts although they parse.
    #[must_use]
    pub fn lint(&self) -> Vec<Diagnostic> {
        let known = Known::of(&self.engine);
        let mut problems = Vec::new();
        for script in self.scripts.values() {
            let lint = Lint { program: self, known, script, own: functions(script, true) };
            calls::each(&script.ast, &mut |call| {
                problems.extend(lint.function(call).map(|p| script.place(p, call.position)));
                problems.extend(lint.table(call));
                problems.extend(lint.options(call));
            });
            problems.extend(switches::over_references(script));
        }
        problems.sort_by(|a, b| key(a).cmp(&key(b)));
        problems
    }
}

fn key(problem: &Diagnostic) -> Option<(&str, usize, usize)> {
    problem.place.as_ref().map(|p| (p.file.as_str(), p.line, p.column))
}

impl Script {
    /// Places a problem at a position of this script.
    pub(super) fn place(&self, problem: Diagnostic, position: Position) -> Diagnostic {
        let (line, column) = (position.line().unwrap_or(1), position.position().unwrap_or(1));
        let text = self.text.lines().nth(line - 1).unwrap_or("");
        problem.at(&self.file, &self.text, line, column, token_width(text, column))
    }
}

/// The functions that a script defines.
fn functions(script: &Script, private: bool) -> Functions {
    let mut found = BTreeMap::<String, BTreeSet<usize>>::new();
    for function in script.ast.iter_functions().filter(|f| private || f.access == FnAccess::Public) {
        found.entry(function.name.to_owned()).or_default().insert(function.params.len());
    }
    found
}

/// Whether a name stands anywhere without being called there: as a key of a map, in an assignment, in quotes. Maps may hold functions.
fn may_be_a_key(text: &str, name: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let rest = &text[at + name.len()..];
        !text[..at].chars().next_back().is_some_and(inside) && !rest.starts_with(inside) && !rest.trim_start().starts_with('(')
    })
}

struct Lint<'a> {
    program: &'a Program,
    known: &'static Known,
    script: &'a Script,
    own: Functions,
}

impl Lint<'_> {
    fn function(&self, call: Call<'_>) -> Option<Diagnostic> {
        match call.module() {
            _ if call.is_nested() => None,
            Some("global") => None,
            Some(module) => self.of_module(module, call),
            None if call.method => self.method(call),
            None => self.plain(call),
        }
    }

    fn plain(&self, call: Call<'_>) -> Option<Diagnostic> {
        let (name, given) = (call.expr.name.as_str(), call.expr.args.len());
        if let Some(forbidden) = FORBIDDEN.iter().find(|forbidden| forbidden.name == name && !self.own.contains_key(name)) {
            return Some(Diagnostic::error(forbidden.message()).code(Code::NotHere).help(forbidden.help));
        }
        let takes = |functions: Option<&BTreeSet<usize>>| functions.is_some_and(|counts| counts.contains(&given));
        if takes(self.own.get(name)) || takes(self.known.arities(name)) {
            return None;
        }
        Some(self.unknown(name, given))
    }

    /// A method may also be a function of this script with `this`, or a function that a map holds.
    fn method(&self, call: Call<'_>) -> Option<Diagnostic> {
        let (name, given) = (call.expr.name.as_str(), call.expr.args.len());
        let own = self.own.get(name).is_some_and(|counts| counts.contains(&given) || counts.contains(&(given + 1)));
        let host = self.known.arities(name).is_some_and(|counts| counts.contains(&(given + 1)));
        let in_a_map = self.program.scripts.values().any(|script| may_be_a_key(&script.text, name));
        if own || host || in_a_map {
            return None;
        }
        Some(self.unknown(name, given + 1))
    }

    fn unknown(&self, name: &str, given: usize) -> Diagnostic {
        let own: Vec<&str> = self.own.keys().map(String::as_str).collect();
        let exists = self.own.contains_key(name) || self.known.arities(name).is_some();
        let code = if exists { Code::Arguments } else { Code::UnknownFunction };
        let mut problem = Diagnostic::error(self.known.unknown_message(name, given, &own)).code(code);
        problem.help = match self.own.get(name) {
            Some(counts) => Some(format!("it takes {}", known::counts_text(counts))),
            None => self.known.suggestion(name, given, &own),
        };
        problem
    }

    fn of_module(&self, module: &str, call: Call<'_>) -> Option<Diagnostic> {
        let (name, given) = (call.expr.name.as_str(), call.expr.args.len());
        let imported = self.script.imports.iter().find(|i| i.alias == module).and_then(|i| self.program.scripts.get(&i.file));
        let own;
        let functions = match imported {
            Some(script) => {
                own = functions(script, false);
                &own
            }
            // A module that does not exist is refused when the script is compiled.
            None => self.known.module(module)?,
        };
        let Some(counts) = functions.get(name) else {
            let mut problem = Diagnostic::error(format!("unknown function `{module}::{name}`")).code(Code::UnknownFunction);
            problem.help = did_you_mean(name, functions.keys().map(String::as_str))
                .map(|near| format!("did you mean `{module}::{near}`?"))
                .or_else(|| imported.map(|script| format!("{} defines no public function of this name", script.file)));
            return Some(problem);
        };
        (!counts.contains(&given)).then(|| {
            Diagnostic::error(format!("`{module}::{name}` does not take {}", known::arguments(given)))
                .code(Code::Arguments)
                .help(format!("it takes {}", known::counts_text(counts)))
        })
    }

    fn table(&self, call: Call<'_>) -> Option<Diagnostic> {
        if call.expr.name != "table" || call.method || call.module().is_some() {
            return None;
        }
        let Some(Expr::StringConstant(name, position)) = call.arg(0) else { return None };
        if self.program.tables.contains_key(table::short_name(name)) {
            return None;
        }
        let (message, help) = table::missing(name, &self.program.tables);
        Some(self.script.place(Diagnostic::error(message).code(Code::Table).help(help), *position))
    }

    /// Names and words of a literal options map.
    fn options(&self, call: Call<'_>) -> Vec<Diagnostic> {
        let (name, arguments) = (call.expr.name.as_str(), call.expr.args.len());
        let found = match call.module() {
            None if call.method || self.own.contains_key(name) => None,
            None => options::of_global(name, arguments),
            Some(module) => Kind::parse(module).and_then(|_| options::of_call(name, arguments)),
        };
        let Some((index, takes)) = found else { return Vec::new() };
        let Some(Expr::Map(map, _)) = call.arg(index) else { return Vec::new() };
        let mut problems = Vec::new();
        for (name, value) in &map.0 {
            if let Err(unfit) = options::check_name(&name.name, takes) {
                problems.push(self.script.place(problem(unfit), name.pos));
            } else if let (Some(words), Expr::StringConstant(word, position)) = (options::words(&name.name), value)
                && !words.contains(&word.as_str())
            {
                problems.push(self.script.place(problem(options::bad_word(&name.name, word, words)), *position));
            }
        }
        problems
    }
}

fn problem(unfit: super::value::Unfit) -> Diagnostic {
    let mut problem = Diagnostic::error(unfit.reason).code(Code::CallOption);
    problem.help = unfit.help;
    problem
}
