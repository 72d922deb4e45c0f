//! `pipewright test --watch`

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{Test, build, show};
use crate::cli::exit::{Failure, Outcome};
use crate::cli::output::{complain, printable, say};
use crate::diagnostic::render_all;
use crate::reload::Watch;
use crate::testing::{Known, Only, Options, run_with};

/// Editors write a file in several steps.
const SETTLE: Duration = Duration::from_millis(50);
/// What the watch misses is found after this time.
const POLL: Duration = Duration::from_secs(2);
/// Deepest folder that is looked into.
const MAX_DEPTH: usize = 8;

/// Runs all tests, then what a saved file touches, until the process is ended.
pub(super) fn run(args: &Test) -> Outcome {
    let dir = &args.folder.dir;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let changes = Arc::new(Notify::new());
    let (mut watch, _) = Watch::renew(None, dir, Path::new("data"), &changes);
    let mut known = Known::default();
    let mut seen = stamps(dir);
    once(args, &mut known, None)?;
    loop {
        say("\nwatching; Ctrl-C ends it")?;
        let changed = loop {
            runtime.block_on(async {
                // Nothing was told: look all the same.
                drop(timeout(POLL, changes.notified()).await);
                sleep(SETTLE).await;
            });
            (watch, _) = Watch::renew(Some(watch), dir, Path::new("data"), &changes);
            let now = stamps(dir);
            let changed = differ(&seen, &now);
            seen = now;
            if !changed.is_empty() {
                break changed;
            }
        };
        say(&format!("\nsaved: {}", printable(&changed.iter().cloned().collect::<Vec<_>>().join(", "))))?;
        match known.touched(&changed) {
            Some(only) if only.is_empty() => say("no test runs or imports it")?,
            only => once(args, &mut known, only)?,
        }
    }
}

fn once(args: &Test, known: &mut Known, only: Option<Only>) -> Outcome {
    let dir = &args.folder.dir;
    let options = Options { filter: args.filter.clone(), only, ..Options::default() };
    let ran = build(dir).and_then(|set| run_with(&set, dir, &options, &|_, _| {}).map(|run| (set, run)));
    match ran {
        Ok((set, run)) => {
            known.learn(&set, &run);
            show::run(&run)?;
        }
        Err(problems) => {
            // Until it builds again nobody knows what it touches.
            *known = Known::default();
            complain(&render_all(&problems));
        }
    }
    Ok::<(), Failure>(())
}

type Stamps = BTreeMap<String, [u8; 32]>;

/// What each file holds, by its path below the folder.
fn stamps(dir: &Path) -> Stamps {
    let mut found = Stamps::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name == "rules.toml" || (name.starts_with("schema.") && name.ends_with(".json")) {
            stamp(&entry.path(), &name, &mut found);
        }
    }
    below(&dir.join("scripts"), "scripts/", 0, &mut found);
    found
}

fn below(folder: &Path, prefix: &str, depth: usize, found: &mut Stamps) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let (path, shown) = (entry.path(), format!("{prefix}{name}"));
        match path.is_dir() {
            _ if name.starts_with('.') || name.ends_with('~') => {}
            true if depth < MAX_DEPTH => below(&path, &format!("{shown}/"), depth + 1, found),
            true => {}
            false => stamp(&path, &shown, found),
        }
    }
}

fn stamp(path: &Path, name: &str, found: &mut Stamps) {
    // A file that is just being replaced is found by the next look.
    if let Ok(bytes) = std::fs::read(path) {
        found.insert(name.to_owned(), Sha256::digest(&bytes).into());
    }
}

/// The files that are in one of them only, or hold something else.
fn differ(before: &Stamps, after: &Stamps) -> BTreeSet<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}
