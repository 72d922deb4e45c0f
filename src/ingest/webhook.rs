//! Segment's webhook destinations: one event, or an array of them.
//!
//! Invariants: the signature is checked over the bytes as they came, never over JSON written anew; nothing of an array is taken
//! on the strength of its first element's signature alone.

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

/// What a webhook destination sent to this source.
pub(super) async fn receive(mut request: Request<'_>, source: &str) -> Result<Answer, Refused> {
    let set = request.keys.set.clone();
    let secrets = set.sources.get(source).ok_or(Refused::NoWebhook)?;
    let secret = secrets.webhook_secret.as_ref().ok_or(Refused::NoWebhook)?;
    let bytes = request.batch_body().await?;
    let at = Timestamp::now();
    let limits = &set.config.server;
    let whole = auth::signed(request.headers, secret, &bytes);
    let array = bytes.trim_ascii_start().first() == Some(&b'[');
    let malformed = |why| Bad { why, raw: &bytes, ..Bad::known(None) };

    if !array {
        if !whole {
            return Err(Refused::Signature);
        }
        let event = batch::fits(bytes.len(), limits).and_then(|()| decode_text(source, at, &bytes));
        return match event {
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
    }

    let items: Vec<&RawValue> = match serde_json::from_slice(&bytes) {
        Ok(items) => items,
        // Only the holder of the secret is told what is wrong.
        Err(error) if whole => return Err(request.refuse_event(source, at, malformed(Rejection::json(&error))).await),
        Err(_) => return Err(Refused::Signature),
    };
    if !whole {
        let first = items.first().ok_or(Refused::Signature)?;
        if !auth::signed(request.headers, secret, first.get().as_bytes()) {
            return Err(Refused::Signature);
        }
        if !secrets.webhook_token.as_ref().is_some_and(|token| auth::proves(request.headers, token)) {
            return Err(Refused::SecondProof);
        }
    }
    let mut good = request.intake(source, Origin::Segment, bytes.len());
    let bad = batch::sort(at, &bytes, &items, None, &mut good);
    request.take(at, good, &bad).await
}
