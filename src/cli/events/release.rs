//! `pipewright events release`

use clap::Args;

use super::super::Format;
use super::super::client::Daemon;
use super::super::exit::{Failure, Outcome};
use super::super::output::{complain, say, say_json};
use super::select::{Conditions, counted, selection};
use crate::console::{ReleaseAnswer, Selection};

/// Deliveries in one request: the daemon goes on with others in between, and progress is shown.
const AT_ONCE: usize = 1_000;

/// Carry out what was observed while writes were off
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright events release 17/person
  pipewright events release --rule person --since 2d
  pipewright events release --rule person --since 2d --yes

Each delivery is planned anew, by the rules and scripts of now, and carried out in its old place: before newer ones of its rule \
and key that still wait. It is released once. To keep the order of what comes in meanwhile, pause the account, set \
writes = \"on\", release, and resume.")]
pub(in crate::cli) struct Release {
    /// Deliveries (17/person), or events (17, or a messageId) with all their deliveries
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    conditions: Conditions,
    /// Do release all that the conditions find; without it, they are only counted
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: Release) -> Outcome {
    let selection = selection(&args.daemon, &args.ids, args.conditions)?;
    let ids = match selection {
        Selection::Ids(ids) => ids,
        filter => {
            let answer: ReleaseAnswer = args.daemon.post("/api/events/release?dry=1", &filter)?.read()?;
            if !args.yes {
                return counted(&answer, &answer.fits, ("release", "released"), args.format);
            }
            answer.fits
        }
    };
    let mut released = 0;
    for chunk in ids.chunks(AT_ONCE) {
        let sent = args.daemon.post("/api/events/release", &Selection::Ids(chunk.to_vec())).and_then(|answer| answer.read());
        let answer: ReleaseAnswer = sent.map_err(|failure| match failure {
            Failure::Found(reason) if released > 0 => {
                Failure::Found(format!("{released} deliveries were released, then: {reason}"))
            }
            failure => failure,
        })?;
        released += answer.released;
        if ids.len() > AT_ONCE && !args.format.json {
            complain(&format!("{released} of {}", ids.len()));
        }
    }
    if args.format.json {
        return Ok(say_json(&ReleaseAnswer { released, ..ReleaseAnswer::default() })?);
    }
    Ok(say(&format!("released: {released}"))?)
}
