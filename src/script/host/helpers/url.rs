//! `url`.

use rhai::{Dynamic, Engine, Module};

use super::{maybe, text_of};
use crate::script::host::define;
use crate::script::state::Hosted;

/// Registers the module.
pub(super) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    module.set_doc("/// Web addresses.");
    define(&mut module, "host", &["value", "text"], docs::HOST, |value: Dynamic| -> Hosted<Dynamic> {
        Ok(maybe(text_of("url::host", &value)?.and_then(|text| host(&text))))
    });
    engine.register_static_module("url", module.into());
}

/// The host; nothing when there is none.
fn host(text: &str) -> Option<String> {
    let text = text.trim();
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host).trim_end_matches('.').to_lowercase();
    let host = host.strip_prefix("www.").filter(|rest| rest.contains('.')).map(str::to_owned).unwrap_or(host);
    let label_fits = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    (host.contains('.') && host.split('.').all(label_fits)).then_some(host)
}

mod docs {
    pub(super) const HOST: &str = r#"
The host of a web address, in lower case and without a leading `www.`; `()` when there is none. The address may lack its `https://`.

```rhai
url::host("https://www.Acme.com:8080/pricing?x=1");  // => "acme.com"
url::host("shop.acme.com");  // => "shop.acme.com"
url::host("about us");  // => ()
```
"#;
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn hosts_of_what_forms_and_referrers_hold() {
        for (given, found) in [
            ("https://acme.com", Some("acme.com")),
            (" HTTP://WWW.ACME.COM./ ", Some("acme.com")),
            ("www.acme.com/a@b", Some("acme.com")),
            ("https://ada:secret@acme.com/x", Some("acme.com")),
            ("android-app://com.example.mail/", Some("com.example.mail")),
            ("www.com", Some("www.com")),
            ("https://münchen.de#top", Some("münchen.de")),
            ("acme", None),
            ("", None),
            ("acme..com", None),
            ("http://", None),
            ("n/a", None),
            ("about us", None),
        ] {
            assert_eq!(host(given).as_deref(), found, "{given}");
        }
    }
}
