//! Comments that silence warnings: `// pipewright: allow PW404` in a script, `# pipewright: allow PW103` in rules.toml.
//!
//! Invariants: a comment silences the codes that it names, on its own line, or on the next line with code when it stands alone; errors
//! are never silenced; a comment that silences nothing is itself reported, where what it names was looked for.

use crate::diagnostic::{Code, Diagnostic, Place, Weight};
use crate::rules::ScriptSet;
use crate::rules::files::{RULES_TOML, shown};

/// Codes of one comment.
const MOST_CODES: usize = 20;

/// What stands behind the comment's sign.
const MARK: &str = " pipewright: allow";

/// One code of one comment.
struct Allow<'a> {
    file: String,
    text: &'a str,
    /// Where the comment stands, from 1.
    line: usize,
    column: usize,
    width: usize,
    /// The line that it is about.
    target: usize,
    /// It stands on the first line with code, or before it: it is about the file as a whole, too.
    of_file: bool,
    /// As written; empty when the comment names no code.
    word: &'a str,
}

/// Takes out the warnings that comments allow, and adds what is wrong with the comments. `looked_for` says which codes this check
/// could have found.
pub(super) fn apply(set: &ScriptSet, found: Vec<Diagnostic>, looked_for: impl Fn(Code) -> bool) -> Vec<Diagnostic> {
    let scripts = set.files.sources.scripts.iter().map(|(name, text)| (shown(name), &**text, "//"));
    let files = scripts.chain([(RULES_TOML.to_owned(), &*set.files.rules_toml, "#")]);
    let allows: Vec<Allow<'_>> = files.flat_map(|(file, text, sign)| allows(&file, text, sign)).collect();
    if allows.is_empty() {
        return found;
    }
    let mut used = vec![false; allows.len()];
    let mut left = Vec::with_capacity(found.len());
    for diagnostic in found {
        let by = allows.iter().position(|allow| allow.silences(&diagnostic) && looked_for_any(&diagnostic, &looked_for));
        match by {
            Some(place) => used[place] = true,
            None => left.push(diagnostic),
        }
    }
    for (allow, _) in allows.iter().zip(used).filter(|(_, used)| !used) {
        left.extend(allow.problem(&looked_for));
    }
    left
}

fn looked_for_any(diagnostic: &Diagnostic, looked_for: &impl Fn(Code) -> bool) -> bool {
    diagnostic.code.as_deref().is_some_and(|code| Code::parse(code).is_ok_and(looked_for))
}

fn allows<'a>(file: &str, text: &'a str, sign: &str) -> Vec<Allow<'a>> {
    let mark = format!("{sign}{MARK}");
    let lines: Vec<&str> = text.lines().collect();
    // The next line with code, from each line on.
    let is_code = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with(sign);
    let mut next: Vec<Option<usize>> = vec![None; lines.len() + 1];
    for place in (0..lines.len()).rev() {
        next[place] = if is_code(lines[place]) { Some(place) } else { next[place + 1] };
    }
    let mut found = Vec::new();
    for (place, &line) in lines.iter().enumerate() {
        let Some(start) = line.find(&mark) else { continue };
        let codes: Vec<&str> = line[start + mark.len()..]
            .split([',', ' ', ':'])
            .filter(|word| !word.is_empty())
            .take_while(|word| word.len() > 2 && word.is_char_boundary(2) && word[..2].eq_ignore_ascii_case("PW"))
            .take(MOST_CODES)
            .collect();
        let alone = line[..start].trim().is_empty();
        let target = if alone { next[place + 1].unwrap_or(place) + 1 } else { place + 1 };
        let of_file = next[0].is_none_or(|first| place <= first);
        let allow = |word: &'a str, at: usize, width: usize| Allow {
            file: file.to_owned(),
            text,
            line: place + 1,
            column: line[..at].chars().count() + 1,
            width,
            target,
            of_file,
            word,
        };
        if codes.is_empty() {
            found.push(allow("", start, mark.chars().count()));
        }
        let mut from = start + mark.len();
        for word in codes {
            let at = from + line[from..].find(word).unwrap_or_default();
            found.push(allow(word, at, word.chars().count()));
            from = at + word.len();
        }
    }
    found
}

impl Allow<'_> {
    fn silences(&self, diagnostic: &Diagnostic) -> bool {
        // A finding about a whole file has no line to show.
        let about_all = |place: &Place| place.text.is_empty() && place.line == 1 && place.column == 1;
        let here = |place: &Place| place.file == self.file && (place.line == self.target || about_all(place) && self.of_file);
        !diagnostic.is_error()
            && diagnostic.code.as_deref().is_some_and(|code| code.eq_ignore_ascii_case(self.word))
            && diagnostic.place.as_ref().is_some_and(here)
    }

    fn problem(&self, looked_for: &impl Fn(Code) -> bool) -> Option<Diagnostic> {
        let word = self.word;
        let (message, help) = match Code::parse(word) {
            _ if word.is_empty() => {
                ("this comment names no code".to_owned(), "name it, as in `pipewright: allow PW404`".to_owned())
            }
            Err(Some(near)) => (format!("there is no code {word}"), format!("did you mean {near}?")),
            Err(None) => (format!("there is no code {word}"), "`pipewright explain` lists them".to_owned()),
            Ok(code) if code.weight() == Weight::Error => (
                format!("{code} is an error, and errors cannot be silenced"),
                format!("`pipewright explain {code}` says how to mend it"),
            ),
            // A file's mode may be another on another machine: what is allowed for one of them is not missed on this one.
            Ok(Code::SecretMode) => return None,
            Ok(code) if looked_for(code) => (format!("there is no {code} to silence here"), "delete the comment".to_owned()),
            Ok(_) => return None,
        };
        let d = Diagnostic::warning(message).code(Code::Allow).help(help);
        Some(d.at(&self.file, self.text, self.line, self.column, self.width))
    }
}
