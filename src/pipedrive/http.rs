//! The transport over the network.
//!
//! Invariants: the token is in the `x-api-token` header only, marked sensitive, and goes to the configured host only (no redirect is
//! followed); nothing is sent twice by this layer; no answer takes more than [`MAX_BODY`] of memory.

use std::time::Duration;

use async_trait::async_trait;
use http::header::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::{Answer, Body, Method, Request, Transport, TransportError};
use crate::config::{AccountConfig, Secret};

/// Largest answer that is read.
pub const MAX_BODY: usize = 8 * 1024 * 1024;
/// How much of an answer that is not JSON is kept.
const KEPT_TEXT: usize = 2 * 1024;
/// Connecting is given up earlier than the whole request.
const CONNECT: Duration = Duration::from_secs(10);

/// Sends requests to Pipedrive, or to a host that speaks the same API.
#[derive(Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
    base: String,
    host: String,
    timeout: Duration,
}

/// A transport that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum HttpTransportError {
    /// Neither domain nor base URL.
    #[error("the account has neither `domain` nor `base_url`; set domain = \"acme\" for https://acme.pipedrive.com")]
    NoHost,
    /// `domain` is not the first part of a host name.
    #[error("`{0}` is no Pipedrive domain; write \"acme\" for https://acme.pipedrive.com, or set base_url for another host")]
    BadDomain(String),
    /// `base_url` is not usable.
    #[error("`{0}` is no base URL; write it as \"https://host\" or \"http://host:port\", without user name, query or fragment")]
    BadUrl(String),
    /// The token holds what no header can.
    #[error("the API token holds characters that no header can carry; copy it again from Pipedrive's personal preferences")]
    BadToken,
    /// TLS or the client could not be set up.
    #[error("the HTTPS client cannot be set up: {0}")]
    Setup(String),
}

/// The URL that an account's settings name: `base_url`, else the domain at Pipedrive.
///
/// # Errors
/// When neither is set or what is set is no host.
pub fn base_url(config: &AccountConfig) -> Result<String, HttpTransportError> {
    if let Some(url) = &config.base_url {
        return Ok(url.clone());
    }
    let given = config.domain.as_deref().ok_or(HttpTransportError::NoHost)?;
    let name = given.strip_suffix(".pipedrive.com").unwrap_or(given);
    let fits = !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fits { Ok(format!("https://{name}.pipedrive.com")) } else { Err(HttpTransportError::BadDomain(given.to_owned())) }
}

impl HttpTransport {
    /// Sets up a transport to `base_url`; `timeout` is that of one request as a whole.
    ///
    /// # Errors
    /// When the URL or the token cannot be used, or TLS cannot be set up.
    pub fn new(base_url: &str, token: &Secret, timeout: Duration) -> Result<Self, HttpTransportError> {
        let bad = || HttpTransportError::BadUrl(base_url.to_owned());
        let url = reqwest::Url::parse(base_url).map_err(|_| bad())?;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        let host = url.host_str().filter(|_| plain && matches!(url.scheme(), "http" | "https")).ok_or_else(bad)?.to_owned();
        let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();

        let mut value = HeaderValue::from_str(token.expose()).map_err(|_| HttpTransportError::BadToken)?;
        value.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (http::HeaderName::from_static("x-api-token"), value),
            (http::header::ACCEPT, HeaderValue::from_static("application/json")),
        ]);

        let builder = plain_client(&url, timeout)
            .default_headers(headers)
            .user_agent(concat!("pipewright/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout);
        let client = builder.build().map_err(|e| HttpTransportError::Setup(chain(&e)))?;
        Ok(Self { client, base: url.as_str().trim_end_matches('/').to_owned(), host: format!("{host}{port}"), timeout })
    }

    fn failure(&self, error: &reqwest::Error) -> TransportError {
        if error.is_connect() || error.is_builder() {
            TransportError::Connect { host: self.host.clone(), reason: chain(error) }
        } else if error.is_timeout() {
            TransportError::Timeout(self.timeout)
        } else {
            TransportError::Cut(chain(error))
        }
    }
}

/// A client for one host that follows no redirect and repeats nothing.
pub(crate) fn plain_client(url: &reqwest::Url, connect: Duration) -> reqwest::ClientBuilder {
    // The provider is the process's; whoever was first has set the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT.min(connect))
        .pool_idle_timeout(Duration::from_secs(50))
        .tcp_nodelay(true);
    if url.host_str().is_some_and(is_loopback) {
        builder = builder.no_proxy();
    }
    if url.scheme() == "http" {
        // Trusts nobody: the machine may have no certificates, and plain HTTP needs none.
        let nobody = rustls::RootCertStore::empty();
        let tls = rustls::ClientConfig::builder().with_root_certificates(nobody).with_no_client_auth();
        builder = builder.tls_backend_preconfigured(tls);
    }
    builder
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The causes of an error, innermost last, without the URL: its query may hold personal values.
fn chain(error: &reqwest::Error) -> String {
    let mut source = std::error::Error::source(error);
    let mut text = String::new();
    while let Some(cause) = source {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    if text.is_empty() { "the exchange failed".to_owned() } else { text }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: &Request) -> Result<Answer, TransportError> {
        let method = match request.method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Patch => http::Method::PATCH,
            Method::Put => http::Method::PUT,
            Method::Delete => http::Method::DELETE,
        };
        let mut builder = self.client.request(method, format!("{}{}", self.base, request.target()));
        if let Some(body) = &request.body {
            builder = builder.json(body);
        }
        let mut response = builder.send().await.map_err(|e| self.failure(&e))?;
        let status = response.status().as_u16();
        let headers = kept_headers(response.headers());
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() > MAX_BODY => {
                    return Ok(Answer { status, headers, body: Body::Other(format!("an answer of more than {MAX_BODY} bytes")) });
                }
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                // A refusal is told by its status alone; what a cut success did is not known, and a cut 404 may be anybody's.
                Err(_) if (300..500).contains(&status) && !matches!(status, 404 | 410) => break,
                Err(e) => return Err(self.failure(&e)),
            }
        }
        Ok(Answer { status, headers, body: read_body(&bytes) })
    }
}

fn kept_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            name.starts_with("x-ratelimit-") || matches!(name, "x-daily-requests-left" | "retry-after" | "content-type")
        })
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect()
}

fn read_body(bytes: &[u8]) -> Body {
    serde_json::from_slice::<Value>(bytes)
        .map_or_else(|_| Body::Other(String::from_utf8_lossy(&bytes[..bytes.len().min(KEPT_TEXT)]).into_owned()), Body::Json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Result<String, HttpTransportError> {
        base_url(&AccountConfig { domain: Some(text.to_owned()), ..AccountConfig::default() })
    }

    #[test]
    fn a_domain_becomes_a_host_of_pipedrive_and_of_nobody_else() {
        assert_eq!(domain("acme").ok().as_deref(), Some("https://acme.pipedrive.com"));
        assert_eq!(domain("acme.pipedrive.com").ok().as_deref(), Some("https://acme.pipedrive.com"));
        for bad in ["", "acme.example.com", "https://acme.pipedrive.com", "evil.com/x", "a@b", "-a"] {
            assert!(domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_token_does_not_print() {
        let transport = HttpTransport::new("http://127.0.0.1:1", &Secret::new("s3cret-token"), Duration::from_secs(1));
        assert!(!format!("{transport:?}").contains("s3cret-token"));
    }

    #[test]
    fn https_is_set_up_with_our_provider() {
        let made = HttpTransport::new("https://acme.pipedrive.com", &Secret::new("t"), Duration::from_secs(1));
        assert!(made.is_ok(), "{made:?}");
    }

    #[test]
    fn a_base_url_with_a_user_or_another_scheme_is_refused() {
        for bad in ["ftp://host", "http://user@host", "host", "http://host?x=1"] {
            assert!(HttpTransport::new(bad, &Secret::new("t"), Duration::from_secs(1)).is_err(), "{bad}");
        }
    }
}
