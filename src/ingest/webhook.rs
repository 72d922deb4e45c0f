//! Segment's webhook destinations: one event, or an array of them.
//!
//! Invariants: the signature is checked over the bytes as they came, never over JSON written anew; nothing of an array is taken
//! on the strength of its first element's signature alone.

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use serde_json::value::RawValue;

use super::accept::Bad;
use super::auth;
use super::batch;
use super::decode::decode_text;
use super::json;
use super::refused::{Answer, Refused};
use super::rejection::Rejection;
use super::request::Request;
use super::timestamps::Origin;
use crate::config::{Secret, ServerConfig};
use crate::event::Event;
use crate::rules::SourceSecrets;

/// What a webhook destination sent to this source.
pub(super) async fn receive(mut request: Request<'_>, source: &str) -> Result<Answer, Refused> {
    let set = request.keys.set.clone();
    let secrets = set.sources.get(source).ok_or(Refused::NoWebhook)?;
    let secret = secrets.webhook_secret.as_ref().ok_or(Refused::NoWebhook)?;
    let bytes = request.batch_body().await?;
    let at = Timestamp::now();
    let limits = &set.config.server;
    let items = match proven(request.headers, secrets, secret, &bytes) {
        Ok(items) => items,
        // Only the holder of the secret is told what is wrong.
        Err(Refused::Event(why)) => {
            return Err(request.refuse_event(source, at, Bad { why, raw: &bytes, ..Bad::known(None) }).await);
        }
        Err(other) => return Err(other),
    };
    let Some(items) = items else {
        return match single(source, at, limits, &bytes) {
            Ok(event) => {
                let mut good = request.intake(source, Origin::Segment, bytes.len());
                good.add(event);
                request.take(at, good, &[]).await
            }
            Err(why) => {
                let bad = Bad { why, raw: &bytes, ..Bad::known(json::object(&bytes).ok().as_ref()) };
                Err(request.refuse_event(source, at, bad).await)
            }
        };
    };
    let mut good = request.intake(source, Origin::Segment, bytes.len());
    let bad = batch::sort(good.terms(at), &bytes, &items, None, |event| good.add(event));
    request.take(at, good, &bad).await
}

/// The items of an array, none when the body is a single event; after it is proven who sent them.
///
/// `Refused::Event` is a body that is signed and no JSON.
pub(super) fn proven<'a>(
    headers: &HeaderMap,
    secrets: &SourceSecrets,
    secret: &Secret,
    bytes: &'a [u8],
) -> Result<Option<Vec<&'a RawValue>>, Refused> {
    let whole = auth::signed(headers, secret, bytes);
    if bytes.trim_ascii_start().first() != Some(&b'[') {
        return if whole { Ok(None) } else { Err(Refused::Signature) };
    }
    let items: Vec<&RawValue> = match serde_json::from_slice(bytes) {
        Ok(items) => items,
        Err(error) if whole => return Err(Refused::Event(Rejection::json(&error))),
        Err(_) => return Err(Refused::Signature),
    };
    if !whole {
        let first = items.first().ok_or(Refused::Signature)?;
        if !auth::signed(headers, secret, first.get().as_bytes()) {
            return Err(Refused::Signature);
        }
        if !secrets.webhook_token.as_ref().is_some_and(|token| auth::proves(headers, token)) {
            return Err(Refused::SecondProof);
        }
    }
    Ok(Some(items))
}

/// The event of a body that is not an array.
pub(super) fn single(source: &str, at: Timestamp, limits: &ServerConfig, bytes: &Bytes) -> Result<Event, Rejection> {
    batch::fits(bytes.len(), limits)?;
    decode_text(source, at, bytes)
}
