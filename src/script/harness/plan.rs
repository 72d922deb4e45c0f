//! Which steps of a plan are like the ones that a test names.

use rhai::{Array, Dynamic, Map};

use super::compare::{pretty, same};
use super::diff::diff;

/// What a step has of its own; every other key is the name of a field.
const OF_THE_STEP: [&str; 8] = ["verb", "kind", "effect", "id", "found_by", "changes", "decisions", "warnings"];
/// Most fields that are named in an overview.
const MOST_FIELDS: usize = 8;

/// What to say about the first step that is missing.
pub(super) struct Missing {
    pub(super) message: String,
    pub(super) notes: Vec<String>,
}

/// Looks for the expected steps, in their order.
pub(super) fn missing(steps: &[Dynamic], expected: &Array) -> Option<Missing> {
    if expected.is_empty() && !steps.is_empty() {
        return Some(Missing { message: "the plan has steps".to_owned(), notes: vec![overview(steps)] });
    }
    let mut from = 0;
    for (number, wanted) in expected.iter().enumerate() {
        let Ok(wanted) = wanted.as_map_ref() else { continue };
        match steps[from..].iter().position(|step| unfit(step, &wanted) == 0) {
            Some(at) => from += at + 1,
            None => return Some(nothing_like(&wanted, number, steps, from)),
        }
    }
    None
}

fn nothing_like(wanted: &Map, number: usize, steps: &[Dynamic], from: usize) -> Missing {
    let after = if from > 0 { format!(" after step {from}") } else { String::new() };
    let message = format!("the plan has no step{after} like the {} that is expected", nth(number + 1));
    let mut notes = Vec::new();
    let nearest = steps[from..].iter().enumerate().min_by_key(|(at, step)| (unfit(step, wanted), *at));
    if let Some((at, step)) = nearest {
        let both = diff(&pretty(&wanted.clone().into()), &pretty(&like(step, wanted).into()));
        notes.push(format!("the nearest is step {}:\n{both}", from + at + 1));
        let changed = field_names(step);
        for key in wanted.keys().filter(|key| !OF_THE_STEP.contains(&key.as_str()) && !changed.iter().any(|f| f == key.as_str()))
        {
            notes.push(format!("step {} does not change `{key}`", from + at + 1));
        }
    }
    notes.push(overview(steps));
    Missing { message, notes }
}

/// How many of the named things the step lacks.
fn unfit(step: &Dynamic, wanted: &Map) -> usize {
    wanted.iter().filter(|(key, value)| !has(step, key, value)).count()
}

fn has(step: &Dynamic, key: &str, wanted: &Dynamic) -> bool {
    let Ok(map) = step.as_map_ref() else { return false };
    if OF_THE_STEP.contains(&key) {
        return map.get(key).is_some_and(|actual| match key {
            "found_by" => part(actual, wanted),
            "decisions" | "warnings" => each(wanted, |text| items(actual).iter().any(|line| part(line, text))),
            _ => fits(actual, wanted),
        });
    }
    change(step, key).is_some_and(|change| holds(&change, wanted))
}

/// Whether a field holds the value afterwards, by its id or name, or by what people read of its items.
fn holds(change: &Map, wanted: &Dynamic) -> bool {
    let after = change.get("after").cloned().unwrap_or_default();
    if fits(&after, wanted) || change.get("after_name").is_some_and(|name| same(name, wanted)) {
        return true;
    }
    let plain = plain(&after);
    fits(&plain, wanted) || (!wanted.is_array() && items(&plain).iter().any(|item| fits(item, wanted)))
}

/// A list of addresses or numbers as the list of their values.
fn plain(value: &Dynamic) -> Dynamic {
    let Ok(list) = value.as_array_ref() else { return value.clone() };
    let of = |item: &Dynamic| item.as_map_ref().ok().and_then(|map| map.get("value").cloned());
    list.iter().map(|item| of(item).unwrap_or_else(|| item.clone())).collect::<Array>().into()
}

/// Whether the value is the wanted one; of a map, only the keys that are named count.
fn fits(actual: &Dynamic, wanted: &Dynamic) -> bool {
    if let (Ok(actual), Ok(wanted)) = (actual.as_map_ref(), wanted.as_map_ref()) {
        return wanted.iter().all(|(key, wanted)| actual.get(key).is_some_and(|actual| fits(actual, wanted)));
    }
    if let (Ok(actual), Ok(wanted)) = (actual.as_array_ref(), wanted.as_array_ref()) {
        return actual.len() == wanted.len() && actual.iter().zip(wanted.iter()).all(|(a, w)| fits(a, w));
    }
    same(actual, wanted)
}

fn part(actual: &Dynamic, wanted: &Dynamic) -> bool {
    match (actual.as_immutable_string_ref(), wanted.as_immutable_string_ref()) {
        (Ok(actual), Ok(wanted)) => actual.contains(wanted.as_str()),
        _ => same(actual, wanted),
    }
}

fn each(wanted: &Dynamic, is_there: impl Fn(&Dynamic) -> bool) -> bool {
    if wanted.is_array() { items(wanted).iter().all(is_there) } else { is_there(wanted) }
}

fn items(value: &Dynamic) -> Array {
    value.as_array_ref().map(|list| list.clone()).unwrap_or_default()
}

fn changes(step: &Dynamic) -> Vec<Map> {
    let list = step.as_map_ref().ok().and_then(|map| map.get("changes").map(items)).unwrap_or_default();
    list.into_iter().filter_map(Dynamic::try_cast::<Map>).collect()
}

fn change(step: &Dynamic, field: &str) -> Option<Map> {
    changes(step).into_iter().find(|change| change.get("field").is_some_and(|name| name.to_string() == field))
}

fn field_names(step: &Dynamic) -> Vec<String> {
    changes(step).iter().filter_map(|change| Some(change.get("field")?.to_string())).collect()
}

/// The step in the words of the expected one: the same keys, with what it has for them.
fn like(step: &Dynamic, wanted: &Map) -> Map {
    let Ok(map) = step.as_map_ref() else { return Map::new() };
    let value = |key: &str, wanted: &Dynamic| {
        if OF_THE_STEP.contains(&key) {
            let actual = map.get(key)?;
            return Some(if has(step, key, wanted) { wanted.clone() } else { actual.clone() });
        }
        let change = change(step, key)?;
        if holds(&change, wanted) {
            return Some(wanted.clone());
        }
        change.get("after_name").filter(|name| !name.is_unit()).cloned().or_else(|| change.get("after").map(plain))
    };
    wanted.iter().filter_map(|(key, wanted)| Some((key.clone(), value(key, wanted)?))).collect()
}

/// The steps, a line each.
fn overview(steps: &[Dynamic]) -> String {
    if steps.is_empty() {
        return "the plan is empty".to_owned();
    }
    let line = |(at, step): (usize, &Dynamic)| {
        let of = |key: &str| {
            let value = step.as_map_ref().ok().and_then(|map| map.get(key).cloned()).unwrap_or_default();
            if value.is_unit() { String::new() } else { value.to_string() }
        };
        let mut fields = field_names(step);
        let more = fields.len().saturating_sub(MOST_FIELDS);
        fields.truncate(MOST_FIELDS);
        if more > 0 {
            fields.push(format!("{more} more"));
        }
        let changed = if fields.is_empty() { String::new() } else { format!(" ({})", fields.join(", ")) };
        format!("{}. {} {}: {}{changed}", at + 1, of("verb"), of("kind"), of("effect"))
    };
    let lines: Vec<String> = steps.iter().enumerate().map(line).collect();
    format!("the plan:\n{}", lines.join("\n"))
}

fn nth(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending} one")
}
