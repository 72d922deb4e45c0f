//! One script set on one recorded event.
//!
//! Invariant: a read is answered with what was recorded for it, or the run comes to nothing: an answer is never guessed.

use std::cell::OnceCell;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::event::Event;
use crate::pipedrive::Kind;
use crate::plan::{Action, At, Plan, compare};
use crate::rules::Rule;
use crate::script::{Memo, Outcome, Program, Read, RunRequest, ScriptErrorKind, run_blocking};
use crate::store::sqlite::History;
use crate::store::{DeliveryId, Seq, StoreError};

/// What a script makes of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "detail", rename_all = "lowercase")]
pub enum Came {
    /// It asks for these actions.
    Plan(Plan),
    /// `skip(reason)`.
    Skip(String),
    /// `fail(reason)`.
    Fail(String),
    /// `retry(reason, seconds)`.
    Retry(String),
    /// It fails: `file:line:column: message`.
    Error(String),
}

impl Came {
    /// The word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Plan(_) => "plan",
            Self::Skip(_) => "skip",
            Self::Fail(_) => "fail",
            Self::Retry(_) => "retry",
            Self::Error(_) => "error",
        }
    }

    /// Why it asks for nothing.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Plan(_) => None,
            Self::Skip(reason) | Self::Fail(reason) | Self::Retry(reason) | Self::Error(reason) => Some(reason),
        }
    }

    /// Its actions; none for whatever is no plan.
    pub(super) fn plan(&self) -> Plan {
        match self {
            Self::Plan(plan) => plan.clone(),
            _ => Plan::default(),
        }
    }
}

/// Why it cannot be known what a script makes of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Unknown {
    /// It reads what was not recorded.
    Unrecorded {
        /// What.
        read: Read,
        /// Where.
        at: At,
    },
    /// It reads after it wrote something else than before: the recorded answer may be another one by now.
    WroteBefore {
        /// What.
        read: Read,
        /// Where.
        at: At,
    },
    /// It ran into its deadline: this machine may be busy.
    Deadline,
    /// The event cannot be read.
    Damaged {
        /// Why.
        reason: String,
    },
}

/// A read as a script asked for it, with what it had asked of Pipedrive before.
pub(super) struct Asked {
    read: Read,
    so_far: Plan,
}

/// What was recorded of one delivery; read when it is needed first.
pub(super) struct Recorded<'a> {
    history: &'a History,
    id: DeliveryId,
    reads: OnceCell<Vec<(Read, Json)>>,
}

impl<'a> Recorded<'a> {
    pub(super) fn new(history: &'a History, seq: Seq, rule: &Arc<str>) -> Self {
        Self { history, id: DeliveryId { seq, rule: rule.clone() }, reads: OnceCell::new() }
    }

    /// The answer of the newest attempt that asked.
    fn answer(&self, read: &Read) -> Result<Option<&Json>, StoreError> {
        let reads = match self.reads.get() {
            Some(reads) => reads,
            None => {
                let records = self.history.records(&self.id)?;
                self.reads.get_or_init(|| records.iter().rev().flat_map(|record| reads_of(record)).collect())
            }
        };
        Ok(reads.iter().find(|(recorded, _)| recorded == read).map(|(_, answer)| answer))
    }
}

/// The reads of a decision record. One that cannot be read answers nothing.
fn reads_of(record: &[u8]) -> Vec<(Read, Json)> {
    #[derive(Deserialize)]
    struct Part {
        #[serde(default)]
        reads: Vec<(Read, Json)>,
    }
    serde_json::from_slice(record).map_or_else(|_| Vec::new(), |part: Part| part.reads)
}

/// Runs a rule's script. `earlier` are the reads of the other side: what was recorded holds for the writes before them.
pub(super) fn run(
    (program, rule): (&Program, &Rule),
    event: &Event,
    payload: &bytes::Bytes,
    recorded: &Recorded<'_>,
    earlier: Option<&[Asked]>,
) -> Result<Result<(Came, Vec<Asked>), Unknown>, StoreError> {
    let mut memo = Memo::default();
    let mut asked: Vec<Asked> = Vec::new();
    loop {
        let request = RunRequest {
            rule: rule.name.clone(),
            script: Arc::from(rule.config.script.as_str()),
            payload: payload.clone(),
            message_id: event.message_id.clone(),
            memo: memo.clone(),
        };
        let came = match run_blocking(program, request).outcome {
            Outcome::Plan(plan) => Came::Plan(plan),
            Outcome::Skip(reason) => Came::Skip(reason),
            Outcome::Fail(reason) => Came::Fail(reason),
            Outcome::Retry(reason, _) => Came::Retry(reason),
            Outcome::Error(error) if error.kind == ScriptErrorKind::Deadline => return Ok(Err(Unknown::Deadline)),
            Outcome::Error(error) => Came::Error(error.diagnostic.one_line()),
            Outcome::Read { read, at, so_far } => {
                let Some(answer) = recorded.answer(&read)? else { return Ok(Err(Unknown::Unrecorded { read, at })) };
                if let Some(earlier) = earlier
                    && !holds(earlier, &read, &so_far)
                {
                    return Ok(Err(Unknown::WroteBefore { read, at }));
                }
                memo.0.push((read.clone(), answer.clone()));
                asked.push(Asked { read, so_far });
                continue;
            }
        };
        return Ok(Ok((came, asked)));
    }
}

/// Whether the answer that the other side was given is the one for this side as well: a read sees what its plan wrote before.
fn holds(earlier: &[Asked], read: &Read, so_far: &Plan) -> bool {
    let (Read::Find { kind, .. } | Read::Get { kind, .. }) = read else { return true };
    let mine = of_kind(so_far, *kind);
    match earlier.iter().find(|asked| asked.read == *read) {
        Some(asked) => compare(&of_kind(&asked.so_far, *kind), &mine).is_empty(),
        None => mine.actions.is_empty(),
    }
}

/// The actions that a read of this kind sees. A raw request may have written anything.
fn of_kind(plan: &Plan, kind: Kind) -> Plan {
    let concerns = |action: &&Action| action.verb.kind().is_none_or(|of| of == kind);
    Plan { actions: plan.actions.iter().filter(concerns).cloned().collect() }
}
