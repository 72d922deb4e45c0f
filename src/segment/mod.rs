//! Coming from Segment: exported configuration of its Pipedrive destination as rules, scripts and script tests.
//!
//! Invariants: pure, from texts to texts; a subscription is taken over whole or refused with every reason and its place; secrets are
//! never written; the same exports give the same files.

mod export;
mod fields;
mod kind;
mod mapping;
mod rhai;
mod rules;
mod sample;
mod script;
mod trigger;

use serde::Serialize;

use crate::config::CustomType;
use crate::crm::{Metadata, same_name, standard};
use crate::pipedrive::Kind;
use export::{Destination, Export, Subscription};

/// What is asked for beside the files.
#[derive(Debug, Default)]
pub struct Wishes {
    /// Kinds of subscriptions, by name, where the export does not tell.
    pub kinds: Vec<(String, Kind)>,
    /// Fields to match by in place of the destination's settings.
    pub match_fields: Vec<(Kind, String)>,
}

/// What an import comes to.
#[derive(Debug, Serialize)]
pub struct Import {
    /// One a subscription, in the order of the exports.
    pub subscriptions: Vec<Report>,
    /// Fields that Pipedrive needs; rules.toml declares them.
    pub create: Vec<String>,
    /// What concerns all of it.
    pub warnings: Vec<String>,
    /// Files to write: path and text.
    #[serde(skip)]
    pub files: Vec<(String, String)>,
}

/// What became of one subscription.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its name in Segment.
    pub name: String,
    /// The file that it came from.
    pub file: String,
    /// Where in the file.
    pub path: String,
    /// What it writes, when that is known.
    pub kind: Option<String>,
    /// Its rule; none when it was refused.
    pub rule: Option<String>,
    /// Its script, below the folder.
    pub script: Option<String>,
    /// Its tests, below the folder.
    pub test: Option<String>,
    /// Whether the rule is on.
    pub enabled: bool,
    /// Why it was refused: places and reasons.
    pub refused: Vec<String>,
    /// What a person must look at.
    pub warnings: Vec<String>,
    /// Defects of Segment's that are mended.
    pub mended: Vec<String>,
}

/// A subscription that was taken over.
struct Rule {
    account: usize,
    name: String,
    when: String,
    title: String,
    enabled: bool,
    warnings: Vec<String>,
}

/// Imports files, given by name and text. `mock` are the fields that script tests can use.
///
/// # Errors
/// What is wrong with which file; nothing is imported then.
pub fn import(files: &[(String, String)], wishes: &Wishes, mock: &Metadata) -> Result<Import, Vec<String>> {
    let mut export = Export::default();
    let mut wrong = Vec::new();
    for (name, text) in files {
        match export::read(name, text) {
            Ok(more) => {
                export.subscriptions.extend(more.subscriptions);
                export.destinations.extend(more.destinations);
            }
            Err(reason) => wrong.push(reason),
        }
    }
    if export.subscriptions.is_empty() && wrong.is_empty() {
        wrong.push("the files hold a destination but no subscription: export its subscriptions, too".to_owned());
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(build(export, wishes, mock))
}

fn build(export: Export, wishes: &Wishes, mock: &Metadata) -> Import {
    let mut import = Import { subscriptions: Vec::new(), create: Vec::new(), warnings: Vec::new(), files: Vec::new() };
    let mut accounts = accounts(&export);
    for account in &mut accounts {
        for (kind, field) in &wishes.match_fields {
            *account.field_mut(*kind) = Some(field.clone());
        }
    }
    let mut rules: Vec<Rule> = Vec::new();
    let mut wanted: Vec<Wanted> = vec![Wanted::default(); accounts.len()];
    let mut helpers = false;
    for subscription in &export.subscriptions {
        let account = account_of(&accounts, subscription);
        let mut report = Report {
            name: subscription.name.clone(),
            file: subscription.file.clone(),
            path: subscription.path.clone(),
            kind: None,
            rule: None,
            script: None,
            test: None,
            enabled: false,
            refused: Vec::new(),
            warnings: Vec::new(),
            mended: Vec::new(),
        };
        if let Some(taken) = take(subscription, &accounts[account], wishes, &mut report) {
            let name = unused(&slug(&subscription.name), |name| rules.iter().any(|rule| rule.name == name));
            helpers |= taken.script.helpers;
            let kind = taken.source.kind();
            wanted_fields(&taken.source, kind, &mut wanted[account]);
            let script = format!("scripts/{name}.rhai");
            import.files.push((script.clone(), script_text(subscription, &taken)));
            match sample::test(&name, &taken.source, &taken.trigger.when, mock) {
                _ if !report.enabled => {}
                Ok(test) => {
                    let path = format!("scripts/tests/{name}_test.rhai");
                    import.files.push((path.clone(), test));
                    report.test = Some(path);
                }
                Err(reason) => report.warnings.push(format!("no test was written: {reason}")),
            }
            report.rule = Some(name.clone());
            report.script = Some(script);
            rules.push(Rule {
                account,
                name,
                when: taken.trigger.when,
                title: subscription.name.clone(),
                enabled: report.enabled,
                warnings: taken.trigger.warnings,
            });
        }
        import.subscriptions.push(report);
    }
    if helpers {
        import.files.push((format!("scripts/{}", rhai::HELPERS_FILE), rhai::HELPERS.to_owned()));
    }
    let names = rules::account_names(&accounts);
    for (fields, name) in wanted.iter().zip(&names) {
        let at = if names.len() > 1 { format!(" in the account {name}") } else { String::new() };
        import.create.extend(
            fields.iter().map(|(kind, field)| {
                format!("a {kind} field \"{field}\" of type {}{at}, unless it is there", CustomType::Varchar)
            }),
        );
    }
    for (account, name) in accounts.iter().zip(&names).filter(|(account, _)| account.domain.is_none()) {
        let what = account.name.as_deref().unwrap_or("the destination");
        import.warnings.push(format!("the domain of {what} is in none of the files: set `domain` of [pipedrive.{name}]"));
    }
    import.files.insert(0, ("rules.toml".to_owned(), rules::text(&accounts, &names, &wanted, &rules)));
    import
}

struct Taken<'a> {
    source: script::Source<'a>,
    script: script::Script,
    trigger: trigger::Taken,
}

/// One subscription; `None` with the reasons in its report when it is refused.
fn take<'a>(
    subscription: &Subscription,
    destination: &'a Destination,
    wishes: &Wishes,
    report: &mut Report,
) -> Option<Taken<'a>> {
    let action = match kind::tell(subscription, &wishes.kinds) {
        Ok(action) => action,
        Err(reason) => {
            report.refused.push(reason);
            return None;
        }
    };
    report.kind = Some(action.kind.to_string());
    let trigger = trigger::take(&subscription.trigger);
    let mapping = subscription.mapping.clone().unwrap_or_else(|| {
        report.warnings.push("settings: the export has no mapping; what Segment's form begins with was taken".to_owned());
        kind::defaults(action.kind)
    });
    for key in mapping.keys().filter(|key| !action.fields.contains(&key.as_str())) {
        let ignored = ["enable_batching", "batch_size", "batch_keys", "batch_bytes"].contains(&key.as_str());
        if !ignored {
            report.warnings.push(format!("settings.{key}: left out; the action has no such field, and Segment dropped it"));
        }
    }
    let source = script::Source::new(action, destination, &mapping);
    match (trigger, source) {
        (Ok(trigger), Ok(source)) => {
            let script = source.script();
            report.enabled = subscription.enabled && !destination.off && !trigger.never_ran;
            report.warnings.extend(trigger.warnings.iter().map(|w| format!("trigger: {w}")));
            report.warnings.extend(script.warnings.iter().cloned());
            report.mended.extend(script.mended.iter().cloned());
            if action.kind == Kind::Lead && trigger.when.replace(' ', "") == "type=\"identify\"" {
                report.warnings.push(
                    "trigger: every identify call with a title makes another lead, unless it carries a lead_id; a track event of its own \
                     is safer"
                        .to_owned(),
                );
            }
            Some(Taken { source, script, trigger })
        }
        (trigger, source) => {
            report.refused.extend(trigger.err().map(|reason| format!("trigger: {reason}")));
            report.refused.extend(source.err().unwrap_or_default().iter().map(ToString::to_string));
            None
        }
    }
}

fn script_text(subscription: &Subscription, taken: &Taken<'_>) -> String {
    let name = one_line(&subscription.name);
    let helpers = if taken.script.helpers { "import \"segment\" as segment;\n\n" } else { "" };
    format!("// From Segment: the subscription \"{name}\", a {} action.\n\n{helpers}{}", taken.source.kind(), taken.script.body)
}

/// Fields of an account: kind and name.
type Wanted = Vec<(Kind, String)>;

/// Fields that entities are matched by and that are the user's own to create.
fn wanted_fields(source: &script::Source<'_>, kind: Kind, wanted: &mut Wanted) {
    let linked = [Kind::Person, Kind::Organization, Kind::Deal].into_iter();
    for kind in linked.filter(|k| *k == kind || source.get(&format!("{k}_match_value")).is_some()) {
        let (field, _) = source.match_field(kind);
        let there = standard::find(kind, &field).is_some() || fields::is_key(&field);
        if !there && !wanted.iter().any(|(of, known)| *of == kind && same_name(known, &field)) {
            wanted.push((kind, field.trim().to_owned()));
        }
    }
}

/// The destinations that subscriptions belong to; one without settings where an export has none.
fn accounts(export: &Export) -> Vec<Destination> {
    let mut accounts = export.destinations.clone();
    let named = export.subscriptions.iter().filter_map(|s| s.destination.clone());
    for id in named {
        let known = accounts.iter().any(|a| a.id.as_deref() == Some(&id)) || (accounts.len() == 1 && accounts[0].id.is_none());
        if !known {
            accounts.push(Destination { id: Some(id), ..Destination::default() });
        }
    }
    if accounts.is_empty() {
        accounts.push(Destination::default());
    }
    accounts
}

fn account_of(accounts: &[Destination], subscription: &Subscription) -> usize {
    let own = |a: &Destination| subscription.destination.is_some() && a.id == subscription.destination;
    accounts.iter().position(own).unwrap_or(0)
}

impl Destination {
    fn field_mut(&mut self, kind: Kind) -> &mut Option<String> {
        match kind {
            Kind::Organization => &mut self.organization,
            Kind::Deal => &mut self.deal,
            _ => &mut self.person,
        }
    }
}

/// Small letters, digits and dashes.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => slug.push(c),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    slug.truncate(60);
    match slug.trim_end_matches('-') {
        // The helpers' file has this name.
        "" | "segment" => "subscription".to_owned(),
        slug => slug.to_owned(),
    }
}

fn unused(name: &str, used: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|n| format!("{name}-{n}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|n| !used(n)).unwrap_or_default()
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
