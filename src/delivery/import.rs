//! Ids that people bring along: which record in Pipedrive a Segment id stands for, told to the match index.
//!
//! Invariants:
//! - What the index knows already stands; a row that says otherwise is refused. No delivery looks up or creates by the same value
//!   meanwhile.
//! - A row is taken only when the record is there, unless the caller does not want that looked at, and when its field is empty or
//!   holds the same value.
//! - Nothing is sent to Pipedrive but reads. A field that was found empty is filled by the first delivery that updates the record.
//! - It can be cut off anywhere and done again: what was taken is found to be there.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::execute::entity_name;
use super::locks::{Locks, criteria_names};
use super::wake::{Wakeup, learned};
use crate::crm::{Account, Accounts, Address, Known, Lookup, Term, index, normalise, searchable, values};
use crate::failure::FailureClass;
use crate::pipedrive::{ApiError, Caller, Entity, Id, Kind, Purpose, Trace};
use crate::plan;
use crate::store::StoreError;

/// One row: this id of yours is that record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdPair {
    /// As events carry it.
    pub segment_id: String,
    /// As Pipedrive has it.
    pub pipedrive_id: String,
}

/// What became of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Now known.
    pub imported: u64,
    /// Known before.
    pub unchanged: u64,
    /// Not taken.
    pub refused: Vec<RefusedPair>,
    /// What reading the records cost.
    pub tokens: u32,
}

/// A row that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPair {
    /// Its place among the given ones, from 0.
    pub at: usize,
    /// Why, and what to do.
    pub reason: String,
}

/// Rows could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// What was asked for cannot be.
    #[error("{0}")]
    Wrong(String),
    /// Pipedrive could not be read.
    #[error("Pipedrive could not be read: {0}")]
    Api(#[from] ApiError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImportError {
    /// The failure class.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Wrong(_) => FailureClass::Permanent,
            Self::Api(error) => error.class(),
            Self::Store(error) => error.class(),
        }
    }
}

/// Takes ids into the match index while deliveries go on.
#[derive(Debug, Clone)]
pub struct IdImport {
    accounts: Accounts,
    locks: Locks,
    wakes: Wakeup,
}

impl IdImport {
    /// Beside the deliveries that work with these.
    #[must_use]
    pub const fn new(accounts: Accounts, locks: Locks, wakes: Wakeup) -> Self {
        Self { accounts, locks, wakes }
    }

    /// Which rows cannot be taken whatever the records hold. Takes none, and looks at no record.
    ///
    /// # Errors
    /// When the account, the field or its type will not do, or the account's fields cannot be read.
    pub async fn read(&self, account: &str, kind: Kind, field: Option<&str>, pairs: &[IdPair]) -> Result<Imported, ImportError> {
        let account = self.account(account)?;
        account.ready_metadata(&account.client.session(Trace::default()).on_behalf_of(Caller::person())).await?;
        let rows = Rows::read(&account, kind, field, pairs)?;
        Ok(Imported { refused: rows.refused, ..Imported::default() })
    }

    fn account(&self, name: &str) -> Result<Arc<Account>, ImportError> {
        let account = self.accounts.read().get(name).cloned();
        account.ok_or_else(|| ImportError::Wrong("the account has just been taken out of rules.toml".to_owned()))
    }

    /// Takes rows for a field of a kind; without one for the kind's `match_fields`.
    ///
    /// # Errors
    /// When the account, the field or its type will not do, Pipedrive cannot be read, or the store fails; then no row was taken.
    pub async fn import(
        &self,
        account: &str,
        kind: Kind,
        field: Option<&str>,
        pairs: &[IdPair],
        verify: bool,
    ) -> Result<Imported, ImportError> {
        let account = self.account(account)?;
        let trace = Trace::default();
        let session = account.client.session(trace.clone()).on_behalf_of(Caller::person());
        account.ready_metadata(&session).await?;
        let rows = Rows::read(&account, kind, field, pairs)?;
        let _criteria = self.locks.acquire(rows.criteria().collect()).await;
        let _entities = self.locks.acquire(rows.entities().collect()).await;
        let records = if verify {
            let mut ids: Vec<Id> = rows.good.iter().map(|row| row.id.clone()).collect();
            ids.sort_unstable();
            ids.dedup();
            Some(session.get_many(kind, &ids, Purpose::Lookup).await?.into_iter().collect::<HashMap<Id, Entity>>())
        } else {
            None
        };
        let mut done = rows.take(&self.locks, records.as_ref()).await?;
        done.result.tokens = trace.exchanges().iter().map(|exchange| exchange.tokens).sum();
        let names = if self.wakes.awaited() { learned(&done.writes) } else { Vec::new() };
        if !done.writes.is_empty() {
            account.store.commit(done.writes).await?;
        }
        self.wakes.tell(names);
        Ok(done.result)
    }
}

/// Rows that can be read, and why the others cannot.
struct Rows<'a> {
    account: &'a Account,
    kind: Kind,
    /// What the field is called in Pipedrive.
    name: String,
    good: Vec<Row>,
    refused: Vec<RefusedPair>,
}

struct Row {
    at: usize,
    id: Id,
    /// The lookup that an event's match on the field makes.
    lookup: Lookup,
}

impl Row {
    fn term(&self) -> &Term {
        &self.lookup.0[0]
    }
}

#[derive(Default)]
struct Taken {
    result: Imported,
    writes: Vec<crate::store::Write>,
}

impl<'a> Rows<'a> {
    fn read(account: &'a Account, kind: Kind, field: Option<&str>, pairs: &[IdPair]) -> Result<Self, ImportError> {
        let metadata = account.metadata();
        let name = field.unwrap_or_else(|| plan::match_field(kind, &account.config.match_fields));
        let address = plan::address(kind, name, &metadata)
            .map_err(|problem| ImportError::Wrong(format!("the field that holds your ids: {problem}")))?;
        if address == Address::Standard("id".to_owned()) {
            return Err(ImportError::Wrong(format!(
                "{} are matched by Pipedrive's own `id`, which needs no import; name the field that your rules match on with --field",
                plan::plural(kind)
            )));
        }
        let field_type = metadata.type_of(kind, &address);
        if !index::is_indexed(kind, &address, field_type) {
            return Err(ImportError::Wrong(format!("a {kind} cannot be found by `{name}`; {}", searchable(kind))));
        }
        let name = metadata.name_of(kind, &address).to_owned();
        let mut rows = Self { account, kind, name, good: Vec::with_capacity(pairs.len()), refused: Vec::new() };
        for (at, pair) in pairs.iter().enumerate() {
            let value = normalise(kind, &address, field_type, &json!(pair.segment_id));
            let id = pair.pipedrive_id.trim().parse().ok().filter(|id: &Id| id.fits(kind));
            match (value, id) {
                (Some(value), Some(id)) => {
                    let lookup = Lookup(vec![Term { address: address.clone(), value, wire: None }]);
                    rows.good.push(Row { at, id, lookup });
                }
                (None, _) => rows.refuse(at, format!("the Segment id is no value that `{}` can hold", rows.name)),
                (_, None) => rows.refuse(at, format!("the Pipedrive id is not the id of a {kind}: {}", form(kind))),
            }
        }
        Ok(rows)
    }

    fn refuse(&mut self, at: usize, reason: String) {
        self.refused.push(RefusedPair { at, reason });
    }

    fn criteria(&self) -> impl Iterator<Item = String> {
        self.good.iter().flat_map(|row| criteria_names(&self.account.name, self.kind, std::slice::from_ref(&row.lookup)))
    }

    fn entities(&self) -> impl Iterator<Item = String> {
        self.good.iter().map(|row| entity_name(&self.account.name, self.kind, &row.id))
    }

    /// What is to be written down. Only while the locks are held.
    async fn take(mut self, locks: &Locks, records: Option<&HashMap<Id, Entity>>) -> Result<Taken, ImportError> {
        let (account, kind) = (self.account, self.kind);
        let mut taken = Taken::default();
        // Of this commit, which the index does not know yet.
        let mut told: HashMap<String, Id> = HashMap::new();
        for row in std::mem::take(&mut self.good) {
            let Term { address, value, .. } = row.term();
            let known = account.store.index_get(&account.name, kind.as_str(), address.key(), value).await?;
            let known = known.iter().filter_map(|id| id.parse().ok()).chain(told.get(value).cloned()).collect::<Vec<Id>>();
            if known.contains(&row.id) {
                taken.result.unchanged += 1;
                continue;
            }
            if let Some(other) = known.first() {
                let reason =
                    format!("the Segment id leads to the {kind} {other} already; merge the two in Pipedrive if they are one");
                self.refuse(row.at, reason);
                continue;
            }
            let doubtful =
                criteria_names(&account.name, kind, std::slice::from_ref(&row.lookup)).any(|name| locks.is_suspect(&name));
            if doubtful {
                self.refuse(row.at, format!("a {kind} with this Segment id is just being created; import the row again later"));
                continue;
            }
            if let Some(records) = records {
                let Some(record) = records.get(&row.id) else {
                    self.refuse(row.at, format!("Pipedrive has no {kind} {}, or it is deleted", row.id));
                    continue;
                };
                let held = values(kind, address, account.metadata().type_of(kind, address), record);
                if !held.is_empty() && !held.contains(value) {
                    self.refuse(row.at, format!("the {kind} {} holds another value in `{}`", row.id, self.name));
                    continue;
                }
                if held.is_empty() {
                    let mut known = Known::load(&*account.store, &account.name, kind, &row.id).await?;
                    known.note_empty(address.key(), Timestamp::now());
                    taken.writes.push(known.write(&account.name, kind, &row.id));
                }
            }
            taken.writes.push(index::put(&account.name, kind, &row.id, address.key(), value));
            told.insert(value.clone(), row.id.clone());
            taken.result.imported += 1;
        }
        self.refused.sort_by_key(|refused| refused.at);
        taken.result.refused = self.refused;
        Ok(taken)
    }
}

/// How ids of a kind look.
const fn form(kind: Kind) -> &'static str {
    match kind {
        Kind::Lead => "leads have UUIDs",
        Kind::Person | Kind::Organization | Kind::Deal | Kind::Activity | Kind::Note => "it must be a whole number",
    }
}
