//! `phone`.

use phonenumber::{Mode, PhoneNumber, country};
use rhai::{Dynamic, Engine, Module};

use super::{maybe, text_of};
use crate::script::host::define;
use crate::script::state::{Hosted, refuse_with};

/// Registers the module.
pub(super) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    module.set_doc("/// Phone numbers.");
    define(&mut module, "e164", &["value", "region", "text"], docs::E164, |value: Dynamic, region: Dynamic| -> Hosted<Dynamic> {
        let number = read("phone::e164", &value, &region)?;
        Ok(maybe(number.map(|n| n.format().mode(Mode::E164).to_string())))
    });
    define(&mut module, "e164", &["value", "text"], docs::E164, |value: Dynamic| -> Hosted<Dynamic> {
        let number = read("phone::e164", &value, &Dynamic::UNIT)?;
        Ok(maybe(number.map(|n| n.format().mode(Mode::E164).to_string())))
    });
    define(&mut module, "region", &["value", "text"], docs::REGION, |value: Dynamic| -> Hosted<Dynamic> {
        let number = read("phone::region", &value, &Dynamic::UNIT)?;
        Ok(maybe(number.and_then(|n| n.country().id()).map(|id| id.as_ref().to_owned())))
    });
    engine.register_static_module("phone", module.into());
}

/// Has the numbering plans read, which takes some milliseconds the first time: not within a run's deadline.
pub(in crate::script) fn warm_up() {
    drop(phonenumber::parse(None, "+4930901820"));
}

/// A valid number; without a region only those with `+` or `00` and the country's code are.
fn read(function: &str, value: &Dynamic, region: &Dynamic) -> Hosted<Option<PhoneNumber>> {
    let Some(text) = text_of(function, value)? else { return Ok(None) };
    let region = match text_of(function, region)? {
        None => None,
        Some(code) => Some(code.trim().to_ascii_uppercase().parse::<country::Id>().map_err(|_| {
            refuse_with(format!("`{function}`: the region is a country's two letters"), Some("write it as \"DE\"".to_owned()))
        })?),
    };
    let text = text.trim().trim_start_matches("tel:");
    let international = text.strip_prefix("00").filter(|_| region.is_none()).map(|rest| format!("+{rest}"));
    let parsed = phonenumber::parse(region, international.as_deref().unwrap_or(text)).ok();
    Ok(parsed.filter(phonenumber::is_valid))
}

mod docs {
    pub(super) const E164: &str = r#"
The number as `+`, country code and digits; `()` when it is no valid number. `region` (a country's two letters) is meant for
numbers without a country code; without it such numbers are `()`.

```rhai
phone::e164("030 901820", "DE");  // => "+4930901820"
phone::e164("+1 (415) 555-2671");  // => "+14155552671"
phone::e164("030 901820");  // => ()
```
"#;
    pub(super) const REGION: &str = r#"
The country of a number with a country code, as two letters; `()` when it is no valid number.

```rhai
phone::region("+49 30 901820");  // => "DE"
```
"#;
}
