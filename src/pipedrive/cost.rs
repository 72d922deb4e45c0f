//! What a request costs of the company's daily token budget.
//!
//! The cost is flat per request: neither page size nor hits change it. v1 calls cost twice what v2 calls do, so the two scales are one
//! table with a factor.

use super::{Method, Request};

/// Tokens charged for a request, by Pipedrive's published costs.
#[must_use]
pub fn tokens(request: &Request) -> u32 {
    let (v2, segments) = split(&request.path);
    let scale = if v2 { 1 } else { 2 };
    match (request.method, segments.as_slice()) {
        // Costs that are not on the general scale.
        (Method::Get, ["users", "me"] | ["leadSources"]) => 2,
        (Method::Get, ["leadLabels" | "webhooks"]) => 10,
        (Method::Get, ["deals" | "leads", "archived"]) => 20 * scale,
        (Method::Get, ["pipelines" | "stages"]) if v2 => 5,
        (_, [.., "merge"]) => 40,
        (Method::Post, [_, _, "convert", _]) => 40,
        (Method::Get, [_, _, "convert", "status", _]) => 1,
        // The general scale.
        (Method::Get, [_, "search" | "find"] | ["itemSearch", ..]) => 20 * scale,
        (Method::Get, [_]) => 10 * scale,
        (Method::Get, [_, _]) => scale,
        (Method::Get, _) => 10 * scale,
        (Method::Post | Method::Patch | Method::Put, _) => 5 * scale,
        (Method::Delete, _) => 3 * scale,
    }
}

/// Whether the request falls under the separate limit of searches.
#[must_use]
pub fn is_search(request: &Request) -> bool {
    let (_, segments) = split(&request.path);
    request.method == Method::Get && matches!(segments.as_slice(), [_, "search" | "find"] | ["itemSearch", ..])
}

/// API version and the path below it.
fn split(path: &str) -> (bool, Vec<&str>) {
    let path = path.split('?').next().unwrap_or_default();
    let mut segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    if segments.first() == Some(&"api") {
        segments.remove(0);
    }
    let v2 = segments.first() == Some(&"v2");
    if matches!(segments.first(), Some(&("v1" | "v2"))) {
        segments.remove(0);
    }
    (v2, segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_those_that_pipedrive_publishes() {
        let cases = [
            ("GET", "/api/v2/persons/7", 1),
            ("GET", "/api/v2/persons", 10),
            ("GET", "/api/v2/persons/search", 20),
            ("GET", "/api/v2/itemSearch", 20),
            ("GET", "/api/v2/itemSearch/field", 20),
            ("POST", "/api/v2/deals", 5),
            ("PATCH", "/api/v2/deals/7", 5),
            ("DELETE", "/api/v2/activities/7", 3),
            ("GET", "/api/v2/deals/archived", 20),
            ("GET", "/api/v2/personFields", 10),
            ("POST", "/api/v2/personFields/abc/options", 5),
            ("GET", "/api/v2/pipelines", 5),
            ("GET", "/api/v2/stages?pipeline_id=1", 5),
            ("POST", "/api/v2/leads/x/convert/deal", 40),
            ("GET", "/api/v2/leads/x/convert/status/y", 1),
            ("GET", "/api/v1/leads", 20),
            ("GET", "/api/v1/leads/archived", 40),
            ("GET", "/api/v1/leads/x", 2),
            ("POST", "/api/v1/leads", 10),
            ("PATCH", "/api/v1/leads/x", 10),
            ("DELETE", "/api/v1/leads/x", 6),
            ("GET", "/api/v1/notes", 20),
            ("PUT", "/api/v1/notes/3", 10),
            ("GET", "/api/v1/leadLabels", 10),
            ("GET", "/api/v1/users", 20),
            ("GET", "/v1/users/me", 2),
            ("GET", "/api/v1/users/find", 40),
            ("GET", "/api/v1/activityTypes", 20),
            ("PUT", "/api/v1/persons/7/merge", 40),
            ("DELETE", "/api/v1/webhooks/4", 6),
        ];
        for (method, path, want) in cases {
            let method = Method::parse(method).expect("a method");
            assert_eq!(tokens(&Request::new(method, path)), want, "{method} {path}");
        }
    }

    #[test]
    fn searches_are_told_from_other_reads() {
        assert!(is_search(&Request::get("/api/v2/persons/search")));
        assert!(is_search(&Request::get("/api/v2/itemSearch/field")));
        assert!(!is_search(&Request::get("/api/v2/persons/7")));
    }
}
