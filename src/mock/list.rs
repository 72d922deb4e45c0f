//! Lists: v2 with cursors, v1 with start and limit.
//!
//! Lists read the records themselves, so they see every write at once; only search lags.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::call::Call;
use super::clock;
use super::entity::Entity;
use super::reply::{Handled, Reply, Version, bad_request, not_found, schema};
use super::table::{Row, link_number};
use super::world::World;

/// `limit` when it is not given.
const LIMIT_DEFAULT: usize = 100;
/// Ids in one `ids` parameter.
const IDS_MAX: usize = 100;

/// The list of a kind.
pub(super) fn list(world: &World, call: &Call<'_>, entity: Entity, archived: bool) -> Handled {
    if call.param("filter_id").is_some() {
        return Err(not_found(call.version()));
    }
    let filter = Filter::read(call, entity, archived)?;
    match call.version() {
        Version::V2 => by_cursor(world, call, entity, &filter),
        Version::V1 => by_start(world, call, entity, &filter),
    }
}

/// The `limit` of a call.
pub(super) fn limit(call: &Call<'_>, max: usize) -> Result<usize, Reply> {
    match call.int("limit") {
        None => Ok(LIMIT_DEFAULT.min(max)),
        Some(n) => usize::try_from(n)
            .ok()
            .filter(|n| (1..=max).contains(n))
            .ok_or_else(|| schema(call.version(), &[format!("limit: must be between 1 and {max}")])),
    }
}

/// A cursor: opaque to callers.
pub(super) fn cursor_text(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Reads a cursor that [`cursor_text`] wrote.
pub(super) fn read_cursor(call: &Call<'_>) -> Result<Option<Value>, Reply> {
    let Some(text) = call.param("cursor") else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    bytes
        .and_then(|b| serde_json::from_slice(&b).ok())
        .map(Some)
        .ok_or_else(|| bad_request(call.version(), "cursor: Invalid cursor"))
}

struct Filter {
    ids: Option<Vec<u64>>,
    /// Equal values of standard fields.
    equal: Vec<(&'static str, Value)>,
    /// Narrows by an index.
    linked: Option<(&'static str, u64)>,
    since: Option<i64>,
    until: Option<i64>,
    added: (Option<String>, Option<String>),
    archived: bool,
    deleted: bool,
    person_of_deal: Option<u64>,
}

impl Filter {
    fn read(call: &Call<'_>, entity: Entity, archived: bool) -> Result<Self, Reply> {
        let version = call.version();
        let time = |name: &str| match call.param(name) {
            None => Ok(None),
            Some(text) => clock::parse_whole_seconds(text)
                .map(Some)
                .ok_or_else(|| schema(version, &[format!("{name}: Invalid date-time, expected RFC 3339 with whole seconds")])),
        };
        let mut equal = Vec::new();
        for name in ["owner_id", "person_id", "org_id", "organization_id", "deal_id", "pipeline_id", "stage_id", "user_id"] {
            if let Some(n) = call.int(name) {
                equal.push((name, json!(n)));
            }
        }
        for name in ["lead_id", "status"] {
            if let Some(text) = call.param(name) {
                equal.push((name, json!(text)));
            }
        }
        if call.param("done").is_some() {
            equal.push(("done", json!(call.flag("done"))));
        }
        for name in ["pinned_to_lead_flag", "pinned_to_deal_flag", "pinned_to_person_flag", "pinned_to_organization_flag"] {
            if let Some(n) = call.int(name) {
                equal.push((name, json!(n == 1)));
            }
        }
        for name in ["project_id", "task_id"] {
            if let Some(n) = call.int(name) {
                equal.push((name, json!(n)));
            }
        }
        let deleted = equal.iter().any(|(k, v)| *k == "status" && v == "deleted");
        equal.retain(|(k, v)| !(*k == "status" && v == "deleted"));
        let mut person_of_deal = None;
        if entity == Entity::Person {
            person_of_deal = call.int("deal_id").map(|n| u64::try_from(n).unwrap_or(0));
            equal.retain(|(k, _)| *k != "deal_id");
        }
        let linked = equal.iter().find(|(k, _)| entity.links().contains(k)).and_then(|(k, v)| Some((*k, link_number(v)?)));
        Ok(Self {
            ids: ids(call)?,
            equal,
            linked,
            since: time("updated_since")?,
            until: time("updated_until")?,
            added: (call.param("start_date").map(str::to_owned), call.param("end_date").map(str::to_owned)),
            archived,
            deleted,
            person_of_deal,
        })
    }

    fn keeps(&self, world: &World, entity: Entity, row: &Row) -> bool {
        let second = row.updated.div_euclid(1000) * 1000;
        let day = || row.text("add_time").unwrap_or_default().chars().take(10).collect::<String>();
        row.deleted == self.deleted
            && (!matches!(entity, Entity::Deal | Entity::Lead) || row.is("is_archived") == self.archived)
            && self.equal.iter().all(|(k, v)| row.object.get(*k) == Some(v))
            && self.since.is_none_or(|s| second >= s)
            && self.until.is_none_or(|u| second < u)
            && self.added.0.as_ref().is_none_or(|from| day() >= *from)
            && self.added.1.as_ref().is_none_or(|to| day() <= *to)
            && self
                .person_of_deal
                .is_none_or(|deal| world.table(Entity::Deal).alive(deal).and_then(|d| d.number("person_id")) == Some(row.id))
    }

    /// Every row that passes, by id where `sorted` is asked for, else in any order.
    fn rows<'w>(&'w self, world: &'w World, entity: Entity) -> Box<dyn Iterator<Item = &'w Row> + 'w> {
        let table = world.table(entity);
        let pass = move |r: &&'w Row| self.keeps(world, entity, r);
        if let Some(ids) = &self.ids {
            return Box::new(ids.iter().filter_map(|id| table.get(*id)).filter(pass));
        }
        if let Some((key, n)) = self.linked
            && let Some(rows) = table.linked(key, n)
        {
            return Box::new(rows.filter(pass));
        }
        if let Some(since) = self.since {
            let mut rows: Vec<&Row> = table.changed_since(since).filter(pass).collect();
            rows.sort_by_key(|r| r.id);
            return Box::new(rows.into_iter());
        }
        Box::new(table.iter().filter(pass))
    }
}

fn ids(call: &Call<'_>) -> Result<Option<Vec<u64>>, Reply> {
    let Some(text) = call.param("ids") else { return Ok(None) };
    let parsed: Result<Vec<u64>, _> = text.split(',').map(|p| p.trim().parse()).collect();
    let mut ids = parsed.map_err(|_| schema(call.version(), &["ids: Expected comma-separated integers".to_owned()]))?;
    if ids.len() > IDS_MAX {
        return Err(schema(call.version(), &[format!("ids: at most {IDS_MAX} ids")]));
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(Some(ids))
}

fn by_cursor(world: &World, call: &Call<'_>, entity: Entity, filter: &Filter) -> Handled {
    let limit = limit(call, 500)?;
    let sort = call.param("sort_by").unwrap_or("id").to_owned();
    let descending = call.param("sort_direction") == Some("desc");
    let after = read_cursor(call)?;
    if let Some(cursor) = &after
        && (cursor["field"] != json!(sort) || cursor["sortDirection"] != json!(if descending { "desc" } else { "asc" }))
    {
        return Err(bad_request(Version::V2, "cursor: does not belong to this sorting"));
    }
    let key_of = |row: &Row| (if sort == "id" { String::new() } else { row.text(&sort).unwrap_or_default().to_owned() }, row.id);
    let from = after.map(|c| (c["fieldValue"].as_str().unwrap_or_default().to_owned(), c["id"].as_u64().unwrap_or(0)));

    let whole_table = filter.ids.is_none() && filter.linked.is_none() && filter.since.is_none();
    let mut page: Vec<&Row> = if sort == "id" && !descending && whole_table {
        // The common walk over a whole account: straight from where the last page ended.
        let start = from.as_ref().map_or(0, |f| f.1);
        world.table(entity).after(start).filter(|r| filter.keeps(world, entity, r)).take(limit + 1).collect()
    } else {
        let mut rows: Vec<(String, u64, &Row)> = filter.rows(world, entity).map(|r| (key_of(r).0, r.id, r)).collect();
        rows.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        if descending {
            rows.reverse();
        }
        let past = |r: &(String, u64, &Row)| match &from {
            None => true,
            Some(f) if descending => (&r.0, r.1) < (&f.0, f.1),
            Some(f) => (&r.0, r.1) > (&f.0, f.1),
        };
        rows.into_iter().filter(past).take(limit + 1).map(|r| r.2).collect()
    };
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|row| {
        let (value, id) = key_of(row);
        cursor_text(
            &json!({ "field": sort, "fieldValue": value, "sortDirection": if descending { "desc" } else { "asc" }, "id": id }),
        )
    });
    let mut data = Vec::with_capacity(page.len());
    for row in page {
        let mut object = world.render(entity, row);
        super::options::apply(world, call, entity, row, &mut object)?;
        data.push(Value::Object(object));
    }
    Ok(Reply::cursor_page(data, next))
}

fn by_start(world: &World, call: &Call<'_>, entity: Entity, filter: &Filter) -> Handled {
    let limit = limit(call, 500)?;
    let start = usize::try_from(call.int("start").unwrap_or(0))
        .map_err(|_| schema(Version::V1, &["start: must not be negative".to_owned()]))?;
    let mut rows: Vec<&Row> = filter.rows(world, entity).collect();
    for part in call.param("sort").unwrap_or("id").split(',').rev() {
        let mut words = part.split_whitespace();
        let key = words.next().unwrap_or("id");
        let descending = words.next().is_some_and(|w| w.eq_ignore_ascii_case("desc"));
        rows.sort_by(|a, b| {
            let order = if key == "id" { a.id.cmp(&b.id) } else { sort_key(a, key).cmp(&sort_key(b, key)) };
            if descending { order.reverse() } else { order }
        });
    }
    let more = rows.len() > start + limit;
    let data: Vec<Value> = rows.into_iter().skip(start).take(limit).map(|r| Value::Object(world.render(entity, r))).collect();
    let mut place = json!({ "start": start, "limit": limit, "more_items_in_collection": more });
    if entity == Entity::Lead {
        return Ok(Reply::page(data.into(), place));
    }
    if more {
        place["next_start"] = json!(start + limit);
    }
    Ok(Reply::page(data.into(), json!({ "pagination": place })))
}

fn sort_key(row: &Row, key: &str) -> (u64, String) {
    match row.object.get(key) {
        Some(Value::Number(n)) => (n.as_u64().unwrap_or(0), String::new()),
        Some(Value::String(s)) => (0, s.clone()),
        Some(Value::Bool(b)) => (u64::from(*b), String::new()),
        _ => (0, String::new()),
    }
}
