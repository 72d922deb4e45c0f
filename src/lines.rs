//! Two texts, line by line; and a text that is too long.
//!
//! Invariants: leaving out what only one side has gives the other; texts that have hardly a line in common are not searched for ever:
//! beyond a bound, what lies between their equal ends is shown as replaced whole.

/// Lines that may differ before the search is given up.
const MOST_EDITS: usize = 1_000;

/// A line, and which sides have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// Both.
    Both(&'a str),
    /// The first only.
    Before(&'a str),
    /// The second only.
    After(&'a str),
}

/// The lines of both sides, each once where they are the same.
#[must_use]
pub fn compare<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<Line<'a>> {
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

/// The text, cut to so many bytes at a character boundary.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}
