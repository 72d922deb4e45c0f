//! One script set on one recorded event.
//!
//! Invariant: a read is answered with what was recorded for it, or the run comes to nothing: an answer is never guessed.

use std::cell::OnceCell;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::event::Event;
use crate::plan::At;
use crate::rules::Rule;
use crate::script::{Asked, Came, Memo, Outcome, Program, Read, RunRequest, answer_holds, run_blocking};
use crate::store::sqlite::History;
use crate::store::{DeliveryId, Seq, StoreError};

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
        let outcome = run_blocking(program, request).outcome;
        if let Outcome::Read { read, at, so_far } = outcome {
            let Some(answer) = recorded.answer(&read)? else { return Ok(Err(Unknown::Unrecorded { read, at })) };
            if earlier.is_some_and(|earlier| !answer_holds(earlier, &read, &so_far)) {
                return Ok(Err(Unknown::WroteBefore { read, at }));
            }
            memo.0.push((read.clone(), answer.clone()));
            asked.push(Asked { read, so_far });
            continue;
        }
        let Some(came) = Came::of(&outcome) else { return Ok(Err(Unknown::Deadline)) };
        return Ok(Ok((came, asked)));
    }
}
