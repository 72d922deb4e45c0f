//! Values with parts: money, addresses, ranges, times with zones.

use serde_json::{Map, Value as Json, json};

use super::scalar;
use crate::diagnostic::did_you_mean;
use crate::plan::refusal::{Refusal, listed};

type Result<T> = std::result::Result<T, Refusal>;

/// An amount with its currency, when one was given.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Amount {
    pub(super) amount: serde_json::Number,
    pub(super) currency: Option<String>,
}

/// Money from a number, a numeric string, or a map `#{ value | amount, currency? }`.
pub(super) fn money(field: &str, value: &Json) -> Result<Amount> {
    let Json::Object(map) = value else {
        let amount = scalar::number(field, value)
            .map_err(|r| Refusal { message: r.message.replace("a number", "an amount of money"), ..r })
            .map_err(|r| r.help("a number, a numeric string, or `money(amount, \"EUR\")`"))?;
        return Ok(Amount { amount, currency: None });
    };
    only_keys(field, map, &["value", "amount", "currency"])?;
    let amount = given(map, "value").or_else(|| given(map, "amount"));
    let amount = amount
        .ok_or_else(|| Refusal::value(format!("the money for `{field}` has no amount")).help("give `amount` and `currency`"))?;
    let currency = given(map, "currency").map(|c| scalar::currency(field, c)).transpose()?;
    Ok(Amount { amount: scalar::number(field, amount)?, currency })
}

/// A pair of `from` and `until`, given as map or as array of two.
pub(super) fn range(field: &str, value: &Json, part: impl Fn(&str, &Json) -> Result<String>) -> Result<Json> {
    let wanted = "a range (`#{ from: .., until: .. }` or `[from, until]`)";
    let (from, until) = match value {
        Json::Array(items) => match items.as_slice() {
            [from, until] => (from, until),
            _ => return Err(Refusal::wrong(field, wanted, value)),
        },
        Json::Object(map) => {
            only_keys(field, map, &["from", "value", "until", "to", "timezone_name", "timezone"])?;
            let from = given(map, "from").or_else(|| given(map, "value"));
            let until = given(map, "until").or_else(|| given(map, "to"));
            match (from, until) {
                (Some(from), Some(until)) => (from, until),
                _ => {
                    return Err(Refusal::value(format!("`{field}` takes both ends of a range"))
                        .help("give `from` and `until`")
                        .showing(value));
                }
            }
        }
        _ => return Err(Refusal::wrong(field, wanted, value)),
    };
    let mut out = Map::new();
    out.insert("value".into(), part(field, from)?.into());
    out.insert("until".into(), part(field, until)?.into());
    if let Json::Object(map) = value {
        put_zone(field, map, &mut out)?;
    }
    Ok(Json::Object(out))
}

/// A time of day, with the zone where one is given.
pub(super) fn zoned_time(field: &str, value: &Json) -> Result<Json> {
    let Json::Object(map) = value else { return Ok(json!({ "value": scalar::time(field, value)? })) };
    only_keys(field, map, &["value", "timezone_name", "timezone"])?;
    let clock = given(map, "value").ok_or_else(|| Refusal::value(format!("the time for `{field}` has no `value`")))?;
    let mut out = Map::new();
    out.insert("value".into(), scalar::time(field, clock)?.into());
    put_zone(field, map, &mut out)?;
    Ok(Json::Object(out))
}

fn put_zone(field: &str, from: &Map<String, Json>, to: &mut Map<String, Json>) -> Result<()> {
    let Some(zone) = given(from, "timezone_name").or_else(|| given(from, "timezone")) else { return Ok(()) };
    scalar::zone(field, zone)?;
    to.insert("timezone_name".into(), scalar::text(field, zone)?.into());
    Ok(())
}

/// The parts of an address, as Pipedrive names them, with the names that other systems give them. The order is that of [`one_line`].
const ADDRESS_PARTS: [(&str, &[&str]); 10] = [
    ("value", &["formatted_address", "formatted"]),
    ("street_number", &["streetNumber", "house_number"]),
    ("route", &["street", "line1"]),
    ("subpremise", &["line2", "apartment"]),
    ("sublocality", &["district"]),
    ("locality", &["city", "town"]),
    ("admin_area_level_1", &["state", "region", "province"]),
    ("admin_area_level_2", &["county"]),
    ("country", &[]),
    ("postal_code", &["postalCode", "postal", "zip", "zipcode", "zip_code"]),
];

/// An address from one line of text, or from a map of parts (Pipedrive's names, or Segment's: street, city, state ...). Pipedrive needs
/// the one-line form too: it is put together where it is not given. `None` when every part is empty.
pub(super) fn address(field: &str, value: &Json) -> Result<Option<Json>> {
    let map = match value {
        Json::String(line) => return Ok((!line.trim().is_empty()).then(|| json!({ "value": line.trim() }))),
        Json::Object(map) => map,
        _ => return Err(Refusal::wrong(field, "an address (one line of text, or a map of its parts)", value)),
    };
    let names: Vec<&str> =
        ADDRESS_PARTS.iter().flat_map(|(name, others)| std::iter::once(*name).chain(others.iter().copied())).collect();
    only_keys(field, map, &names)?;
    let mut parts = Map::new();
    for (name, others) in ADDRESS_PARTS {
        if let Some(part) = std::iter::once(&name).chain(others).find_map(|n| given(map, n)) {
            parts.insert(name.into(), scalar::text(&format!("{field}.{name}"), part)?.trim().into());
        }
    }
    if parts.is_empty() {
        return Ok(None);
    }
    if !parts.contains_key("value") {
        let line = one_line(&parts);
        parts.insert("value".into(), line.into());
    }
    Ok(Some(Json::Object(parts)))
}

/// `12 Main St, Apt 1, Tallinn, Harju, 10111, Estonia`.
fn one_line(parts: &Map<String, Json>) -> String {
    let part = |name: &str| parts.get(name).and_then(Json::as_str).unwrap_or("");
    let street = format!("{} {}", part("street_number"), part("route"));
    let rest = ["subpremise", "sublocality", "locality", "admin_area_level_2", "admin_area_level_1", "postal_code", "country"];
    std::iter::once(street.trim()).chain(rest.into_iter().map(part)).filter(|p| !p.is_empty()).collect::<Vec<_>>().join(", ")
}

/// The value under the key, unless it is null or blank.
pub(super) fn given<'a>(map: &'a Map<String, Json>, key: &str) -> Option<&'a Json> {
    map.get(key).filter(|v| !is_blank(v))
}

/// Null, or a string without a visible character.
pub(in crate::plan) fn is_blank(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::String(s) => s.trim().is_empty(),
        _ => false,
    }
}

/// Refuses keys that mean nothing here, so that a misspelt part is not lost silently.
pub(super) fn only_keys(field: &str, map: &Map<String, Json>, known: &[&str]) -> Result<()> {
    for key in map.keys() {
        if !known.contains(&key.as_str()) {
            let help = match did_you_mean(key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", listed(known)),
            };
            return Err(Refusal::value(format!("the map for `{field}` has a key that means nothing there"))
                .help(help)
                .showing(&key.as_str().into()));
        }
    }
    Ok(())
}
