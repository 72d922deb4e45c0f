//! Definition files for the Rhai language server: what scripts and tests can call, and the fields of the accounts.
//!
//! Invariants: made from the engine that runs the scripts, so that nothing is offered that does not exist; the same engine and accounts
//! give the same text; one module a file, as the language server reads them.

mod fields;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

pub use fields::AccountFields;
pub(in crate::script) use fields::page as fields_of;

use super::metadata::{Function, Listing};
use super::{engine, harness};
use crate::config::ScriptConfig;
use crate::pipedrive::Kind;
use types::Words;

/// What every file begins with. A file that begins otherwise is nobody's of ours.
pub const MARK: &str = "// Made by `pipewright definitions`.";

/// The file of the global functions of rules.
const GLOBAL: &str = "pipewright";
/// The file of what only tests can call.
const TESTS: &str = "tests";
/// The file of what the interpreter brings along.
const RHAI: &str = "rhai";

/// Functions of the interpreter that scripts do not have; the language server cannot read the name of the last.
const NOT_HERE: &[&str] = &["sleep", "timestamp", "eval", "curry", "exit"];

/// The files, by name.
#[must_use]
pub fn definitions(accounts: &[AccountFields<'_>]) -> BTreeMap<String, String> {
    let limits = ScriptConfig::default();
    let (rules, tests) = (engine::build(&limits, &Arc::default()), harness::engine_for_tests(&limits, &Arc::default()));
    let own = Listing::of(&rules, false);
    let own_of_tests = Listing::of(&tests, false);
    let mut files = BTreeMap::new();
    let mut file = |name: &str, header: &str, body: String| {
        files.insert(format!("{name}.d.rhai"), format!("{MARK}\n{header}{body}"));
    };

    let mut global = constant();
    global.push_str(&written(&own.functions, Words::Rules, |_| String::new()));
    file(GLOBAL, "module static;\n", global);
    for (name, module) in &own.modules {
        let kind = Kind::parse(name);
        let doc = kind.map_or_else(|| own.doc(name), |kind| fields::page(kind, accounts));
        let names = kind.map(|kind| fields::names(kind, accounts)).unwrap_or_default();
        let more = |function: &Function| match function.name.as_str() {
            "upsert" | "create" | "update" => names.clone(),
            _ => String::new(),
        };
        let mut body = written(&module.functions, Words::Rules, more);
        if kind.is_some() {
            let known: BTreeSet<&str> = module.functions.iter().map(|f| f.name.as_str()).collect();
            let only = |f: &&Function| !known.contains(f.name.as_str());
            let for_tests: Vec<&Function> = own_of_tests.of_module(name).iter().filter(only).collect();
            body.push_str(&written(for_tests, Words::Tests, |_| "Only in tests.".to_owned()));
        }
        file(name, &format!("{}module {name};\n", comment(&doc)), body);
    }

    let known: BTreeSet<&str> = own.functions.iter().filter(|f| !f.doc().is_empty()).map(|f| f.name.as_str()).collect();
    let only: Vec<&Function> = own_of_tests.functions.iter().filter(|f| !known.contains(f.name.as_str())).collect();
    let mut body = written(only, Words::Tests, |_| String::new());
    for (name, module) in own_of_tests.modules.iter().filter(|(name, _)| !own.modules.contains_key(*name)) {
        let inner = written(&module.functions, Words::Tests, |_| String::new());
        let inner: String =
            inner.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect();
        let _ = write!(body, "\nmodule {name} {{{inner}}}\n");
    }
    file(TESTS, &format!("{}module static;\n", comment("What only tests can call, in scripts/tests/.")), body);

    let standard = Listing::of(&rules, true);
    let brought = standard.functions.iter().filter(|f| !known.contains(f.name.as_str()) && !NOT_HERE.contains(&f.name.as_str()));
    let mut body = written(brought, Words::Rhai, |_| String::new());
    body.push_str(&keywords(&rules.definitions().builtin_functions()));
    file(RHAI, &format!("{}module static;\n", comment("What Rhai brings along.")), body);
    files
}

/// What the interpreter handles without a function: it comes with a text of its own.
fn keywords(text: &str) -> String {
    let mut kept = String::new();
    let mut one = String::new();
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        let _ = writeln!(one, "{line}");
        if let Some(rest) = line.strip_prefix("fn ") {
            let name = rest.split('(').next().unwrap_or_default();
            if !NOT_HERE.contains(&name) {
                let _ = write!(kept, "\n{one}");
            }
            one.clear();
        }
    }
    kept
}

fn constant() -> String {
    let doc = "Empties a field: `person::update(#{ \"Segment User ID\": event.userId }, #{ name: event.traits?.name, \"Plan\": CLEAR });`";
    format!("\n{}const {}: Clear;\n", comment(doc), super::host::CLEAR)
}

/// Functions as declarations, by name, those with fewer parameters first, without repetitions.
fn written<'f>(functions: impl IntoIterator<Item = &'f Function>, words: Words, more: impl Fn(&Function) -> String) -> String {
    let mut sorted: Vec<&Function> = functions.into_iter().filter(|f| types::is_for_scripts(f, words)).collect();
    // The interpreter lists them in any order.
    sorted.sort_by_cached_key(|f| (f.name.as_str(), f.num_params, types::declaration(f, words), f.doc()));
    let mut seen = BTreeSet::new();
    let mut text = String::new();
    for function in sorted {
        let declared = types::declaration(function, words);
        if !seen.insert(declared.clone()) {
            continue;
        }
        let doc = [function.doc(), more(function)].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n");
        let _ = write!(text, "\n{}{declared}\n", comment(&doc));
    }
    text
}

/// A text as a doc comment; nothing for no text.
fn comment(text: &str) -> String {
    text.lines().map(|line| format!("///{}{}\n", if line.is_empty() { "" } else { " " }, line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_of_our_functions_has_a_type() {
        let limits = ScriptConfig::default();
        let engines = [engine::build(&limits, &Arc::default()), harness::engine_for_tests(&limits, &Arc::default())];
        let mut without = BTreeSet::new();
        for listing in engines.map(|engine| Listing::of(&engine, false)) {
            for function in listing.functions.iter().chain(listing.modules.values().flat_map(|m| &m.functions)) {
                let names = function.params.iter().filter(|p| p.kind.is_none()).filter_map(|p| p.name.as_deref());
                let unknown = names.filter(|name| types::is_name(&function.name) && types::takes(name).is_none());
                without.extend(unknown.map(str::to_owned));
            }
        }
        assert!(without.is_empty(), "say in definitions/types.rs what these take: {without:?}");
    }
}
