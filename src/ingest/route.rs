//! Which path means what.

use std::borrow::Cow;

use crate::event::EventType;

/// What a path is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// One event of this type; the path's type goes before the body's.
    Call(EventType),
    /// Several events of any type.
    Batch,
    /// Segment's webhook destinations, for this source.
    Webhook(Cow<'a, str>),
    /// Pipedrive's webhooks, for this account.
    Pipedrive(&'a str),
}

impl<'a> Route<'a> {
    /// Reads a path. One slash at its end changes nothing.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        if let Some(source) = path.strip_prefix("/webhooks/") {
            let source = percent_encoding::percent_decode_str(source).decode_utf8().ok()?;
            return (!source.is_empty()).then_some(Self::Webhook(source));
        }
        if let Some(account) = path.strip_prefix("/pipedrive/") {
            return (!account.is_empty()).then_some(Self::Pipedrive(account));
        }
        Some(match path.strip_prefix("/v1/")? {
            "identify" | "i" => Self::Call(EventType::Identify),
            "track" | "t" => Self::Call(EventType::Track),
            "group" | "g" => Self::Call(EventType::Group),
            "page" | "p" => Self::Call(EventType::Page),
            "screen" | "s" => Self::Call(EventType::Screen),
            "alias" | "a" => Self::Call(EventType::Alias),
            // Older libraries send their batches to /v1/import.
            "batch" | "b" | "import" => Self::Batch,
            _ => return None,
        })
    }

    /// The word for metrics.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Call(kind) => kind.as_str(),
            Self::Batch => "batch",
            Self::Webhook(_) => "webhook",
            Self::Pipedrive(_) => "pipedrive",
        }
    }

    /// The methods it takes.
    pub(super) const fn methods(&self) -> &'static str {
        match self {
            Self::Call(_) | Self::Batch | Self::Pipedrive(_) => "POST",
            Self::Webhook(_) => "POST, PUT, PATCH",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_paths_mean_the_same() {
        for kind in EventType::ALL.into_iter().filter(|k| *k != EventType::Delete) {
            let long = format!("/v1/{kind}");
            assert_eq!(Route::of(&long), Some(Route::Call(kind)));
            assert_eq!(Route::of(&long[..5]), Some(Route::Call(kind)));
        }
        for path in ["/v1/batch", "/v1/b", "/v1/import", "/v1/batch/"] {
            assert_eq!(Route::of(path), Some(Route::Batch));
        }
        assert_eq!(Route::of("/webhooks/my%20site"), Some(Route::Webhook("my site".into())));
        assert_eq!(Route::of("/pipedrive/main"), Some(Route::Pipedrive("main")));
        for path in ["/", "", "/v1", "/v1/", "/v1/delete", "/v2/track", "/webhooks/", "/webhooks/%ff", "/pipedrive/"] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }
}
