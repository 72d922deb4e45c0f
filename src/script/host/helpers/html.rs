//! `html`: the content of notes is HTML.

use rhai::{Dynamic, Engine, Module};

use super::{maybe, text_of};
use crate::script::host::define;
use crate::script::state::{Hosted, refuse};
use crate::script::value::{to_json, type_word};

/// Registers the module.
pub(super) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    module.set_doc("/// HTML for notes: values of events are escaped, so that they show as they are.");
    define(&mut module, "escape", &["value", "text"], docs::ESCAPE, |value: Dynamic| -> Hosted<Dynamic> {
        Ok(maybe(text_of("html::escape", &value)?.map(|t| escape(&t))))
    });
    define(&mut module, "lines", &["value", "text"], docs::LINES, |value: Dynamic| -> Hosted<Dynamic> {
        Ok(maybe(text_of("html::lines", &value)?.map(|t| escape(&t).replace("\r\n", "\n").replace('\n', "<br>"))))
    });
    define(&mut module, "list", &["values", "text"], docs::LIST, list);
    engine.register_static_module("html", module.into());
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

fn list(values: Dynamic) -> Hosted<Dynamic> {
    if values.is_unit() {
        return Ok(Dynamic::UNIT);
    }
    let Ok(map) = values.as_map_ref() else {
        return Err(refuse(format!("`html::list` takes a map, not {}", type_word(&values))));
    };
    let mut out = String::from("<ul>");
    for (name, value) in map.iter().filter(|(_, v)| !v.is_unit()) {
        let text = match value.as_immutable_string_ref() {
            Ok(text) => text.to_string(),
            Err(_) => to_json(value).map_err(|u| refuse(format!("`html::list`: {}", u.reason)))?.to_string(),
        };
        if !text.is_empty() {
            out.push_str(&format!("<li><b>{}</b>: {}</li>", escape(name), escape(&text)));
        }
    }
    out.push_str("</ul>");
    Ok(Dynamic::from(out))
}

mod docs {
    pub(super) const ESCAPE: &str = r#"
The text as it must stand in HTML to be shown as it is.

```rhai
html::escape("a < b & c");  // => "a &lt; b &amp; c"
```
"#;
    pub(super) const LINES: &str = r#"
The same, with line breaks kept.

```rhai
html::lines("one\ntwo");  // => "one<br>two"
```
"#;
    pub(super) const LIST: &str = r#"
A map as a list of names and values, escaped; what is `()` or empty is left out.

```rhai
html::list(#{ plan: "Pro", seats: 5, note: () });  // => "<ul><li><b>plan</b>: Pro</li><li><b>seats</b>: 5</li></ul>"
```
"#;
}
