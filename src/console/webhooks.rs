//! Pipedrive's webhooks: made, looked after, ended on request.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Extract;
use axum::extract::rejection::JsonRejection;
use serde::{Deserialize, Serialize};

use super::State;
use super::problem::Failed;
use crate::config::Secret;
use crate::crm::{Account, Checked, Registered, WebhooksError};
use crate::pipedrive::{Caller, Session, Trace};

/// `POST /api/webhooks/{register,check,remove}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhooksRequest {
    /// Only of this account; else of all that have `webhooks` in `rules.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// What became of the webhooks of the accounts, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhooksAnswer<T> {
    /// By account, in the order of their names.
    pub accounts: Vec<WebhooksOf<T>>,
    /// Tokens that this has cost.
    pub tokens: u32,
}

/// One account's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhooksOf<T> {
    /// Its name.
    pub account: String,
    /// What became of them.
    #[serde(flatten)]
    pub done: T,
}

/// Subscriptions that were ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Their numbers.
    pub ended: Vec<u64>,
}

pub(super) async fn register(
    Extract(state): Extract<State>,
    body: Result<Json<WebhooksRequest>, JsonRejection>,
) -> Result<Json<WebhooksAnswer<Registered>>, Failed> {
    let act = async |account: &Account, session: &Session, password: &Secret| {
        account.webhooks.register(account, session, password).await
    };
    each(&state, body?.0, act).await
}

pub(super) async fn check(
    Extract(state): Extract<State>,
    body: Result<Json<WebhooksRequest>, JsonRejection>,
) -> Result<Json<WebhooksAnswer<Checked>>, Failed> {
    let act = async |account: &Account, session: &Session, password: &Secret| {
        let checked = account.webhooks.check(account, session, password).await?;
        account.webhooks.catch_up(account, session).await?;
        Ok(checked)
    };
    each(&state, body?.0, act).await
}

pub(super) async fn remove(
    Extract(state): Extract<State>,
    body: Result<Json<WebhooksRequest>, JsonRejection>,
) -> Result<Json<WebhooksAnswer<Ended>>, Failed> {
    let act = async |account: &Account, session: &Session, _: &Secret| {
        Ok(Ended { ended: account.webhooks.remove(account, session).await? })
    };
    each(&state, body?.0, act).await
}

/// Does it for each account that is meant.
async fn each<T>(
    state: &State,
    request: WebhooksRequest,
    act: impl AsyncFn(&Account, &Session, &Secret) -> Result<T, WebhooksError>,
) -> Result<Json<WebhooksAnswer<T>>, Failed> {
    let set = state.live.load_full();
    if let Some(account) = &request.account {
        state.account(account)?;
    }
    let wanted = |account: &&Arc<Account>| request.account.as_ref().is_none_or(|name| **name == *account.name);
    let accounts: Vec<Arc<Account>> = state.accounts.read().values().filter(wanted).cloned().collect();
    let trace = Trace::default();
    let mut done = Vec::new();
    for account in &accounts {
        let Some(password) = set.webhooks.get(&*account.name) else {
            match request.account {
                Some(_) => return Err(WebhooksError::NotConfigured(account.name.to_string()).into()),
                None => continue,
            }
        };
        let session = account.client.session(trace.clone()).on_behalf_of(Caller::person());
        let what =
            act(account, &session, password).await.map_err(|e| Failed::from(e).but(&format!("account {}: ", account.name)))?;
        done.push(WebhooksOf { account: account.name.to_string(), done: what });
    }
    if done.is_empty() {
        let help = "no account has webhooks: add webhooks = { url = \"https://..\", password = \"env:NAME\" } under its [pipedrive.NAME]";
        return Err(Failed::bad_request(help));
    }
    let tokens = trace.exchanges().iter().map(|exchange| exchange.tokens).sum();
    Ok(Json(WebhooksAnswer { accounts: done, tokens }))
}
