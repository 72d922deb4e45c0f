//! `pipewright backup`

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use serde_json::json;

use super::exit::{Failure, Outcome};
use super::output::{complain, say, say_json, size, time};
use super::{Folder, Format, client};
use crate::config::ServerConfig;
use crate::store::sqlite::backup;
use crate::store::{CopyError, Held};

/// Pages below which it takes no time worth telling of: 64 MiB.
const LITTLE: u64 = 8_192;

/// Copy the store into one file, while the daemon runs or not
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright backup /backups/pipewright.db
  pipewright backup /backups/              a file whose name has the time

All that was acknowledged before it began is in it, as of one moment. The daemon goes on meanwhile. `pipewright restore FILE` puts it \
back; docs/backup.md says what then holds. It holds personal data: the file is yours alone (mode 0600).")]
pub(super) struct Backup {
    /// The file to write; a folder: a file in it with the time in its name
    #[arg(value_name = "TO")]
    to: PathBuf,
    /// Replace the file when it is there, once the new one is whole
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: StorePlace,
    #[command(flatten)]
    format: Format,
}

/// The store of a working folder.
#[derive(Debug, Args)]
pub(super) struct StorePlace {
    #[command(flatten)]
    folder: Folder,
    /// The store of `serve --mock`
    #[arg(long)]
    mock: bool,
}

impl StorePlace {
    /// Its data directory.
    pub(super) fn data_dir(&self) -> PathBuf {
        ServerConfig::store_dir(&client::data_dir(&self.folder.dir), self.mock)
    }

    /// The flags that name it, for a command that is shown.
    pub(super) fn flags(&self) -> String {
        let dir = if self.folder.dir == Path::new(".") { String::new() } else { format!(" --dir {}", self.folder.dir.display()) };
        format!("{dir}{}", if self.mock { " --mock" } else { "" })
    }
}

pub(super) fn run(args: Backup) -> Outcome {
    let to = named(&args.to);
    let (dir, file, force) = (args.place.data_dir(), to.clone(), args.force);
    let held = stoppable(args.format, move |progress| backup(&dir, &file, force, progress))?;
    // Whoever restores it may stand elsewhere.
    let file = std::path::absolute(&to).unwrap_or(to);
    let restore = format!("pipewright restore{} {}", args.place.flags(), file.display());
    if args.format.json {
        let mut answer = serde_json::to_value(&held).map_err(Failure::found)?;
        answer["file"] = json!(file);
        answer["restore"] = json!(restore);
        return Ok(say_json(&answer)?);
    }
    say(&format!("backed up: {}\n{}\nRestore it, with the daemon stopped, by\n  {restore}", file.display(), lines(&held)))?;
    Ok(())
}

/// What a copy holds, for a person.
pub(super) fn lines(held: &Held) -> String {
    let Held { at, bytes, schema, newest, events, unmatched, pending, failed } = held;
    format!(
        "  as of    {}, event {newest}\n  events   {events}, and {unmatched} that no rule wanted\n  pending  {pending} deliveries; {failed} have failed\n  \
         size     {}, schema {schema}",
        time(*at),
        size(*bytes)
    )
}

/// The file itself, or one in the folder that is named.
fn named(to: &Path) -> PathBuf {
    let now = jiff::Timestamp::now();
    if to.is_dir() { to.join(now.strftime("pipewright-%Y%m%dT%H%M%SZ.db").to_string()) } else { to.to_owned() }
}

/// Does what takes its time, tells of it, and lets a signal stop it in order.
pub(super) fn stoppable<T: Send + 'static>(
    format: Format,
    work: impl FnOnce(&mut dyn FnMut(u64, u64) -> ControlFlow<()>) -> Result<T, CopyError> + Send + 'static,
) -> Result<T, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let mut told = 0;
    let mut progress = move |done: u64, all: u64| {
        let tenths = (done * 10).checked_div(all).unwrap_or(10);
        if !format.json && all > LITTLE && tenths > told {
            told = tenths;
            complain(&format!("copied {} %", tenths * 10));
        }
        if stopped.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = super::serve::Signals::new()?;
        let mut work = tokio::task::spawn_blocking(move || work(&mut progress));
        let done = tokio::select! {
            done = &mut work => done,
            _ = signals.next() => {
                stop.store(true, Ordering::Relaxed);
                work.await
            }
        };
        match done {
            Ok(Err(error @ CopyError::Exists(_))) => Err(Failure::wrong(error)),
            Ok(done) => done.map_err(Failure::found),
            Err(error) => Err(Failure::found(format!("it failed inside: {error}"))),
        }
    })
}
