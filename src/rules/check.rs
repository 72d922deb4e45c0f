//! What a set must pass before it goes live, beyond its own syntax.

mod allow;
mod triggers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ScriptSet;
use super::files::{RULES_TOML, shown};
use crate::config::{DeclaredField, Places, WritePolicy};
use crate::crm::{Metadata, same_name};
use crate::diagnostic::{Code, Diagnostic, Place, Severity, did_you_mean};
use crate::pipedrive::Kind;
use crate::plan;
use crate::script::NameRole;

/// Errors that are told, and warnings.
const MOST: usize = 200;

/// Checks a set. Names in scripts are checked against the accounts whose metadata is given. Ordered by file and place,
/// without repetitions.
#[must_use]
pub fn check(set: &ScriptSet, metadata: &BTreeMap<String, Arc<Metadata>>) -> Vec<Diagnostic> {
    let places = Places::new(RULES_TOML, &set.files.rules_toml);
    let mut found = set.remarks.clone();
    entry_points(set, &places, &mut found);
    let reached = Reached::of(set);
    unused(set, &reached, &mut found);
    triggers::problems(set, &places, &mut found);
    found.extend(set.program.lint());
    found.extend(set.program.advice());
    overwriting(set, &mut found);
    super::schema::of_other_domain(set, &mut found);
    names(set, metadata, &reached, &mut found);
    let found = found.into_iter().map(below_scripts).collect();
    let named = !metadata.is_empty();
    // Tests are run by the command that checks, not here; schema files take no comments.
    let looked_for = |code| match code {
        Code::FieldName | Code::FieldValue => named,
        Code::Untested | Code::Drift | Code::OtherCompany => false,
        _ => true,
    };
    tidy(allow::apply(set, found, looked_for))
}

/// That no test ran these rules, when their tests have been run.
#[must_use]
pub fn untested(set: &ScriptSet, rules: &[Arc<str>]) -> Vec<Diagnostic> {
    let places = Places::new(RULES_TOML, &set.files.rules_toml);
    let warn = |rule: &super::Rule| {
        let d = Diagnostic::warning(format!("no test sends an event to rule `{}`", rule.name)).code(Code::Untested);
        let d = d.help("write `fn test_..()` into a file of scripts/tests/, which delivers an event that meets its trigger");
        places.at(d, &["rules", &rule.position.to_string(), "name"])
    };
    let found = rules.iter().filter_map(|name| set.rule(name)).map(warn).collect();
    let spoken = allow::apply(set, found, |code| code == Code::Untested);
    // What is wrong with comments otherwise is the check's to say.
    let ours = |d: &Diagnostic| d.is(Code::Untested) || d.message.contains(Code::Untested.id());
    tidy(spoken.into_iter().filter(ours).collect())
}

/// Writes that put back what people changed, by what the rules that reach them say about `write`.
fn overwriting(set: &ScriptSet, found: &mut Vec<Diagnostic>) {
    let mut of_script: BTreeMap<&str, Vec<&super::Rule>> = BTreeMap::new();
    for rule in set.rules.iter().filter(|rule| rule.config.enabled) {
        of_script.entry(&rule.config.script).or_default().push(rule);
    }
    for (script, rules) in of_script {
        for overwrite in set.program.overwrites(script) {
            let by_rule = rules.iter().find(|rule| rule.config.write != WritePolicy::Changed);
            let (write, who) = match (overwrite.write, by_rule) {
                (Some(WritePolicy::Changed), _) | (None, None) => continue,
                (Some(write), _) => (write, String::new()),
                (None, Some(rule)) => (rule.config.write, format!(" of rule `{}`", rule.name)),
            };
            found.push(overwrite.diagnostic(write, &who));
        }
    }
}

/// Every rule's script exists and has an entry point. Disabled rules too: they can be enabled at any time.
fn entry_points(set: &ScriptSet, places: &Places, found: &mut Vec<Diagnostic>) {
    for rule in &set.rules {
        for (key, script) in rule.config.scripts() {
            let known = &set.files.sources.scripts;
            if known.contains_key(script) {
                found.extend(set.program.entry_errors(script));
                continue;
            }
            let names = if key == "shadow" { "has the shadow" } else { "runs" };
            let d = Diagnostic::error(format!("rule `{}` {names} {}, and there is no such file", rule.name, shown(script)))
                .code(Code::NoSuch);
            let d = match did_you_mean(script, known.keys().map(String::as_str)) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => d,
            };
            found.push(places.at(d, &["rules", &rule.position.to_string(), key]));
        }
    }
}

/// Which scripts the rules reach, by themselves and through imports.
#[derive(Debug, Default)]
struct Reached<'a> {
    /// Accounts of the rules that reach a script, and whether one of them is enabled.
    accounts: BTreeMap<Arc<str>, BTreeMap<&'a str, bool>>,
}

impl<'a> Reached<'a> {
    fn of(set: &'a ScriptSet) -> Self {
        let mut reached = Self::default();
        for rule in &set.rules {
            for script in rule.config.scripts().flat_map(|(_, script)| set.program.with_imports(script)) {
                *reached.accounts.entry(script).or_default().entry(&rule.account).or_default() |= rule.config.enabled;
            }
        }
        reached
    }
}

/// Scripts that nothing can run.
fn unused(set: &ScriptSet, reached: &Reached<'_>, found: &mut Vec<Diagnostic>) {
    for script in set.files.sources.scripts.keys().filter(|s| !reached.accounts.contains_key(s.as_str())) {
        let d = Diagnostic::warning(format!("no rule runs {} and no script imports it", shown(script)));
        found.push(d.code(Code::UnusedScript).in_file(&shown(script)).help("delete it, or name it in a rule or an `import`"));
    }
}

/// Names and literal values that the accounts of the rules that reach a script do not have. With enabled rules a wrong name is
/// an error: every event would meet it.
fn names(set: &ScriptSet, metadata: &BTreeMap<String, Arc<Metadata>>, reached: &Reached<'_>, found: &mut Vec<Diagnostic>) {
    if metadata.is_empty() {
        return;
    }
    for used in set.program.names_written() {
        let script = used.place.file.strip_prefix("scripts/").unwrap_or(&used.place.file);
        for (account, enabled) in reached.accounts.get(script).into_iter().flatten() {
            let Some(known) = metadata.get(*account) else { continue };
            let say = |problem: plan::LiteralProblem, error: bool, code: Code, place: &Place| {
                let d = if error && *enabled { Diagnostic::error(problem.message) } else { Diagnostic::warning(problem.message) };
                let d = if metadata.len() > 1 { d.note(format!("in the Pipedrive account `{account}`")) } else { d };
                Diagnostic { place: Some(place.clone()), help: problem.help, ..d.code(code) }
            };
            let matched = used.role == NameRole::Match;
            if let Err(problem) = plan::check_name(used.kind, &used.name, used.custom, matched, known) {
                let problem = to_be_made(problem, (set, account, known), used.kind, &used.name, None);
                found.push(say(problem, true, Code::FieldName, &used.place));
                continue;
            }
            // What is not known is made, refused or left out, as the call says.
            let on_unknown = used.on_unknown.as_deref();
            for value in used.values.iter().filter(|_| matched || on_unknown != Some("create")) {
                if let Err(problem) = plan::check_value(used.kind, &used.name, used.custom, &value.text, known) {
                    let problem = to_be_made(problem, (set, account, known), used.kind, &used.name, Some(&value.text));
                    let fails = problem.always || !matched && on_unknown == Some("fail");
                    let d = say(problem, fails, Code::FieldValue, &value.place);
                    found.push(match (fails, matched) {
                        (true, _) => d,
                        (_, true) => d.note("nothing is found by it until the account has it"),
                        (_, false) => d.note("the field is left out until the account has it"),
                    });
                }
            }
        }
    }
}

/// What rules.toml declares and the account lacks is not misspelt: it is to be made.
fn to_be_made(
    problem: plan::LiteralProblem,
    (set, account, known): (&ScriptSet, &str, &Metadata),
    kind: Kind,
    name: &str,
    option: Option<&str>,
) -> plan::LiteralProblem {
    let kind = if kind == Kind::Lead { Kind::Deal } else { kind };
    let declared = set.config.pipedrive.get(account).is_some_and(|config| {
        let has = |label: &str, field: &DeclaredField| field.options.iter().any(|option| same_name(option, label));
        let mut fields =
            config.fields.by_kind().into_iter().filter(|(word, _)| *word == kind.as_str()).flat_map(|(_, list)| list);
        fields.any(|field| same_name(&field.name, name) && option.is_none_or(|label| has(label, field)))
    });
    // A field that is there has another fault than that it is missing.
    if !declared || option.is_none() && !known.custom_named(kind, name).is_empty() {
        return problem;
    }
    let of = if set.config.pipedrive.len() > 1 { format!(" --account {account}") } else { String::new() };
    let help = format!("rules.toml declares it: `pipewright fields ensure --apply{of}` makes it");
    plan::LiteralProblem { help: Some(help), ..problem }
}

/// Names a script in a place as the user knows it.
pub(crate) fn below_scripts(mut diagnostic: Diagnostic) -> Diagnostic {
    if let Some(place) = &mut diagnostic.place
        && place.file != RULES_TOML
        && !place.file.starts_with("schema.")
        && !place.file.starts_with("scripts/")
    {
        place.file = shown(&place.file);
    }
    diagnostic
}

/// In a stable order, without repetitions.
pub(super) fn tidy(mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let key = |d: &Diagnostic| {
        let place = d.place.as_ref().map(|p| (p.file.clone(), p.line, p.column));
        (d.severity, place, d.message.clone())
    };
    found.sort_by_cached_key(key);
    let mut seen = BTreeSet::new();
    found.retain(|d| seen.insert(key(d)));
    for severity in [Severity::Error, Severity::Warning] {
        let many = found.iter().filter(|d| d.severity == severity).count().saturating_sub(MOST);
        if many > 0 {
            let mut told = 0;
            found.retain(|d| {
                told += usize::from(d.severity == severity);
                d.severity != severity || told <= MOST
            });
            let d = Diagnostic { severity, ..Diagnostic::error(format!("{many} more like these are not shown")) };
            found.push(d.help("mend those that are shown first"));
        }
    }
    found
}
