//! Reading bodies within bounds: of bytes on the wire, of bytes after inflating, of time.
//!
//! Invariants: no more than the limit is ever held in memory; a body that is too large is read away up to a further bound, so
//! that its connection can go on; beyond that the answer closes the connection.

use std::io::Read as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, EXPECT};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::refused::Refused;

/// How much of an unwanted body is read away.
const DRAIN: u64 = 2 * 1024 * 1024;

/// What a body may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// Bytes, on the wire as well as decoded.
    pub(super) bytes: u64,
    /// The setting that says so.
    pub(super) key: &'static str,
    /// Until its last byte.
    pub(super) time: Duration,
}

impl Limit {
    fn exceeded(self, drained: bool) -> Refused {
        Refused::TooLarge { limit: self.bytes, key: self.key, drained }
    }
}

/// The whole body, decoded.
pub(super) async fn read(headers: &HeaderMap, body: &mut Incoming, limit: Limit) -> Result<Bytes, Refused> {
    let gzip = match headers.get(CONTENT_ENCODING).map(|v| v.as_bytes().trim_ascii()) {
        None | Some(b"" | b"identity") => false,
        Some(coding) if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") => true,
        Some(_) => return Err(Refused::Encoding),
    };
    let bytes = tokio::time::timeout(limit.time, collect(body, limit)).await.map_err(|_| Refused::Slow)??;
    if gzip { inflate(&bytes, limit) } else { Ok(bytes) }
}

/// Reads away what is left of a body whose request is refused. False when too much is left: then the connection must end.
pub(super) async fn drain(headers: &HeaderMap, body: &mut Incoming, time: Duration) -> bool {
    if body.is_end_stream() {
        return true;
    }
    // A client that waits to be told to go on sends nothing when it is refused.
    if headers.contains_key(EXPECT) || body.size_hint().lower() > DRAIN {
        return false;
    }
    tokio::time::timeout(time, discard(body, 0)).await.unwrap_or(false)
}

async fn collect(body: &mut Incoming, limit: Limit) -> Result<Bytes, Refused> {
    if body.size_hint().lower() > limit.bytes.saturating_add(DRAIN) {
        return Err(limit.exceeded(false));
    }
    // Most bodies arrive in one piece, which is then not copied.
    let Some(first) = piece(body).await? else { return Ok(Bytes::new()) };
    let mut whole = BytesMut::new();
    let mut length = first.len() as u64;
    let mut next = Some(first);
    let mut single = Bytes::new();
    while let Some(data) = next {
        if length > limit.bytes {
            return Err(limit.exceeded(discard(body, length - limit.bytes).await));
        }
        if single.is_empty() && whole.is_empty() {
            single = data;
        } else {
            if whole.is_empty() {
                let total = usize::try_from(body.size_hint().lower().saturating_add(length)).unwrap_or(0);
                whole.reserve(total);
                whole.extend_from_slice(&std::mem::take(&mut single));
            }
            whole.extend_from_slice(&data);
        }
        next = piece(body).await?;
        length += next.as_ref().map_or(0, |d| d.len() as u64);
    }
    Ok(if whole.is_empty() { single } else { whole.freeze() })
}

/// The next piece of data; none at the end.
async fn piece(body: &mut Incoming) -> Result<Option<Bytes>, Refused> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| Refused::Cut)?.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

async fn discard(body: &mut Incoming, mut done: u64) -> bool {
    while done <= DRAIN {
        match piece(body).await {
            Ok(Some(data)) => done += data.len() as u64,
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
    false
}

fn inflate(bytes: &[u8], limit: Limit) -> Result<Bytes, Refused> {
    let mut whole = Vec::with_capacity(bytes.len().saturating_mul(4).min(usize::try_from(limit.bytes).unwrap_or(usize::MAX)));
    MultiGzDecoder::new(bytes).take(limit.bytes.saturating_add(1)).read_to_end(&mut whole).map_err(|_| Refused::Gzip)?;
    if whole.len() as u64 > limit.bytes { Err(limit.exceeded(true)) } else { Ok(Bytes::from(whole)) }
}
