//! Segment's triggers, beside what Segment made of them.
//!
//! Invariant: a trigger that Segment read otherwise than it is written never becomes a live rule without a warning that shows both.

use crate::rules::Trigger;

/// A trigger to write into rules.toml.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Its text.
    pub(super) when: String,
    /// Segment never ran it, so that it stays off.
    pub(super) never_ran: bool,
    /// Where the meanings part.
    pub(super) warnings: Vec<String>,
}

/// Takes a trigger over.
///
/// # Errors
/// When it is no trigger here either.
pub(super) fn take(text: &str) -> Result<Taken, String> {
    Trigger::parse(text).map_err(|e| {
        format!("Segment runs nothing for a trigger that it cannot read, and this one cannot be read here either: {e}")
    })?;
    let words = words(text);
    let mut warnings = Vec::new();
    let mut never_ran = false;
    mixed(text, &words, &mut warnings);
    let is = |i: usize, word: &str| words.get(i).is_some_and(|w: &Word<'_>| w.text.eq_ignore_ascii_case(word));
    for (i, word) in words.iter().enumerate() {
        let lower = word.text.to_ascii_lowercase();
        let at = format!("column {}", text[..word.at].chars().count() + 1);
        let function = |j: usize| j > 0 && ["contains", "match", "length", "lowercase", "typeof"].iter().any(|f| is(j - 1, f));
        match lower.as_str() {
            "(" if word.depth > 1 && !function(i) => {
                never_ran = true;
                warnings.push(format!("{at}: Segment fails at parentheses within parentheses and never ran this subscription"));
            }
            "length" | "lowercase" | "typeof" if is(i + 1, "(") => {
                never_ran = true;
                warnings.push(format!("{at}: Segment fails at {lower}() and never ran this subscription"));
            }
            "!" if is(i + 1, "(") => warnings.push(format!("{at}: Segment ignored this `!`; here it negates")),
            "not" => warnings.push(format!("{at}: Segment ignored `not`; here it negates")),
            "in" => warnings.push(format!("{at}: in Segment `in [..]` was never true; here it is")),
            "messageid" | "anonymousid" | "groupid" | "previousid" | "timestamp" if !word.quoted => {
                warnings.push(format!("{at}: Segment skipped conditions on `{}`; here they count", word.text));
            }
            "match" if is(i + 1, "(") => {
                let pattern = words[i..].iter().find(|w| w.quoted).map_or("", |w| w.text.trim_matches(['"', '\'']));
                let inner = pattern.strip_prefix('*').or_else(|| pattern.strip_suffix('*'));
                if inner.is_none_or(|inner| inner.contains(['*', '?'])) {
                    warnings.push(format!(
                        "{at}: Segment misread the pattern \"{pattern}\"; it knows one `*` at one end. Here `*` and `?` mean what they say"
                    ));
                }
            }
            "=" | "!=" if is(i + 1, "null") && i > 0 && ["event", "name", "type"].iter().any(|f| is(i - 1, f)) => {
                warnings
                    .push(format!("{at}: Segment compared with the text \"null\"; here it asks whether the field is missing"));
            }
            "!=" if is(i + 1, "true") => {
                warnings.push(format!("{at}: in Segment `!= true` holds for true as well; here it is the opposite of `= true`"));
            }
            quoted if word.quoted && quoted.starts_with('\'') => {
                warnings
                    .push(format!("{at}: Segment compared with the quotes included, which nothing equals; here they are quotes"));
            }
            _ => {}
        }
    }
    Ok(Taken { when: text.to_owned(), never_ran, warnings })
}

/// `a and b or c`: Segment's last conjunction counts for all of them.
fn mixed(text: &str, words: &[Word<'_>], warnings: &mut Vec<String>) {
    let joints: Vec<&Word<'_>> = words
        .iter()
        .filter(|w| w.depth == 0 && !w.quoted && ["and", "or"].contains(&w.text.to_ascii_lowercase().as_str()))
        .collect();
    let Some(last) = joints.last().map(|w| w.text.to_ascii_lowercase()) else { return };
    if joints.iter().all(|w| w.text.eq_ignore_ascii_case(&last)) {
        return;
    }
    let mut groups: Vec<Vec<&str>> = vec![Vec::new()];
    let mut from = 0;
    for joint in &joints {
        let piece = text[from..joint.at].trim();
        groups.last_mut().into_iter().for_each(|group| group.push(piece));
        if joint.text.eq_ignore_ascii_case("or") {
            groups.push(Vec::new());
        }
        from = joint.at + joint.text.len();
    }
    groups.last_mut().into_iter().for_each(|group| group.push(text[from..].trim()));
    let bracketed = |group: &Vec<&str>| match group.as_slice() {
        [one] => (*one).to_owned(),
        several => format!("({})", several.join(" and ")),
    };
    let here = groups.iter().map(bracketed).collect::<Vec<_>>().join(" or ");
    let there = groups.concat().join(&format!(" {last} "));
    warnings.push(format!(
        "`and` and `or` are mixed: Segment ran it as `{there}`; here it means `{here}`. Write the one that you want"
    ));
}

#[derive(Debug)]
struct Word<'a> {
    text: &'a str,
    at: usize,
    /// Parentheses around it; an opening one counts itself.
    depth: usize,
    quoted: bool,
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let (len, quoted) = match c {
            '"' | '\'' => (quoted_len(rest, c), true),
            '(' | ')' | '[' | ']' | ',' => (1, false),
            '!' if rest.starts_with("!=") => (2, false),
            '!' | '=' | '<' | '>' => (1, false),
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            _ => (rest.find(|c: char| c.is_whitespace() || "()[],!=<>\"'".contains(c)).unwrap_or(rest.len()), false),
        };
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        words.push(Word { text: &rest[..len], at, depth, quoted });
        at += len;
    }
    words
}

fn quoted_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (i, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return i + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_triggers_pass_without_a_word() {
        for text in [
            "type = \"identify\"",
            "type = \"track\" and event = \"a or b (c) and d\"",
            "(type = \"track\" and event = \"x\") or type = \"page\"",
            "type = \"track\" and !contains(properties.a, \"b\") and match(properties.c, \"d*\")",
            "type = \"track\" and properties.prod\\ 1 != null",
        ] {
            assert_eq!(take(text).map(|t| (t.never_ran, t.warnings)), Ok((false, vec![])), "{text}");
        }
    }

    #[test]
    fn what_segment_misread_is_told() {
        for (text, never_ran, said) in [
            (
                "type = \"track\" and event = \"a\" or event = \"b\"",
                false,
                "Segment ran it as `type = \"track\" or event = \"a\" or event = \"b\"`; here it means `(type = \"track\" and event = \"a\") or event = \"b\"`",
            ),
            ("type = \"track\" and (event = \"a\" or (event = \"b\" and userId != null))", true, "never ran"),
            ("type = \"track\" and length(properties.a) > 3", true, "length()"),
            ("type = \"track\" and !(event = \"a\")", false, "ignored this `!`"),
            ("type = \"track\" and messageId = \"a\"", false, "column 20: Segment skipped"),
            ("type in [\"track\", \"page\"]", false, "was never true"),
            ("type = \"track\" and match(event, \"*a*\")", false, "misread the pattern \"*a*\""),
            ("type = 'track'", false, "quotes included"),
        ] {
            let taken = take(text).expect("a trigger");
            assert!(taken.never_ran == never_ran && taken.warnings.iter().any(|w| w.contains(said)), "{taken:?}");
        }
        assert!(take("").is_err() && take("type =").is_err());
    }
}
