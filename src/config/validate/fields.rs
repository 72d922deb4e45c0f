//! `[pipedrive.NAME.fields]`: names, options, and nothing twice.

use std::collections::BTreeMap;

use super::Findings;
use crate::config::{DeclaredField, DeclaredFields};
use crate::diagnostic::{Code, Diagnostic};

/// Longest name of a field, longest label of an option.
const LONGEST: usize = 255;

pub(super) fn fields(account: &str, declared: &DeclaredFields, findings: &mut Findings) {
    for (kind, list) in declared.by_kind() {
        let mut seen = BTreeMap::new();
        for (place, field) in list.iter().enumerate() {
            let at = place.to_string();
            let path = ["pipedrive", account, "fields", kind, &at];
            name(&[&path[..], &["name"]].concat(), field, findings);
            if let Some(first) = seen.insert(same(&field.name), &field.name) {
                let d = Diagnostic::error(format!("the {kind} field `{first}` is declared twice")).code(Code::Twice);
                findings.add(&[&path[..], &["name"]].concat(), d.help("declare it once, with all its options"));
            }
            options(&path, field, findings);
        }
    }
}

/// Names that people take for the same.
fn same(name: &str) -> String {
    name.trim().to_lowercase()
}

fn name(path: &[&str], field: &DeclaredField, findings: &mut Findings) {
    let name = &field.name;
    if name.len() == 40 && name.chars().all(|c| c.is_ascii_hexdigit()) {
        let d = Diagnostic::error("this is a field's key, which Pipedrive makes");
        findings.add(path, d.help("declare the field by its name"));
    } else {
        label(path, "a field's name", name, findings);
    }
}

fn label(path: &[&str], what: &str, text: &str, findings: &mut Findings) {
    if text.trim().is_empty() || text.chars().count() > LONGEST {
        findings.error(path, format!("{what} has 1 to {LONGEST} characters"));
    } else if text.trim() != text {
        findings.add(path, Diagnostic::error(format!("{what} has no blanks around it")).help(format!("write `{}`", text.trim())));
    }
}

fn options(entry: &[&str], field: &DeclaredField, findings: &mut Findings) {
    let (name, field_type) = (&field.name, field.field_type);
    let path = [entry, &["options"]].concat();
    if !field_type.has_options() {
        if !field.options.is_empty() {
            let d = Diagnostic::error(format!("`{name}` is of type {field_type}, which has no options"));
            findings.add(&path, d.help("take type = \"enum\" for one of several options, \"set\" for any number of them"));
        }
        return;
    }
    if field.options.is_empty() {
        let d = Diagnostic::error(format!("`{name}` is of type {field_type} and has no options"));
        findings.add(entry, d.help("add options = [\"First\", \"Second\"]; Pipedrive makes no such field without"));
    }
    let mut seen = BTreeMap::new();
    for (place, option) in field.options.iter().enumerate() {
        let place = place.to_string();
        let path = [&path[..], &[&place]].concat();
        label(&path, "an option's label", option, findings);
        if let Some(first) = seen.insert(same(option), option) {
            findings.add(&path, Diagnostic::error(format!("`{name}` has the option `{first}` twice")).code(Code::Twice));
        }
    }
}
