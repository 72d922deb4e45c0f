//! `pipewright definitions`
//!
//! Invariants: only files that this command made are ever overwritten or deleted; `--check` writes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::exit::{FOUND, Failure, Outcome};
use super::output::{say, say_json};
use super::{Folder, Format, account};
use crate::rules::read_schema_file;
use crate::script::{AccountFields, DEFINITIONS_MARK, definitions};

/// Where the Rhai language server looks for them, in the working folder.
const DEFAULT: &str = ".rhai/definitions";
/// What definition files end with.
const ENDING: &str = ".d.rhai";

/// Write definition files for editors: every function that scripts and tests can call, and the account's fields
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright definitions                into .rhai/definitions/
  pipewright definitions --check        are the files that are there up to date?
  pipewright definitions --out defs --json

The Rhai language server reads them: completion, documentation and signatures in the editor (docs/editors.md). Fields and options come \
from schema.json, which `pipewright fields pull` writes; without it they are the ones that every account has and those that rules.toml \
declares. Run it again after a pull and after an update of Pipewright.

Files that this command did not make are left alone. Exits with 1 when --check finds a file that is out of date.")]
pub(super) struct Definitions {
    #[command(flatten)]
    folder: Folder,
    /// Folder to write to [default: .rhai/definitions in the working folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write nothing; fail when a file is missing or out of date
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    format: Format,
}

/// How the files on disk compare with what they should be.
#[derive(Debug, Default)]
struct State {
    /// As they should be.
    current: Vec<String>,
    /// With another content.
    changed: Vec<String>,
    /// Not there.
    missing: Vec<String>,
    /// Made by an earlier version, and no longer written.
    surplus: Vec<String>,
}

pub(super) fn run(args: &Definitions) -> Outcome {
    let out = args.out.clone().unwrap_or_else(|| args.folder.dir.join(DEFAULT));
    let files = wanted(&args.folder.dir, args.format)?;
    let state = look(&out, &files)?;
    let stale = state.changed.len() + state.missing.len() + state.surplus.len();
    if !args.check {
        write(&out, &files, &state)?;
    }
    if args.format.json {
        let ok = !args.check || stale == 0;
        say_json(&json!({
            "ok": ok, "dir": out, "written": !args.check, "current": state.current, "changed": state.changed,
            "missing": state.missing, "surplus": state.surplus,
        }))?;
    } else if args.check {
        show(&out, &state)?;
    } else {
        say(&format!(
            "{} files in {}: {} written, {} as they were",
            files.len(),
            out.display(),
            files.len() - state.current.len(),
            state.current.len()
        ))?;
    }
    if args.check && stale > 0 { Err(Failure::Code(FOUND)) } else { Ok(()) }
}

fn show(out: &Path, state: &State) -> std::io::Result<()> {
    for (names, what) in [
        (&state.missing, "is missing"),
        (&state.changed, "is out of date"),
        (&state.surplus, "is no longer made, and would be deleted"),
    ] {
        for name in names {
            say(&format!("{} {what}", out.join(name).display()))?;
        }
    }
    let stale = state.changed.len() + state.missing.len() + state.surplus.len();
    if stale == 0 {
        say(&format!("ok: {} files in {} are up to date", state.current.len(), out.display()))
    } else {
        say("run `pipewright definitions`")
    }
}

/// The files as they should be.
fn wanted(dir: &Path, format: Format) -> Result<BTreeMap<String, String>, Failure> {
    let config = account::config(dir)?;
    let mut schemas = BTreeMap::new();
    for name in config.pipedrive.keys() {
        if let Some(file) = read_schema_file(dir, &config, name).map_err(|problems| Failure::refused_as(format, problems))? {
            schemas.insert(name.clone(), file.schema);
        }
    }
    let accounts: Vec<AccountFields<'_>> = config
        .pipedrive
        .iter()
        .map(|(name, account)| AccountFields { name, schema: schemas.get(name).map(|s| &**s), declared: &account.fields })
        .collect();
    Ok(definitions(&accounts))
}

fn look(out: &Path, files: &BTreeMap<String, String>) -> Result<State, Failure> {
    let mut state = State::default();
    let mut foreign = Vec::new();
    for (name, text) in files {
        match read(&out.join(name))? {
            None => state.missing.push(name.clone()),
            Some(there) if there == *text => state.current.push(name.clone()),
            Some(there) if there.starts_with(DEFINITIONS_MARK) => state.changed.push(name.clone()),
            Some(_) => foreign.push(out.join(name).display().to_string()),
        }
    }
    if !foreign.is_empty() {
        return Err(Failure::wrong(format!(
            "these were not made by `pipewright definitions`, and nothing was written: {}; move them, or name another folder with --out",
            foreign.join(", ")
        )));
    }
    let listed = match fs::read_dir(out) {
        Ok(listed) => listed,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(state),
        Err(e) => return Err(Failure::found(format!("{} cannot be read: {e}", out.display()))),
    };
    for entry in listed {
        let entry = entry.map_err(|e| Failure::found(format!("{} cannot be read: {e}", out.display())))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.ends_with(ENDING) && !files.contains_key(&name) {
            let ours = read(&entry.path())?.is_some_and(|text| text.starts_with(DEFINITIONS_MARK));
            state.surplus.extend(ours.then_some(name));
        }
    }
    state.surplus.sort();
    Ok(state)
}

/// A file's text; none when it is not there. One that is no text is nobody's of ours.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::found(format!("{} cannot be read: {e}", path.display()))),
    }
}

fn write(out: &Path, files: &BTreeMap<String, String>, state: &State) -> Outcome {
    let failed = |path: &Path, e: &std::io::Error| Failure::found(format!("{} cannot be written: {e}", path.display()));
    fs::create_dir_all(out).map_err(|e| failed(out, &e))?;
    for name in state.changed.iter().chain(&state.missing) {
        let path = out.join(name);
        fs::write(&path, &files[name]).map_err(|e| failed(&path, &e))?;
    }
    for name in &state.surplus {
        let path = out.join(name);
        fs::remove_file(&path).map_err(|e| Failure::found(format!("{} cannot be deleted: {e}", path.display())))?;
    }
    Ok(())
}
