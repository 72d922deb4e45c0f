//! What stops an attempt, with everything that decides what happens next.

use std::sync::Arc;
use std::time::Duration;

use crate::crm::FindError;
use crate::diagnostic::Diagnostic;
use crate::failure::FailureClass;
use crate::pipedrive::{ApiError, ErrorKind};
use crate::plan::{At, PlanProblem};
use crate::rules::{ScriptSet, Version, below_scripts};
use crate::script::{ScriptError, ScriptErrorKind};
use crate::store::StoreError;

/// What is said in logs where nothing can be said without values of the event.
pub(super) const NOTHING_BRIEF: &str = "see its decision record";

/// Whose trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// This delivery's.
    Delivery,
    /// The rule's: its script or its entry in rules.toml.
    Rule,
    /// The account's: Pipedrive, the token, the limits.
    Account,
}

/// Why an attempt stopped.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) class: FailureClass,
    pub(super) whose: Whose,
    /// One line for a person, for the decision record: it may hold values of the event.
    pub(super) reason: String,
    /// The same without any value of the event, for logs and pauses.
    pub(super) brief: String,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// How long to wait, when the script or the answer said so.
    pub(super) wait: Option<Duration>,
    /// A write may have happened and cannot be proved either way.
    pub(super) uncertain: bool,
    /// Another delivery goes first.
    pub(super) give_way: bool,
    /// Its plan waits for a person, who rolled back to this set.
    pub(super) held: Option<Arc<Version>>,
    /// Our own budget had no tokens for a request.
    pub(super) withheld: bool,
    /// Pipedrive refused a write as such: an entity that it links to may be gone.
    pub(super) refused: bool,
    /// The script ran into its deadline.
    pub(super) deadline: bool,
    /// The daemon's own store failed: nothing more can be recorded.
    pub(super) store: Option<StoreError>,
}

impl Trouble {
    pub(super) fn new(class: FailureClass, whose: Whose, reason: impl Into<String>) -> Self {
        Self {
            class,
            whose,
            reason: reason.into(),
            brief: NOTHING_BRIEF.to_owned(),
            diagnostics: Vec::new(),
            wait: None,
            uncertain: false,
            give_way: false,
            held: None,
            withheld: false,
            refused: false,
            deadline: false,
            store: None,
        }
    }

    /// The reason holds no value of the event.
    pub(super) fn plain(self) -> Self {
        Self { brief: self.reason.clone(), ..self }
    }

    /// The same with what may be said of it in logs.
    pub(super) fn briefly(self, brief: impl Into<String>) -> Self {
        Self { brief: brief.into(), ..self }
    }

    /// This delivery fails for good.
    pub(super) fn permanent(reason: impl Into<String>) -> Self {
        Self::new(FailureClass::Permanent, Whose::Delivery, reason)
    }

    /// Another delivery's create with the same criteria is in doubt: that one goes first.
    pub(super) fn gives_way() -> Self {
        Self::gives_way_for("another delivery finds out first whether what it created by the same criteria is there")
    }

    /// What other deliveries have under way comes first.
    pub(super) fn gives_way_for(reason: &str) -> Self {
        Self { give_way: true, ..Self::new(FailureClass::Transient, Whose::Delivery, reason).plain() }
    }

    /// Its plan waits for a person, who rolled back to this set.
    pub(super) fn held(by: Arc<Version>, reason: impl Into<String>) -> Self {
        Self { held: Some(by), ..Self::new(FailureClass::Transient, Whose::Delivery, reason).plain() }
    }

    /// The script ran into its deadline again, with nothing else in between: it was not that the machine was busy.
    pub(super) fn too_slow_again(self) -> Self {
        let reason = format!(
            "{}; it ran into the deadline twice in a row: make it do less, or raise `deadline` under [scripts]",
            self.reason
        );
        Self { class: FailureClass::Permanent, reason, ..self }
    }

    /// A write that cannot be proved.
    pub(super) fn uncertain(reason: impl Into<String>) -> Self {
        Self { uncertain: true, ..Self::permanent(reason) }
    }

    /// Several problems of one plan; a wrong name outweighs the others, as every event of the rule meets it.
    pub(super) fn plan(set: &ScriptSet, problems: &[PlanProblem]) -> Self {
        let misconfigured = problems.iter().any(|p| p.class() == FailureClass::Misconfigured);
        let (class, whose) =
            if misconfigured { (FailureClass::Misconfigured, Whose::Rule) } else { (FailureClass::Permanent, Whose::Delivery) };
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        let reason = match problems.len() {
            0 | 1 => first,
            n => format!("{first} (and {} more)", n - 1),
        };
        let trouble = Self {
            diagnostics: problems.iter().map(|problem| diagnose(set, problem)).collect(),
            ..Self::new(class, whose, reason).plain()
        };
        match problems.first() {
            Some(first) if !is_written(set, &first.message) => {
                let At { file, line, column } = &first.at;
                let brief = format!(
                    "scripts/{file}:{line}:{column}: a name that the script puts together fits nothing; see the decision record"
                );
                Self { brief, ..trouble }
            }
            _ => trouble,
        }
    }
}

/// A plan's problem with the line of the script that asked for it.
fn diagnose(set: &ScriptSet, problem: &PlanProblem) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(problem.message.clone());
    let source = set.files.sources.scripts.get(&*problem.at.file).map_or("", |text| text);
    diagnostic =
        diagnostic.at(&format!("scripts/{}", problem.at.file), source, problem.at.line as usize, problem.at.column as usize, 1);
    if let Some(value) = &problem.value {
        diagnostic = diagnostic.note(format!("the value is {value}"));
    }
    match &problem.help {
        Some(help) => diagnostic.help(help.clone()),
        None => diagnostic,
    }
}

/// Whether what a message quotes stands in a script as it is. A name that a script puts together may be a value of the event.
fn is_written(set: &ScriptSet, message: &str) -> bool {
    let quoted = message.split_once('`').and_then(|(_, rest)| rest.rsplit_once('`'));
    quoted.is_none_or(|(quoted, _)| set.files.sources.scripts.values().any(|text| text.contains(quoted)))
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self { store: Some(error.clone()), ..Self::new(FailureClass::Transient, Whose::Delivery, error.to_string()).plain() }
    }
}

impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Self {
        let class = error.class();
        let whose = match class {
            FailureClass::Permanent | FailureClass::UnknownOutcome => Whose::Delivery,
            FailureClass::Transient | FailureClass::Throttled | FailureClass::Misconfigured => Whose::Account,
        };
        let refused = error.write && matches!(error.kind, ErrorKind::Refused { .. } | ErrorKind::Gone { .. });
        let withheld = matches!(error.kind, ErrorKind::Withheld { .. });
        Self { wait: error.retry_after(), refused, withheld, brief: error.brief(), ..Self::new(class, whose, error.to_string()) }
    }
}

impl From<FindError> for Trouble {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Api(error) => error.into(),
            FindError::Store(error) => error.into(),
            other => Self::new(other.class(), Whose::Delivery, other.to_string()),
        }
    }
}

impl From<ScriptError> for Trouble {
    fn from(error: ScriptError) -> Self {
        let class = error.class();
        let deadline = error.kind == ScriptErrorKind::Deadline;
        let diagnostic = below_scripts(error.diagnostic);
        let place = diagnostic.place.as_ref();
        let brief = place.map_or_else(String::new, |p| format!("script error at {}:{}", p.file, p.line));
        let reason = diagnostic.one_line();
        Self { diagnostics: vec![diagnostic], brief, deadline, ..Self::new(class, Whose::Rule, reason) }
    }
}
