//! Results for what reads JUnit's XML.

use crate::diagnostic::{Diagnostic, render_all};
use crate::testing::{TestResult, TestRun};

/// The whole document: a suite a file, a case a test. A file that does not compile is a suite with one error.
pub(super) fn document(run: &TestRun) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"pipewright\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{:.3}\">\n",
        run.results.len() + run.uncompiled.len(),
        run.failed() - run.uncompiled.len(),
        run.uncompiled.len(),
        run.took.as_secs_f64(),
    );
    for tests in run.results.chunk_by(|a, b| a.test.file == b.test.file) {
        text.push_str(&suite(tests));
    }
    for broken in &run.uncompiled {
        let file = escaped(&format!("scripts/tests/{}", broken.file));
        text.push_str(&format!("  <testsuite name=\"{file}\" tests=\"1\" failures=\"0\" errors=\"1\" time=\"0.000\">\n"));
        text.push_str(&format!("    <testcase classname=\"{file}\" name=\"compiles\" file=\"{file}\" time=\"0.000\">\n"));
        let message = broken.diagnostics.first().map(Diagnostic::one_line).unwrap_or_default();
        let body = escaped(&render_all(&broken.diagnostics));
        text.push_str(&format!(
            "      <error message=\"{}\">{body}</error>\n    </testcase>\n  </testsuite>\n",
            escaped(&message)
        ));
    }
    text.push_str("</testsuites>\n");
    text
}

fn suite(tests: &[TestResult]) -> String {
    let file = tests.first().map(|t| escaped(&format!("scripts/tests/{}", t.test.file))).unwrap_or_default();
    let failures = tests.iter().filter(|t| t.failure.is_some()).count();
    let seconds: f64 = tests.iter().map(|t| t.took.as_secs_f64()).sum();
    let count = tests.len();
    let mut text =
        format!("  <testsuite name=\"{file}\" tests=\"{count}\" failures=\"{failures}\" errors=\"0\" time=\"{seconds:.3}\">\n");
    for result in tests {
        let (name, line, seconds) = (escaped(&result.test.name), result.test.line, result.took.as_secs_f64());
        text.push_str(&format!(
            "    <testcase classname=\"{file}\" name=\"{name}\" file=\"{file}\" line=\"{line}\" time=\"{seconds:.3}\""
        ));
        let logs: Vec<String> = result.logs.iter().map(super::show::logged).collect();
        if result.failure.is_none() && logs.is_empty() {
            text.push_str("/>\n");
            continue;
        }
        text.push_str(">\n");
        if let Some(failure) = &result.failure {
            let (message, body) = (escaped(&failure.message), escaped(&failure.render()));
            text.push_str(&format!("      <failure message=\"{message}\">{body}</failure>\n"));
        }
        if !logs.is_empty() {
            text.push_str(&format!("      <system-out>{}</system-out>\n", escaped(&logs.join("\n"))));
        }
        text.push_str("    </testcase>\n");
    }
    text.push_str("  </testsuite>\n");
    text
}

/// Text as it may stand between tags and in attributes. Characters that XML cannot hold are replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_leave_its_place() {
        assert_eq!(escaped("a<b>&\"c\"\u{1b}[2J\n"), "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}[2J\n");
    }
}
