//! Files to a compiled, checked set.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::files::RULES_TOML;
use super::index::Index;
use super::schema;
use super::{Rule, ScriptSet, SetFiles, SourceSecrets, Trigger};
use crate::config::{Config, Places, Requirement, Secret, SecretError, SecretRef};
use crate::crm::Metadata;
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::script::Program;

/// Text that stands for an unset variable with `mock: true`.
const MOCK_SECRET: &str = "mock";

/// How to build a set.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// Folder of `rules.toml`; relative secret files start there.
    pub dir: PathBuf,
    /// With the embedded Pipedrive: a variable that is not set stands for the text `mock`.
    pub mock: bool,
    /// What accounts answered, by name; names in scripts are checked against those that are given.
    pub metadata: Option<BTreeMap<String, Arc<Metadata>>>,
}

/// A set, and what is worth a look all the same.
#[derive(Debug)]
pub struct Built {
    /// The set.
    pub set: ScriptSet,
    /// Warnings.
    pub warnings: Vec<Diagnostic>,
}

impl ScriptSet {
    /// Compiles and checks a set. Takes milliseconds: not for the runtime's workers.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn build(files: SetFiles, options: &BuildOptions) -> Result<Built, Vec<Diagnostic>> {
        Self::build_with(files, options, true)
    }

    /// The same for going live: where `[reload] require` has no `"check"`, what the check finds is a warning.
    ///
    /// # Errors
    /// What keeps the set from running, and what the check finds where it is required.
    pub fn build_as_required(files: SetFiles, options: &BuildOptions) -> Result<Built, Vec<Diagnostic>> {
        Self::build_with(files, options, false)
    }

    fn build_with(files: SetFiles, options: &BuildOptions, strict: bool) -> Result<Built, Vec<Diagnostic>> {
        let (config, mut remarks) = Config::parse(RULES_TOML, &files.rules_toml)?;
        let places = Places::new(RULES_TOML, &files.rules_toml);
        let mut problems = Vec::new();
        let mut rules = rules(&config, &places, &mut problems);
        let mut secrets = Secrets { options, places: &places, problems: &mut problems, remarks: &mut remarks };
        let sources = secrets.sources(&config);
        let tokens = secrets.tokens(&config);
        let webhooks = secrets.webhooks(&config);
        // The admin listener resolves its own token when it binds; a broken reference is told now all the same.
        if let Some(token) = &config.admin.token {
            secrets.resolve(token, &["admin", "token"]);
        }
        let schemas = schema::read(&config, &files.schemas, &mut problems);
        let program = match Program::compile(&files.sources, &config.scripts) {
            Ok(program) if problems.is_empty() => Arc::new(program),
            Ok(_) => return Err(problems),
            Err(more) => {
                problems.extend(more.into_iter().map(super::check::below_scripts));
                return Err(super::check::tidy(problems));
            }
        };
        for rule in &mut rules {
            rule.compared = super::compared::name(&rule.config, &program, &files.sources);
        }
        let index = Index::new(&rules);
        let set = Self {
            version: files.version(),
            config: Arc::new(config),
            rules,
            remarks,
            sources,
            tokens,
            webhooks,
            schemas,
            files,
            program,
            index,
        };
        // Schema files alone refuse nothing here: the account may have more by now than its file.
        let known = options.metadata.as_ref().map(|answers| set.pinned(answers)).unwrap_or_default();
        let (errors, more): (Vec<_>, Vec<_>) = super::check(&set, &known).into_iter().partition(Diagnostic::is_error);
        if !errors.is_empty() && (strict || set.config.reload.requires(Requirement::Check) || !set.can_run()) {
            return Err(errors);
        }
        let mut warnings: Vec<Diagnostic> = errors.into_iter().map(let_pass).collect();
        warnings.extend(more);
        Ok(Built { set, warnings })
    }

    /// Whether each rule has a script with an entry point: without one nothing of it could ever run.
    fn can_run(&self) -> bool {
        self.rules.iter().all(|rule| self.program.entry_errors(&rule.config.script).is_empty())
    }
}

/// An error that refuses nothing, because the check is not required.
fn let_pass(error: Diagnostic) -> Diagnostic {
    let passed = Diagnostic { severity: Severity::Warning, ..error };
    passed.note("it refuses nothing while `[reload] require` in rules.toml is without \"check\"")
}

fn rules(config: &Config, places: &Places, problems: &mut Vec<Diagnostic>) -> Vec<Rule> {
    let mut rules = Vec::with_capacity(config.rules.len());
    for (position, rule) in config.rules.iter().enumerate() {
        match Trigger::parse(&rule.when) {
            Ok(trigger) => rules.push(Rule {
                name: rule.name.as_str().into(),
                // Validation has seen to it that there is one.
                account: rule
                    .account
                    .as_ref()
                    .or_else(|| config.pipedrive.keys().next())
                    .map_or_else(|| "".into(), |a| a.as_str().into()),
                position: u32::try_from(position).unwrap_or(u32::MAX),
                config: rule.clone(),
                trigger,
                // Known once the scripts are compiled.
                compared: None,
            }),
            Err(error) => {
                let message = format!("the trigger of rule `{}` is wrong: {}", rule.name, error.message);
                let d = Diagnostic::error(message).code(Code::Trigger).note(format!("at column {} of the trigger", error.column));
                let path = ["rules", &position.to_string(), "when"];
                problems.push(places.at_char(d.help(format!("expected {}", error.expected)), &path, error.column));
            }
        }
    }
    rules
}

struct Secrets<'a> {
    options: &'a BuildOptions,
    places: &'a Places,
    problems: &'a mut Vec<Diagnostic>,
    remarks: &'a mut Vec<Diagnostic>,
}

impl Secrets<'_> {
    fn resolve(&mut self, reference: &SecretRef, path: &[&str]) -> Option<Secret> {
        match reference.resolve(&self.options.dir) {
            Ok(secret) => {
                if let Some(readable) = reference.readable_by_others(&self.options.dir) {
                    let help = format!("run `chmod 600 {}`", readable.path.display());
                    let d = Diagnostic::warning(readable.to_string()).code(Code::SecretMode).help(help);
                    self.remarks.push(self.places.at(d, path));
                }
                Some(secret)
            }
            Err(SecretError::NotSet(_)) if self.options.mock => Some(Secret::new(MOCK_SECRET)),
            Err(error) => {
                self.problems.push(self.places.at(Diagnostic::error(error.to_string()).code(Code::Secret), path));
                None
            }
        }
    }

    fn sources(&mut self, config: &Config) -> BTreeMap<String, SourceSecrets> {
        let mut sources = BTreeMap::new();
        for (name, source) in &config.sources {
            let keys = source.write_keys.iter().enumerate();
            let write_keys =
                keys.filter_map(|(i, key)| self.resolve(key, &["sources", name, "write_keys", &i.to_string()])).collect();
            let mut one =
                |reference: &Option<SecretRef>, key| reference.as_ref().and_then(|r| self.resolve(r, &["sources", name, key]));
            let webhook_secret = one(&source.webhook_secret, "webhook_secret");
            let webhook_token = one(&source.webhook_token, "webhook_token");
            sources.insert(name.clone(), SourceSecrets { write_keys, webhook_secret, webhook_token });
        }
        sources
    }

    fn tokens(&mut self, config: &Config) -> BTreeMap<String, Secret> {
        let token = |(name, account): (&String, &crate::config::AccountConfig)| {
            let secret = self.resolve(account.api_token.as_ref()?, &["pipedrive", name, "api_token"])?;
            Some((name.clone(), secret))
        };
        config.pipedrive.iter().filter_map(token).collect()
    }

    fn webhooks(&mut self, config: &Config) -> BTreeMap<String, Secret> {
        let password = |(name, account): (&String, &crate::config::AccountConfig)| {
            let secret = self.resolve(&account.webhooks.as_ref()?.password, &["pipedrive", name, "webhooks", "password"])?;
            Some((name.clone(), secret))
        };
        config.pipedrive.iter().filter_map(password).collect()
    }
}
