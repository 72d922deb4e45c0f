//! The embedded Pipedrive: an account in memory that answers as Pipedrive does, over HTTP and in process.
//!
//! Invariants: it shares no entity types with the client (a wrong shape there is noticed here); what Pipedrive refuses is
//! refused, and where the API's behaviour is in doubt the stricter answer is given; the same requests in the same order give the
//! same ids and keys in every run; both ways in, [`serve`] and the [`Transport`](crate::pipedrive::Transport), run the same code once a request is parsed.

mod activity;
mod call;
mod changelog;
mod clock;
mod common;
mod convert;
mod custom;
mod deal;
mod declared;
mod definitions;
mod directory;
mod engine;
mod entity;
mod fault;
mod field_routes;
mod from_schema;
mod hooks;
mod index;
mod lead;
mod limits;
mod list;
mod log;
mod merge;
mod note;
mod options;
mod page;
mod person;
mod pipelines;
mod records;
mod reply;
mod route;
mod search;
mod seed;
mod server;
mod spec;
mod table;
mod validate;
mod webhooks;
mod world;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::watch;

pub use clock::ClockStart;
pub use fault::{Fault, FaultMatch, Hold};
pub use hooks::{Author, ChangeSource, MockWebhook, WebhookEnd, WebhookOrder, run as send_webhooks};
pub use log::MockExchange;
pub use server::serve;

use crate::config::{DeclaredFields, Secret};
use crate::pipedrive::{Answer, Request};
use clock::Clock;
use engine::Inner;
use entity::Entity;
use limits::Allowance;

/// How a mock starts.
#[derive(Debug, Clone)]
pub struct MockOptions {
    /// Starts with some people, companies, deals and a lead; without it the account has its fields, users and pipelines only.
    pub seed: bool,
    /// JSON of a schema file to start as, without records.
    pub schema: Option<Arc<Value>>,
    /// Custom fields that the account has besides its own; of what a schema file has nothing is changed.
    pub declared: Vec<DeclaredFields>,
    /// Requests in two seconds; `u32::MAX` for no limit.
    pub burst: u32,
    /// Searches in two seconds; `u32::MAX` for no limit.
    pub search_burst: u32,
    /// Tokens a day; `u64::MAX` for no limit.
    pub daily_tokens: u64,
    /// How long search does not see a write.
    pub search_lag: Duration,
    /// The API token that HTTP requests must carry.
    pub token: String,
    /// Refusals with 429 in ten seconds after which the firewall shuts out for a minute; `None` for never.
    pub block_after: Option<u32>,
    /// How often a conversion's status says `running` before it is completed.
    pub conversion_polls: u32,
    /// Time that every answer takes.
    pub latency: Duration,
    /// Exchanges that the log keeps.
    pub keep_log: usize,
    /// Where the time comes from.
    pub clock: ClockStart,
}

impl Default for MockOptions {
    /// A seeded account of a one-seat Premium plan, with the token `mock`.
    fn default() -> Self {
        Self {
            seed: true,
            schema: None,
            declared: Vec::new(),
            burst: 100,
            search_burst: 10,
            daily_tokens: 150_000,
            search_lag: Duration::from_secs(3),
            token: "mock".to_owned(),
            block_after: None,
            conversion_polls: 1,
            latency: Duration::ZERO,
            keep_log: 10_000,
            clock: ClockStart::Now,
        }
    }
}

impl MockOptions {
    /// No limits and no lag: for benches and for tests that are about something else.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { burst: u32::MAX, search_burst: u32::MAX, daily_tokens: u64::MAX, search_lag: Duration::ZERO, ..Self::default() }
    }
}

/// The embedded Pipedrive.
#[derive(Debug)]
pub struct Mock {
    inner: Mutex<Inner>,
    clock: Clock,
    token: Secret,
    keep_log: usize,
    conversion_polls: u32,
    identity: uuid::Uuid,
    /// Stirred when there may be something for whoever sends webhooks, or waits for them.
    stirred: watch::Sender<()>,
}

fn kind(path: &str) -> Option<Entity> {
    let name = path.rsplit('/').next().unwrap_or(path);
    Entity::ALL.into_iter().find(|e| e.path() == name || e.word() == name)
}

impl Mock {
    /// Starts a mock.
    #[must_use]
    pub fn new(options: MockOptions) -> Arc<Self> {
        let clock = Clock::new(options.clock);
        let mut world = options.schema.as_deref().map_or_else(seed::account, from_schema::account);
        if options.seed && options.schema.is_none() {
            seed::records(&mut world);
        }
        if options.schema.is_none() {
            options.declared.iter().for_each(|fields| declared::add(&mut world, fields));
        }
        world.index.catch_up(i64::MAX / 2);
        world.index.set_lag(options.search_lag);
        let allowance = Allowance {
            burst: options.burst,
            search_burst: options.search_burst,
            daily_tokens: options.daily_tokens,
            block_after: options.block_after,
        };
        Arc::new(Self {
            inner: Mutex::new(Inner::new(world, allowance, options.latency)),
            clock,
            token: Secret::new(options.token),
            keep_log: options.keep_log,
            conversion_polls: options.conversion_polls,
            identity: uuid::Uuid::new_v4(),
            stirred: watch::Sender::new(()),
        })
    }

    /// Tells this account from every other mock's; the API does not show it.
    #[must_use]
    pub const fn identity(&self) -> uuid::Uuid {
        self.identity
    }

    // --- time -----------------------------------------------------------------------------------------------------------

    /// The mock's time.
    #[must_use]
    pub fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.clock.now_ms()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// Moves the mock's time forward.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.stir();
    }

    /// Sets how long search does not see a write.
    pub fn set_search_lag(&self, lag: Duration) {
        self.inner.lock().world.index.set_lag(lag);
    }

    /// Sets the time that every answer takes.
    pub fn set_latency(&self, latency: Duration) {
        self.inner.lock().latency = latency;
    }

    /// Sets the limits: requests and searches in two seconds, tokens a day.
    pub fn set_limits(&self, burst: u32, search_burst: u32, daily_tokens: u64) {
        let mut inner = self.inner.lock();
        inner.allowance = Allowance { burst, search_burst, daily_tokens, ..inner.allowance };
    }

    // --- faults ---------------------------------------------------------------------------------------------------------

    /// Puts a fault in the way of the next request.
    pub fn fail_next(&self, fault: Fault) {
        self.fail_matching(FaultMatch { times: 1, ..FaultMatch::default() }, fault);
    }

    /// Puts a fault in the way of the requests that match.
    pub fn fail_matching(&self, which: FaultMatch, fault: Fault) {
        self.inner.lock().faults.add(which, fault);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.inner.lock().faults.clear();
    }

    // --- what happened --------------------------------------------------------------------------------------------------

    /// The exchanges so far, oldest first.
    #[must_use]
    pub fn log(&self) -> Vec<MockExchange> {
        self.inner.lock().log.all()
    }

    /// The exchanges that changed something.
    #[must_use]
    pub fn writes(&self) -> Vec<MockExchange> {
        let mut all = self.log();
        all.retain(|e| e.carried_out && e.method != crate::pipedrive::Method::Get);
        all
    }

    /// Empties the log; the sums stay.
    pub fn clear_log(&self) {
        self.inner.lock().log.clear();
    }

    /// Tokens charged since the start.
    #[must_use]
    pub fn tokens_spent(&self) -> u64 {
        self.inner.lock().log.tokens
    }

    /// Tokens charged in this UTC day.
    #[must_use]
    pub fn tokens_spent_today(&self) -> u64 {
        self.inner.lock().limits.spent_today()
    }

    /// Requests since the start.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.inner.lock().log.requests
    }

    /// Requests that a limit refused. A client that keeps the limits has none.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        self.inner.lock().log.throttled
    }

    // --- what is there --------------------------------------------------------------------------------------------------

    /// One record as the API shows it, deleted ones too. The kind is a collection's name or path: `persons`, `/api/v1/leads`.
    #[must_use]
    pub fn entity(&self, kind_path: &str, id: impl std::fmt::Display) -> Option<Value> {
        let entity = kind(kind_path)?;
        let inner = self.inner.lock();
        let row = inner.world.by_path_id(entity, &id.to_string())?;
        Some(Value::Object(inner.world.render(entity, row)))
    }

    /// All records of a kind that are not deleted, in the order of their creation.
    #[must_use]
    pub fn entities(&self, kind_path: &str) -> Vec<Value> {
        let Some(entity) = kind(kind_path) else { return Vec::new() };
        let inner = self.inner.lock();
        let rows = inner.world.table(entity).iter().filter(|r| !r.deleted);
        rows.map(|r| Value::Object(inner.world.render(entity, r))).collect()
    }

    /// Records of a kind that hold this value: of a standard field, of a custom field by its name, or an e-mail or phone.
    #[must_use]
    pub fn find(&self, kind_path: &str, field: &str, value: &Value) -> Vec<Value> {
        let key = self.custom_key(kind_path, field);
        let mut all = self.entities(kind_path);
        all.retain(|e| {
            let held = match &key {
                Some(key) => e.get("custom_fields").and_then(|c| c.get(key)).or_else(|| e.get(key)),
                None => e.get(field),
            };
            match held {
                Some(Value::Array(list)) if !value.is_array() => list.iter().any(|v| v == value || v.get("value") == Some(value)),
                held => held == Some(value),
            }
        });
        all
    }

    /// How many records of a kind are not deleted.
    #[must_use]
    pub fn count(&self, kind_path: &str) -> usize {
        kind(kind_path).map_or(0, |e| self.inner.lock().world.table(e).count())
    }

    /// The key of a custom field by its name.
    #[must_use]
    pub fn custom_key(&self, kind_path: &str, name: &str) -> Option<String> {
        let entity = kind(kind_path)?;
        self.inner.lock().world.fields(entity.fields_of()).by_name(name).map(|f| f.code.clone())
    }

    /// How many fields, options and lead labels were ever made: another number means that there is more to know of the account.
    #[must_use]
    pub fn definitions(&self) -> u64 {
        let inner = self.inner.lock();
        inner.world.next_field + inner.world.next_option + inner.world.lead_labels.len() as u64
    }

    /// The id of a field's option by its label; the field by its name, or `label_ids`.
    #[must_use]
    pub fn option_id(&self, kind_path: &str, field: &str, label: &str) -> Option<u64> {
        let entity = kind(kind_path)?;
        let inner = self.inner.lock();
        let fields = inner.world.fields(entity.fields_of());
        let field = fields.by_name(field).or_else(|| fields.get(field))?;
        field.options.iter().find(|o| o.label == label).map(|o| o.id)
    }

    /// Carries a request out as another of the account's users would: no limits, no tokens, no faults, not in the log.
    #[must_use]
    pub fn aside(&self, request: &Request) -> Answer {
        engine::aside(self, request, None)
    }

    /// Changes a record as another of the account's users would.
    pub fn edit(&self, kind_path: &str, id: impl std::fmt::Display, body: Map<String, Value>) -> Answer {
        let Some(entity) = kind(kind_path) else {
            return engine::answer_of(reply::not_found(reply::Version::V2));
        };
        let (version, method) = match entity {
            Entity::Lead => ("v1", crate::pipedrive::Method::Patch),
            Entity::Note => ("v1", crate::pipedrive::Method::Put),
            _ => ("v2", crate::pipedrive::Method::Patch),
        };
        self.aside(&Request::new(method, format!("/api/{version}/{}/{id}", entity.path())).body(Value::Object(body)))
    }
}
