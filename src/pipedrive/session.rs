//! The calls, one method each. A session belongs to one attempt: what it sends is recorded in the attempt's trace.
//!
//! Invariants: entities that are marked deleted count as gone; lists are read to their end or to the given maximum, never silently cut
//! at a page; v2 pages by cursor, v1 by start.

use serde_json::{Map, Value, json};

use super::entity::{self, Entity, is_deleted};
use super::observe;
use super::{ApiError, Caller, Client, ErrorKind, Id, Kind, Method, Purpose, Request, Saving, Trace};

/// Largest page; the cost does not depend on it.
pub const PAGE: usize = 500;
/// Most ids in one `?ids=` request.
pub const IDS: usize = 100;
/// From this many ids on a list (10 tokens) costs less than single reads (1 token each).
pub const BATCH_FROM: usize = 11;
/// Longest search term that is sent; longer ones are cut, searched as a beginning, and compared by the caller.
const LONGEST_TERM: usize = 100;

/// Calls to one account.
#[derive(Debug, Clone)]
pub struct Session {
    client: Client,
    trace: Trace,
    caller: Caller,
    observing: bool,
    told: Option<fn(&ApiError)>,
}

/// What to search in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchField<'a> {
    /// Name (persons, organizations).
    Name,
    /// E-mail (persons).
    Email,
    /// Phone (persons).
    Phone,
    /// Address (organizations).
    Address,
    /// Title (deals, leads).
    Title,
    /// A custom field of a searchable type, by key. Compared case-sensitively by Pipedrive.
    Custom(&'a str),
}

/// A candidate. The index may be behind: it is verified on the entity before it counts.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchHit {
    /// Id.
    pub id: Id,
    /// What the search told of it; shapes differ from those of entities.
    pub item: Entity,
}

/// Where the next page of a list begins: a query parameter and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextPage(&'static str, String);

impl NextPage {
    /// The page of a v2 list at a cursor that [`Self::value`] told.
    #[must_use]
    pub const fn cursor(value: String) -> Self {
        Self(CURSOR, value)
    }

    /// The parameter's value.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.1
    }
}

/// v2's parameter.
const CURSOR: &str = "cursor";

/// How a conversion stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// State.
    pub state: ConversionState,
    /// The deal, when completed.
    pub deal: Option<Id>,
}

/// States of a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConversionState {
    /// Not started or running: ask again.
    Running,
    /// Done.
    Completed,
    /// Ended without a deal.
    Failed,
}

impl Session {
    pub(super) fn new(client: Client, trace: Trace) -> Self {
        Self { client, trace, caller: Caller::housekeeping(), observing: false, told: None }
    }

    /// The same, on behalf of somebody.
    #[must_use]
    pub fn on_behalf_of(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    /// On whose behalf requests are sent.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The same, but only GETs are sent; writes are recorded in the trace and answered with what a success would say.
    #[must_use]
    pub fn observing(self) -> Self {
        Self { observing: true, ..self }
    }

    /// The same, but a request that meets the burst limit is sent again when there is room: a 429 has carried nothing out. `told` hears
    /// of each. It ends by itself: 429s in a row count as a spent budget, which is not waited for.
    #[must_use]
    pub fn patient(self, told: fn(&ApiError)) -> Self {
        Self { told: Some(told), ..self }
    }

    /// Where exchanges are recorded.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Notes tokens that need not be spent, on whose behalf it sends.
    pub fn saved(&self, saving: Saving, tokens: u32) {
        self.client.saved(&self.caller, saving, tokens);
    }

    /// The client.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Sends any request and answers the whole JSON body.
    ///
    /// # Errors
    /// Any failure of the call.
    pub async fn send(&self, request: &Request, purpose: Purpose) -> Result<Value, ApiError> {
        if self.observing && request.method != Method::Get {
            return Ok(observe::answer(&self.trace, request, purpose));
        }
        loop {
            match (self.client.send(&self.caller, &self.trace, request, purpose).await, self.told) {
                // The limiter waits before the next turn.
                (Err(error @ ApiError { kind: ErrorKind::Throttled { daily: false, .. }, .. }), Some(told)) => told(&error),
                (result, _) => return result,
            }
        }
    }

    /// One entity; none when it is gone or marked deleted.
    ///
    /// # Errors
    /// Any failure but 404 and 410.
    pub async fn get(&self, kind: Kind, id: &Id, purpose: Purpose) -> Result<Option<Entity>, ApiError> {
        // What would have been created is there for the rest of the plan, and nothing is known of it.
        if self.observing && observe::is_made_up(id).is_some() {
            return Ok(Some(Entity::from_iter([("id".to_owned(), id.to_json())])));
        }
        let request = Request::get(entity_path(kind, id));
        match self.send(&request, purpose).await {
            Ok(body) => {
                let (_, entity) = entity::one(kind, body).map_err(|e| failed(&request, e))?;
                Ok(Some(entity).filter(|entity| !is_deleted(kind, entity)))
            }
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The entities of these ids that are there, by the cheapest way, in the order of `ids`.
    ///
    /// # Errors
    /// Any failure but 404 and 410 of single ones.
    pub async fn get_many(&self, kind: Kind, ids: &[Id], purpose: Purpose) -> Result<Vec<(Id, Entity)>, ApiError> {
        let mut found = Vec::with_capacity(ids.len());
        if !kind.is_v2() || ids.len() < BATCH_FROM {
            for id in ids {
                found.extend(self.get(kind, id, purpose).await?.map(|entity| (id.clone(), entity)));
            }
            return Ok(found);
        }
        for ids in ids.chunks(IDS) {
            let joined = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            found.extend(self.list(kind, &[("ids", joined)], IDS, purpose).await?.into_iter().filter_map(|entity| {
                let id = Id::from_json(entity.get("id")?)?;
                Some((id, entity))
            }));
        }
        found.sort_by_key(|(id, _)| ids.iter().position(|wanted| wanted == id));
        Ok(found)
    }

    /// Entities that fit the filters (query parameters of the list), at most `max`, without deleted ones.
    ///
    /// # Errors
    /// Any failure of one of its pages.
    pub async fn list(
        &self,
        kind: Kind,
        filters: &[(&str, String)],
        max: usize,
        purpose: Purpose,
    ) -> Result<Vec<Entity>, ApiError> {
        let mut entities = self.list_path(kind.path(), filters, max, purpose).await?;
        entities.retain(|entity| !is_deleted(kind, entity));
        Ok(entities)
    }

    /// All objects of a paged collection, at most `max`.
    ///
    /// # Errors
    /// Any failure of one of its pages.
    pub async fn list_path(
        &self,
        path: &str,
        filters: &[(&str, String)],
        max: usize,
        purpose: Purpose,
    ) -> Result<Vec<Entity>, ApiError> {
        let mut all = Vec::new();
        let mut next = None;
        loop {
            let limit = PAGE.min(max.saturating_sub(all.len())).max(1);
            let (page, follows) = self.list_page(path, filters, limit, next.as_ref(), purpose).await?;
            let empty = page.is_empty();
            all.extend(page);
            match follows {
                Some(follows) if all.len() < max && !empty => next = Some(follows),
                _ => break,
            }
        }
        all.truncate(max);
        Ok(all)
    }

    /// One page of a collection, at most [`PAGE`] objects, and where the next one begins. Deleted ones are among them.
    ///
    /// # Errors
    /// Any failure of the call.
    pub async fn list_page(
        &self,
        path: &str,
        filters: &[(&str, String)],
        limit: usize,
        from: Option<&NextPage>,
        purpose: Purpose,
    ) -> Result<(Vec<Entity>, Option<NextPage>), ApiError> {
        let mut request = Request::get(path).query("limit", limit.min(PAGE).to_string());
        for (name, value) in filters {
            request = request.query(name, value.as_str());
        }
        if let Some(NextPage(name, value)) = from {
            request = request.query(name, value.as_str());
        }
        let body = self.send(&request, purpose).await?;
        let follows = next_page(&body, limit);
        if follows.is_some() && follows.as_ref() == from {
            return Err(failed(&request, unreadable("it leads back to the same page")));
        }
        Ok((entity::many(body).map_err(|e| failed(&request, e))?, follows))
    }

    /// Creates an entity; answers it as Pipedrive has it.
    ///
    /// # Errors
    /// Any failure of the call; see [`ApiError::class`] for what is known of its outcome.
    pub async fn create(&self, kind: Kind, body: Map<String, Value>) -> Result<(Id, Entity), ApiError> {
        let request = Request::new(Method::Post, kind.path()).body(Value::Object(body));
        self.send_for_one(kind, &request).await
    }

    /// Changes an entity; answers it as Pipedrive has it.
    ///
    /// # Errors
    /// Any failure of the call.
    pub async fn update(&self, kind: Kind, id: &Id, body: Map<String, Value>) -> Result<Entity, ApiError> {
        let method = if kind == Kind::Note { Method::Put } else { Method::Patch };
        let request = Request::new(method, entity_path(kind, id)).body(Value::Object(body));
        let (answered, entity) = self.send_for_one(kind, &request).await?;
        if answered == *id { Ok(entity) } else { Err(failed(&request, unreadable("it is about another entity"))) }
    }

    /// Deletes an entity.
    ///
    /// # Errors
    /// Any failure of the call; [`ApiError::is_gone`] when it was gone before.
    pub async fn delete(&self, kind: Kind, id: &Id) -> Result<(), ApiError> {
        self.send(&Request::new(Method::Delete, entity_path(kind, id)), Purpose::Write).await.map(|_| ())
    }

    /// Merges `drop` into `keep`: `keep` stays and its values win.
    ///
    /// # Errors
    /// Any failure of the call; kinds other than person, organization and deal are refused without a request.
    pub async fn merge(&self, kind: Kind, keep: &Id, drop: &Id) -> Result<(), ApiError> {
        let collection = match kind {
            Kind::Person => "persons",
            Kind::Organization => "organizations",
            Kind::Deal => "deals",
            Kind::Lead | Kind::Activity | Kind::Note => {
                return Err(ApiError {
                    call: format!("merge {kind}"),
                    write: true,
                    kind: ErrorKind::Refused { status: 405, code: None, message: format!("Pipedrive cannot merge a {kind}") },
                });
            }
        };
        // The id in the path is the one that goes; the one in the body prevails.
        let request = Request::new(Method::Put, format!("/api/v1/{collection}/{drop}/merge"))
            .body(json!({ "merge_with_id": keep.to_json() }));
        self.send(&request, Purpose::Write).await.map(|_| ())
    }

    /// Starts the conversion of a lead to a deal; answers the conversion's id.
    ///
    /// # Errors
    /// Any failure of the call.
    pub async fn convert_lead(&self, lead: &Id, body: Map<String, Value>) -> Result<String, ApiError> {
        let request = Request::new(Method::Post, format!("/api/v2/leads/{lead}/convert/deal")).body(Value::Object(body));
        let body = self.send(&request, Purpose::Write).await?;
        let id = body.pointer("/data/conversion_id").and_then(Value::as_str);
        id.map(str::to_owned).ok_or_else(|| failed(&request, unreadable("`data.conversion_id` is missing")))
    }

    /// How a conversion stands. Pipedrive keeps it for some days.
    ///
    /// # Errors
    /// Any failure of the call.
    pub async fn conversion_status(&self, lead: &Id, conversion: &str) -> Result<Conversion, ApiError> {
        let request = Request::get(format!("/api/v2/leads/{lead}/convert/status/{conversion}"));
        let body = self.send(&request, Purpose::ReadBeforeWrite).await?;
        let state = match body.pointer("/data/status").and_then(Value::as_str) {
            Some("not_started" | "running") => ConversionState::Running,
            Some("completed") => ConversionState::Completed,
            Some("failed" | "rejected") => ConversionState::Failed,
            _ => return Err(failed(&request, unreadable("`data.status` is none of the known ones"))),
        };
        Ok(Conversion { state, deal: body.pointer("/data/deal_id").and_then(Id::from_json) })
    }

    /// Candidates for `term`, unverified. `filters` are further query parameters of the kind's search (`organization_id`, `status`).
    ///
    /// # Errors
    /// Any failure of the call.
    pub async fn search(
        &self,
        kind: Kind,
        field: SearchField<'_>,
        term: &str,
        filters: &[(&str, String)],
    ) -> Result<Vec<SearchHit>, ApiError> {
        let cut: String = term.chars().take(LONGEST_TERM).collect();
        let whole = cut.len() == term.len();
        let mut request = match field {
            SearchField::Custom(key) => Request::get("/api/v2/itemSearch/field")
                .query("entity_type", kind.as_str())
                .query("field", key)
                .query("match", if whole { "exact" } else { "beginning" }),
            _ => Request::get(format!("/api/v2/{}/search", kind.path().rsplit('/').next().unwrap_or_default()))
                .query("fields", field.as_str())
                .query("exact_match", if whole { "true" } else { "false" }),
        };
        request = request.query("term", cut).query("limit", PAGE.to_string());
        if !matches!(field, SearchField::Custom(_)) {
            for (name, value) in filters {
                request = request.query(name, value.as_str());
            }
        }
        let mut body = self.send(&request, Purpose::Lookup).await?;
        let more = next_page(&body, PAGE).is_some();
        // Searches of a kind wrap the list once more than searches of a field do.
        if let Some(items) = body.pointer_mut("/data/items").map(Value::take) {
            body = json!({ "data": items });
        }
        let items = entity::many(body).map_err(|e| failed(&request, e))?;
        if more {
            let message = format!("more than {PAGE} candidates; the term is too common to find one {kind} by");
            return Err(failed(&request, ErrorKind::Refused { status: 200, code: None, message }));
        }
        let hit = |mut entity: Entity| {
            let item = match entity.get_mut("item").map(Value::take) {
                Some(Value::Object(item)) => item,
                _ => entity,
            };
            let id = item.get("id").and_then(Id::from_json).filter(|id| id.fits(kind));
            id.map(|id| SearchHit { id, item }).ok_or_else(|| failed(&request, unreadable("a candidate has no id")))
        };
        items.into_iter().map(hit).collect()
    }

    /// Any request by method and path (with query), answered with the whole JSON body.
    ///
    /// # Errors
    /// Any failure of the call; a path outside the API is refused without a request.
    pub async fn raw(&self, method: Method, path: &str, body: Option<Value>, purpose: Purpose) -> Result<Value, ApiError> {
        let mut request = Request::new(method, path);
        if let Err(message) = check_raw_path(path) {
            let kind = ErrorKind::Refused { status: 400, code: None, message: message.to_owned() };
            return Err(ApiError { call: request.call(), write: method != Method::Get, kind });
        }
        request.body = body;
        self.send(&request, purpose).await
    }

    async fn send_for_one(&self, kind: Kind, request: &Request) -> Result<(Id, Entity), ApiError> {
        let body = self.send(request, Purpose::Write).await?;
        entity::one(kind, body).map_err(|e| failed(request, e))
    }
}

impl SearchField<'_> {
    /// The word of `fields=`.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Address => "address",
            Self::Title => "title",
            Self::Custom(_) => "custom_fields",
        }
    }
}

fn entity_path(kind: Kind, id: &Id) -> String {
    format!("{}/{id}", kind.path())
}

pub(super) fn failed(request: &Request, kind: ErrorKind) -> ApiError {
    ApiError { call: request.call(), write: request.method != Method::Get, kind }
}

pub(super) fn unreadable(reason: &str) -> ErrorKind {
    ErrorKind::Unreadable { status: 200, reason: reason.to_owned() }
}

/// The query parameter that asks for the next page: v2's cursor, or v1's start in one of its two places.
fn next_page(body: &Value, limit: usize) -> Option<NextPage> {
    let more = body.get("additional_data")?;
    if let Some(cursor) = more.get("next_cursor") {
        return cursor.as_str().filter(|c| !c.is_empty()).map(|c| NextPage(CURSOR, c.to_owned()));
    }
    let page = more.get("pagination").unwrap_or(more);
    if page.get("more_items_in_collection").and_then(Value::as_bool) != Some(true) {
        return None;
    }
    let start = page.get("start").and_then(Value::as_u64).unwrap_or(0);
    let limit = page.get("limit").and_then(Value::as_u64).unwrap_or(limit as u64);
    let next = page.get("next_start").and_then(Value::as_u64).unwrap_or(start + limit);
    Some(NextPage("start", next.to_string()))
}

/// Scripts may name a path of the API, nothing else, and never put the token in it.
fn check_raw_path(path: &str) -> Result<(), &'static str> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if !(path.starts_with("/api/v1/") || path.starts_with("/api/v2/") || path.starts_with("/v1/")) {
        return Err("the path must start with /api/v2/ or /api/v1/");
    }
    if path.split('/').any(|part| part == ".." || part == ".") || path.contains(['\\', '#', '%']) {
        return Err("the path must be plain: no `.`, `..`, `%`, `\\` or `#`");
    }
    if path.chars().chain(query.chars()).any(|c| c.is_control() || c == ' ') {
        return Err("the path must not hold blanks or control characters; encode them");
    }
    if query.split('&').any(|pair| pair.split('=').next() == Some("api_token")) {
        return Err("the token must not stand in the path; it is sent in a header");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_paging_is_followed() {
        let next = |body: Value| next_page(&body, 500).map(|NextPage(name, value)| format!("{name}={value}"));
        assert_eq!(next(json!({"additional_data": {"next_cursor": "abc"}})).as_deref(), Some("cursor=abc"));
        assert_eq!(next(json!({"additional_data": {"next_cursor": null}})), None);
        let notes = json!({"additional_data": {"pagination": {"start": 0, "limit": 100, "more_items_in_collection": true, "next_start": 100}}});
        assert_eq!(next(notes).as_deref(), Some("start=100"));
        let leads = json!({"additional_data": {"start": 100, "limit": 100, "more_items_in_collection": true}});
        assert_eq!(next(leads).as_deref(), Some("start=200"));
        assert_eq!(next(json!({"additional_data": {"start": 0, "limit": 100, "more_items_in_collection": false}})), None);
        assert_eq!(next(json!({"success": true})), None);
    }

    #[test]
    fn a_raw_path_stays_within_the_api() {
        assert!(check_raw_path("/api/v2/persons/7?custom_fields=a,b").is_ok());
        assert!(check_raw_path("/v1/users/me").is_ok());
        for bad in [
            "https://evil.example/api/v2/x",
            "//evil.example/api/v2/",
            "/api/v2/../../x",
            "/api/v2/%2e%2e/x",
            "/api/v2/persons?api_token=x",
            "/api/v2/a b",
            "persons",
        ] {
            assert!(check_raw_path(bad).is_err(), "{bad}");
        }
    }
}
