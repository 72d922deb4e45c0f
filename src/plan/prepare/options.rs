//! Names that the account gives meaning to: options, labels, stages, pipelines, owners, activity types.
//!
//! Names are compared trimmed and without regard to case; an id, as number or digits, is taken when no name fits, and only when the
//! account has it.

use serde_json::Value as Json;

use super::scalar;
use crate::crm::{FieldOption, LeadLabel, Metadata, Stage, User, same_name as same};
use crate::plan::refusal::{Candidate, Refusal, kind_of};

type Result<T> = std::result::Result<T, Refusal>;

/// A name or an id; other kinds of value are refused.
fn name_or_id(field: &str, what: &str, value: &Json) -> Result<(String, Option<i64>)> {
    match value {
        Json::String(s) => Ok((s.trim().to_owned(), s.trim().parse().ok())),
        Json::Number(n) => Ok((n.to_string(), scalar::as_whole(n))),
        _ => Err(Refusal::value(format!("`{field}` takes {what} by name or id, not {}", kind_of(value))).showing(value)),
    }
}

/// The id of an option.
pub(super) fn option(field: &str, value: &Json, options: &[FieldOption]) -> Result<i64> {
    let (name, id) = name_or_id(field, "an option", value)?;
    let by_name = options.iter().find(|o| o.label.trim() == name).or_else(|| options.iter().find(|o| same(&o.label, &name)));
    by_name.or_else(|| options.iter().find(|o| Some(o.id) == id)).map(|o| o.id).ok_or_else(|| {
        Refusal::unknown(format!("`{field}` has no such option"), &name, options.iter().map(|o| Candidate::new(o.id, &o.label)))
    })
}

/// The uuid of a lead label.
pub(super) fn lead_label(field: &str, value: &Json, labels: &[LeadLabel]) -> Result<String> {
    let (name, _) = name_or_id(field, "a label", value)?;
    labels
        .iter()
        .find(|l| same(&l.name, &name))
        .or_else(|| labels.iter().find(|l| l.id.eq_ignore_ascii_case(&name)))
        .map(|l| l.id.clone())
        .ok_or_else(|| {
            Refusal::unknown(
                format!("`{field}`: leads have no such label"),
                &name,
                labels.iter().map(|l| Candidate::new(&l.id, &l.name)),
            )
        })
}

/// The id of an active user, by e-mail, name or id.
pub(super) fn user(field: &str, value: &Json, users: &[User]) -> Result<i64> {
    let (name, id) = name_or_id(field, "a user of the account", value)?;
    let named = || users.iter().filter(|u| same(&u.name, &name));
    let hit = match users.iter().find(|u| same(&u.email, &name)) {
        Some(user) => Some(user),
        None => match (named().find(|u| u.active).or_else(|| named().next()), named().filter(|u| u.active).count()) {
            (_, 2..) => {
                return Err(Refusal::value(format!("`{field}`: several users have this name"))
                    .help("give the e-mail")
                    .showing(value));
            }
            (hit, _) => hit.or_else(|| users.iter().find(|u| Some(u.id) == id)),
        },
    };
    match hit {
        Some(user) if user.active => Ok(user.id),
        Some(_) => Err(Refusal {
            help: Some("give the e-mail of an active user".into()),
            ..Refusal::unknown(format!("`{field}`: this user is deactivated"), &name, std::iter::empty::<Candidate<'_, i64>>())
        }),
        None => {
            // Either will do.
            let names = users.iter().filter(|u| u.active).flat_map(|u| [u.email.as_str(), u.name.as_str()]);
            let near = names.map(|name| Candidate::new(name, name));
            Err(Refusal::unknown(format!("`{field}`: the account has no such user"), &name, near))
        }
    }
}

/// The id of a pipeline.
pub(super) fn pipeline(field: &str, value: &Json, metadata: &Metadata) -> Result<i64> {
    let (name, id) = name_or_id(field, "a pipeline", value)?;
    let all = &metadata.pipelines;
    all.iter().find(|p| same(&p.name, &name)).or_else(|| all.iter().find(|p| Some(p.id) == id)).map(|p| p.id).ok_or_else(|| {
        Refusal::unknown(
            format!("`{field}`: the account has no such pipeline"),
            &name,
            all.iter().map(|p| Candidate::new(p.id, &p.name)),
        )
    })
}

/// The id of a stage, within `pipeline` where the script names one.
pub(super) fn stage(field: &str, value: &Json, pipeline: Option<i64>, metadata: &Metadata) -> Result<i64> {
    let (name, id) = name_or_id(field, "a stage", value)?;
    let within = |s: &&Stage| pipeline.is_none_or(|p| s.pipeline_id == p);
    let named: Vec<&Stage> = metadata.stages.iter().filter(|s| same(&s.name, &name)).filter(within).collect();
    match named.as_slice() {
        [one] => return Ok(one.id),
        [] => {}
        several => {
            let pipelines: Vec<&str> = several.iter().map(|s| pipeline_name(metadata, s.pipeline_id)).collect();
            return Err(Refusal::value(format!("`{field}`: several pipelines have a stage of this name"))
                .help(format!("give `pipeline` beside it: {}", crate::plan::refusal::listed(&pipelines)))
                .showing(value));
        }
    }
    match metadata.stages.iter().find(|s| Some(s.id) == id) {
        Some(stage) if within(&stage) => Ok(stage.id),
        Some(_) => Err(Refusal::value(format!("`{field}`: this stage is in another pipeline than the one given")).showing(value)),
        None => {
            let what = match pipeline {
                Some(p) => format!("`{field}`: the pipeline `{}` has no such stage", pipeline_name(metadata, p)),
                None => format!("`{field}`: the account has no such stage"),
            };
            let several = pipeline.is_none() && metadata.pipelines.len() > 1;
            let known = metadata.stages.iter().filter(within).map(|s| Candidate {
                within: several.then(|| pipeline_name(metadata, s.pipeline_id)),
                ..Candidate::new(s.id, &s.name)
            });
            Err(Refusal::unknown(what, &name, known))
        }
    }
}

fn pipeline_name(metadata: &Metadata, id: i64) -> &str {
    metadata.pipelines.iter().find(|p| p.id == id).map_or("?", |p| p.name.as_str())
}

/// The key of an activity type, by key or name.
pub(super) fn activity_type(field: &str, value: &Json, types: &[(String, String)]) -> Result<String> {
    let (name, _) = name_or_id(field, "an activity type", value)?;
    types
        .iter()
        .find(|(key, _)| same(key, &name))
        .or_else(|| types.iter().find(|(_, label)| same(label, &name)))
        .map(|(key, _)| key.clone())
        .ok_or_else(|| {
            Refusal::unknown(
                format!("`{field}`: the account has no such activity type"),
                &name,
                types.iter().map(|(key, _)| Candidate::new(key, key)),
            )
        })
}

/// One of a fixed list of words.
pub(super) fn word(field: &str, value: &Json, words: &[&str]) -> Result<String> {
    let refused = || Refusal::value(format!("`{field}` takes one of {}", crate::plan::refusal::listed(words))).showing(value);
    let Json::String(s) = value else { return Err(refused()) };
    words.iter().find(|w| same(w, s)).map(|w| (*w).to_owned()).ok_or_else(refused)
}

/// Who sees the entity, by Pipedrive's number or in a word.
const VISIBILITY: [(&str, i64); 4] = [("owner", 1), ("group", 3), ("subgroup", 5), ("everyone", 7)];

/// Who sees the entity: 1, 3, 5 or 7.
pub(super) fn visible_to(field: &str, value: &Json) -> Result<i64> {
    let word = value.as_str().and_then(|s| VISIBILITY.iter().find(|(word, _)| same(word, s)).map(|(_, n)| *n));
    let number = || scalar::whole(field, value).ok().filter(|n| VISIBILITY.iter().any(|(_, known)| known == n));
    word.or_else(number).ok_or_else(|| {
        Refusal::value(format!("`{field}` takes `owner` (1), `group` (3), `subgroup` (5) or `everyone` (7)"))
            .help("on plans without visibility groups 3 is everyone in the company")
            .showing(value)
    })
}
