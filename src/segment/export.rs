//! Exported configuration: answers of Segment's Public API, and Git Sync's Terraform files.
//!
//! Invariant: secrets are not kept; of a destination's settings only those that are named here are read.

use serde_json::{Map, Value as Json};

/// One subscription, as exported.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Subscription {
    /// The file that it came from.
    pub(super) file: String,
    /// Where in the file.
    pub(super) path: String,
    /// Its name in Segment.
    pub(super) name: String,
    /// The action's slug; Terraform files have none.
    pub(super) slug: Option<String>,
    /// The destination that it belongs to.
    pub(super) destination: Option<String>,
    /// Whether it was on.
    pub(super) enabled: bool,
    /// Its FQL.
    pub(super) trigger: String,
    /// Its mapping; `None` where the export has none.
    pub(super) mapping: Option<Map<String, Json>>,
}

/// A destination's settings, as far as they are taken over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Destination {
    /// Its id, when the export has it.
    pub(super) id: Option<String>,
    /// Its name in Segment.
    pub(super) name: Option<String>,
    /// Off: none of its subscriptions ran.
    pub(super) off: bool,
    /// `acme` of `https://acme.pipedrive.com`.
    pub(super) domain: Option<String>,
    /// Key by which persons were looked up.
    pub(super) person: Option<String>,
    /// The same for organizations.
    pub(super) organization: Option<String>,
    /// The same for deals.
    pub(super) deal: Option<String>,
}

/// What one file holds.
#[derive(Debug, Default)]
pub(super) struct Export {
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) destinations: Vec<Destination>,
}

/// Reads a file by its content: JSON begins with `{` or `[`.
///
/// # Errors
/// Why it is neither.
pub(super) fn read(file: &str, text: &str) -> Result<Export, String> {
    let mut export = Export::default();
    if text.trim_start().starts_with(['{', '[']) {
        let json: Json = serde_json::from_str(text).map_err(|e| format!("{file} is no JSON: {e}"))?;
        collect(&json, "", file, &mut export)?;
    } else {
        terraform(file, text, &mut export)?;
    }
    match export.subscriptions.is_empty() && export.destinations.is_empty() {
        true => Err(format!(
            "{file} holds neither subscriptions nor a destination of Segment: expected an answer of the Public API (`data.subscriptions`, \
             `data.destination`) or a Terraform file with `segment_destination_subscription`"
        )),
        false => Ok(export),
    }
}

/// Finds subscriptions and destinations wherever an answer has them.
fn collect(json: &Json, path: &str, file: &str, export: &mut Export) -> Result<(), String> {
    match json {
        Json::Array(items) => {
            items.iter().enumerate().try_for_each(|(i, item)| collect(item, &format!("{path}[{i}]"), file, export))
        }
        Json::Object(map) if map.contains_key("trigger") => {
            export.subscriptions.push(subscription(map, path, file)?);
            Ok(())
        }
        Json::Object(map) => {
            let settings = map.get("settings").and_then(Json::as_object);
            if let Some(settings) = settings.filter(|_| map.contains_key("metadata") || map.contains_key("sourceId")) {
                export.destinations.push(destination(map, settings));
                return Ok(());
            }
            for key in ["data", "subscriptions", "subscription", "destinations", "destination"] {
                if let Some(inner) = map.get(key) {
                    collect(inner, join(path, key).as_str(), file, export)?;
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn word(map: &Map<String, Json>, keys: [&str; 2]) -> Option<String> {
    keys.iter().find_map(|key| map.get(*key)?.as_str()).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn subscription(map: &Map<String, Json>, path: &str, file: &str) -> Result<Subscription, String> {
    let mapping = match map.get("settings") {
        None | Some(Json::Null) => None,
        Some(Json::Object(mapping)) => Some(mapping.clone()),
        Some(Json::String(text)) => Some(
            serde_json::from_str(text)
                .map_err(|e| format!("{file}: {}: the text is no JSON object: {e}", join(path, "settings")))?,
        ),
        Some(_) => return Err(format!("{file}: {}: expected an object", join(path, "settings"))),
    };
    Ok(Subscription {
        file: file.to_owned(),
        path: path.to_owned(),
        name: word(map, ["name", "name"]).unwrap_or_else(|| "subscription".to_owned()),
        slug: word(map, ["actionSlug", "action_slug"]),
        destination: word(map, ["destinationId", "destination_id"]),
        enabled: map.get("enabled").and_then(Json::as_bool).unwrap_or(true),
        trigger: word(map, ["trigger", "trigger"]).unwrap_or_default(),
        mapping: mapping.filter(|mapping| !mapping.is_empty()),
    })
}

fn destination(map: &Map<String, Json>, settings: &Map<String, Json>) -> Destination {
    let setting = |key| word(settings, [key, key]);
    Destination {
        id: word(map, ["id", "id"]),
        name: word(map, ["name", "name"]),
        off: map.get("enabled").and_then(Json::as_bool) == Some(false),
        domain: setting("domain").and_then(|domain| host_word(&domain)),
        person: setting("personField"),
        organization: setting("organizationField"),
        deal: setting("dealField"),
    }
}

/// `acme` of `acme`, `acme.pipedrive.com` or `https://acme.pipedrive.com/`; `None` when it is masked or no name.
fn host_word(domain: &str) -> Option<String> {
    let host = domain.trim_start_matches("https://").split(['.', '/']).next().unwrap_or_default().to_ascii_lowercase();
    let fits = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    fits.then_some(host)
}

fn terraform(file: &str, text: &str, export: &mut Export) -> Result<(), String> {
    let body = hcl::parse(text).map_err(|e| format!("{file} is neither JSON nor Terraform: {e}"))?;
    for block in body.blocks().filter(|block| block.identifier() == "resource") {
        let labels: Vec<&str> = block.labels().iter().map(hcl::BlockLabel::as_str).collect();
        let mut map = Map::new();
        for attribute in block.body().attributes() {
            if let Some(json) = value(attribute.expr()) {
                map.insert(attribute.key().to_owned(), json);
            }
        }
        let path = labels.join(".");
        match labels.first().copied() {
            Some("segment_destination_subscription") => {
                if block.body().attributes().any(|a| a.key() == "settings") && !map.contains_key("settings") {
                    return Err(format!(
                        "{file}: {path}.settings: expected `jsonencode({{..}})` or a JSON text, without references"
                    ));
                }
                export.subscriptions.push(subscription(&map, &path, file)?);
            }
            Some("segment_destination") => {
                let settings = match map.get("settings") {
                    Some(Json::String(text)) => serde_json::from_str(text).unwrap_or_default(),
                    Some(Json::Object(settings)) => settings.clone(),
                    _ => Map::new(),
                };
                export.destinations.push(destination(&map, &settings));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What an expression says without evaluation; `jsonencode(x)` stands for `x`.
fn value(expression: &hcl::Expression) -> Option<Json> {
    let argument = match expression {
        hcl::Expression::FuncCall(call) if call.name.name.as_str() == "jsonencode" => call.args.first()?,
        hcl::Expression::Parenthesis(inner) => return value(inner),
        other => other,
    };
    match argument {
        hcl::Expression::Array(items) => items.iter().map(value).collect::<Option<_>>().map(Json::Array),
        hcl::Expression::Object(entries) => {
            let entry = |(key, item): (&hcl::ObjectKey, &hcl::Expression)| {
                let key = match key {
                    hcl::ObjectKey::Identifier(name) => name.to_string(),
                    hcl::ObjectKey::Expression(hcl::Expression::String(text)) => text.clone(),
                    _ => return None,
                };
                Some((key, value(item)?))
            };
            entries.iter().map(entry).collect::<Option<Map<_, _>>>().map(Json::Object)
        }
        // Segment writes `$${..}` and heredocs at most; a real reference is left to the caller to refuse.
        hcl::Expression::TemplateExpr(template) => match &**template {
            hcl::TemplateExpr::QuotedString(text) if !text.contains("${") || text.contains("$${") => {
                Some(Json::String(text.replace("$${", "${").replace("%%{", "%{")))
            }
            hcl::TemplateExpr::Heredoc(heredoc) if !heredoc.template.contains("${") => {
                Some(Json::String(heredoc.template.clone()))
            }
            _ => None,
        },
        plain @ (hcl::Expression::Null | hcl::Expression::Bool(_) | hcl::Expression::Number(_) | hcl::Expression::String(_)) => {
            serde_json::to_value(plain).ok()
        }
        _ => None,
    }
}
