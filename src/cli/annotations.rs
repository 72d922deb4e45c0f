//! Diagnostics as annotations of a code review: GitHub's workflow commands, which the runner reads from the output of a step.
//!
//! Invariant: what stands in a message ends neither the command nor the line.

use std::path::Path;

use crate::diagnostic::{Diagnostic, Severity};

/// One annotation a line. `dir` is the folder that was checked, as it was given: files are named from where the command ran.
pub(super) fn github(dir: &Path, diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|diagnostic| annotation(dir, diagnostic) + "\n").collect()
}

fn annotation(dir: &Path, diagnostic: &Diagnostic) -> String {
    let command = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut properties = Vec::new();
    if let Some(place) = &diagnostic.place {
        let file = dir.strip_prefix(".").unwrap_or(dir).join(&place.file);
        properties.push(format!("file={}", property(&file.to_string_lossy())));
        properties.push(format!("line={}", place.line));
        if !place.text.is_empty() {
            properties.push(format!("col={},endColumn={}", place.column, place.column + place.width));
        }
    }
    if let Some(code) = &diagnostic.code {
        properties.push(format!("title={}", property(code)));
    }
    let notes = diagnostic.notes.iter().map(|note| format!("note: {note}"));
    let help = diagnostic.help.iter().map(|help| format!("help: {help}"));
    let text = std::iter::once(diagnostic.message.clone()).chain(notes).chain(help).collect::<Vec<_>>().join("\n");
    let gap = if properties.is_empty() { "" } else { " " };
    format!("::{command}{gap}{}::{}", properties.join(","), data(&text))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Code;

    #[test]
    fn an_annotation_names_the_file_from_where_the_command_ran_and_keeps_to_its_line() {
        let d = Diagnostic::warning("100% of\nit: a, b").code(Code::ReadInLoop).note("why").help("what");
        let d = d.at("scripts/a,b.rhai", "let x = 1;", 1, 5, 1);
        assert_eq!(
            github(Path::new("./rules"), std::slice::from_ref(&d)),
            "::warning file=rules/scripts/a%2Cb.rhai,line=1,col=5,endColumn=6,title=PW404::\
             100%25 of%0Ait: a, b%0Anote: why%0Ahelp: what\n"
        );
        assert_eq!(github(Path::new("."), &[Diagnostic::error("x")]), "::error::x\n");
        assert!(github(Path::new("."), &[d]).starts_with("::warning file=scripts/"));
    }
}
