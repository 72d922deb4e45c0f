//! Two texts as a unified diff.
//!
//! Invariants: applying the diff to the first gives the second, line by line; equal texts give nothing. Texts that have hardly a line in
//! common are not searched for ever: beyond a bound, what lies between their equal ends is shown as replaced whole.

/// Lines around a change.
const CONTEXT: usize = 3;
/// Lines that may differ before the search is given up.
const MOST_EDITS: usize = 1_000;

/// A line of the diff: which sides have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Both(&'a str),
    Before(&'a str),
    After(&'a str),
}

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

fn compare<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<Line<'a>> {
    let head = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let (before_rest, after_rest) = (&before[head..], &after[head..]);
    let tail = before_rest.iter().rev().zip(after_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&before_rest[..before_rest.len() - tail], &after_rest[..after_rest.len() - tail]);
    let mut lines: Vec<Line<'a>> = before[..head].iter().map(|line| Line::Both(line)).collect();
    match edits(a, b) {
        Some(middle) => lines.extend(middle),
        None => {
            lines.extend(a.iter().map(|line| Line::Before(line)));
            lines.extend(b.iter().map(|line| Line::After(line)));
        }
    }
    lines.extend(before_rest[before_rest.len() - tail..].iter().map(|line| Line::Both(line)));
    lines
}

/// The fewest lines to take out and put in (Myers); none when they are too many.
fn edits<'a>(a: &[&'a str], b: &[&'a str]) -> Option<Vec<Line<'a>>> {
    let most = (a.len() + b.len()).min(MOST_EDITS);
    // How far down each diagonal (x - y) one comes with so many edits; the rows of all numbers are kept to find the way back.
    let mut rows: Vec<Vec<usize>> = Vec::new();
    let mut row = vec![0usize; 2 * most + 3];
    let middle = most + 1;
    for edits in 0..=most {
        rows.push(row.clone());
        for diagonal in (0..=edits).map(|i| 2 * i).map(|step| (middle + step) - edits) {
            let down = diagonal == middle - edits || (diagonal != middle + edits && row[diagonal - 1] < row[diagonal + 1]);
            let mut x = if down { row[diagonal + 1] } else { row[diagonal - 1] + 1 };
            let mut y = (x + middle) - diagonal;
            while x < a.len() && y < b.len() && a[x] == b[y] {
                (x, y) = (x + 1, y + 1);
            }
            row[diagonal] = x;
            if x >= a.len() && y >= b.len() {
                return Some(way_back(a, b, &rows, middle));
            }
        }
    }
    None
}

fn way_back<'a>(a: &[&'a str], b: &[&'a str], rows: &[Vec<usize>], middle: usize) -> Vec<Line<'a>> {
    let (mut x, mut y) = (a.len(), b.len());
    let mut lines = Vec::new();
    for (edits, row) in rows.iter().enumerate().rev() {
        let diagonal = (x + middle) - y;
        let down = diagonal == middle - edits || (diagonal != middle + edits && row[diagonal - 1] < row[diagonal + 1]);
        let from = if down { diagonal + 1 } else { diagonal - 1 };
        let (from_x, from_y) = if edits == 0 { (0, 0) } else { (row[from], (row[from] + middle) - from) };
        while x > from_x && y > from_y {
            (x, y) = (x - 1, y - 1);
            lines.push(Line::Both(a[x]));
        }
        if edits > 0 {
            lines.push(if down { Line::After(b[from_y]) } else { Line::Before(a[from_x]) });
            (x, y) = (from_x, from_y);
        }
    }
    lines.reverse();
    lines
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
