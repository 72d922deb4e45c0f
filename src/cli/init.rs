//! `pipewright init`

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{Failure, Outcome};
use super::output::say;

/// Make a working folder: rules.toml, scripts and their tests; rules.toml has writes off
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  pipewright init my-rules
  pipewright serve --mock --dir my-rules

Files that are there already are never overwritten. Against a real account such a folder observes at first: rules.toml has \
writes = \"off\", so that deliveries are planned and recorded, and nothing is sent until you turn writes on and release them.")]
pub(super) struct Init {
    /// Folder to make, or an existing one that holds none of the files
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

macro_rules! shipped {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path)))),+]
    };
}

/// The files of the repository that make a working folder. A test compares the list with the repository.
const SHIPPED: &[(&str, &str)] = shipped![
    "rules.toml",
    "scripts/activity.rhai",
    "scripts/alias.rhai",
    "scripts/deal.rhai",
    "scripts/erase.rhai",
    "scripts/lead.rhai",
    "scripts/lib/company.rhai",
    "scripts/note.rhai",
    "scripts/organization.rhai",
    "scripts/person.rhai",
    "scripts/tests/activity_test.rhai",
    "scripts/tests/alias_test.rhai",
    "scripts/tests/deal_test.rhai",
    "scripts/tests/erase_test.rhai",
    "scripts/tests/lead_test.rhai",
    "scripts/tests/note_test.rhai",
    "scripts/tests/organization_test.rhai",
    "scripts/tests/person_test.rhai",
];

/// Written beside them: the store must not end up under version control.
const GITIGNORE: (&str, &str) = (".gitignore", "/data/\n");

/// A new folder observes first: nothing that is wrong on the first day may reach a real account.
const WRITES_ON: &str = "\nwrites = \"on\"\n";
const WRITES_OFF: &str = "\nwrites = \"off\"\n";

pub(super) fn run(args: &Init) -> Outcome {
    let files = || SHIPPED.iter().chain([&GITIGNORE]);
    let there: Vec<String> = files()
        .map(|(path, _)| args.dir.join(path))
        .filter(|p| p.symlink_metadata().is_ok())
        .map(|p| p.display().to_string())
        .collect();
    if !there.is_empty() {
        let text = format!("these are there already, and nothing was written: {}", there.join(", "));
        return Err(Failure::wrong(text));
    }
    for (path, text) in files() {
        write_new(&args.dir.join(path), &text.replace(WRITES_ON, WRITES_OFF))?;
    }
    let dir = args.dir.display();
    Ok(say(&format!(
        "{} files written to {dir}\n\n\
         Next:\n  \
           pipewright check --mock --dir {dir}\n  \
           pipewright serve --mock --dir {dir}\n\n\
         rules.toml has writes = \"off\": a real account is only observed until you turn them on (`pipewright events release --help`).",
        files().count()
    ))?)
}

/// Fails when the file appeared in the meantime: nothing is ever overwritten.
fn write_new(path: &Path, text: &str) -> Outcome {
    let failed = |e: std::io::Error| match e.kind() {
        ErrorKind::AlreadyExists => Failure::wrong(format!("{} is there already", path.display())),
        _ => Failure::found(format!("{} cannot be written: {e}", path.display())),
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_file_of_the_repository_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = vec!["rules.toml".to_owned()];
        let mut folders = vec![root.join("scripts")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(root).expect("below").to_string_lossy().into_owned());
                }
            }
        }
        found.sort();
        let embedded: Vec<_> = SHIPPED.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(embedded, found);
        let off = SHIPPED.iter().filter(|(path, text)| *path == "rules.toml" && text.matches(WRITES_ON).count() == 1).count();
        assert_eq!(off, 1, "`init` turns writes off in rules.toml");
    }
}
