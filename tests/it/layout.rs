//! The map in `src/lib.rs` is kept: imports run downwards only, and files stay small.

use std::path::{Path, PathBuf};

/// Lines of a file from which it is no longer small. Tests inside a file count.
const TOO_LONG: usize = 600;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // What a build of the fuzz targets leaves behind is nobody's to split.
                folders.extend((!path.ends_with("target")).then_some(path));
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The modules in the order of `src/lib.rs`, topmost first.
fn order() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    text.lines().filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_owned)).collect()
}

/// The module that a file of `src/` belongs to.
fn module_of(file: &Path) -> String {
    let path = file.strip_prefix(root().join("src")).expect("a file in src");
    let first = path.iter().next().expect("a path").to_string_lossy().into_owned();
    first.strip_suffix(".rs").map_or(first.clone(), str::to_owned)
}

/// Every `crate::NAME` of a source text that is code, not comment, with its line.
fn mentions(text: &str) -> Vec<(usize, String)> {
    let code: String = text.lines().map(|line| format!("{}\n", line.split("//").next().unwrap_or(""))).collect();
    let mut found = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count() + 1;
        let after = &code[at + prefix.len()..];
        let names = match after.strip_prefix('{') {
            // `use crate::{a::B, c};`: the names right after the brace and after commas of the outer level.
            Some(group) => outer_names(group),
            None => vec![leading_name(after)],
        };
        found.extend(names.into_iter().filter(|n| !n.is_empty()).map(|n| (line, n)));
    }
    found
}

fn leading_name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn outer_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut start) = (0_i32, Vec::new(), 0);
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(leading_name(&group[start..i]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(leading_name(&group[start..i]));
                start = i + 1;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn imports_run_downwards() {
    let order = order();
    assert!(order.len() > 10, "the map in src/lib.rs was not understood: {order:?}");
    let place = |name: &str| order.iter().position(|m| m == name);
    let mut upwards = Vec::new();
    for file in rust_files(&root().join("src")) {
        let module = module_of(&file);
        let Some(own) = place(&module) else { continue };
        let text = std::fs::read_to_string(&file).expect("a readable file");
        for (line, name) in mentions(&text) {
            match place(&name) {
                Some(other) if other < own => {
                    upwards.push(format!("{}:{line}: `{module}` imports `{name}`, which stands above it", file.display()));
                }
                _ => {}
            }
        }
    }
    assert!(upwards.is_empty(), "{}", upwards.join("\n"));
}

#[test]
fn the_map_names_every_folder_once() {
    let order = order();
    let src = root().join("src");
    for file in rust_files(&src) {
        let module = module_of(&file);
        if module != "lib" && module != "main" {
            assert!(order.contains(&module), "{} is not in the map of src/lib.rs", file.display());
        }
    }
    let mut unique = order.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), order.len());
}

#[test]
fn files_stay_small() {
    let long: Vec<_> = ["src", "tests"]
        .into_iter()
        .flat_map(|dir| rust_files(&root().join(dir)))
        .map(|file| (std::fs::read_to_string(&file).expect("a readable file").lines().count(), file))
        .filter(|(lines, _)| *lines > TOO_LONG)
        .map(|(lines, file)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "split these:\n{}", long.join("\n"));
}

#[test]
fn mentions_are_found_in_groups_and_expressions_and_not_in_comments() {
    let text = "use crate::{a::B,\n    c::{D, e}, f,\n};\nlet x = crate::g::h(); // crate::no\n//! [`crate::no`]\n";
    let names: Vec<_> = mentions(text).into_iter().map(|(_, n)| n).collect();
    assert_eq!(names, ["a", "c", "f", "g"]);
}
