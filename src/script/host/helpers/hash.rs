//! `hash`.

use rhai::{Dynamic, Engine, Module};
use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::{maybe, text_of};
use crate::script::host::define;
use crate::script::state::Hosted;

/// Registers the module.
pub(super) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    module.set_doc("/// Hashes of texts (UTF-8), in hexadecimal.");
    define(&mut module, "sha256", &["value", "text"], docs::SHA256, |value: Dynamic| -> Hosted<Dynamic> {
        Ok(maybe(text_of("hash::sha256", &value)?.map(|t| hex::encode(Sha256::digest(t)))))
    });
    define(&mut module, "sha1", &["value", "text"], docs::SHA1, |value: Dynamic| -> Hosted<Dynamic> {
        Ok(maybe(text_of("hash::sha1", &value)?.map(|t| hex::encode(Sha1::digest(t)))))
    });
    engine.register_static_module("hash", module.into());
}

mod docs {
    pub(super) const SHA256: &str = r#"
SHA-256: 64 hexadecimal digits.

```rhai
hash::sha256("abc");  // => "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
```
"#;
    pub(super) const SHA1: &str = r#"
SHA-1: 40 hexadecimal digits. For keys that other systems made with it, not for secrets.

```rhai
hash::sha1("abc");  // => "a9993e364706816aba3e25717850c26c9cd0d89d"
```
"#;
}
