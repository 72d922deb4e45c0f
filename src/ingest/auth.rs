//! Who sends: write keys, webhook signatures, second proofs.
//!
//! Invariants: secrets are compared in constant time, a write key with every key of every source; a key that was sent is kept no
//! longer than the request and printed nowhere.

use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, Mac as _};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use crate::config::Secret;
use crate::rules::ScriptSet;

/// Senders leave the padding out now and then.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// What every request needs of one script set, prepared once: its write keys, ready for comparing, and a header.
pub(super) struct Keys {
    /// The set that they are of.
    pub(super) set: Arc<ScriptSet>,
    /// `Keep-Alive`: how long a connection may be idle. Senders that heed it do not run into its end with a request.
    pub(super) idle: HeaderValue,
    // Digests have one length, so that comparing them does not tell a key's.
    table: Vec<([u8; 32], Arc<str>)>,
}

impl Keys {
    /// The keys of a set.
    pub(super) fn of(set: Arc<ScriptSet>) -> Self {
        let table = set
            .sources
            .iter()
            .flat_map(|(name, secrets)| {
                let name: Arc<str> = Arc::from(name.as_str());
                secrets.write_keys.iter().map(move |key| (digest(key.expose()), name.clone()))
            })
            .collect();
        let idle = format!("timeout={}", set.config.server.header_timeout.get().as_secs());
        let idle = HeaderValue::try_from(idle).expect("digits may stand in a header");
        Self { set, idle, table }
    }

    /// The source that a write key belongs to.
    pub(super) fn source(&self, key: &str) -> Option<Arc<str>> {
        let sent = digest(key);
        let mut found = u64::MAX;
        for (index, (known, _)) in (0u64..).zip(&self.table) {
            found.conditional_assign(&index, known.ct_eq(&sent));
        }
        self.table.get(usize::try_from(found).ok()?).map(|(_, source)| source.clone())
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// The user name of Basic authorization, with or without a colon behind it. `Some("")` when it cannot be read: then it is no
/// known key. None when there is no Basic authorization.
pub(super) fn basic_user(headers: &HeaderMap) -> Option<String> {
    let text = scheme(headers, "basic")?;
    let (user, _) = basic_parts(text).unwrap_or_default();
    Some(user)
}

/// Whether the request carries this user name and password as Basic authorization.
pub(super) fn is_basic(headers: &HeaderMap, user: &str, password: &Secret) -> bool {
    let (sent_user, sent) = scheme(headers, "basic").and_then(basic_parts).unwrap_or_default();
    // Both are compared, whatever the first comparison says.
    (sent_user == user) & password.is(&sent)
}

/// Whether the request carries the second proof: as Bearer token or Basic password.
pub(super) fn proves(headers: &HeaderMap, token: &Secret) -> bool {
    let sent = match (scheme(headers, "bearer"), scheme(headers, "basic")) {
        (Some(token), _) => token.to_owned(),
        (None, Some(text)) => basic_parts(text).unwrap_or_default().1,
        (None, None) => return false,
    };
    token.is(&sent)
}

/// Whether `X-Signature` is the hex HMAC-SHA1 of `signed`.
pub(super) fn signed(headers: &HeaderMap, secret: &Secret, signed: &[u8]) -> bool {
    let Some(signature) = headers.get("x-signature").and_then(|value| hex::decode(value.as_bytes().trim_ascii()).ok()) else {
        return false;
    };
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(signed);
    mac.verify_slice(&signature).is_ok()
}

fn scheme<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (given, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then_some(rest.trim())
}

fn basic_parts(text: &str) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64.decode(text).ok()?).ok()?;
    Some(match text.split_once(':') {
        Some((user, password)) => (user.to_owned(), password.to_owned()),
        None => (text, String::new()),
    })
}
