//! The shapes of answers: success and error envelopes of both API versions.

use serde_json::{Value, json};

/// An answer before it is put on the wire.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    /// HTTP status.
    pub(super) status: u16,
    /// JSON body.
    pub(super) body: Value,
}

/// What a route gives: an answer, or a refusal, which is an answer too.
pub(super) type Handled = Result<Reply, Reply>;

/// API versions; a route belongs to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Version {
    V1,
    V2,
}

impl Reply {
    /// 200 with `data`.
    pub(super) fn data(data: Value) -> Self {
        Self { status: 200, body: json!({ "success": true, "data": data }) }
    }

    /// 200 with `data` and `additional_data`.
    pub(super) fn page(data: Value, additional: Value) -> Self {
        Self { status: 200, body: json!({ "success": true, "data": data, "additional_data": additional }) }
    }

    /// A page of a v2 list.
    pub(super) fn cursor_page(data: Vec<Value>, next_cursor: Option<String>) -> Self {
        Self::page(Value::Array(data), json!({ "next_cursor": next_cursor }))
    }

    /// 201, as v1 answers some creations.
    pub(super) const fn created(mut self) -> Self {
        self.status = 201;
        self
    }
}

/// 400 of the schema check: one or several `path: message`.
pub(super) fn schema(version: Version, problems: &[String]) -> Reply {
    let text = format!("Validation failed: {}", problems.join("; "));
    match version {
        Version::V2 => {
            Reply { status: 400, body: json!({ "success": false, "error": text, "code": "ERR_SCHEMA_VALIDATION_FAILED" }) }
        }
        Version::V1 => v1(400, &text, "Please check the request and try again."),
    }
}

/// 400 of a rule that the schema does not hold.
pub(super) fn bad_request(version: Version, message: impl AsRef<str>) -> Reply {
    let message = message.as_ref();
    match version {
        Version::V2 => Reply { status: 400, body: json!({ "success": false, "error": message, "code": "ERR_BAD_REQUEST" }) },
        Version::V1 => v1(400, message, "Please check the request and try again."),
    }
}

/// 404 of an entity.
pub(super) fn not_found(version: Version) -> Reply {
    match version {
        Version::V2 => v1(404, "Entity was not found", "Object was not found."),
        Version::V1 => v1(404, "Not found", "Object was not found."),
    }
}

/// 403 in JSON.
pub(super) fn forbidden(message: &str) -> Reply {
    Reply { status: 403, body: json!({ "success": false, "error": message, "code": "ERR_FORBIDDEN" }) }
}

/// 401.
pub(super) fn unauthorized() -> Reply {
    Reply { status: 401, body: json!({ "success": false, "error": "unauthorized access", "errorCode": 401 }) }
}

/// The v1 error envelope.
pub(super) fn v1(status: u16, error: &str, info: &str) -> Reply {
    Reply { status, body: json!({ "success": false, "error": error, "error_info": info, "data": null, "additional_data": null }) }
}
