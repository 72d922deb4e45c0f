//! What differs between two values, in lines for the author of a test.

use crate::lines::{Line, compare};

/// Lines that stay on either side of a difference.
const AROUND: usize = 2;
/// Most lines that are shown.
const MOST: usize = 60;

/// What is expected and not there (`-`), what is there instead (`+`), and some of what is the same around it.
pub(super) fn diff(expected: &[String], actual: &[String]) -> String {
    let (expected, actual): (Vec<&str>, Vec<&str>) = (refs(expected), refs(actual));
    let lines = compare(&expected, &actual);
    let near = |at: usize| {
        let around = &lines[at.saturating_sub(AROUND)..lines.len().min(at + AROUND + 1)];
        around.iter().any(|line| !matches!(line, Line::Both(_)))
    };
    let mut shown: Vec<String> = Vec::new();
    let mut elided = 0;
    for (at, line) in lines.iter().enumerate() {
        if matches!(line, Line::Both(_)) && !near(at) {
            elided += 1;
            continue;
        }
        shown.extend(same(elided));
        elided = 0;
        shown.push(match line {
            Line::Both(line) => format!("  {line}"),
            Line::Before(line) => format!("- {line}"),
            Line::After(line) => format!("+ {line}"),
        });
    }
    shown.extend(same(elided));
    let more = shown.len().saturating_sub(MOST);
    shown.truncate(MOST);
    if more > 0 {
        shown.push(format!(".. {more} more lines"));
    }
    format!("- expected, + actual\n{}", shown.join("\n"))
}

fn refs(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).collect()
}

fn same(lines: usize) -> Option<String> {
    match lines {
        0 => None,
        1 => Some("  .. 1 line is the same".to_owned()),
        more => Some(format!("  .. {more} lines are the same")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn what_differs_is_marked_and_what_is_the_same_far_from_it_left_out() {
        let text = diff(&lines("a b c d e f g h"), &lines("a b c d x f g y h"));
        assert_eq!(text, "- expected, + actual\n  .. 2 lines are the same\n  c\n  d\n- e\n+ x\n  f\n  g\n+ y\n  h");
    }

    #[test]
    fn everything_differs_where_one_side_is_empty_or_too_long() {
        assert_eq!(diff(&[], &lines("a b")), "- expected, + actual\n+ a\n+ b");
        let (long, other): (Vec<String>, Vec<String>) = (0..1500).map(|n| (format!("a{n}"), format!("b{n}"))).unzip();
        let text = diff(&long, &other);
        assert!(text.ends_with("\n.. 2940 more lines") && text.lines().count() == MOST + 2, "{text}");
    }
}
