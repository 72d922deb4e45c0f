//! The functions that exist for every script, by name and number of arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use rhai::Engine;

use super::lint::DEPRECATED as MARK;
use super::metadata::{Function, Listing};
use crate::diagnostic::did_you_mean;

/// Names, each with the numbers of arguments that it takes.
pub(super) type Functions = BTreeMap<String, BTreeSet<usize>>;

/// All of them.
#[derive(Debug)]
pub(super) struct Known {
    global: Functions,
    modules: BTreeMap<String, Functions>,
    /// What to use in place of a function, by its name with its module.
    deprecated: BTreeMap<String, String>,
}

/// What the interpreter handles without a function.
const KEYWORDS: &[(&str, &[usize])] = &[
    ("print", &[1]),
    ("debug", &[0, 1]),
    ("type_of", &[1]),
    ("Fn", &[1]),
    ("call", &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ("curry", &[2, 3, 4, 5, 6, 7, 8, 9]),
    ("is_def_var", &[1]),
    ("is_def_fn", &[2, 3]),
    ("is_shared", &[1]),
];

impl Known {
    /// The same for every engine of this process that is for rules, and for every one that is for tests: what scripts can call
    /// does not depend on the program.
    pub(super) fn of(engine: &Engine) -> &'static Self {
        static RULES: OnceLock<Known> = OnceLock::new();
        static TESTS: OnceLock<Known> = OnceLock::new();
        let known = if super::harness::is_for_tests(engine) { &TESTS } else { &RULES };
        known.get_or_init(|| Self::read(engine))
    }

    fn read(engine: &Engine) -> Self {
        let listing = Listing::of(engine, true);
        let mut global = collect(&listing.functions);
        // Functions of modules that are called as methods.
        for (name, counts) in KEYWORDS {
            global.entry((*name).to_owned()).or_default().extend(*counts);
        }
        let mut deprecated = deprecated("", &listing.functions);
        for (name, module) in &listing.modules {
            deprecated.extend(self::deprecated(&format!("{name}::"), &module.functions));
        }
        let modules = listing.modules.iter().map(|(name, m)| (name.clone(), collect(&m.functions))).collect();
        Self { global, modules, deprecated }
    }

    /// What to use in place of a function (`module::name` for those of modules), when it has a successor.
    pub(super) fn deprecated(&self, name: &str) -> Option<&str> {
        self.deprecated.get(name).map(String::as_str)
    }

    /// The numbers of arguments that a function takes; `module::name` for those of modules.
    pub(super) fn arities(&self, name: &str) -> Option<&BTreeSet<usize>> {
        match name.rsplit_once("::") {
            Some((module, function)) => self.modules.get(module)?.get(function),
            None => self.global.get(name),
        }
    }

    /// A module's functions.
    pub(super) fn module(&self, name: &str) -> Option<&Functions> {
        self.modules.get(name)
    }

    /// Names of the modules.
    pub(super) fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// Says that a function does not exist, or not with so many arguments.
    pub(super) fn unknown_message(&self, name: &str, given: usize, own: &[&str]) -> String {
        if self.arities(name).is_some() || own.contains(&name) {
            format!("`{name}` does not take {}", arguments(given))
        } else {
            format!("unknown function `{name}`")
        }
    }

    /// What may have been meant.
    pub(super) fn suggestion(&self, name: &str, _given: usize, own: &[&str]) -> Option<String> {
        if let Some(counts) = self.arities(name) {
            return Some(format!("it takes {}", counts_text(counts)));
        }
        let near = match name.rsplit_once("::") {
            Some((module, function)) => {
                let Some(functions) = self.modules.get(module) else {
                    let near = did_you_mean(module, self.modules());
                    return near.map(|near| format!("did you mean `{near}::{function}`?"));
                };
                did_you_mean(function, functions.keys().map(String::as_str)).map(|near| format!("{module}::{near}"))
            }
            None => did_you_mean(name, own.iter().copied().chain(self.global.keys().map(String::as_str)).filter(|n| is_word(n)))
                .map(str::to_owned)
                .or_else(|| {
                    let module = self.modules.iter().find(|(_, functions)| functions.contains_key(name))?;
                    Some(format!("{}::{name}", module.0))
                }),
        };
        near.map(|near| format!("did you mean `{near}`?"))
    }
}

fn collect(functions: &[Function]) -> Functions {
    let mut found = Functions::new();
    for function in functions {
        found.entry(function.name.clone()).or_default().insert(function.num_params);
    }
    found
}

/// The functions whose documentation says what to use in their place.
fn deprecated(prefix: &str, functions: &[Function]) -> BTreeMap<String, String> {
    let instead = |function: &Function| {
        let mut lines = function.doc_comments.iter().flat_map(|comment| comment.lines());
        let line = lines.find_map(|line| line.trim_start_matches('/').trim().strip_prefix(MARK).map(str::trim))?;
        Some((format!("{prefix}{}", function.name), line.to_owned()))
    };
    functions.iter().filter_map(instead).collect()
}

fn is_word(name: &str) -> bool {
    name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// `2 or 3 arguments`.
pub(super) fn counts_text(counts: &BTreeSet<usize>) -> String {
    let words = counts.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ");
    if counts.len() == 1 && counts.contains(&1) { "1 argument".to_owned() } else { format!("{words} arguments") }
}

/// `2 arguments`.
pub(super) fn arguments(count: usize) -> String {
    if count == 1 { "1 argument".to_owned() } else { format!("{count} arguments") }
}

#[cfg(test)]
mod tests {
    use rhai::{FuncRegistration, Module};

    use super::*;

    #[test]
    fn a_host_function_is_deprecated_by_a_line_of_its_documentation() {
        let mut module = Module::new();
        let docs = ["/// The old way.\n///\n/// Deprecated: write `text::trim(x)`".to_owned()];
        FuncRegistration::new("strip").with_comments(docs).set_into_module(&mut module, |x: i64| x);
        FuncRegistration::new("trim").with_comments(["/// The new way."]).set_into_module(&mut module, |x: i64| x);
        let mut engine = Engine::new();
        engine.register_static_module("text", module.into());
        let known = Known::read(&engine);
        assert_eq!(known.deprecated("text::strip"), Some("write `text::trim(x)`"));
        assert_eq!(known.deprecated("text::trim"), None);
        assert_eq!(known.deprecated("strip"), None);
    }
}
