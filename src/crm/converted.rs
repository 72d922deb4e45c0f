//! Leads that became deals, by a rule or by people in Pipedrive.
//!
//! Invariants: a lead is taken for converted only when Pipedrive said which deal it became (a conversion's end, or a deal's
//! `source_lead_id`), or when it is gone and a deal holds the key that it is matched by, as conversions and merges leave it. The deal's index entry under [`LEAD_FIELD`] says so; it goes with the deal and follows its merges. The lead's own
//! entries stay and lead to the lead, and by it to the deal and nowhere else: so what was matched as a lead is not created again. What was
//! last sent to the lead counts as sent to the deal, so people's edits of the deal stand.

use serde_json::Value;

use super::index;
use super::known::{Known, held_value};
use super::standard::{find as standard_field, finding};
use super::{Account, Address, FindError, Finding, Found, Lookup, Metadata, OnMany, Term, find, normalise};
use crate::pipedrive::{Entity, Id, Kind, Session};
use crate::store::{Store, StoreError, Write};

/// The index field of deals under which the id of the lead that they were stands.
const LEAD_FIELD: &str = "#lead";
/// A person with more deals than this is no person.
const LONGEST_LIST: usize = 5_000;

/// By what the deal may be found that a lead became.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kin {
    /// Persons.
    pub persons: Vec<Id>,
    /// Organizations.
    pub organizations: Vec<Id>,
    /// Look-ups of the lead by custom fields, which deals share.
    pub keys: Vec<Lookup>,
}

impl Kin {
    /// Adds what a lead's field holds, when it is one of the two.
    pub fn add(&mut self, field: &str, id: Id) {
        let ids = match field {
            "person_id" => &mut self.persons,
            "organization_id" | "org_id" => &mut self.organizations,
            _ => return,
        };
        if !ids.contains(&id) {
            ids.push(id);
        }
    }

    /// Adds those that look-ups of a lead name.
    pub fn add_lookups(&mut self, lookups: &[Lookup]) {
        for term in lookups.iter().flat_map(|lookup| &lookup.0) {
            if let (Address::Standard(field), Ok(id)) = (&term.address, term.value.parse()) {
                self.add(field, id);
            }
        }
        let by_key = |lookup: &&Lookup| lookup.0.iter().all(|term| matches!(term.address, Address::Custom(_)));
        self.keys.extend(lookups.iter().filter(by_key).cloned());
    }

    /// Adds those that a lead, as Pipedrive answers it, or a body names.
    pub fn add_entity(&mut self, lead: &Entity) {
        for field in ["person_id", "organization_id"] {
            if let Some(id) = lead.get(field).and_then(Id::from_json) {
                self.add(field, id);
            }
        }
    }

    fn add_known(&mut self, known: &Known) {
        for field in ["person_id", "organization_id"] {
            let sent = known.sent(field).map(|sent| held_value(sent).unwrap_or(sent));
            for value in [known.seen(field), sent].into_iter().flatten() {
                if let Some(id) = Id::from_json(value) {
                    self.add(field, id);
                }
            }
        }
    }
}

/// What became of a lead that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeadFate {
    /// This deal.
    Deal(Id),
    /// No deal of its person or organization was that lead, and none holds its key.
    NoDeal,
    /// Neither its person nor its organization nor a key is known, and Pipedrive finds deals by nothing else that a lead leaves behind.
    CannotTell,
}

/// The deal that a lead is known to have become.
///
/// # Errors
/// When the store fails.
pub async fn deal_of_lead(store: &dyn Store, account: &str, lead: &Id) -> Result<Option<Id>, StoreError> {
    let deals = store.index_get(account, Kind::Deal.as_str(), LEAD_FIELD, &lead.to_string()).await?;
    Ok(deals.iter().filter_map(|id| id.parse().ok()).find(|id: &Id| id.fits(Kind::Deal)))
}

/// What became of a lead that Pipedrive says is gone: as it is known, else by a look at the deals of its person or organization
/// (10 tokens each), else by a search of deals by its key (20): people may have moved the deal or merged it into another one. What is
/// found is learned at once.
///
/// # Errors
/// When a request or the store fails; then nothing is known still.
pub async fn find_deal_of_lead(account: &Account, session: &Session, lead: &Id, mut kin: Kin) -> Result<LeadFate, FindError> {
    let store = &*account.store;
    if let Some(deal) = deal_of_lead(store, &account.name, lead).await? {
        return Ok(LeadFate::Deal(deal));
    }
    kin.add_known(&Known::load(store, &account.name, Kind::Lead, lead).await?);
    if kin == Kin::default() {
        return Ok(LeadFate::CannotTell);
    }
    let persons = kin.persons.iter().map(|id| ("person_id", id));
    for (filter, id) in persons.chain(kin.organizations.iter().map(|id| ("org_id", id))) {
        let filters = [(filter, id.to_string()), ("include_fields", "source_lead_id".to_owned())];
        let deals = account.list(session, Kind::Deal, &filters, LONGEST_LIST).await?;
        let deal = deals.iter().find(|deal| deal.get("source_lead_id").and_then(Id::from_json).as_ref() == Some(lead));
        if let Some(deal) = deal.and_then(|deal| deal.get("id")).and_then(Id::from_json) {
            store.commit(became_deal(account, lead, &deal).await?).await?;
            return Ok(LeadFate::Deal(deal));
        }
    }
    let metadata = account.metadata();
    let searched = |term: &Term| finding(Kind::Deal, &term.address, metadata.type_of(Kind::Deal, &term.address));
    kin.keys.retain(|lookup| lookup.0.iter().any(|term| searched(term) == Finding::SearchCustom));
    if kin.keys.is_empty() {
        return Ok(LeadFate::NoDeal);
    }
    // Finding a lead may lead here.
    match Box::pin(find(account, session, Kind::Deal, &kin.keys, OnMany::Oldest)).await? {
        Found::Hit { id: deal, .. } => {
            store.commit(became_deal(account, lead, &deal).await?).await?;
            Ok(LeadFate::Deal(deal))
        }
        Found::Miss => Ok(LeadFate::NoDeal),
    }
}

/// What is to be learned when a lead has become a deal.
///
/// # Errors
/// When the store fails.
pub async fn became_deal(account: &Account, lead: &Id, deal: &Id) -> Result<Vec<Write>, StoreError> {
    let (store, name) = (&*account.store, &account.name);
    let of_lead = Known::load(store, name, Kind::Lead, lead).await?;
    let mut of_deal = Known::load(store, name, Kind::Deal, deal).await?;
    let mut writes = vec![
        index::put(name, Kind::Deal, deal, LEAD_FIELD, &lead.to_string()),
        index::put(name, Kind::Lead, lead, "id", &lead.to_string()),
    ];
    let metadata = account.metadata();
    for (of, sent) in of_lead.all_sent() {
        writes.extend(key_of_deal(name, deal, of, sent, &metadata));
        for (field, sent) in sent_to_deal(of, sent) {
            if of_deal.sent(field).is_none() {
                of_deal.note_sent(field, sent.clone());
                if let Some(by) = of_lead.by(of) {
                    of_deal.note_by(field, by);
                }
            }
        }
    }
    writes.push(of_deal.write(name, Kind::Deal, deal));
    writes.push(Known::default().write(name, Kind::Lead, lead));
    Ok(writes)
}

/// The deal has the lead's custom fields: it is found by them before Pipedrive's search knows.
fn key_of_deal(account: &str, deal: &Id, field: &str, sent: &Value, metadata: &Metadata) -> Option<Write> {
    let address = Address::Custom(field.to_owned());
    let ty = metadata.type_of(Kind::Deal, &address);
    if finding(Kind::Deal, &address, ty) != Finding::SearchCustom {
        return None;
    }
    normalise(Kind::Deal, &address, ty, sent).map(|value| index::put(account, Kind::Deal, deal, field, &value))
}

/// The field of deals that a standard field of leads becomes; none where deals have nothing like it.
#[must_use]
pub fn deal_field(lead_field: &str) -> Option<&'static str> {
    Some(match lead_field {
        "title" => "title",
        "owner_id" => "owner_id",
        "person_id" => "person_id",
        "organization_id" => "org_id",
        "value" => "value",
        "expected_close_date" => "expected_close_date",
        "visible_to" => "visible_to",
        "is_archived" => "is_archived",
        "label_ids" => "label_ids",
        _ => return None,
    })
}

/// What was sent to a lead's field, as fields of the deal.
fn sent_to_deal<'v>(field: &'v str, sent: &'v Value) -> Vec<(&'v str, &'v Value)> {
    if standard_field(Kind::Lead, field).is_none() {
        return vec![(field, sent)];
    }
    match (deal_field(field), sent) {
        // Labels have other ids there.
        (None | Some("label_ids"), _) => Vec::new(),
        (Some("value"), Value::Object(value)) => [("value", "amount"), ("currency", "currency")]
            .into_iter()
            .filter_map(|(to, from)| Some((to, value.get(from)?)))
            .collect(),
        (Some(field), sent) => vec![(field, sent)],
    }
}
