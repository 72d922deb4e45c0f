//! Two texts as a unified diff.
//!
//! Invariants: applying the diff to the first gives the second, line by line; equal texts give nothing.

use crate::lines::{Line, compare};

/// Lines around a change.
const CONTEXT: usize = 3;
/// The diff of two texts, under the names of both sides; empty when they are equal.
pub(super) fn unified(before: (&str, &str), after: (&str, &str)) -> String {
    let lines = compare(&split(before.1), &split(after.1));
    if lines.iter().all(|line| matches!(line, Line::Both(_))) {
        return String::new();
    }
    let mut text = format!("--- {}\n+++ {}\n", before.0, after.0);
    for hunk in hunks(&lines) {
        text.push_str(&hunk);
    }
    text
}

/// Lines; a last one that has no end says so, as diffs do.
fn split(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn hunks(lines: &[Line<'_>]) -> Vec<String> {
    let changed: Vec<usize> = (0..lines.len()).filter(|at| !matches!(lines[*at], Line::Both(_))).collect();
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for at in changed {
        let (from, to) = (at.saturating_sub(CONTEXT), (at + CONTEXT + 1).min(lines.len()));
        match spans.last_mut() {
            Some((_, end)) if from <= *end => *end = to,
            _ => spans.push((from, to)),
        }
    }
    spans.into_iter().map(|(from, to)| hunk(lines, from, to)).collect()
}

fn hunk(lines: &[Line<'_>], from: usize, to: usize) -> String {
    let count = |lines: &[Line<'_>]| {
        let before = lines.iter().filter(|line| !matches!(line, Line::After(_))).count();
        let after = lines.iter().filter(|line| !matches!(line, Line::Before(_))).count();
        (before, after)
    };
    let (skipped, shown) = (count(&lines[..from]), count(&lines[from..to]));
    // A side without lines is named by the line before it.
    let range = |skipped: usize, shown: usize| match shown {
        0 => format!("{skipped},0"),
        1 => format!("{}", skipped + 1),
        many => format!("{},{many}", skipped + 1),
    };
    let mut text = format!("@@ -{} +{} @@\n", range(skipped.0, shown.0), range(skipped.1, shown.1));
    for line in &lines[from..to] {
        let (mark, line) = match line {
            Line::Both(line) => (' ', line),
            Line::Before(line) => ('-', line),
            Line::After(line) => ('+', line),
        };
        text.push(mark);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What applying the diff's lines to the first side gives.
    fn sides(before: &str, after: &str) -> (String, String) {
        let (mut a, mut b) = (String::new(), String::new());
        for line in compare(&split(before), &split(after)) {
            match line {
                Line::Both(line) => {
                    a.push_str(line);
                    b.push_str(line);
                }
                Line::Before(line) => a.push_str(line),
                Line::After(line) => b.push_str(line),
            }
        }
        (a, b)
    }

    #[test]
    fn a_changed_line_has_three_lines_around_it() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let after = before.replace("5\n", "five\n");
        let expected = "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n";
        assert_eq!(unified(("a", before), ("b", &after)), expected);
        assert_eq!(unified(("a", before), ("b", before)), "");
    }

    #[test]
    fn a_new_file_a_gone_one_and_a_missing_end_are_told() {
        assert_eq!(unified(("a", ""), ("b", "x\n")), "--- a\n+++ b\n@@ -0,0 +1 @@\n+x\n");
        assert_eq!(unified(("a", "x\ny\n"), ("b", "")), "--- a\n+++ b\n@@ -1,2 +0,0 @@\n-x\n-y\n");
        let expected = "--- a\n+++ b\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+x\n";
        assert_eq!(unified(("a", "x"), ("b", "x\n")), expected);
    }

    #[test]
    fn changes_far_apart_are_hunks_of_their_own() {
        let before: String = (1..=30).map(|n| format!("{n}\n")).collect();
        let after = before.replacen("3\n", "", 1).replacen("28\n", "28\nnew\n", 1);
        let text = unified(("a", &before), ("b", &after));
        let heads: Vec<&str> = text.lines().filter(|line| line.starts_with("@@")).collect();
        assert_eq!(heads, ["@@ -1,6 +1,5 @@", "@@ -26,5 +25,6 @@"]);
    }

    proptest::proptest! {
        #[test]
        fn both_sides_are_in_it(before in "[abc\n]{0,60}", after in "[abc\n]{0,60}") {
            proptest::prop_assert_eq!(sides(&before, &after), (before, after));
        }
    }

    #[test]
    fn texts_with_nothing_in_common_are_replaced_whole() {
        let before: String = (0..3_000).map(|n| format!("a{n}\n")).collect();
        let after: String = (0..3_000).map(|n| format!("b{n}\n")).collect();
        assert_eq!(sides(&before, &after), (before, after));
    }
}
