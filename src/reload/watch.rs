//! The watcher: tells that something may have changed, never what.
//!
//! Invariants: the folder, `scripts/` with all below it, and the folder's own entry in its parent are watched, the last because
//! the folder may be a symbolic link that is swapped; when any of them is another folder than before, the watch is made anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// A folder to watch, with what tells it from another folder of the same path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    path: PathBuf,
    recursive: bool,
    identity: (u64, u64),
}

/// What is to be watched now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Targets {
    folders: Vec<Target>,
    /// Parent of the folder as given: only its entry for the folder counts.
    parent: Option<PathBuf>,
    entry: PathBuf,
    /// Below it nothing counts: the store writes there all the time.
    data_dir: PathBuf,
}

/// A running watch.
pub(crate) struct Watch {
    targets: Targets,
    /// Set when something happened to a watched folder itself. Its identity does not tell: a folder that is deleted and made
    /// anew may get the same inode, and the watch ended with the old one.
    stale: Arc<AtomicBool>,
    /// Watches as long as it lives; none when the system refused.
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches the folder. `current` is kept when it still watches the right places; true with a new one, before which
    /// changes may have been missed. Blocks on the file system.
    pub(crate) fn renew(current: Option<Self>, dir: &Path, data_dir: &Path, changes: &Arc<Notify>) -> (Self, bool) {
        let targets = Targets::of(dir, data_dir);
        match current {
            Some(watch) if watch.targets == targets && !watch.stale.load(Ordering::Acquire) => (watch, false),
            _ => {
                let stale = Arc::new(AtomicBool::new(false));
                let watcher = start(&targets, changes.clone(), stale.clone());
                (Self { targets, stale, _watcher: watcher }, true)
            }
        }
    }
}

impl Targets {
    fn of(dir: &Path, data_dir: &Path) -> Self {
        let entry = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        let mut folders = Vec::new();
        let mut add = |path: &Path, recursive: bool| {
            let Ok(path) = fs::canonicalize(path) else { return };
            let Ok(metadata) = fs::metadata(&path) else { return };
            let known = folders.iter().any(|t: &Target| t.path == path && (t.recursive || !recursive));
            if metadata.is_dir() && !known {
                folders.push(Target { path, recursive, identity: identity(&metadata) });
            }
        };
        add(&entry.join("scripts"), true);
        add(&entry, false);
        // `rules.toml` may be a link to a file elsewhere.
        if let Some(parent) = fs::canonicalize(entry.join("rules.toml")).ok().as_deref().and_then(Path::parent) {
            add(parent, false);
        }
        let data_dir = fs::canonicalize(entry.join(data_dir)).unwrap_or_else(|_| entry.join(data_dir));
        Self { folders, parent: entry.parent().map(Path::to_owned), entry, data_dir }
    }

    /// Whether one of the paths is a watched folder itself.
    fn are_touched(&self, paths: &[PathBuf]) -> bool {
        paths.iter().any(|path| *path == self.entry || self.folders.iter().any(|t| t.path == *path))
    }

    /// Whether an event at these paths may concern the set.
    fn concern(&self, paths: &[PathBuf]) -> bool {
        let counts = |path: &PathBuf| {
            let in_parent_only = path.parent() == self.parent.as_deref()
                && *path != self.entry
                && !self.folders.iter().any(|t| path.parent() == Some(t.path.as_path()));
            let in_store = path.starts_with(&self.data_dir) && !self.folders.iter().any(|t| t.path.starts_with(&self.data_dir));
            !in_parent_only && !in_store
        };
        paths.is_empty() || paths.iter().any(counts)
    }
}

fn start(targets: &Targets, changes: Arc<Notify>, stale: Arc<AtomicBool>) -> Option<RecommendedWatcher> {
    let filter = targets.clone();
    let on_event = move |event: notify::Result<notify::Event>| {
        let look = match event {
            // Our own reading is access too.
            Ok(event) => {
                let changed = !event.kind.is_access();
                if changed && filter.are_touched(&event.paths) {
                    stale.store(true, Ordering::Release);
                }
                event.need_rescan() || (changed && filter.concern(&event.paths))
            }
            // A queue that overran, a folder that went away: look.
            Err(_) => true,
        };
        if look {
            changes.notify_one();
        }
    };
    let mut watcher = match notify::recommended_watcher(on_event) {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "files cannot be watched; changes are found by the slow poll only");
            return None;
        }
    };
    let parent = targets.parent.as_ref().map(|p| (p, false));
    for (path, recursive) in targets.folders.iter().map(|t| (&t.path, t.recursive)).chain(parent) {
        let mode = if recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        if let Err(error) = watcher.watch(path, mode) {
            tracing::warn!(path = %path.display(), %error, "folder cannot be watched; its changes are found by the slow poll only");
        }
    }
    Some(watcher)
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> (u64, u64) {
    (0, 0)
}
