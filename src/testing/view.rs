//! A look at the mock from beside the rules: what a person in Pipedrive would see and do.
//!
//! Invariants: it leaves no trace in the mock's log and meets none of its faults; it learns nothing into the match index.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value as Json};

use super::room::Room;
use crate::config::{AccountConfig, MatchFields, MirrorMode, WritePolicy};
use crate::crm::{self, Account, Found, Metadata, OnMany, WireTarget};
use crate::mock::Mock;
use crate::pipedrive::{Answer, Client, ClientOptions, Id, Kind, Purpose, Request, Session, Trace, Transport, TransportError};
use crate::plan::{
    self, Action, At, BodyFor, Criteria, FieldEntry, Options, Plan, PlanProblem, PrepareContext, Step, Target, Verb,
};

/// Name of the account under which it looks; no rule's account can be called so.
const NAME: &str = "(test)";

/// A look at the mock.
#[derive(Debug)]
pub(super) struct View {
    mock: Arc<Mock>,
    account: Account,
    session: Session,
    metadata: Mutex<Seen>,
    match_fields: MatchFields,
}

/// What is known of the account, and how much of it there was then.
#[derive(Debug)]
struct Seen {
    definitions: u64,
    metadata: Arc<Metadata>,
}

struct Aside(Arc<Mock>);

#[async_trait]
impl Transport for Aside {
    async fn send(&self, request: &Request) -> Result<Answer, TransportError> {
        Ok(self.0.aside(request))
    }
}

impl View {
    pub(super) fn new(room: &Room, mock: &Arc<Mock>, metadata: &Arc<Metadata>, match_fields: MatchFields) -> Self {
        let options =
            ClientOptions { burst: u32::MAX, search_burst: u32::MAX, account: NAME.to_owned(), ..ClientOptions::default() };
        let client = Client::new(Arc::new(Aside(mock.clone())), options);
        let session = client.session(Trace::default());
        let account = Account::new(
            NAME,
            client,
            room.store(),
            AccountConfig { mirror: MirrorMode::Off.into(), ..AccountConfig::default() },
            room.metrics.clone(),
        );
        account.set_metadata(Metadata::clone(metadata));
        let seen = Seen { definitions: mock.definitions(), metadata: metadata.clone() };
        Self { mock: mock.clone(), account, session, metadata: Mutex::new(seen), match_fields }
    }

    /// What is known of the account. Rules add options and labels (`on_unknown: "create"`).
    async fn metadata(&self) -> Result<Arc<Metadata>, String> {
        let definitions = self.mock.definitions();
        {
            let seen = self.metadata.lock();
            if seen.definitions == definitions {
                return Ok(seen.metadata.clone());
            }
        }
        let metadata = crm::fetch_metadata(&self.session).await.map_err(|e| e.to_string())?;
        self.account.set_metadata(metadata.clone());
        let metadata = Arc::new(metadata);
        *self.metadata.lock() = Seen { definitions, metadata: metadata.clone() };
        Ok(metadata)
    }

    pub(super) async fn given(&self, kind: Kind, fields: Vec<FieldEntry>) -> Result<Json, String> {
        let options = Options { unlinked: true, on_unknown: Some(plan::OnUnknown::Fail), ..Options::default() };
        let metadata = self.metadata().await?;
        let step = self.step(&metadata, Verb::Create { kind, fields, options })?;
        let body = plan::body(&step, BodyFor::Create, &only_ids, &metadata).map_err(|p| said(&p))?.body;
        let (id, _) = self.session.create(kind, body).await.map_err(|e| e.to_string())?;
        self.get(kind, &id).await
    }

    pub(super) async fn edit(&self, kind: Kind, id: &Id, fields: Vec<FieldEntry>) -> Result<Json, String> {
        let Some(present) = self.read(kind, id).await? else { return Err(format!("there is no {kind} {id}")) };
        let options = Options { on_unknown: Some(plan::OnUnknown::Fail), ..Options::default() };
        let metadata = self.metadata().await?;
        let step = self.step(&metadata, Verb::Update { kind, target: Target::Id(id.clone()), fields, options })?;
        let purpose = BodyFor::Update { present: Some(&present), known: None };
        let body = plan::body(&step, purpose, &only_ids, &metadata).map_err(|p| said(&p))?.body;
        if !body.is_empty() {
            self.session.update(kind, id, body).await.map_err(|e| e.to_string())?;
        }
        self.get(kind, id).await
    }

    pub(super) async fn find(&self, kind: Kind, criteria: &Criteria) -> Result<Json, String> {
        let metadata = self.metadata().await?;
        let lookups = plan::lookups(kind, criteria, &At::default(), &self.context(&metadata)).map_err(|p| said(&p))?;
        let found = crm::find(&self.account, &self.session, kind, &lookups, OnMany::Oldest).await;
        match found.map_err(|e| e.to_string())? {
            Found::Hit { id, .. } => self.get(kind, &id).await,
            Found::Miss => Ok(Json::Null),
        }
    }

    pub(super) async fn get(&self, kind: Kind, id: &Id) -> Result<Json, String> {
        let metadata = self.metadata().await?;
        Ok(self.read(kind, id).await?.map_or(Json::Null, |entity| plan::present(&entity, kind, &metadata)))
    }

    pub(super) async fn all(&self, kind: Kind) -> Result<Json, String> {
        let metadata = self.metadata().await?;
        let shown = |entity: Json| match entity {
            Json::Object(entity) => plan::present(&entity, kind, &metadata),
            other => other,
        };
        Ok(self.mock.entities(kind.path()).into_iter().map(shown).collect())
    }

    async fn read(&self, kind: Kind, id: &Id) -> Result<Option<Map<String, Json>>, String> {
        self.session.get(kind, id, Purpose::Lookup).await.map_err(|e| e.to_string())
    }

    fn context<'m>(&'m self, metadata: &'m Metadata) -> PrepareContext<'m> {
        PrepareContext { metadata, match_fields: &self.match_fields, rule: NAME, message_id: "", write: WritePolicy::Differs }
    }

    fn step(&self, metadata: &Metadata, verb: Verb) -> Result<Step, String> {
        let plan = Plan { actions: vec![Action { ordinal: 0, at: At::default(), verb }] };
        let mut steps = plan::prepare(&plan, &self.context(metadata))
            .map_err(|problems| problems.iter().map(said).collect::<Vec<_>>().join("; "))?;
        Ok(steps.remove(0))
    }
}

fn only_ids(target: &WireTarget) -> Option<Id> {
    match target {
        WireTarget::Id(id) => Some(id.clone()),
        _ => None,
    }
}

/// A problem in one line; the place is the call's.
fn said(problem: &PlanProblem) -> String {
    match &problem.help {
        Some(help) => format!("{} ({help})", problem.message),
        None => problem.message.clone(),
    }
}
