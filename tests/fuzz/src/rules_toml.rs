//! `rules.toml`: any text is a configuration or a list of findings that can be shown.

use pipewright::config::Config;
use pipewright::diagnostic::Diagnostic;

/// Tries one file.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let folder = Config::data_dir_hint(text);
    match Config::parse("rules.toml", text) {
        Ok((config, warnings)) => {
            assert!(warnings.iter().all(|warning| !warning.is_error()), "a valid file with errors");
            assert_eq!(folder, config.server.data_dir, "a start with a broken file would look elsewhere");
            check(text, &warnings);
            let (again, _) = Config::parse("rules.toml", text).expect("the same text");
            assert_eq!(again, config, "read twice, it is two configurations");
        }
        Err(problems) => {
            assert!(problems.iter().any(Diagnostic::is_error), "refused without a reason");
            check(text, &problems);
        }
    }
}

/// Findings point into the file and can be shown.
fn check(text: &str, findings: &[Diagnostic]) {
    assert!(findings.len() <= 1000, "{} findings", findings.len());
    for finding in findings {
        assert!(!finding.message.is_empty());
        assert!(finding.code.is_some(), "without a code: {}", finding.message);
        assert!(finding.render().contains("rules.toml") || finding.place.is_none(), "{}", finding.render());
        let Some(place) = &finding.place else { continue };
        assert!(place.line <= text.lines().count() + 1, "line {} of {}", place.line, text.lines().count());
        assert!(
            place.text.is_empty() || place.column <= place.text.chars().count() + 1,
            "column {}: {:?}",
            place.column,
            place.text
        );
    }
}
