//! The whole daemon, wired.
//!
//! Invariants: nothing listens before what was accepted earlier is back in its lanes; a stop first ends taking in, then delivery,
//! then the store; with an embedded Pipedrive the store is another one, so that real deliveries never go to it.

mod accounts;
mod error;
mod options;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use accounts::{Door, Endpoint, Keeping};
pub use error::StartError;
pub use options::{DaemonOptions, MockDoor, MockSetup};

use crate::config::ServerConfig;
use crate::console;
use crate::crm::Accounts;
use crate::crm::budget::{Clock, Ledger};
use crate::delivery::{self, Creates, IdImport, Locks, RestoredFrom, Revert, Runtime, Scheduler, Shadows, Wakeup};
use crate::ingest::{self, Ingest};
use crate::mock::{self, Mock};
use crate::reload;
use crate::rules::{Live, Version};
use crate::script::Pool;
use crate::store::sqlite::{FaultHook, OpenOptions, SqliteStore};
use crate::store::{Feed, Store};
use crate::telemetry::{Metrics, how_it_ended};

/// How often retention runs and sizes are measured.
const HOUSEKEEPING: Duration = Duration::from_secs(30);

/// A running daemon.
pub struct Daemon {
    ingest_addr: SocketAddr,
    admin_addr: SocketAddr,
    mock: Option<(Arc<Mock>, Option<SocketAddr>)>,
    data_dir: PathBuf,
    store: Arc<dyn Store>,
    live: Live,
    delivery: delivery::Handle,
    reload: reload::Handle,
    metrics: Metrics,
    pool: Arc<Pool>,
    shadows: Shadows,
    ledger: Ledger,
    fatal: watch::Receiver<Option<String>>,
    stop_ingest: watch::Sender<bool>,
    stop_delivery: watch::Sender<bool>,
    stop_rest: watch::Sender<bool>,
    ingest_task: JoinHandle<()>,
    delivery_task: JoinHandle<()>,
    rest: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").field("ingest", &self.ingest_addr).field("admin", &self.admin_addr).finish_non_exhaustive()
    }
}

impl Daemon {
    /// Starts everything. When it returns, events are taken.
    ///
    /// # Errors
    /// When the files are refused and there is no last good set, the store cannot be used, or an address is taken.
    pub async fn start(options: DaemonOptions) -> Result<Self, StartError> {
        Self::start_at(options, Arc::new(jiff::Timestamp::now)).await
    }

    /// The same, with the days of the token budgets by this clock.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub async fn start_at(options: DaemonOptions, days: Clock) -> Result<Self, StartError> {
        let metrics = Metrics::default();
        let mocked = options.mock.is_some();
        let unlimited = options.mock.as_ref().is_some_and(|setup| setup.unlimited);
        let writes_on = options.mock.as_ref().is_some_and(|setup| setup.writes_on);
        let dir = options.dir.clone();
        let prepared = tokio::task::spawn_blocking(move || reload::prepare(&dir, mocked))
            .await
            .map_err(|e| StartError::Internal(e.to_string()))?;
        let data_dir = prepared.data_dir();
        let store_dir = ServerConfig::store_dir(&data_dir, mocked);
        let (chosen, store, feed) = choose(prepared, store_dir, options.unpin, options.store_fault.clone()).await?;
        let store: Arc<dyn Store> = store;
        let (stop_rest, stopping) = watch::channel(false);
        let mut rest = Vec::new();

        let mock = match options.mock {
            Some(setup) => Some(start_mock(setup, stopping.clone(), &mut rest)?),
            None => None,
        };
        let endpoint = match &mock {
            Some((mock, Some(addr))) => Door::Url(format!("http://{addr}"), mock.clone()),
            Some((mock, None)) => Door::InProcess(mock.clone()),
            None => Door::Configured,
        };
        let (wakes, learned) = Wakeup::channel();
        let endpoint = Endpoint { door: endpoint, unlimited, writes_on, listener: wakes.listener() };
        let accounts = Accounts::default();
        let known = accounts.clone();
        let metadata: reload::MetadataSource = Arc::new(move || accounts::metadata(&known));
        let started = chosen.start(store.clone(), metrics.clone(), metadata).await;
        let set = started.live.load_full();
        let ledger = Ledger::open(store.clone(), metrics.clone(), days).await?;
        let keeping = Keeping { store: store.clone(), metrics: metrics.clone(), ledger: ledger.clone() };
        accounts::update(&accounts, &BTreeMap::new(), &set, &endpoint, &keeping).await?;

        let ingest_addr = options.listen.unwrap_or(set.config.server.listen);
        let admin_addr = options.admin_listen.unwrap_or(set.config.admin.listen);
        let ingest_listener = bind("events (server.listen)", ingest_addr)?;
        let admin_listener = bind("the admin API (admin.listen)", admin_addr)?;
        let token = match &set.config.admin.token {
            Some(token) => Some(token.resolve(&options.dir).map_err(|e| StartError::Secret(e.to_string()))?),
            None => None,
        };

        let pool = Arc::new(Pool::start(set.config.scripts.threads));
        let shadows = Shadows::start(store.clone(), metrics.clone());
        let (fatal_sender, fatal) = watch::channel(None);
        let locks = Locks::default();
        let ids = IdImport::new(accounts.clone(), locks.clone(), wakes.clone());
        let revert = Revert::new(store.clone(), accounts.clone(), locks.clone());
        let restored = RestoredFrom::look(&*store, set.config.pipedrive.keys().map(String::as_str)).await?;
        let runtime = Arc::new(Runtime {
            restored,
            store: store.clone(),
            live: started.live.clone(),
            pool: pool.clone(),
            accounts: accounts.clone(),
            locks,
            creates: Creates::default(),
            hold: started.hold.clone(),
            shadows: Some(shadows.clone()),
            metrics: metrics.clone(),
            wakes,
            fatal: fatal_sender.clone(),
        });
        let (delivery, commands) = delivery::Handle::channel();
        let scheduler = Scheduler::load(runtime, feed, commands, learned, ledger.clone()).await?;

        let state = console::State {
            store: store.clone(),
            live: started.live.clone(),
            delivery: delivery.clone(),
            ids,
            accounts: accounts.clone(),
            revert,
            reload: started.handle.clone(),
            ledger: ledger.clone(),
            metrics: metrics.clone(),
            started_at: jiff::Timestamp::now(),
            version: env!("CARGO_PKG_VERSION"),
            replaying: Arc::default(),
        };
        let (stop_ingest, ingest_stopping) = watch::channel(false);
        let (stop_delivery, delivery_stopping) = watch::channel(false);
        let bound = (local(&ingest_listener)?, local(&admin_listener)?);
        rest.push(tokio::spawn(console::serve(admin_listener, state.clone(), token, stopping.clone())?));
        rest.push(tokio::spawn(console::serve_socket(&data_dir, state, stopping.clone())?));
        let delivery_task = watched("delivery", scheduler.run(delivery_stopping), fatal_sender.clone());
        let ingest = Ingest {
            store: store.clone(),
            live: started.live.clone(),
            accounts: accounts.clone(),
            metrics: metrics.clone(),
            stopping: ingest_stopping.clone(),
        };
        rest.push(watched("reload", started.reloader.run(stopping.clone()), fatal_sender.clone()));
        let swapped = started.swapped.clone();
        rest.push(tokio::spawn(accounts::follow(accounts::Follow {
            swapped: started.swapped,
            followed: started.followed,
            live: started.live.clone(),
            accounts: accounts.clone(),
            endpoint,
            keeping,
            delivery: delivery.clone(),
            stopping: stopping.clone(),
        })));
        rest.push(tokio::spawn(ledger.clone().keep(stopping.clone())));
        rest.push(tokio::spawn(delivery::follow_deletes(
            store.clone(),
            delivery.clone(),
            started.live.clone(),
            stopping.clone(),
        )));
        rest.push(tokio::spawn(housekeeping(store.clone(), started.live.clone(), swapped, metrics.clone(), stopping)));
        let ingest_task = watched("ingest", ingest::serve(ingest_listener, ingest, ingest_stopping), fatal_sender);

        Ok(Self {
            ingest_addr: bound.0,
            admin_addr: bound.1,
            mock,
            data_dir,
            store,
            live: started.live,
            delivery,
            reload: started.handle,
            metrics,
            pool,
            shadows,
            ledger,
            fatal,
            stop_ingest,
            stop_delivery,
            stop_rest,
            ingest_task,
            delivery_task,
            rest,
        })
    }

    /// Where events are received.
    #[must_use]
    pub const fn ingest_addr(&self) -> SocketAddr {
        self.ingest_addr
    }

    /// Where the admin API is.
    #[must_use]
    pub const fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// The embedded Pipedrive.
    #[must_use]
    pub fn mock(&self) -> Option<&Arc<Mock>> {
        self.mock.as_ref().map(|(mock, _)| mock)
    }

    /// Where the embedded Pipedrive is, when it is served over HTTP.
    #[must_use]
    pub fn mock_addr(&self) -> Option<SocketAddr> {
        self.mock.as_ref().and_then(|(_, addr)| *addr)
    }

    /// The folder of the command socket, and of the store unless Pipedrive is embedded.
    #[must_use]
    pub fn data_dir(&self) -> &std::path::Path {
        &self.data_dir
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The live script set.
    #[must_use]
    pub const fn live(&self) -> &Live {
        &self.live
    }

    /// The scheduler.
    #[must_use]
    pub const fn delivery(&self) -> &delivery::Handle {
        &self.delivery
    }

    /// The reloader.
    #[must_use]
    pub const fn reload(&self) -> &reload::Handle {
        &self.reload
    }

    /// The tokens of the accounts.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Counters.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Waits until the daemon must stop because its store failed; answers why.
    pub async fn failed(&self) -> String {
        let mut fatal = self.fatal.clone();
        match fatal.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops: no more events are taken, what is under way ends (within the grace), the store is closed.
    pub async fn stop(self) {
        let told = |name: &'static str, result: Result<(), tokio::task::JoinError>| {
            if let Err(error) = result {
                tracing::error!(task = name, error = how_it_ended(&error), "a task failed inside; this is a fault of Pipewright");
            }
        };
        self.stop_ingest.send_replace(true);
        told("ingest", self.ingest_task.await);
        self.stop_delivery.send_replace(true);
        told("delivery", self.delivery_task.await);
        self.stop_rest.send_replace(true);
        for task in self.rest {
            told("service", task.await);
        }
        if let Err(error) = self.ledger.store().await {
            tracing::warn!(%error, "what was spent of the budgets in the last second could not be stored");
        }
        self.pool.stop();
        self.shadows.stop();
        self.store.close().await;
    }
}

/// Runs a part of the daemon that the rest cannot do without: when it fails inside, the daemon stops, loudly.
fn watched(
    name: &'static str,
    part: impl Future<Output = ()> + Send + 'static,
    fatal: watch::Sender<Option<String>>,
) -> JoinHandle<()> {
    let task = tokio::spawn(part);
    tokio::spawn(async move {
        if let Err(error) = task.await {
            tracing::error!(
                task = name,
                error = how_it_ended(&error),
                "a part of the daemon failed inside; this is a fault of Pipewright"
            );
            fatal.send_replace(Some(format!("{name} failed inside: {}", how_it_ended(&error))));
        }
    })
}

/// The set to start with, and the store. Which set it is stands in the store, and how to open the store stands in the set: it is opened as the
/// files say, with nothing too old to be remembered where they say nothing, only read, and opened anew where the set says otherwise.
async fn choose(
    prepared: reload::Prepared,
    store_dir: PathBuf,
    unpin: bool,
    fault: Option<FaultHook>,
) -> Result<(reload::Chosen, Arc<SqliteStore>, Feed), StartError> {
    let window = prepared.dedupe_window();
    let (store, feed) = open_store(store_dir.clone(), window, fault.clone()).await?;
    let chosen = prepared.choose(&*store, unpin).await;
    let chosen = match chosen {
        Ok(chosen) if chosen.config().server.dedupe_window.get() == window => return Ok((chosen, store, feed)),
        chosen => chosen,
    };
    store.close().await;
    drop(store);
    let chosen = chosen.map_err(StartError::Refused)?;
    let (store, feed) = open_store(store_dir, chosen.config().server.dedupe_window.get(), fault).await?;
    Ok((chosen, store, feed))
}

async fn open_store(
    dir: PathBuf,
    dedupe_window: Duration,
    fault: Option<FaultHook>,
) -> Result<(Arc<SqliteStore>, Feed), StartError> {
    let options = OpenOptions { dir, dedupe_window, fault, ..OpenOptions::default() };
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(options)).await;
    let (store, feed) = opened.map_err(|e| StartError::Internal(e.to_string()))??;
    Ok((Arc::new(store), feed))
}

fn start_mock(
    setup: MockSetup,
    stopping: watch::Receiver<bool>,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Result<(Arc<Mock>, Option<SocketAddr>), StartError> {
    match setup.door {
        MockDoor::InProcess => {
            tasks.push(tokio::spawn(mock::send_webhooks(setup.mock.clone(), stopping)));
            Ok((setup.mock, None))
        }
        MockDoor::Http(addr) => {
            let listener = bind("the embedded Pipedrive (--mock-listen)", addr)?;
            let addr = local(&listener)?;
            tasks.push(tokio::spawn(mock::serve(listener, setup.mock.clone(), stopping)));
            Ok((setup.mock, Some(addr)))
        }
    }
}

/// Connections that may wait to be accepted; the system may allow fewer (`net.core.somaxconn`). Behind the usual 128 a burst of clients would
/// lose some, which hang: they count as connected, and the system has forgotten them.
const BACKLOG: u32 = 4096;

fn bind(what: &'static str, addr: SocketAddr) -> Result<TcpListener, StartError> {
    let listen = || {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Elsewhere it would let two programs have one address.
        if cfg!(not(windows)) {
            socket.set_reuseaddr(true)?;
        }
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| StartError::Listen { what, addr, source })
}

fn local(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|e| StartError::Internal(e.to_string()))
}

async fn housekeeping(
    store: Arc<dyn Store>,
    live: Live,
    mut swapped: watch::Receiver<Version>,
    metrics: Metrics,
    mut stopping: watch::Receiver<bool>,
) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
            // Another set may keep things for another time.
            Ok(()) = swapped.changed() => {}
        }
        let config = live.load().config.clone();
        match store.prune(&config.retention, config.keep_unmatched(), jiff::Timestamp::now()).await {
            Ok(0) => {}
            Ok(pruned) => metrics.events_pruned(pruned),
            Err(error) => tracing::warn!(%error, "retention could not run; it is tried again"),
        }
        if let Ok(stats) = store.stats().await {
            metrics.store_size(stats.bytes);
        }
    }
}
