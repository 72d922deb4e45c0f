//! The security headers that every answer of every listener carries (events, admin API, embedded Pipedrive), and the one of a request
//! that says whether a page of another site asks.
//!
//! Invariants: no answer is stored by a cache, taken for another type than it has, framed by a page, or names where it was asked
//! from; a page may load only what its policy names.

use std::net::IpAddr;

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
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

/// Whether `Host` is a name of this machine. A page of another site, whose name was made to lead here, sends that name.
pub(crate) fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|v| v.to_str().ok()) else { return false };
    let (name, port) = match host.strip_prefix('[') {
        // What stands between the bracket and the port would be part of the name to whoever resolved it.
        Some(v6) => v6.split_once(']').unwrap_or(("", "")),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    if !(port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())) {
        return false;
    }
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HOST, HeaderValue::from_static(value))])
    }

    #[test]
    fn only_local_names_pass_without_a_token() {
        for local in ["localhost", "localhost:8081", "127.0.0.1:1", "127.9.9.9", "[::1]:8081", "LOCALHOST"] {
            assert!(names_this_machine(&host(local)), "{local}");
        }
        for other in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "10.0.0.1",
            "[::2]",
            "",
            "[::1].evil.example",
            "[::1]evil.example:8081",
            "[::1",
            "[::1]:8081.evil.example",
            "localhost:80:80",
            "localhost:x",
            "localhost:evil.example",
        ] {
            assert!(!names_this_machine(&host(other)), "{other}");
        }
        assert!(!names_this_machine(&HeaderMap::new()));
    }
}
