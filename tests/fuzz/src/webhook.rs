//! Webhook bodies under every kind of signature: whole, of the first element with and without the second proof, wrong, none.

use bytes::Bytes;
use hmac::Mac as _;
use http::{HeaderMap, HeaderValue};
use pipewright::config::{Secret, ServerConfig};
use pipewright::ingest::pure::{self, Sorted};
use pipewright::rules::SourceSecrets;
use serde_json::value::RawValue;

use super::{NOW, check_event};

const SECRET: &str = "webhook-secret";
const TOKEN: &str = "webhook-token";

/// Tries one body.
pub fn run(data: &[u8]) {
    let array = data.trim_ascii_start().first() == Some(&b'[');
    assert_eq!(send(data, None, true).err(), Some("invalid_signature"), "taken without a signature");

    let whole = send(data, Some(data), false);
    if let Ok(sorted) = &whole {
        sorted.taken.iter().for_each(check_event);
    }
    // One byte more, and the signature is that of another body.
    let longer = [data, b" "].concat();
    assert_eq!(send(&longer, Some(data), true).err(), Some("invalid_signature"), "taken with another body's signature");

    let items: Vec<&RawValue> = serde_json::from_slice(data).unwrap_or_default();
    let Some(first) = items.first().filter(|_| array) else { return };
    let signed = first.get().as_bytes();
    assert_eq!(send(data, Some(signed), false).err(), Some("missing_webhook_token"), "taken by its first element alone");
    let (by_first, whole) = (send(data, Some(signed), true), whole);
    match (by_first, whole) {
        (Ok(a), Ok(b)) => {
            assert_eq!(a.taken.len() + a.refused.len(), items.len().min(ServerConfig::default().max_batch_events + 1));
            assert_eq!((ids(&a).count(), a.refused), (ids(&b).count(), b.refused), "the kind of proof changes what is taken");
        }
        (a, b) => assert_eq!(a.err(), b.err(), "the kind of proof changes what is refused"),
    }
}

fn ids(sorted: &Sorted) -> impl Iterator<Item = &str> {
    sorted.taken.iter().map(|event| &*event.message_id)
}

/// Sends the body with a signature over some bytes, with or without the second proof.
fn send(body: &[u8], signed: Option<&[u8]>, token: bool) -> Result<Sorted, &'static str> {
    let secrets = SourceSecrets {
        write_keys: Vec::new(),
        webhook_secret: Some(Secret::new(SECRET)),
        webhook_token: Some(Secret::new(TOKEN)),
    };
    let mut headers = HeaderMap::new();
    if let Some(signed) = signed {
        let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(SECRET.as_bytes()).expect("a key");
        mac.update(signed);
        let hex = hex::encode(mac.finalize().into_bytes());
        headers.insert("x-signature", HeaderValue::try_from(hex).expect("a header"));
    }
    if token {
        headers.insert("authorization", HeaderValue::from_static("Bearer webhook-token"));
    }
    pure::webhook("segment", NOW, &ServerConfig::default(), &secrets, &headers, &Bytes::copy_from_slice(body))
}
