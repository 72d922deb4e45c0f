//! What fuzzing starts from and what it found, tried in every test run. The targets themselves are in `tests/fuzz/`, whose README
//! says how to look for more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

// The fuzz targets are another crate, to which this is public.
#[allow(unreachable_pub)]
#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Of one target: so many files and bytes, or its corpus becomes a burden.
const MOST_FILES: usize = 110;
const MOST_BYTES: usize = 200 * 1024;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            (path.file_name().expect("a name").to_string_lossy().into_owned(), std::fs::read(&path).expect("a readable file"))
        })
        .collect();
    files.sort();
    files
}

fn every_file_holds(target: &str) {
    let (_, run) = targets::TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    let files = corpus(target);
    assert!(files.len() >= 10, "{target}: only {} files", files.len());
    let broken: Vec<_> =
        files.iter().filter(|(_, data)| catch_unwind(AssertUnwindSafe(|| run(data))).is_err()).map(|(name, _)| name).collect();
    assert!(broken.is_empty(), "tests/fuzz/corpus/{target}: these break a promise; the panics above say which: {broken:?}");
}

#[test]
fn the_corpus_of_tracking_holds() {
    every_file_holds("tracking");
}

#[test]
fn the_corpus_of_webhook_holds() {
    every_file_holds("webhook");
}

#[test]
fn the_corpus_of_fql_holds() {
    every_file_holds("fql");
}

#[test]
fn the_corpus_of_rules_toml_holds() {
    every_file_holds("rules_toml");
}

#[test]
fn the_corpus_of_plan_holds() {
    every_file_holds("plan");
}

/// Else the target could refuse everything, and no file would tell.
#[test]
fn the_corpus_of_plan_has_actions_that_could_be_sent() {
    let ready: usize = corpus("plan").iter().map(|(_, data)| targets::plan::ready(data)).sum();
    assert!(ready >= 8, "only {ready} actions");
}

#[test]
fn each_target_has_a_binary_and_a_small_corpus() {
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).expect("the manifest");
    let named = manifest.lines().filter(|line| line.starts_with("name = ")).skip(1).count();
    assert_eq!(named, targets::TARGETS.len(), "binaries and targets differ in number");
    for (target, _) in targets::TARGETS {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} has no binary");
        let files = corpus(target);
        let bytes: usize = files.iter().map(|(_, data)| data.len()).sum();
        assert!(files.len() <= MOST_FILES && bytes <= MOST_BYTES, "{target}: {} files, {bytes} bytes", files.len());
    }
}
