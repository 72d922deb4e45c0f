//! The books of all accounts, with the clock and the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::book::{Book, Hold};
use super::day::Day;
use super::report::BudgetReport;
use crate::config::BudgetConfig;
use crate::pipedrive::{Caller, Purpose, Purse, Saving, Withheld};
use crate::store::{Store, StoreError, Write};
use crate::telemetry::Metrics;

/// Space of the store's small values that holds the days; a key is `ACCOUNT/START`.
const SPACE: &str = "budget";
/// How often what changed is stored and looked at.
const BEAT: Duration = Duration::from_secs(1);

/// Tells the time. Days pass at once where a test says so.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The ledger. Clones share it.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    metrics: Metrics,
    clock: Clock,
    books: Mutex<BTreeMap<Arc<str>, Book>>,
    /// Told when something was withheld, and with each beat.
    changed: watch::Sender<()>,
    /// A later state of a day is never stored before an earlier one.
    storing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("books", &self.0.books).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens the books as the store has them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(store: Arc<dyn Store>, metrics: Metrics, clock: Clock) -> Result<Self, StoreError> {
        let mut days: BTreeMap<Arc<str>, Vec<Day>> = BTreeMap::new();
        for (key, value) in store.kv_list(SPACE).await? {
            let account = key.rsplit_once('/').map_or("", |(account, _)| account);
            match serde_json::from_slice(&value) {
                Ok(day) => days.entry(Arc::from(account)).or_default().push(day),
                Err(error) => tracing::error!(key, %error, "a stored day of the token ledger cannot be read and is left out"),
            }
        }
        let now = clock();
        let books = days.into_iter().map(|(account, days)| (account.clone(), Book::new(account, days, now))).collect();
        let (changed, _) = watch::channel(());
        Ok(Self(Arc::new(Inner {
            store,
            metrics,
            clock,
            books: Mutex::new(books),
            changed,
            storing: tokio::sync::Mutex::default(),
        })))
    }

    fn with<T>(&self, account: &str, act: impl FnOnce(&mut Book, Timestamp) -> T) -> T {
        let now = (self.0.clock)();
        let mut books = self.0.books.lock();
        if let Some(book) = books.get_mut(account) {
            return act(book, now);
        }
        let name: Arc<str> = Arc::from(account);
        act(books.entry(name.clone()).or_insert_with(|| Book::new(name, Vec::new(), now)), now)
    }

    /// Takes the settings of an account: its budget, and the priorities of its rules.
    pub fn configure(&self, account: &str, budget: Option<BudgetConfig>, priorities: BTreeSet<u8>) {
        self.with(account, |book, now| book.configure(budget, priorities, now));
        self.0.changed.send_replace(());
    }

    /// Where the requests of an account get their tokens.
    #[must_use]
    pub fn purse(&self, account: &str) -> Arc<dyn Purse> {
        Arc::new(OfAccount { ledger: self.clone(), account: Arc::from(account) })
    }

    /// Notes tokens that need not be spent, on behalf of a rule or of none.
    pub fn saved(&self, account: &str, rule: Option<&str>, saving: Saving, tokens: u32) {
        self.with(account, |book, now| book.saved(rule, saving, tokens, now));
    }

    /// Who waits for tokens of this account.
    #[must_use]
    pub fn hold(&self, account: &str) -> Option<Hold> {
        self.with(account, Book::hold)
    }

    /// Whether what nobody waits for had better wait as well: rules of this priority do.
    #[must_use]
    pub fn holds(&self, account: &str, priority: u8) -> bool {
        self.hold(account).is_some_and(|hold| priority >= hold.from)
    }

    /// What a person should know beforehand; none while the budget suffices.
    #[must_use]
    pub fn outlook(&self, account: &str) -> Option<String> {
        self.with(account, Book::outlook)
    }

    /// How an account stands, with so many earlier days.
    #[must_use]
    pub fn report(&self, account: &str, days: usize) -> BudgetReport {
        self.with(account, |book, now| book.report(days, now))
    }

    /// Told whenever somebody may have to wait, or need not any more.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// The account is another company's now: what was spent there is not spent here.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget(&self, account: &str) -> Result<(), StoreError> {
        let _storing = self.0.storing.lock().await;
        self.0.books.lock().remove(account);
        let keys = self.0.store.kv_list(SPACE).await?.into_iter().map(|(key, _)| key);
        let of_account = keys.filter(|key| key.rsplit_once('/').is_some_and(|(of, _)| of == account));
        let writes: Vec<Write> = of_account.map(|key| Write::KvDelete { space: SPACE.to_owned(), key }).collect();
        if writes.is_empty() { Ok(()) } else { self.0.store.commit(writes).await }
    }

    /// Stores what has changed. What cannot be stored is tried again with the next call.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn store(&self) -> Result<(), StoreError> {
        let _storing = self.0.storing.lock().await;
        let mut taken = Vec::new();
        let mut writes = Vec::new();
        for (account, book) in &mut *self.0.books.lock() {
            let unsaved = book.unsaved();
            let days = book.take_dirty();
            taken.push((account.clone(), days.iter().map(|(start, _)| *start).collect::<Vec<_>>(), unsaved));
            writes.extend(days.into_iter().map(|(start, day)| {
                let (space, key) = (SPACE.to_owned(), format!("{account}/{start}"));
                match day {
                    Some(value) => Write::KvPut { space, key, value },
                    None => Write::KvDelete { space, key },
                }
            }));
        }
        if writes.is_empty() {
            return Ok(());
        }
        let stored = self.0.store.commit(writes).await;
        let mut books = self.0.books.lock();
        for (account, starts, unsaved) in taken {
            match books.get_mut(&account) {
                Some(book) if stored.is_ok() => book.stored(unsaved),
                Some(book) => book.still_dirty(starts),
                None => {}
            }
        }
        drop(books);
        stored
    }

    /// Stores what changed once a second, and tells how the budgets stand, until it is to stop.
    pub async fn keep(self, mut stopping: watch::Receiver<bool>) {
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                _ = beats.tick() => {}
            }
            self.measure();
            self.0.changed.send_replace(());
            match self.store().await {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(%error, "what was spent of the budgets could not be stored; it is tried again every second");
                }
                Err(_) => {}
            }
        }
    }

    fn measure(&self) {
        let now = (self.0.clock)();
        for (account, book) in &mut *self.0.books.lock() {
            let (left, needed) = book.levels_now(now);
            self.0.metrics.budget_stands(account, left, needed);
        }
    }
}

/// One account's tokens.
#[derive(Debug)]
struct OfAccount {
    ledger: Ledger,
    account: Arc<str>,
}

impl Purse for OfAccount {
    fn take(&self, caller: &Caller, purpose: Purpose, tokens: u32) -> Result<(), Withheld> {
        let taken = self.ledger.with(&self.account, |book, now| book.take(caller, purpose, tokens, now));
        if taken.is_err() {
            self.ledger.0.changed.send_replace(());
        }
        taken
    }

    fn saved(&self, caller: &Caller, saving: Saving, tokens: u32) {
        self.ledger.saved(&self.account, caller.rule.as_deref(), saving, tokens);
    }
}
