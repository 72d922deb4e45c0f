//! The subscription: made by a command, looked after from then on.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Webhooks;
use crate::config::{Secret, WebhooksConfig};
use crate::crm::{Account, FindError};
use crate::failure::FailureClass;
use crate::pipedrive::{ApiError, Caller, ErrorKind, NewWebhook, Session, Trace, Webhook};
use crate::store::{StoreError, Write};

/// Where the store keeps it; the key is the account's name.
const SPACE: &str = "webhooks";
/// Its name in Pipedrive.
const NAME: &str = "Pipewright";
/// How often is noted that the daemon runs, and is looked at what is due.
const BEAT: Duration = Duration::from_secs(60);
/// A check that failed is made again so much later.
const AGAIN: SignedDuration = SignedDuration::from_mins(10);

/// What the store keeps of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Its number.
    pub id: u64,
    /// Where it sends.
    pub url: String,
    /// A digest of user name and password.
    pub auth: String,
    /// When Pipedrive was last seen to have it, or was made to.
    pub checked_at: Timestamp,
    /// When the daemon last noted that it runs.
    pub alive_at: Timestamp,
}

/// A subscription that was made, or was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Its number.
    pub subscription: u64,
    /// Where it sends.
    pub url: String,
    /// It was made now.
    pub made: bool,
    /// Others with the same address that were ended.
    pub ended: Vec<u64>,
}

/// How a subscription was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Checked {
    /// Pipedrive has it, and what it last sent was taken.
    Well,
    /// Pipedrive has it, and what it last sent was not taken: what was missed is asked for.
    Refused {
        /// What was answered.
        status: u16,
    },
    /// Address, user or password are others in `rules.toml` than it was made with: it was made anew, and what was missed is asked for.
    Changed {
        /// The new one.
        registered: Registered,
    },
    /// Pipedrive did not have it any more: it was made anew, and what was missed is asked for.
    Renewed {
        /// The new one.
        registered: Registered,
        /// Why it was gone, where Pipedrive says.
        reason: Option<String>,
    },
}

/// Why the subscription could not be looked after.
#[derive(Debug, thiserror::Error)]
pub enum WebhooksError {
    /// `rules.toml` has none.
    #[error(
        "account `{0}` has no `webhooks`: add webhooks = {{ url = \"https://..\", password = \"env:NAME\" }} under [pipedrive.{0}]"
    )]
    NotConfigured(String),
    /// There is none to check.
    #[error("no webhooks were registered for account `{0}`: run `pipewright webhooks register`")]
    NotRegistered(String),
    /// The token's user may not have webhooks.
    #[error(
        "{0}: webhooks need the token of an admin; give one to `api_token` of the account, or make its user an admin in Pipedrive"
    )]
    NotAdmin(#[source] ApiError),
    /// Pipedrive did not do it.
    #[error(transparent)]
    Api(ApiError),
    /// The store did not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was missed could not be asked for.
    #[error(transparent)]
    Sweep(#[from] FindError),
}

impl From<ApiError> for WebhooksError {
    fn from(error: ApiError) -> Self {
        match error.kind {
            ErrorKind::Account { status: 403, .. } => Self::NotAdmin(error),
            _ => Self::Api(error),
        }
    }
}

impl WebhooksError {
    /// The failure class.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::NotConfigured(_) | Self::NotRegistered(_) => FailureClass::Misconfigured,
            Self::NotAdmin(error) | Self::Api(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Sweep(error) => error.class(),
        }
    }
}

impl Webhooks {
    /// Takes what the store kept.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(&self, account: &Account) -> Result<(), StoreError> {
        let kept = account.store.kv_get(SPACE, &account.name).await?;
        // Another version's costs a registration.
        self.state.lock().kept = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(())
    }

    async fn store(&self, account: &Account, kept: Option<Kept>) -> Result<(), StoreError> {
        let (space, key) = (SPACE.to_owned(), account.name.to_string());
        let write = match &kept {
            Some(kept) => Write::KvPut { space, key, value: serde_json::to_vec(kept).expect("texts and numbers serialise") },
            None => Write::KvDelete { space, key },
        };
        account.store.commit(vec![write]).await?;
        self.state.lock().kept = kept;
        Ok(())
    }

    fn kept(&self) -> Option<Kept> {
        self.state.lock().kept.clone()
    }

    /// Sees to it that Pipedrive tells this address of all changes, once. Others with the same address are ended.
    ///
    /// # Errors
    /// Without `webhooks` in `rules.toml`, and when Pipedrive or the store fails.
    pub async fn register(&self, account: &Account, session: &Session, password: &Secret) -> Result<Registered, WebhooksError> {
        let config = configured(account)?;
        let _turn = self.turn.lock().await;
        let listed = session.webhooks().await?;
        self.register_among(account, session, config, password, &listed).await
    }

    async fn register_among(
        &self,
        account: &Account,
        session: &Session,
        config: &WebhooksConfig,
        password: &Secret,
        listed: &[Webhook],
    ) -> Result<Registered, WebhooksError> {
        let url = config.address(&account.name);
        let (now, auth) = (Timestamp::now(), auth(config, password));
        let kept = self.kept();
        let former = kept.as_ref().map(|kept| kept.id);
        let kept = kept.filter(|kept| kept.url == url && kept.auth == auth);
        let there = listed.iter().find(|webhook| kept.as_ref().is_some_and(|kept| kept.id == webhook.id) && is_live(webhook));
        let (id, made) = match there {
            Some(webhook) => (webhook.id, false),
            None => {
                let auth = (config.user.as_str(), password.expose());
                (session.create_webhook(NewWebhook { url: &url, name: NAME, auth }).await?, true)
            }
        };
        self.store(account, Some(Kept { id, url: url.clone(), auth, checked_at: now, alive_at: now })).await?;
        self.state.lock().problem = None;
        let mut ended = Vec::new();
        let is_former = |webhook: &Webhook| webhook.subscription_url == url || Some(webhook.id) == former;
        for other in listed.iter().filter(|webhook| is_former(webhook) && webhook.id != id) {
            session.delete_webhook(other.id).await?;
            ended.push(other.id);
        }
        if made {
            tracing::info!(account = %account.name, subscription = id, url, "Pipedrive was asked to tell of all changes");
        }
        Ok(Registered { subscription: id, url, made, ended })
    }

    /// Looks whether Pipedrive has the subscription still; makes it anew when it has not.
    ///
    /// # Errors
    /// When there is none, and when Pipedrive or the store fails.
    pub async fn check(&self, account: &Account, session: &Session, password: &Secret) -> Result<Checked, WebhooksError> {
        let config = configured(account)?;
        let _turn = self.turn.lock().await;
        let kept = self.kept().ok_or_else(|| WebhooksError::NotRegistered(account.name.to_string()))?;
        let listed = session.webhooks().await?;
        let there = listed.iter().find(|webhook| webhook.id == kept.id);
        let as_configured = kept.url == config.address(&account.name) && kept.auth == auth(config, password);
        match there.filter(|webhook| as_configured && is_live(webhook)) {
            Some(webhook) => {
                let refused = webhook.last_http_status.filter(|status| !(200..300).contains(status));
                self.store(account, Some(Kept { checked_at: Timestamp::now(), ..kept.clone() })).await?;
                self.state.lock().problem = refused.map(|status| {
                    format!("what Pipedrive last sent was answered {status}: is the address right, and what answers there?")
                });
                match refused {
                    Some(status) => {
                        tracing::warn!(account = %account.name, status, "Pipedrive's last webhook was not taken; what was missed is asked for");
                        self.missed_since(kept.checked_at);
                        Ok(Checked::Refused { status })
                    }
                    None => Ok(Checked::Well),
                }
            }
            None => {
                let reason = there.and_then(|webhook| webhook.remove_reason.clone());
                if as_configured {
                    tracing::warn!(account = %account.name, subscription = kept.id, reason, "Pipedrive has ended the webhooks; they are made anew");
                }
                let registered = self.register_among(account, session, config, password, &listed).await?;
                self.missed_since(kept.checked_at);
                Ok(if as_configured { Checked::Renewed { registered, reason } } else { Checked::Changed { registered } })
            }
        }
    }

    /// Ends the subscription, and any other with its address; answers their numbers.
    ///
    /// # Errors
    /// Without `webhooks` in `rules.toml`, and when Pipedrive or the store fails.
    pub async fn remove(&self, account: &Account, session: &Session) -> Result<Vec<u64>, WebhooksError> {
        let url = configured(account)?.address(&account.name);
        let _turn = self.turn.lock().await;
        let kept = self.kept().map(|kept| kept.id);
        let mut ended = Vec::new();
        let listed = session.webhooks().await?;
        // First, or a check would make anew what was ended just before the daemon died. What is still there then, the command finds again.
        self.store(account, None).await?;
        for webhook in listed.iter().filter(|webhook| webhook.subscription_url == url || Some(webhook.id) == kept) {
            session.delete_webhook(webhook.id).await?;
            ended.push(webhook.id);
        }
        self.state.lock().problem = None;
        Ok(ended)
    }

    /// Asks for what may have been missed, if anything.
    ///
    /// # Errors
    /// When a request or the store fails; then it is still to be asked for.
    pub async fn catch_up(&self, account: &Account, session: &Session) -> Result<(), WebhooksError> {
        let Some(since) = self.state.lock().missed_since.take() else { return Ok(()) };
        let done = account.mirror.catch_up(account, session, since).await;
        if done.is_err() {
            let mut state = self.state.lock();
            state.missed_since = Some(state.missed_since.map_or(since, |later| later.min(since)));
        }
        Ok(done?)
    }

    /// Notes that the daemon runs, where there is a subscription.
    async fn beat(&self, account: &Account) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        match self.kept() {
            Some(kept) => self.store(account, Some(Kept { alive_at: Timestamp::now(), ..kept })).await,
            None => Ok(()),
        }
    }
}

fn configured(account: &Account) -> Result<&WebhooksConfig, WebhooksError> {
    account.config.webhooks.as_ref().ok_or_else(|| WebhooksError::NotConfigured(account.name.to_string()))
}

/// What is subscribed to everything in the right shape, and active.
fn is_live(webhook: &Webhook) -> bool {
    webhook.is_active == 1 && webhook.event_action == "*" && webhook.event_object == "*" && webhook.version.starts_with('2')
}

fn auth(config: &WebhooksConfig, password: &Secret) -> String {
    hex::encode(Sha256::digest(format!("{}:{}", config.user, password.expose())))
}

/// Looks after the webhooks of an account for as long as it is polled: notes that the daemon runs, checks the subscription when that is due,
/// and asks for what was missed. Without a subscription it waits for one.
pub async fn keep(account: &Account, password: &Secret) {
    let webhooks = &account.webhooks;
    let Ok(config) = configured(account) else { return };
    let between = SignedDuration::try_from(config.check_every.get()).unwrap_or(SignedDuration::MAX);
    if let Some(kept) = webhooks.kept()
        && (kept.url != config.address(&account.name) || kept.auth != auth(config, password))
    {
        let problem = "its url, user or password were changed in rules.toml: run `pipewright webhooks register`";
        webhooks.state.lock().problem = Some(problem.to_owned());
    }
    // Pipedrive sends again after 3 seconds, so that a short stop misses nothing.
    if let Some(kept) = webhooks.kept()
        && Timestamp::now().duration_since(kept.alive_at).unsigned_abs() > 2 * BEAT
    {
        webhooks.missed_since(kept.alive_at);
    }
    let mut not_before = Timestamp::MIN;
    loop {
        let now = Timestamp::now();
        let session = account.client.session(Trace::default()).on_behalf_of(Caller::background());
        let is_due = |kept: Kept| now.duration_since(kept.checked_at) >= between && now >= not_before;
        if webhooks.kept().is_some_and(is_due)
            && let Err(error) = webhooks.check(account, &session, password).await
        {
            tracing::warn!(account = %account.name, %error, "whether Pipedrive has the webhooks still could not be looked at; it is tried again");
            not_before = now.checked_add(AGAIN).unwrap_or(Timestamp::MAX);
        }
        // Also of webhooks that a person has made in Pipedrive.
        if let Err(error) = webhooks.catch_up(account, &session).await {
            tracing::warn!(account = %account.name, %error, "what webhooks may have missed could not be asked for; it is tried again");
        }
        if let Err(error) = webhooks.beat(account).await {
            tracing::warn!(account = %account.name, %error, "that the daemon runs could not be noted");
        }
        tokio::time::sleep(BEAT).await;
    }
}
