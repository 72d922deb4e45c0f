//! `pipewright events`

mod causes;
mod discard;
mod edit;
mod list;
pub(super) mod record;
mod release;
mod replay;
mod select;
mod show;

use clap::Subcommand;

use super::exit::Outcome;

/// Look into events and their deliveries; repeat or drop them
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  pipewright events list --state failed --since 24h
  pipewright events show 17/person
  pipewright events replay --rule person --state dead --since 2h")]
pub(super) enum Events {
    List(list::List),
    Causes(causes::Causes),
    Show(show::Show),
    Replay(replay::Replay),
    Edit(edit::Edit),
    Release(release::Release),
    Discard(discard::Discard),
}

pub(super) fn run(command: Events) -> Outcome {
    match command {
        Events::List(args) => list::run(args),
        Events::Causes(args) => causes::run(&args),
        Events::Show(args) => show::run(&args),
        Events::Replay(args) => replay::run(args),
        Events::Edit(args) => edit::run(&args),
        Events::Release(args) => release::run(args),
        Events::Discard(args) => discard::run(args),
    }
}
