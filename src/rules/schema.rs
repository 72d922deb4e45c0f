//! Which schema file is whose.
//!
//! Invariant: `schema.NAME.json` is the file of the account NAME; `schema.json` is that of the only account. A file that could
//! be anybody's, or is nobody's, is refused and not passed over.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::files::SCHEMA_JSON;
use super::{ScriptSet, SetFiles};
use crate::config::Config;
use crate::crm::{Metadata, pin, place_in_schema, read_schema};
use crate::diagnostic::{Code, Diagnostic, did_you_mean};
use crate::mock::MockOptions;

/// What `fields pull` calls the file of an account.
#[must_use]
pub fn schema_file_name(config: &Config, account: &str) -> String {
    if config.pipedrive.len() == 1 { SCHEMA_JSON.to_owned() } else { format!("schema.{account}.json") }
}

/// A schema file.
#[derive(Debug)]
pub struct SchemaFile {
    /// Its name.
    pub file: String,
    /// Its text.
    pub text: Arc<str>,
    /// What it holds.
    pub schema: Arc<Metadata>,
}

/// The schema file of an account, read by itself. None when the account has none.
///
/// # Errors
/// What is wrong with the schema files of the folder.
pub fn read_schema_file(dir: &Path, config: &Config, account: &str) -> Result<Option<SchemaFile>, Vec<Diagnostic>> {
    let files = super::files::read_schemas(dir)?;
    let mut problems = Vec::new();
    let mut schemas = read(config, &files, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let Some((file, text)) = files.into_iter().find(|(file, _)| account_of(config, file).is_ok_and(|of| of == account)) else {
        return Ok(None);
    };
    Ok(schemas.remove(account).map(|schema| SchemaFile { file, text, schema }))
}

/// Reads the schema files of the accounts.
pub(super) fn read(
    config: &Config,
    files: &BTreeMap<String, Arc<str>>,
    problems: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Arc<Metadata>> {
    let mut schemas = BTreeMap::new();
    for (file, text) in files {
        let account = match account_of(config, file) {
            Ok(account) => account,
            Err(problem) => {
                problems.push(problem.code(Code::SchemaFile));
                continue;
            }
        };
        if schemas.contains_key(account) {
            let d = Diagnostic::error(format!("{file} and {SCHEMA_JSON} are both of the account `{account}`"));
            problems.push(d.in_file(file).code(Code::SchemaFile).help("delete the older one"));
            continue;
        }
        match read_schema(file, text) {
            Ok(metadata) => {
                schemas.insert(account.to_owned(), Arc::new(metadata));
            }
            Err(problem) => problems.push(problem.code(Code::SchemaFile)),
        }
    }
    schemas
}

fn account_of<'a>(config: &'a Config, file: &'a str) -> Result<&'a str, Diagnostic> {
    let names = || config.pipedrive.keys().map(String::as_str);
    let Some(name) = file.strip_prefix("schema.").and_then(|rest| rest.strip_suffix(".json")) else {
        let mut all = names();
        return match (all.next(), all.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(Diagnostic::error(format!("{file} does not say which account it is of, and rules.toml has several"))
                .in_file(file)
                .help(format!("rename it to {}", names().map(|n| format!("schema.{n}.json")).collect::<Vec<_>>().join(" or ")))),
        };
    };
    if config.pipedrive.contains_key(name) {
        return Ok(name);
    }
    let d =
        Diagnostic::error(format!("{file} is of an account `{name}`, and rules.toml has no [pipedrive.{name}]")).in_file(file);
    Err(match did_you_mean(name, names()) {
        Some(near) => d.help(format!("did you mean `schema.{near}.json`?")),
        None => d.help("delete it, or name it after an account"),
    })
}

/// A schema file whose company is not that of the domain beside it: it was pulled from another account.
pub(super) fn of_other_domain(set: &ScriptSet, found: &mut Vec<Diagnostic>) {
    for (account, schema) in &set.schemas {
        let domain = set.config.pipedrive.get(account).and_then(|config| config.domain.as_deref()).unwrap_or_default();
        let company = &schema.me.company_domain;
        if domain.is_empty() || company.is_empty() || domain.eq_ignore_ascii_case(company) {
            continue;
        }
        let Some((file, text)) = set.schema_file(account) else { continue };
        let d = Diagnostic::warning(format!("{file} is of the company `{company}`, and [pipedrive.{account}] is `{domain}`"))
            .code(Code::OtherCompany)
            .note("names were checked against a company that this account may not be of; there the file is not used")
            .help("run `pipewright fields pull`, or put the account's own file in its place");
        found.push(place_in_schema(d, file, text, &[format!("\"company_domain\": \"{company}\"")]));
    }
}

impl ScriptSet {
    /// The schema file of an account: its name and text.
    #[must_use]
    pub fn schema_file(&self, account: &str) -> Option<(&str, &str)> {
        let mut files = self.files.schemas.iter().map(|(file, text)| (file.as_str(), &**text));
        files.find(|(file, _)| account_of(&self.config, file).is_ok_and(|of| of == account))
    }

    /// What accounts answered, with the names that their schema files pin.
    #[must_use]
    pub fn pinned(&self, answers: &BTreeMap<String, Arc<Metadata>>) -> BTreeMap<String, Arc<Metadata>> {
        let pinned = |(name, answer): (&String, &Arc<Metadata>)| match self.schemas.get(name) {
            Some(schema) => (name.clone(), Arc::new(pin(schema, answer).0)),
            None => (name.clone(), Arc::clone(answer)),
        };
        answers.iter().map(pinned).collect()
    }
}

impl ScriptSet {
    /// How an embedded Pipedrive for this set starts, without limits.
    #[must_use]
    pub fn mock_options(&self) -> MockOptions {
        MockOptions { schema: self.files.mock_schema(), declared: self.config.declared_fields(), ..MockOptions::unlimited() }
    }
}

impl SetFiles {
    /// The schema file that an embedded Pipedrive starts from: the only one there is. It stands for one account, so where there
    /// are several files it starts from none.
    #[must_use]
    pub fn mock_schema(&self) -> Option<Arc<serde_json::Value>> {
        let mut all = self.schemas.iter();
        let (Some((file, text)), None) = (all.next(), all.next()) else { return None };
        // A file that cannot be read refuses the whole set, with the place.
        read_schema(file, text).ok()?;
        serde_json::from_str(text).ok().map(Arc::new)
    }
}
