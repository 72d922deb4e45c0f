//! What commands write. Errors of standard output come back to the caller, so that a closed pipe ends the command.

use std::io::{self, Write as _};

use serde::Serialize;

/// A line, or several, on standard output.
pub(super) fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// One JSON document on standard output.
pub(super) fn say_json(value: &impl Serialize) -> io::Result<()> {
    say(&serde_json::to_string_pretty(value)?)
}

/// Lines on standard error. There is nowhere to say that it cannot be written.
pub(super) fn complain(text: &str) {
    let mut err = io::stderr().lock();
    drop(writeln!(err, "{}", text.trim_end_matches('\n')));
}

/// A time for a person: UTC, to the second.
pub(super) fn time(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A size for a person.
pub(super) fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().si().to_string()
}

/// Aligned columns under a header. Columns that are empty in every row are left out.
#[derive(Debug)]
pub(super) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<const N: usize>(header: [&'static str; N]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row. Line breaks and other control characters, which a sender may have put into a name, become spaces.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.header.len());
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn render(&self) -> String {
        let chars = |text: &str| text.chars().count();
        let columns: Vec<(usize, usize)> = (0..self.header.len())
            .filter(|c| self.rows.iter().any(|row| !row[*c].is_empty()))
            .map(|c| (c, self.rows.iter().map(|row| chars(&row[c])).fold(chars(self.header[c]), usize::max)))
            .collect();
        let line = |cells: &dyn Fn(usize) -> String| {
            let padded: String = columns.iter().map(|(c, width)| format!("{:<width$}  ", cells(*c))).collect();
            format!("{}\n", padded.trim_end())
        };
        let mut text = line(&|c| self.header[c].to_owned());
        for row in &self.rows {
            text.push_str(&line(&|c| row[c].clone()));
        }
        text
    }
}

/// The text without control characters and changes of direction: they could move the cursor, or hide or turn round what follows.
pub(super) fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { ' ' } else { c }).collect()
}

/// The text, or so many of its characters and an ellipsis.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let mut table = Table::new(["ID", "NOTE", "STATE"]);
        table.row(["1/person".into(), String::new(), "done".into()]);
        table.row(["12/organization".into(), String::new(), "dead\u{1b}[2J".into()]);
        assert_eq!(table.render(), "ID               STATE\n1/person         done\n12/organization  dead [2J\n");
    }
}
