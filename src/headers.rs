//! The security headers that every answer of every listener carries: events, admin API, embedded Pipedrive.
//!
//! Invariants: no answer is stored by a cache, taken for another type than it has, framed by a page, or names where it was asked
//! from; a page may load only what its policy names.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

/// The policy of what is no page: nothing is loaded, nobody frames it.
pub(crate) const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'";

/// The policy of a page without scripts that carries its own style.
pub(crate) const STYLED_PAGE: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// Puts them on an answer, with this content security policy.
pub(crate) fn harden(headers: &mut HeaderMap, policy: &'static str) {
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
