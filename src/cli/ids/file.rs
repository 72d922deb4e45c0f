//! A file of ids: its rows, and what is wrong with the others.
//!
//! Invariants: a bad row is named by the line it begins on and never keeps the others from being read; an id of yours stands for one
//! record, so of two rows that say otherwise the first one counts.

use std::collections::HashMap;
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder, Trim};

use crate::cli::exit::Failure;
use crate::delivery::IdPair;
use crate::diagnostic::did_you_mean;

/// Bytes of a cell: more than any field of Pipedrive's can be searched by.
const LONGEST: usize = 1024;

const NEVER_CLOSED: &str = "a quote (\") is opened in it and never closed, so all that follows is read as part of its cell";

/// What the file holds.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Good rows, with their lines.
    pub(super) good: Vec<(u64, IdPair)>,
    /// Bad ones: line and reason.
    pub(super) bad: Vec<(u64, String)>,
    /// Good rows whose record another row has given another id: line and the line of that.
    pub(super) shared: Vec<(u64, u64)>,
    /// Rows that say what one before them said.
    pub(super) repeated: u64,
}

/// What columns are called.
pub(super) struct Columns<'a> {
    pub(super) segment: &'a str,
    pub(super) pipedrive: &'a str,
}

/// Reads it.
pub(super) fn read(path: &Path, columns: &Columns<'_>) -> Result<Rows, Failure> {
    let file = path.display();
    let text = std::fs::read(path).map_err(|e| Failure::wrong(format!("{file} cannot be read: {e}")))?;
    rows(&text, columns).map_err(|problem| Failure::wrong(format!("{file}: {problem}")))
}

fn rows(text: &[u8], columns: &Columns<'_>) -> Result<Rows, String> {
    let mut reader = ReaderBuilder::new().delimiter(delimiter(text)).trim(Trim::All).flexible(true).from_reader(text);
    let header = reader.byte_headers().map_err(|e| format!("the first line is no header: {e}"))?;
    let header: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let at = (find(&header, columns.segment, "--segment-column")?, find(&header, columns.pipedrive, "--pipedrive-column")?);
    let mut rows = Rows::default();
    let mut said: HashMap<String, (u64, String)> = HashMap::new();
    let mut records: HashMap<String, u64> = HashMap::new();
    let mut lines = Lines { text, at: 0, line: 1 };
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|e| format!("it cannot be read: {e}"))? {
        let line = lines.line_of(record.position());
        if lines.never_closed(&record, reader.position()) {
            rows.bad.push((line, NEVER_CLOSED.to_owned()));
            continue;
        }
        match (cell(&record, at.0, columns.segment), cell(&record, at.1, columns.pipedrive)) {
            (Err(problem), _) | (_, Err(problem)) => rows.bad.push((line, problem)),
            (Ok(segment_id), Ok(pipedrive_id)) => match said.get(segment_id) {
                Some((_, same)) if same == pipedrive_id => rows.repeated += 1,
                Some((first, _)) => {
                    rows.bad.push((line, format!("line {first} gives this `{}` to another record", columns.segment)));
                }
                None => {
                    match records.get(pipedrive_id) {
                        Some(first) => rows.shared.push((line, *first)),
                        None => drop(records.insert(pipedrive_id.to_owned(), line)),
                    }
                    said.insert(segment_id.to_owned(), (line, pipedrive_id.to_owned()));
                    rows.good.push((line, IdPair { segment_id: segment_id.to_owned(), pipedrive_id: pipedrive_id.to_owned() }));
                }
            },
        }
    }
    Ok(rows)
}

/// Which line a row begins on, told in order. The reader itself counts a row before the second half of the line break before it.
struct Lines<'t> {
    text: &'t [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    fn line_of(&mut self, position: Option<&csv::Position>) -> u64 {
        let begin = position.and_then(|p| usize::try_from(p.byte()).ok()).unwrap_or(self.at);
        let breaks = self.text[begin..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let begin = begin + breaks;
        self.line += self.text[self.at..begin].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at = begin;
        self.line
    }

    /// Whether the row that was told of last ends within quotes, at the end of the file.
    fn never_closed(&self, record: &ByteRecord, end: &csv::Position) -> bool {
        let quotes = || self.text[self.at..].iter().filter(|byte| **byte == b'"').count();
        let last = usize::try_from(end.byte()).is_ok_and(|end| end >= self.text.len());
        last && record.iter().any(|cell| cell.contains(&b'\n')) && quotes() % 2 == 1
    }
}

/// Spreadsheets write semicolons or tabs where the comma stands in numbers.
fn delimiter(text: &[u8]) -> u8 {
    let header = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| header.iter().filter(|byte| **byte == delimiter).count();
    // The first of those that stand most often.
    [b'\t', b';', b','].into_iter().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

fn find(header: &[String], name: &str, option: &str) -> Result<usize, String> {
    let same = |column: &String| column.eq_ignore_ascii_case(name);
    header.iter().position(same).ok_or_else(|| {
        let hint =
            did_you_mean(name, header.iter().map(String::as_str)).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
        let columns = header.join(", ");
        format!("line 1: there is no column `{name}`{hint}\nIts columns are: {columns}. Name the right one with {option}.")
    })
}

fn cell<'r>(record: &'r ByteRecord, at: usize, name: &str) -> Result<&'r str, String> {
    let text = record.get(at).ok_or_else(|| format!("there is no `{name}`: the line has {} columns", record.len()))?;
    let text = std::str::from_utf8(text).map_err(|_| format!("`{name}` is not UTF-8 text"))?;
    match text.len() {
        0 => Err(format!("`{name}` is empty")),
        length if length > LONGEST => Err(format!("`{name}` has {length} bytes; an id has {LONGEST} at most")),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line, and what it says or why it is bad.
    type Told = (u64, String);

    const COLUMNS: Columns<'_> = Columns { segment: "segment_id", pipedrive: "pipedrive_id" };

    fn read(text: &str) -> (Vec<Told>, Vec<Told>) {
        let rows = rows(text.as_bytes(), &COLUMNS).expect("rows");
        (rows.good.into_iter().map(|(line, row)| (line, format!("{}={}", row.segment_id, row.pipedrive_id))).collect(), rows.bad)
    }

    #[test]
    fn columns_are_found_by_name_whatever_stands_between_them() {
        for text in [
            "segment_id,pipedrive_id\nu-1,7\n",
            "name;Pipedrive_ID;SEGMENT_ID\r\n\"A; B\";7;u-1\r\n",
            "\u{feff}segment_id\tpipedrive_id\nu-1 \t 7\n",
        ] {
            assert_eq!(read(text), (vec![(2, "u-1=7".to_owned())], vec![]), "{text:?}");
        }
    }

    #[test]
    fn bad_rows_are_named_by_their_line() {
        let text = "segment_id,pipedrive_id\nu-1,7\n,8\nu-2\n\n\"a\nb\",9\nu-1,10\nu-1,7\n";
        let (good, bad) = read(text);
        assert_eq!(good, [(2, "u-1=7".to_owned()), (6, "a\nb=9".to_owned())]);
        assert_eq!(read(&text.replace('\n', "\r\n")).1, bad);
        assert_eq!(rows(b"segment_id,pipedrive_id\nu-1,7\nu-2,8\nu-3,7\n", &COLUMNS).expect("rows").shared, [(4, 2)]);
        let said = [
            (3, "`segment_id` is empty"),
            (4, "there is no `pipedrive_id`: the line has 1 columns"),
            (8, "line 2 gives this `segment_id` to another record"),
        ];
        assert_eq!(bad, said.map(|(line, reason)| (line, reason.to_owned())));
    }

    #[test]
    fn cells_that_are_no_ids_and_quotes_that_are_not_closed_are_named_too() {
        let long = "u".repeat(LONGEST + 1);
        let text = format!(
            "segment_id,pipedrive_id,note\n{long},7,\nu-1,8,5\" pipe\nu-2,9,\"two\nlines\"\nu-3,10,\"open\nu-4,11,\nu-5,12,\n"
        );
        let (good, bad) = read(&text);
        assert_eq!(good, [(3, "u-1=8".to_owned()), (4, "u-2=9".to_owned())]);
        assert_eq!(read(&format!("\u{feff}{text}")).1, bad, "as spreadsheets write it");
        let said = [(2, "`segment_id` has 1025 bytes; an id has 1024 at most"), (6, NEVER_CLOSED)];
        assert_eq!(bad, said.map(|(line, reason)| (line, reason.to_owned())));
    }

    #[test]
    fn a_missing_column_is_named_with_those_that_are_there() {
        let problem = rows(b"Segment ID,pipedrive_id\n", &COLUMNS).expect_err("no such column");
        assert_eq!(
            problem,
            "line 1: there is no column `segment_id`; did you mean `Segment ID`?\n\
             Its columns are: Segment ID, pipedrive_id. Name the right one with --segment-column."
        );
    }
}
