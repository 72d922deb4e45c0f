//! `text`.

use rhai::{Array, Dynamic, Engine, Module};

use super::{maybe, text_of, whole};
use crate::script::host::define;
use crate::script::state::{Hosted, refuse};
use crate::script::value::type_word;

/// Registers the module.
pub(super) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    module.set_doc("/// Texts. Numbers and booleans are taken as they are written.");
    define(&mut module, "trim", &["value", "text"], docs::TRIM, |value: Dynamic| -> Hosted<Dynamic> {
        Ok(maybe(text_of("text::trim", &value)?.map(|t| t.trim().to_owned())))
    });
    define(&mut module, "squash", &["value", "text"], docs::SQUASH, |value: Dynamic| -> Hosted<Dynamic> {
        Ok(maybe(text_of("text::squash", &value)?.map(|t| squash(&t))))
    });
    define(&mut module, "title_case", &["value", "text"], docs::TITLE_CASE, |value: Dynamic| -> Hosted<Dynamic> {
        Ok(maybe(text_of("text::title_case", &value)?.map(|t| title_case(&t))))
    });
    define(&mut module, "slug", &["value", "text"], docs::SLUG, |value: Dynamic| -> Hosted<Dynamic> {
        Ok(maybe(text_of("text::slug", &value)?.map(|t| slug(&t))))
    });
    define(
        &mut module,
        "truncate",
        &["value", "length", "text"],
        docs::TRUNCATE,
        |value: Dynamic, length: Dynamic| -> Hosted<Dynamic> {
            let length = whole("text::truncate", "the length", &length)?;
            let length = usize::try_from(length).map_err(|_| refuse("`text::truncate`: the length is not negative"))?;
            Ok(maybe(text_of("text::truncate", &value)?.map(|t| truncate(&t, length))))
        },
    );
    define(&mut module, "words", &["value", "array"], docs::WORDS, |value: Dynamic| -> Hosted<Array> {
        let text = text_of("text::words", &value)?.unwrap_or_default();
        Ok(text.split_whitespace().map(|word| Dynamic::from(word.to_owned())).collect())
    });
    define(
        &mut module,
        "join",
        &["values", "separator", "text"],
        docs::JOIN,
        |values: Dynamic, separator: Dynamic| -> Hosted<Dynamic> {
            let parts = filled("text::join", &values)?;
            let separator = text_of("text::join", &separator)?.unwrap_or_default();
            Ok(maybe((!parts.is_empty()).then(|| parts.join(&separator))))
        },
    );
    define(&mut module, "first_of", &["values", "text"], docs::FIRST_OF, |values: Dynamic| -> Hosted<Dynamic> {
        Ok(maybe(filled("text::first_of", &values)?.into_iter().next()))
    });
    engine.register_static_module("text", module.into());
}

/// The texts of an array that are not blank, trimmed.
fn filled(function: &str, values: &Dynamic) -> Hosted<Vec<String>> {
    let Ok(values) = values.as_array_ref() else {
        return Err(refuse(format!("`{function}` takes an array, not {}", type_word(values))));
    };
    let mut found = Vec::new();
    for value in values.iter() {
        if let Some(text) = text_of(function, value)?.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()) {
            found.push(text);
        }
    }
    Ok(found)
}

fn squash(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A letter after a space, `-` or `'` starts a word. Words in mixed case are left as they are (McKay, IBM stay).
fn title_case(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (number, word) in squash(text).split(' ').enumerate() {
        if number > 0 {
            out.push(' ');
        }
        let upper = word.chars().any(char::is_uppercase);
        let lower = word.chars().any(char::is_lowercase);
        if upper && lower {
            out.push_str(word);
            continue;
        }
        let mut start = true;
        for letter in word.chars() {
            if start {
                out.extend(letter.to_uppercase());
            } else {
                out.extend(letter.to_lowercase());
            }
            start = matches!(letter, '-' | '\'' | '’');
        }
    }
    out
}

fn slug(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars().flat_map(char::to_lowercase) {
        if letter.is_alphanumeric() {
            out.push(letter);
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_end_matches('-').to_owned()
}

fn truncate(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(length.saturating_sub(1)).collect();
    cut.truncate(cut.trim_end().len());
    if length > 0 {
        cut.push('…');
    }
    cut
}

mod docs {
    pub(super) const TRIM: &str = r#"
The text without spaces at its ends.

```rhai
text::trim("  Ada ");  // => "Ada"
```
"#;
    pub(super) const SQUASH: &str = r#"
The text with single spaces between its words and none at its ends.

```rhai
text::squash(" Ada \t King ");  // => "Ada King"
```
"#;
    pub(super) const TITLE_CASE: &str = r#"
Words in capitals or small letters get one capital each; words in mixed case stay as they are.

```rhai
text::title_case("ANNE-MARIE o'neill McKay");  // => "Anne-Marie O'Neill McKay"
```
"#;
    pub(super) const SLUG: &str = r#"
Small letters and digits with `-` between them.

```rhai
text::slug("Acme, Inc.");  // => "acme-inc"
```
"#;
    pub(super) const TRUNCATE: &str = r#"
At most so many characters; what is cut ends with `…`.

```rhai
text::truncate("Ada King of Acme", 9);  // => "Ada King…"
```
"#;
    pub(super) const WORDS: &str = r#"
The words between spaces, as an array; empty for `()`.

```rhai
text::words("Ada King").len();  // => 2
```
"#;
    pub(super) const JOIN: &str = r#"
Joins what is not blank; `()` when everything is.

```rhai
text::join([event.traits?.firstName, "King"], " ");  // => "King"
```
"#;
    pub(super) const FIRST_OF: &str = r#"
The first value that is not blank, as a text; `()` when all are.

```rhai
text::first_of([event.traits?.username, "", " Ada "]);  // => "Ada"
```
"#;
}
