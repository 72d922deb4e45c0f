//! `pipewright restore`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Format;
use super::backup::{StorePlace, lines, stoppable};
use super::exit::{Failure, Outcome};
use super::output::{say, say_json};
use crate::store::sqlite::{Replaced, restore};

/// What holds from now on. In lines for a terminal of 80 columns.
const BEFORE: &str = "\
Start the daemon. It takes events, and every account is paused: what was
delivered after the backup would be delivered again, and what was accepted
after it is missing. docs/backup.md says what to look at first; then
  pipewright resume account NAME
Users who were erased after the backup are in it again: run `pipewright forget`
for them.";

/// Put a backup in the place of the store, with the daemon stopped
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  pipewright restore /backups/pipewright.db

The file is checked first and stays as it is. What was there before is moved into a folder beside it. The daemon that starts on it \
pauses every account until you resume it.")]
pub(super) struct Restore {
    /// A file that `backup` wrote, or the pipewright.db of a copied data folder
    #[arg(value_name = "FROM")]
    from: PathBuf,
    #[command(flatten)]
    place: StorePlace,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: Restore) -> Outcome {
    let (from, dir) = (args.from, args.place.data_dir());
    let Replaced { held, store, kept } = stoppable(args.format, move |progress| restore(&from, &dir, progress))?;
    if args.format.json {
        let mut answer = serde_json::to_value(&held).map_err(Failure::found)?;
        answer["store"] = json!(store);
        answer["kept"] = json!(kept);
        return Ok(say_json(&answer)?);
    }
    let kept = kept.map(|kept| format!("what was there before: {}\n", kept.display())).unwrap_or_default();
    say(&format!("restored: {}\n{}\n{kept}\n{BEFORE}", store.display(), lines(&held)))?;
    Ok(())
}
