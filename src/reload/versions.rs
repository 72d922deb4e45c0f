//! The script sets that were live, in the store.
//!
//! Invariants:
//! - A version's files are kept by the hash of their content, each once, however many versions have it; what comes out has the hash that
//!   names it. No secret is among them: `rules.toml` only refers to secrets.
//! - The newest `retention.versions` are kept, with at most [`MAX_BYTES`] of files together, and beyond that the live one, the pinned one
//!   and those whose plans are under way. What goes takes its outcomes along.
//! - The set that is live is kept whole in one value besides, so that a start needs nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::stored::{self, StoredError};
use super::{VersionError, pin};
use crate::rules::{ScriptSet, SetFiles, Version};
use crate::script::Sources;
use crate::store::sqlite::History;
use crate::store::{Store, Write};

const VERSIONS: &str = "script_versions";
const FILES: &str = "script_files";

/// Bytes of files that are kept of all versions together.
const MAX_BYTES: u64 = 256 << 20;
/// Times of going live that are kept of one version.
const MAX_TIMES: usize = 20;

/// Why a set went live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LiveBy {
    /// It was what lay on disk.
    Files,
    /// Somebody rolled back to it.
    Rollback,
}

/// When a set went live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WentLive {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub by: LiveBy,
}

/// One file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// SHA-256 of its content.
    pub hash: String,
    /// Its size.
    pub bytes: u64,
}

/// A version that was live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptVersion {
    /// The hash of its content.
    pub version: Version,
    /// When it went live first.
    pub first_live_at: Timestamp,
    /// When it went live, oldest first; the newest of many.
    pub went_live: Vec<WentLive>,
    /// Its files by their path, as in the folder.
    pub files: BTreeMap<String, FileRef>,
}

impl KeptVersion {
    /// When it went live last.
    #[must_use]
    pub fn last_live_at(&self) -> Timestamp {
        self.went_live.last().map_or(self.first_live_at, |live| live.at)
    }

    /// When the files were last it, before a time.
    fn of_files_before(&self, before: Timestamp) -> Option<Timestamp> {
        self.went_live.iter().rev().find(|live| live.by == LiveBy::Files && live.at < before).map(|live| live.at)
    }
}

/// Versions that an error lists.
const LISTED: usize = 10;

/// The versions of a store.
#[derive(Clone, Copy)]
pub struct Versions<'a>(&'a dyn Store);

impl std::fmt::Debug for Versions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Versions")
    }
}

impl<'a> Versions<'a> {
    /// Those of this store.
    #[must_use]
    pub fn new(store: &'a dyn Store) -> Self {
        Self(store)
    }

    /// All versions, those that were live last first.
    ///
    /// # Errors
    /// When the store fails, or holds what cannot be read.
    pub async fn list(&self) -> Result<Vec<KeptVersion>, VersionError> {
        Ok(listed(self.0.kv_list(VERSIONS).await.map_err(StoredError::from)?)?)
    }

    /// The one version whose hash begins so.
    ///
    /// # Errors
    /// When there is none, or there are several.
    pub async fn find(&self, asked: &str) -> Result<KeptVersion, VersionError> {
        find(&self.list().await?, asked).cloned()
    }

    /// The texts of a version's files, by their path in the folder.
    ///
    /// # Errors
    /// When the store fails, or the files are not what their version says.
    pub async fn texts(&self, kept: &KeptVersion) -> Result<BTreeMap<String, String>, VersionError> {
        Ok(set_texts(&self.files(kept).await?))
    }

    /// The files of a version.
    pub(super) async fn files(&self, kept: &KeptVersion) -> Result<SetFiles, StoredError> {
        let mut contents = BTreeMap::new();
        for file in kept.files.values() {
            if let Some(bytes) = self.0.kv_get(FILES, &file.hash).await? {
                contents.insert(file.hash.as_str(), bytes);
            }
        }
        assembled(kept, |hash| Ok(contents.get(hash).cloned()))
    }

    /// Keeps a set that goes live now, and drops what is too old. `more` is committed with it.
    pub(super) async fn went_live(&self, set: &ScriptSet, by: LiveBy, more: Vec<Write>) -> Result<(), VersionError> {
        let (now, version) = (Timestamp::now(), &set.version);
        let mut all = self.list().await?;
        let again = stored::load(self.0).await?.is_some_and(|files| files.version() == *version);
        let mut kept = match all.iter().position(|kept| kept.version == *version) {
            Some(at) => all.remove(at),
            None => KeptVersion { version: version.clone(), first_live_at: now, went_live: Vec::new(), files: BTreeMap::new() },
        };
        // A restart goes on with what was live.
        if !again || kept.went_live.is_empty() {
            kept.went_live.push(WentLive { at: now, by });
            let many = kept.went_live.len().saturating_sub(MAX_TIMES);
            kept.went_live.drain(..many);
        }
        let there: BTreeSet<&str> = hashes(&all).chain(kept.files.values().map(|file| file.hash.as_str())).collect();
        let mut writes = more;
        let mut files = BTreeMap::new();
        for (path, text) in paths(&set.files) {
            let hash = hex::encode(Sha256::digest(text.as_bytes()));
            if !there.contains(hash.as_str()) {
                writes.push(Write::KvPut { space: FILES.to_owned(), key: hash.clone(), value: text.as_bytes().to_vec() });
            }
            files.insert(path, FileRef { hash, bytes: text.len() as u64 });
        }
        kept.files = files;
        let value = serde_json::to_vec(&kept).map_err(StoredError::from)?;
        writes.push(Write::KvPut { space: VERSIONS.to_owned(), key: version.0.to_string(), value });
        writes.push(stored::write(&set.files, version)?);
        all.insert(0, kept);
        writes.extend(self.drop_old(&all, set.config.retention.versions).await?);
        Ok(self.0.commit(writes).await.map_err(StoredError::from)?)
    }

    /// The writes that drop what is beyond the bounds. The first of them is live.
    async fn drop_old(&self, all: &[KeptVersion], keep: usize) -> Result<Vec<Write>, StoredError> {
        let mut bytes = 0;
        let mut seen = BTreeSet::new();
        let mut beyond = Vec::new();
        for (at, kept) in all.iter().enumerate() {
            bytes += kept.files.values().filter(|file| seen.insert(file.hash.as_str())).map(|file| file.bytes).sum::<u64>();
            if at > 0 && (at >= keep || bytes > MAX_BYTES) {
                beyond.push(kept);
            }
        }
        if beyond.is_empty() {
            return Ok(Vec::new());
        }
        let needed = self.0.planned_by().await?;
        let pinned = pin::load(self.0).await?.map(|pin| pin.version);
        beyond.retain(|kept| Some(&kept.version) != pinned.as_ref() && !needed.iter().any(|v| *v == *kept.version.0));
        let goes = |kept: &KeptVersion| beyond.iter().any(|old| old.version == kept.version);
        let stays: BTreeSet<&str> = hashes(all.iter().filter(|kept| !goes(kept))).collect();
        let orphans: BTreeSet<&str> = hashes(beyond.iter().copied()).filter(|hash| !stays.contains(hash)).collect();
        let files = orphans.into_iter().map(|hash| Write::KvDelete { space: FILES.to_owned(), key: hash.to_owned() });
        let versions = beyond.iter().flat_map(|kept| {
            let key = kept.version.0.to_string();
            [Write::KvDelete { space: VERSIONS.to_owned(), key }, Write::ForgetOutcomes { version: kept.version.to_string() }]
        });
        Ok(files.chain(versions).collect())
    }
}

/// The files of the one version of a data directory whose hash begins so.
///
/// # Errors
/// When there is none, or there are several, or the store cannot be read.
pub fn kept_version(history: &History, asked: &str) -> Result<SetFiles, VersionError> {
    let all = listed(history.kv_list(VERSIONS).map_err(StoredError::from)?)?;
    Ok(assembled(find(&all, asked)?, |hash| Ok(history.kv(FILES, hash)?))?)
}

/// Versions as the store has them, those that were live last first.
fn listed(stored: Vec<(String, Vec<u8>)>) -> Result<Vec<KeptVersion>, StoredError> {
    let read = |(_, value): (String, Vec<u8>)| serde_json::from_slice::<KeptVersion>(&value);
    let mut all = stored.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    all.sort_by_key(|kept| std::cmp::Reverse(kept.last_live_at()));
    Ok(all)
}

/// The files of a version from their contents by hash.
fn assembled(
    kept: &KeptVersion,
    mut content: impl FnMut(&str) -> Result<Option<Vec<u8>>, StoredError>,
) -> Result<SetFiles, StoredError> {
    let mut files = SetFiles::default();
    for (path, file) in &kept.files {
        let missing = || StoredError::Missing { version: kept.version.clone(), file: path.clone() };
        let bytes = content(&file.hash)?.ok_or_else(missing)?;
        let text: Arc<str> = String::from_utf8(bytes).map_err(|_| missing())?.into();
        put(&mut files, path, text);
    }
    if files.version() == kept.version { Ok(files) } else { Err(StoredError::Hash(kept.version.clone())) }
}

/// The one version whose hash begins so.
pub(super) fn find<'a>(all: &'a [KeptVersion], asked: &str) -> Result<&'a KeptVersion, VersionError> {
    let asked = asked.trim().to_ascii_lowercase();
    let fits: Vec<&KeptVersion> = all.iter().filter(|kept| !asked.is_empty() && kept.version.0.starts_with(&asked)).collect();
    match fits.as_slice() {
        [one] => Ok(one),
        [] => Err(VersionError::Unknown { asked, known: all.iter().take(LISTED).map(|kept| kept.version.to_string()).collect() }),
        several => {
            // As long as they need to be to differ.
            let fits = several.iter().take(LISTED).map(|kept| kept.version.0.to_string()).collect();
            Err(VersionError::Ambiguous { asked, fits })
        }
    }
}

/// What the files were before they were this version: going back again and again goes further back.
pub(super) fn before<'a>(all: &'a [KeptVersion], version: &Version) -> Result<&'a KeptVersion, VersionError> {
    let current = all.iter().find(|kept| kept.version == *version);
    let since = current.and_then(|kept| kept.of_files_before(Timestamp::MAX)).unwrap_or(Timestamp::MAX);
    let earlier = all.iter().filter(|kept| kept.version != *version);
    let latest = earlier.filter_map(|kept| Some((kept.of_files_before(since)?, kept))).max_by_key(|(at, _)| *at);
    latest.map(|(_, kept)| kept).ok_or_else(|| VersionError::NoneBefore(version.clone()))
}

/// The texts of a set's files, by their path in the folder.
#[must_use]
pub fn set_texts(files: &SetFiles) -> BTreeMap<String, String> {
    paths(files).map(|(path, text)| (path, text.to_string())).collect()
}

/// Every file of a set by its path in the folder.
fn paths(files: &SetFiles) -> impl Iterator<Item = (String, &Arc<str>)> {
    let Sources { scripts, tables } = &files.sources;
    let below = scripts.iter().chain(tables).map(|(name, text)| (format!("scripts/{name}"), text));
    let schemas = files.schemas.iter().map(|(name, text)| (name.clone(), text));
    std::iter::once(("rules.toml".to_owned(), &files.rules_toml)).chain(below).chain(schemas)
}

fn put(files: &mut SetFiles, path: &str, text: Arc<str>) {
    match path.strip_prefix("scripts/") {
        Some(name) if name.ends_with(".rhai") => drop(files.sources.scripts.insert(name.to_owned(), text)),
        Some(name) => drop(files.sources.tables.insert(name.to_owned(), text)),
        None if path == "rules.toml" => files.rules_toml = text,
        None => drop(files.schemas.insert(path.to_owned(), text)),
    }
}

fn hashes<'a>(all: impl IntoIterator<Item = &'a KeptVersion>) -> impl Iterator<Item = &'a str> {
    all.into_iter().flat_map(|kept| kept.files.values().map(|file| file.hash.as_str()))
}
