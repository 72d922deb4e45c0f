//! The account: all records and what they refer to.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use uuid::Uuid;

use super::changelog::Changelog;
use super::clock;
use super::definitions::FieldSet;
use super::entity::Entity;
use super::hooks::{self, Hooks, Subject};
use super::index::SearchIndex;
use super::table::{Object, Row, Table};

/// A user of the account.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) active: bool,
    pub(super) admin: bool,
}

/// A lead or deal on its way to become the other.
#[derive(Debug, Clone)]
pub(super) struct Conversion {
    /// Id of what was converted, as it stands in paths.
    pub(super) from: String,
    /// `("deal_id", 7)` or `("lead_id", "..")`.
    pub(super) result: (&'static str, Value),
    /// How often it was asked for.
    pub(super) polls: u32,
}

/// Everything that the account holds.
#[derive(Debug)]
pub(super) struct World {
    tables: [Table; 6],
    pub(super) lead_numbers: HashMap<Uuid, u64>,
    fields: [FieldSet; 6],
    pub(super) pipelines: BTreeMap<u64, Object>,
    pub(super) stages: BTreeMap<u64, Object>,
    pub(super) users: Vec<User>,
    pub(super) lead_labels: Vec<Object>,
    pub(super) activity_types: Vec<Object>,
    /// Code, name, symbol.
    pub(super) currencies: Vec<(String, String, String)>,
    /// Code of the account's currency.
    pub(super) default_currency: String,
    /// The company's id and its subdomain.
    pub(super) company: (i64, String),
    pub(super) hooks: Hooks,
    pub(super) conversions: HashMap<Uuid, Conversion>,
    pub(super) index: SearchIndex,
    pub(super) changelog: Changelog,
    pub(super) next_option: u64,
    pub(super) next_field: u64,
    /// Seeds the uuids, which must be the same in every run.
    pub(super) uuid_counter: u64,
}

/// The token's user.
pub(super) const ME: u64 = 1;
/// The id of the company that every mock starts with.
const COMPANY_ID: i64 = 7_011_026;
/// Its subdomain.
const COMPANY_DOMAIN: &str = "acme";
/// The currency of the account that every mock starts with.
const DEFAULT_CURRENCY: &str = "EUR";

impl World {
    /// An account with its standard fields, users and pipelines, and no records.
    pub(super) fn empty() -> Self {
        Self {
            tables: Entity::ALL.map(Table::new),
            lead_numbers: HashMap::new(),
            fields: Entity::ALL.map(|_| FieldSet::default()),
            pipelines: BTreeMap::new(),
            stages: BTreeMap::new(),
            users: Vec::new(),
            lead_labels: Vec::new(),
            activity_types: Vec::new(),
            currencies: [
                ("EUR", "Euro", "€"),
                ("USD", "US Dollar", "$"),
                ("GBP", "Pound Sterling", "£"),
                ("SEK", "Swedish Krona", "kr"),
                ("JPY", "Japanese Yen", "¥"),
                ("CHF", "Swiss Franc", "CHF"),
            ]
            .map(|(code, name, symbol)| (code.to_owned(), name.to_owned(), symbol.to_owned()))
            .to_vec(),
            default_currency: DEFAULT_CURRENCY.to_owned(),
            company: (COMPANY_ID, COMPANY_DOMAIN.to_owned()),
            hooks: Hooks::default(),
            conversions: HashMap::new(),
            index: SearchIndex::default(),
            changelog: Changelog::default(),
            next_option: 1,
            next_field: 1,
            uuid_counter: 0,
        }
    }

    pub(super) const fn table(&self, entity: Entity) -> &Table {
        &self.tables[entity.index()]
    }

    pub(super) const fn table_mut(&mut self, entity: Entity) -> &mut Table {
        &mut self.tables[entity.index()]
    }

    /// The field definitions of a kind (a lead has its own standard fields and the deals' custom ones).
    pub(super) const fn fields(&self, entity: Entity) -> &FieldSet {
        &self.fields[entity.index()]
    }

    pub(super) const fn fields_mut(&mut self, entity: Entity) -> &mut FieldSet {
        &mut self.fields[entity.index()]
    }

    /// A uuid that no run gives differently.
    pub(super) fn take_uuid(&mut self) -> Uuid {
        self.uuid_counter += 1;
        Uuid::new_v5(&Uuid::NAMESPACE_OID, &self.uuid_counter.to_be_bytes())
    }

    /// Stores a record, and queues it for the search index.
    pub(super) fn put(&mut self, entity: Entity, row: Row, now: i64) {
        let id = row.id;
        hooks::touch(self, Subject::Record(entity, id));
        self.table_mut(entity).put(row);
        self.reindex(entity, id, now);
        if entity == Entity::Note {
            self.reindex_parents(id, now);
        }
    }

    fn reindex(&mut self, entity: Entity, id: u64, now: i64) {
        if !matches!(entity, Entity::Person | Entity::Organization | Entity::Deal | Entity::Lead) {
            return;
        }
        let Some(row) = self.table(entity).get(id) else { return };
        if row.deleted {
            self.index.queue_removal(entity, id, now);
        } else {
            let document = super::index::Document::of(self, entity, row);
            self.index.queue(entity, id, document, now);
        }
    }

    fn reindex_parents(&mut self, note: u64, now: i64) {
        let Some(row) = self.table(Entity::Note).get(note) else { return };
        let mut parents: Vec<(Entity, u64)> =
            [(Entity::Person, "person_id"), (Entity::Organization, "org_id"), (Entity::Deal, "deal_id")]
                .into_iter()
                .filter_map(|(e, key)| row.number(key).map(|id| (e, id)))
                .collect();
        parents.extend(row.text("lead_id").and_then(|t| self.lead_number(t)).map(|id| (Entity::Lead, id)));
        for (entity, id) in parents {
            self.reindex(entity, id, now);
        }
    }

    /// The number of a lead by its uuid in text.
    pub(super) fn lead_number(&self, text: &str) -> Option<u64> {
        self.lead_numbers.get(&Uuid::try_parse(text).ok()?).copied()
    }

    /// A record by the id of a path or body; deleted ones too.
    pub(super) fn by_path_id(&self, entity: Entity, id: &str) -> Option<&Row> {
        let number = if entity == Entity::Lead { self.lead_number(id)? } else { id.parse().ok()? };
        self.table(entity).get(number)
    }

    /// Whether a user is there and active.
    pub(super) fn is_active_user(&self, id: u64) -> bool {
        self.users.iter().any(|u| u.id == id && u.active)
    }

    pub(super) fn has_currency(&self, code: &str) -> bool {
        self.currencies.iter().any(|(c, _, _)| c == code)
    }

    /// The record as an answer shows it; `None` for optional fields means none of them.
    pub(super) fn render(&self, entity: Entity, row: &Row) -> Object {
        match entity {
            Entity::Lead => super::lead::render(self, row),
            Entity::Note => super::note::render(self, row),
            _ => {
                let mut object = row.object.clone();
                if entity != Entity::Activity {
                    object.insert("custom_fields".to_owned(), self.render_custom(entity, row));
                }
                object
            }
        }
    }

    /// All custom fields of a kind in the v2 shape, null where unset.
    fn render_custom(&self, entity: Entity, row: &Row) -> Value {
        let mut all = Object::new();
        for field in self.fields(entity.fields_of()).custom() {
            all.insert(field.code.clone(), row.custom.get(&field.code).cloned().unwrap_or(Value::Null));
        }
        Value::Object(all)
    }

    /// Moves what hangs on one record to another (merge, conversion).
    pub(super) fn relink(&mut self, target: Entity, key: &'static str, from: &Value, to_key: &'static str, to: &Value, now: i64) {
        let Some(number) = super::table::link_number(from) else { return };
        let rows: Vec<Row> = self
            .table(target)
            .linked(key, number)
            .map(|rows| rows.filter(|r| r.object.get(key) == Some(from)).cloned().collect())
            .unwrap_or_default();
        for mut row in rows {
            row.set(key, Value::Null);
            row.set(to_key, to.clone());
            row.updated = now;
            let time = match target {
                Entity::Note => clock::v1_time(now),
                Entity::Lead => clock::lead_time(now),
                _ => clock::v2_time(now),
            };
            row.set("update_time", time);
            self.put(target, row, now);
        }
    }

    /// A short statement of what is there.
    pub(super) fn summary(&self) -> Value {
        let mut all = Object::new();
        for entity in Entity::ALL {
            all.insert(entity.path().to_owned(), json!(self.table(entity).count()));
        }
        Value::Object(all)
    }
}
