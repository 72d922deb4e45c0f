//! `email`.

use rhai::{Dynamic, Engine, Module};

use super::{maybe, text_of};
use crate::script::host::define;
use crate::script::state::Hosted;

/// Where anybody gets an address: says nothing about a company.
const FREE: &[&str] = &[
    "aol.com",
    "att.net",
    "bluewin.ch",
    "comcast.net",
    "fastmail.com",
    "free.fr",
    "freenet.de",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hey.com",
    "hotmail.co.uk",
    "hotmail.com",
    "hotmail.de",
    "hotmail.fr",
    "icloud.com",
    "laposte.net",
    "libero.it",
    "live.com",
    "mac.com",
    "mail.com",
    "mail.ru",
    "me.com",
    "msn.com",
    "naver.com",
    "orange.fr",
    "outlook.com",
    "outlook.de",
    "pm.me",
    "posteo.de",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "rediffmail.com",
    "seznam.cz",
    "t-online.de",
    "tutanota.com",
    "verizon.net",
    "wanadoo.fr",
    "web.de",
    "wp.pl",
    "yahoo.co.jp",
    "yahoo.co.uk",
    "yahoo.com",
    "yahoo.de",
    "yahoo.fr",
    "yandex.com",
    "yandex.ru",
    "ymail.com",
    "zoho.com",
    "163.com",
    "126.com",
];

/// Registers the module.
pub(super) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    module.set_doc("/// E-mail addresses.");
    define(&mut module, "normalize", &["value", "text"], docs::NORMALIZE, |value: Dynamic| -> Hosted<Dynamic> {
        Ok(maybe(text_of("email::normalize", &value)?.and_then(|text| normalize(&text))))
    });
    define(&mut module, "is_valid", &["value", "bool"], docs::IS_VALID, |value: Dynamic| -> Hosted<bool> {
        Ok(text_of("email::is_valid", &value)?.is_some_and(|text| normalize(&text).is_some()))
    });
    define(&mut module, "domain", &["value", "text"], docs::DOMAIN, |value: Dynamic| -> Hosted<Dynamic> {
        Ok(maybe(text_of("email::domain", &value)?.and_then(|text| domain(&text))))
    });
    define(&mut module, "is_free", &["value", "bool"], docs::IS_FREE, |value: Dynamic| -> Hosted<bool> {
        Ok(text_of("email::is_free", &value)?.and_then(|text| domain(&text)).is_some_and(|d| FREE.contains(&d.as_str())))
    });
    engine.register_static_module("email", module.into());
}

/// Trimmed and in lower case; nothing when it is no address.
fn normalize(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches("mailto:").trim();
    let address = match (text.rfind('<'), text.ends_with('>')) {
        (Some(open), true) => &text[open + 1..text.len() - 1],
        _ => text,
    };
    let (local, domain) = address.rsplit_once('@')?;
    let local_fits = !local.is_empty()
        && local.len() <= 64
        && !local.chars().any(|c| c.is_whitespace() || c.is_control() || "<>()[],;:\\\"@".contains(c));
    let label_fits = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    let domain_fits = domain.contains('.') && domain.len() <= 253 && domain.split('.').all(label_fits);
    let dots_fit = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    (local_fits && domain_fits && dots_fit).then(|| address.to_lowercase())
}

fn domain(text: &str) -> Option<String> {
    normalize(text)?.rsplit_once('@').map(|(_, domain)| domain.to_owned())
}

mod docs {
    pub(super) const NORMALIZE: &str = r#"
The address without name and spaces, in lower case; `()` when it is no address.

```rhai
email::normalize(" Ada King <Ada@Acme.COM> ");  // => "ada@acme.com"
email::normalize("ada at acme");  // => ()
```
"#;
    pub(super) const IS_VALID: &str = r#"
Whether it has the form of an address. Nothing is sent to find out.

```rhai
email::is_valid("ada@acme.com");  // => true
```
"#;
    pub(super) const DOMAIN: &str = r#"
What stands behind the `@`, in lower case; `()` when it is no address.

```rhai
email::domain("Ada@Acme.com");  // => "acme.com"
```
"#;
    pub(super) const IS_FREE: &str = r#"
Whether the address, if it is one, is with one of the common free providers, whose domain says nothing about a company.

```rhai
email::is_free("ada@gmail.com");  // => true
```
"#;
}
