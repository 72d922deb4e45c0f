//! The accounts, made from the configuration and made anew when it changes.
//!
//! Invariant: index and known values belong to one Pipedrive account. When the address of an account changes, what was learned
//! of the former one is forgotten before the first delivery goes to the new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::StartError;
use crate::config::{AccountConfig, Secret, Writes};
use crate::crm::budget::Ledger;
use crate::crm::{Account, Accounts, Listener, Metadata, forget_all, keep_webhooks};
use crate::delivery;
use crate::mock::Mock;
use crate::pipedrive::{Caller, Client, ClientOptions, HttpTransport, Trace, Transport, base_url};
use crate::rules::{Live, ScriptSet, Version, check};
use crate::store::{Store, Write};
use crate::telemetry::Metrics;

/// Space of the store's small values that says whose index an account's index is.
const SPACE: &str = "account_address";

/// More requests than can be sent in a window.
const NO_LIMIT: u32 = 1_000_000;

/// Where the accounts' requests go, and how fast.
#[derive(Clone)]
pub(super) struct Endpoint {
    /// Where.
    pub(super) door: Door,
    /// No limits are kept.
    pub(super) unlimited: bool,
    /// All accounts write, whatever their `writes` says.
    pub(super) writes_on: bool,
    /// Who schedules the accounts' deliveries.
    pub(super) listener: Listener,
}

/// Where the accounts' requests go.
#[derive(Clone)]
pub(super) enum Door {
    /// To each account's own address.
    Configured,
    /// All to this address, with the token `mock`, where this embedded Pipedrive is served.
    Url(String, Arc<Mock>),
    /// All to an embedded Pipedrive in this process.
    InProcess(Arc<Mock>),
}

/// Where what is learned, spent and counted of the accounts is kept.
#[derive(Clone)]
pub(super) struct Keeping {
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Metrics,
    pub(super) ledger: Ledger,
}

/// Makes the accounts of a set; those that did not change stay as they are.
///
/// # Errors
/// When an account's address or token is not usable, or the store fails.
pub(super) async fn update(
    accounts: &Accounts,
    former_tokens: &BTreeMap<String, Secret>,
    set: &ScriptSet,
    endpoint: &Endpoint,
    keeping: &Keeping,
) -> Result<(), StartError> {
    let before = accounts.read().clone();
    let mut now: BTreeMap<Arc<str>, Arc<Account>> = BTreeMap::new();
    for (name, config) in &set.config.pipedrive {
        let mut config = config.clone();
        if endpoint.writes_on {
            config.writes = Writes::On;
        }
        let token = set.tokens.get(name);
        let kept = before.get(name.as_str()).filter(|a| a.config == config && former_tokens.get(name) == token);
        let account = match kept {
            Some(account) => account.clone(),
            None => make(name, &config, token, endpoint, keeping).await?,
        };
        // An embedded account that did not start from the file has other keys than it.
        if matches!(endpoint.door, Door::Configured) {
            account.pin_to(set.schemas.get(name).cloned());
        }
        let rules = set.rules.iter().filter(|rule| rule.config.enabled && *rule.account == **name);
        keeping.ledger.configure(name, config.budget, rules.map(|rule| rule.config.priority).collect());
        now.insert(Arc::from(name.as_str()), account);
    }
    *accounts.write() = now;
    Ok(())
}

async fn make(
    name: &str,
    config: &AccountConfig,
    token: Option<&Secret>,
    endpoint: &Endpoint,
    keeping: &Keeping,
) -> Result<Arc<Account>, StartError> {
    let Keeping { store, metrics, ledger } = keeping;
    let wrong = |reason: String| StartError::Account { account: name.to_owned(), reason };
    let (transport, address): (Arc<dyn Transport>, String) = match &endpoint.door {
        // An embedded account begins anew with each process, so after a restart its address is never the former one.
        Door::InProcess(mock) => (mock.clone(), format!("mock:{}", mock.identity())),
        Door::Url(url, mock) => {
            let transport = HttpTransport::new(url, &Secret::new("mock"), config.timeout.get());
            (Arc::new(transport.map_err(|e| wrong(e.to_string()))?), format!("mock:{}", mock.identity()))
        }
        Door::Configured => {
            let token = token.ok_or_else(|| wrong("it has no api_token".to_owned()))?;
            let url = base_url(config).map_err(|e| wrong(e.to_string()))?;
            let transport = HttpTransport::new(&url, token, config.timeout.get()).map_err(|e| wrong(e.to_string()))?;
            (Arc::new(transport), url)
        }
    };
    let mut writes = Vec::new();
    let known = store.kv_get(SPACE, name).await?;
    let is_same = known.as_deref() == Some(address.as_bytes());
    if !is_same {
        if known.is_some() && matches!(endpoint.door, Door::Configured) {
            tracing::warn!(
                account = name,
                "the account has another address than before: what was learned of the former is forgotten"
            );
        }
        ledger.forget(name).await?;
        writes.push(Write::ForgetAccount { account: name.to_owned() });
        writes.extend(forget_all(name));
        writes.push(Write::KvPut { space: SPACE.to_owned(), key: name.to_owned(), value: address.into_bytes() });
        store.commit(writes).await?;
    }
    let defaults = ClientOptions::default();
    let options = ClientOptions {
        burst: if endpoint.unlimited { NO_LIMIT } else { config.plan.burst() },
        search_burst: if endpoint.unlimited { NO_LIMIT } else { defaults.search_burst },
        concurrency: config.concurrency,
        account: name.to_owned(),
        metrics: Some(metrics.clone()),
        purse: Some(ledger.purse(name)),
    };
    let client = Client::new(transport, options);
    let account = Account::new(name, client, store.clone(), config.clone(), metrics.clone());
    account.attach(endpoint.listener.clone());
    account.mirror.load(&account).await?;
    account.webhooks.load(&account).await?;
    if is_same {
        account.load_kept_metadata().await?;
    }
    Ok(Arc::new(account))
}

/// What the accounts last answered; those that were never reached are left out.
pub(super) fn metadata(accounts: &Accounts) -> BTreeMap<String, Arc<Metadata>> {
    let accounts = accounts.read();
    accounts.iter().filter_map(|(name, account)| Some((name.to_string(), account.answer()?))).collect()
}

/// What follows the live set.
pub(super) struct Follow {
    pub(super) swapped: watch::Receiver<Version>,
    /// Told which set the accounts are in step with.
    pub(super) followed: watch::Sender<Version>,
    pub(super) live: Live,
    pub(super) accounts: Accounts,
    pub(super) endpoint: Endpoint,
    pub(super) keeping: Keeping,
    pub(super) delivery: delivery::Handle,
    pub(super) stopping: watch::Receiver<bool>,
}

/// Keeps the accounts in step with the live set, and their metadata at hand.
pub(super) async fn follow(mut follow: Follow) {
    let mut stopping = follow.stopping.clone();
    let mut tokens = follow.live.load().tokens.clone();
    loop {
        // An account that is slow to answer keeps no change waiting: least of all `writes = "off"`.
        let warming = async {
            warm_up(&follow.accounts, &follow.live).await;
            keep_all_webhooks(&follow.accounts, &follow.live).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = warming => {}
            changed = follow.swapped.changed() => if changed.is_err() { return },
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        let set = follow.live.load_full();
        match update(&follow.accounts, &tokens, &set, &follow.endpoint, &follow.keeping).await {
            Ok(()) => tokens.clone_from(&set.tokens),
            Err(error) => tracing::error!(%error, "the accounts could not be changed; they go on as before"),
        }
        follow.delivery.reloaded().await;
        follow.followed.send_replace(set.version.clone());
    }
}

/// Looks after the webhooks of all accounts, for as long as it is polled.
async fn keep_all_webhooks(accounts: &Accounts, live: &Live) {
    let set = live.load_full();
    let accounts: Vec<Arc<Account>> = accounts.read().values().cloned().collect();
    let with_password = accounts.iter().filter_map(|account| Some((account, set.webhooks.get(&*account.name)?)));
    let mut kept: JoinSet<()> = JoinSet::new();
    for (account, password) in with_password {
        let (account, password) = (account.clone(), password.clone());
        kept.spawn(async move { keep_webhooks(&account, &password).await });
    }
    while kept.join_next().await.is_some() {}
}

/// Fetches metadata where there is none, and says what the live set's scripts have wrong about it.
async fn warm_up(accounts: &Accounts, live: &Live) {
    let all: Vec<Arc<Account>> = accounts.read().values().cloned().collect();
    for account in all {
        let session = account.client.session(Trace::default());
        if let Err(error) = account.ready_metadata(&session).await {
            tracing::warn!(account = %account.name, %error, "the account's fields could not be read; its deliveries will try again");
        } else if let Err(error) = account.mirror.fill(&account, &session.on_behalf_of(Caller::background())).await {
            tracing::warn!(account = %account.name, %error, "the account's lists could not be read to their ends; look-ups go on with them");
        }
    }
    let set = live.load();
    for diagnostic in check(&set, &set.pinned(&metadata(accounts))).iter().filter(|d| d.is_error()) {
        tracing::warn!(
            place = diagnostic.one_line(),
            "the live scripts name what the account does not have; run `pipewright check`"
        );
    }
}
