//! Writing deals: stages and pipelines, status and its times, archiving.

use serde_json::Value;

use super::clock;
use super::common;
use super::entity::Entity;
use super::reply::{Reply, Version, bad_request};
use super::table::{Object, Row};
use super::world::{ME, World};

fn refuse(message: impl AsRef<str>) -> Reply {
    bad_request(Version::V2, message)
}

/// Applies a body to a deal.
pub(super) fn write(world: &World, row: &mut Row, body: &Object, creating: bool, now: i64) -> Result<(), Reply> {
    if creating {
        defaults(world, row);
    } else if row.is("is_archived") && body.get("is_archived") != Some(&Value::Bool(false)) {
        return Err(refuse("Archived deals cannot be updated: unarchive the deal first"));
    }
    if body.get("is_deleted") == Some(&Value::Bool(true)) {
        return Err(refuse("is_deleted: use DELETE to delete a deal"));
    }
    common::not_blank(body, "title", Version::V2)?;
    common::owner(world, body, row, "owner_id", Version::V2)?;
    common::link(world, body, row, "person_id", Entity::Person, Version::V2)?;
    common::link(world, body, row, "org_id", Entity::Organization, Version::V2)?;
    common::visible_to(body, row)?;
    common::labels(world, Entity::Deal, body, row)?;
    common::date(body, row, "expected_close_date")?;
    if let Some(currency) = body.get("currency").and_then(Value::as_str)
        && !world.has_currency(currency)
    {
        return Err(refuse(format!("currency: '{currency}' was not found")));
    }
    if let Some(p) = body.get("probability").and_then(Value::as_f64)
        && !(0.0..=100.0).contains(&p)
    {
        return Err(refuse("probability: must be between 0 and 100"));
    }
    stage(world, row, body, creating, now)?;
    status(row, body, now)?;
    archive(row, body, now)?;
    common::copy(body, row, &["title", "value", "currency", "probability"]);
    Ok(())
}

fn defaults(world: &World, row: &mut Row) {
    row.set("owner_id", ME);
    row.set("creator_user_id", ME);
    row.set("visible_to", 3);
    row.set("label_ids", Vec::<u64>::new());
    row.set("value", 0);
    row.set("currency", world.default_currency.clone());
    row.set("status", "open");
    row.set("is_archived", false);
    row.set("origin", "API");
    for key in [
        "person_id",
        "org_id",
        "archive_time",
        "probability",
        "lost_reason",
        "close_time",
        "won_time",
        "lost_time",
        "local_won_date",
        "local_lost_date",
        "local_close_date",
        "expected_close_date",
        "origin_id",
        "channel",
        "channel_id",
        "acv",
        "arr",
        "mrr",
    ] {
        row.set(key, Value::Null);
    }
    row.optional.insert("source_lead_id".to_owned(), Value::Null);
}

/// The stage decides the pipeline; a pipeline alone means its first stage; the two may not differ.
fn stage(world: &World, row: &mut Row, body: &Object, creating: bool, now: i64) -> Result<(), Reply> {
    let wanted_stage = body.get("stage_id").and_then(common::id_of);
    let wanted_pipeline = body.get("pipeline_id").and_then(common::id_of);
    if let Some(id) = wanted_pipeline
        && !world.pipelines.get(&id).is_some_and(|p| p.get("is_deleted") != Some(&Value::Bool(true)))
    {
        return Err(refuse(format!("pipeline_id: Pipeline with id {id} was not found")));
    }
    let first_stage_of = |pipeline: u64| {
        let alive = |s: &&Object| s.get("is_deleted") != Some(&Value::Bool(true));
        let mine = world.stages.values().filter(alive).filter(|s| s.get("pipeline_id").and_then(Value::as_u64) == Some(pipeline));
        mine.min_by_key(|s| s.get("order_nr").and_then(Value::as_u64)).and_then(|s| s.get("id")?.as_u64())
    };
    let stage = match (wanted_stage, wanted_pipeline) {
        (Some(id), pipeline) => {
            let Some(stage) = world.stages.get(&id).filter(|s| s.get("is_deleted") != Some(&Value::Bool(true))) else {
                return Err(refuse(format!("stage_id: Stage with id {id} was not found")));
            };
            if pipeline.is_some_and(|p| stage.get("pipeline_id").and_then(Value::as_u64) != Some(p)) {
                return Err(refuse(format!("stage_id: Stage {id} does not belong to the given pipeline")));
            }
            Some(id)
        }
        (None, Some(pipeline)) if row.number("pipeline_id") == Some(pipeline) => None,
        (None, Some(pipeline)) => Some(first_stage_of(pipeline).ok_or_else(|| refuse("pipeline_id: the pipeline has no stage"))?),
        (None, None) if creating => {
            let first = world.pipelines.keys().next().copied().and_then(first_stage_of);
            Some(first.ok_or_else(|| refuse("The account has no pipeline"))?)
        }
        (None, None) => None,
    };
    if let Some(id) = stage {
        if row.number("stage_id") != Some(id) {
            let time = if creating { Value::Null } else { clock::v2_time(now).into() };
            row.set("stage_change_time", time);
        }
        let pipeline = world.stages.get(&id).and_then(|s| s.get("pipeline_id").cloned()).unwrap_or(Value::Null);
        row.set("stage_id", id);
        row.set("pipeline_id", pipeline);
    }
    Ok(())
}

fn status(row: &mut Row, body: &Object, now: i64) -> Result<(), Reply> {
    let before = row.text("status").unwrap_or("open").to_owned();
    let after = body.get("status").and_then(Value::as_str).unwrap_or(&before).to_owned();
    let given = |key: &str| body.get(key).filter(|v| !v.is_null());
    if given("lost_reason").is_some() && after != "lost" {
        return Err(refuse("lost_reason: can be set only when the deal is lost"));
    }
    for (key, status) in [("won_time", "won"), ("lost_time", "lost")] {
        if given(key).is_some() && after != status {
            return Err(refuse(format!("{key}: can be set only when the deal is {status}")));
        }
    }
    if given("close_time").is_some() && after == "open" {
        return Err(refuse("close_time: can be set only when the deal is won or lost"));
    }
    if after != before {
        for key in ["won_time", "lost_time", "close_time", "local_won_date", "local_lost_date", "local_close_date", "lost_reason"]
        {
            row.set(key, Value::Null);
        }
        if after != "open" {
            let time = clock::v2_time(now);
            let date = time[..10].to_owned();
            row.set(&format!("{after}_time"), time.clone());
            row.set(&format!("local_{after}_date"), date.clone());
            row.set("close_time", time);
            row.set("local_close_date", date);
        }
        row.set("status", after);
    }
    for key in ["won_time", "lost_time", "close_time"] {
        if let Some(text) = body.get(key).and_then(Value::as_str)
            && clock::parse_whole_seconds(text).is_none()
        {
            return Err(super::reply::schema(Version::V2, &[format!("{key}: Invalid date-time")]));
        }
    }
    common::copy(body, row, &["lost_reason", "won_time", "lost_time", "close_time"]);
    Ok(())
}

fn archive(row: &mut Row, body: &Object, now: i64) -> Result<(), Reply> {
    let time = body.get("archive_time").filter(|v| !v.is_null());
    if let Some(archived) = body.get("is_archived").and_then(Value::as_bool) {
        row.set("is_archived", archived);
        row.set("archive_time", if archived { clock::v2_time(now).into() } else { Value::Null });
    }
    if let Some(text) = time.and_then(Value::as_str) {
        let Some(ms) = clock::parse_v1_time(text) else {
            return Err(super::reply::schema(Version::V2, &["archive_time: expected YYYY-MM-DD HH:MM:SS".to_owned()]));
        };
        if !row.is("is_archived") {
            return Err(refuse("archive_time: can be set only when the deal is archived"));
        }
        row.set("archive_time", clock::v2_time(ms));
    }
    Ok(())
}
