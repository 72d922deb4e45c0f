//! Subscriptions of Pipedrive's webhooks. They need a token with admin rights, and belong to its user.

use serde::Deserialize;
use serde_json::{Value, json};

use super::session::{failed, unreadable};
use super::{ApiError, ErrorKind, Method, Purpose, Request, Session};

const PATH: &str = "/api/v1/webhooks";

/// A subscription, as Pipedrive lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Webhook {
    /// Its number.
    pub id: u64,
    /// Where it sends.
    pub subscription_url: String,
    /// `create`, `change`, `delete` or `*`.
    pub event_action: String,
    /// `person` ... or `*`.
    pub event_object: String,
    /// Shape of what is sent.
    #[serde(default)]
    pub version: String,
    /// 1 or 0.
    #[serde(default = "active")]
    pub is_active: u8,
    /// Why it was removed.
    #[serde(default)]
    pub remove_reason: Option<String>,
    /// What the last delivery was answered; none before the first.
    #[serde(default)]
    pub last_http_status: Option<u16>,
}

const fn active() -> u8 {
    1
}

/// A subscription to everything.
#[derive(Debug, Clone, Copy)]
pub struct NewWebhook<'a> {
    /// Where it is to send: https, unless it is a mock.
    pub url: &'a str,
    /// Its name in Pipedrive.
    pub name: &'a str,
    /// Basic authorization: user name and password.
    pub auth: (&'a str, &'a str),
}

impl Session {
    /// All subscriptions of the token's user.
    ///
    /// # Errors
    /// Any failure of the call.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, ApiError> {
        let request = Request::get(PATH);
        let body = self.send(&request, Purpose::Webhooks).await?;
        Webhook::read_all(body).map_err(|kind| failed(&request, kind))
    }

    /// Subscribes to all changes of everything; answers the subscription's number.
    ///
    /// # Errors
    /// Any failure of the call; Pipedrive refuses addresses that it does not reach.
    pub async fn create_webhook(&self, new: NewWebhook<'_>) -> Result<u64, ApiError> {
        let mut request = Request::new(Method::Post, PATH);
        request.body = Some(json!({
            "subscription_url": new.url,
            "event_action": "*",
            "event_object": "*",
            "version": "2.0",
            "name": new.name,
            "http_auth_user": new.auth.0,
            "http_auth_password": new.auth.1,
        }));
        let body = self.send(&request, Purpose::Webhooks).await?;
        let id = body.pointer("/data/id").and_then(Value::as_u64);
        id.ok_or_else(|| failed(&request, unreadable("`data.id` is no number")))
    }

    /// Ends a subscription; one that is gone has ended.
    ///
    /// # Errors
    /// Any other failure of the call.
    pub async fn delete_webhook(&self, id: u64) -> Result<(), ApiError> {
        let request = Request::new(Method::Delete, format!("{PATH}/{id}"));
        match self.send(&request, Purpose::Webhooks).await {
            Err(error) if !error.is_gone() => Err(error),
            _ => Ok(()),
        }
    }
}

impl Webhook {
    fn read_all(mut body: Value) -> Result<Vec<Self>, ErrorKind> {
        match body.get_mut("data").map(Value::take) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(list) => serde_json::from_value(list).map_err(|e| unreadable(&format!("`data` is no list of webhooks: {e}"))),
        }
    }
}
