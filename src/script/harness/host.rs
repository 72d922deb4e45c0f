//! What tests can call.
//!
//! Invariants: the kinds have their reads and nothing that writes; a failed assertion stops the run, so that no `catch` swallows it.

use std::cell::RefCell;
use std::sync::Arc;

use rhai::{Dynamic, Engine, Map, Module, NativeCallContext};
use serde_json::Value as Json;

use super::{TestHost, assertions, faults};
use crate::pipedrive::{Id, Kind};
use crate::script::host::{define, unfit};
use crate::script::run::ScriptErrorKind;
use crate::script::state::{self, Hosted, Stop, refuse, refuse_with};
use crate::script::value::{self, Unfit, type_word};

pub(super) type Ctx<'a> = NativeCallContext<'a>;

struct Under {
    host: Arc<dyn TestHost>,
    /// Further lines about the failure.
    notes: Vec<String>,
    /// Deliveries that did not end well, for whoever wonders why something is not there.
    unwell: Vec<String>,
    /// Events sent without an id of their own.
    events: u32,
}

thread_local! {
    static UNDER: RefCell<Option<Under>> = const { RefCell::new(None) };
}

/// Most deliveries that are named below a failure.
const MAX_UNWELL: usize = 5;

/// A test begins on this thread.
pub(super) fn enter(host: Arc<dyn TestHost>) {
    UNDER.set(Some(Under { host, notes: Vec::new(), unwell: Vec::new(), events: 0 }));
}

/// It has ended; answers the further lines about its failure, if it failed.
pub(super) fn leave() -> Vec<String> {
    UNDER.take().map_or_else(Vec::new, |mut under| {
        let more = under.unwell.len().saturating_sub(MAX_UNWELL);
        under.unwell.truncate(MAX_UNWELL);
        under.notes.append(&mut under.unwell);
        if more > 0 {
            under.notes.push(format!("and {more} more deliveries did not end well"));
        }
        under.notes
    })
}

/// Asks the host, unless the run is stopped. What the host refuses is an error of the call.
pub(super) fn ask<T>(ctx: &Ctx<'_>, act: impl FnOnce(&dyn TestHost) -> Result<T, String>) -> Hosted<T> {
    state::check(ctx)?;
    let host = UNDER.with_borrow(|under| under.as_ref().map(|u| u.host.clone()));
    match host {
        Some(host) => act(&*host).map_err(|reason| refuse(format!("`{}`: {reason}", ctx.fn_name()))),
        None => Err(refuse_with(
            format!("`{}` was called while the file was loaded", ctx.fn_name()),
            Some("call it inside a `fn test_..()`".to_owned()),
        )),
    }
}

/// Registers everything.
pub(super) fn register(engine: &mut Engine) {
    let mut global = Module::new();
    events(&mut global);
    assertions::register(&mut global);
    define(&mut global, "enable", &["rule", "()"], docs::ENABLE, |ctx: Ctx<'_>, rule: &str| ask(&ctx, |host| host.enable(rule)));
    define(&mut global, "fixture", &["name", "value"], docs::FIXTURE, |ctx: Ctx<'_>, name: &str| {
        ask(&ctx, |host| host.fixture(name)).map(|json| value::from_json(&json))
    });
    engine.register_global_module(global.into());

    let mut given = Module::new();
    let mut edit = Module::new();
    for kind in Kind::ALL {
        engine.register_static_module(kind.as_str(), reads(kind).into());
        define(&mut given, kind.as_str(), &["fields", "map"], docs::GIVEN, move |ctx: Ctx<'_>, fields: Dynamic| {
            let fields = value::fields(&fields).map_err(|u| unfit(&format!("given::{kind}"), u))?;
            ask(&ctx, |host| host.given(kind, fields)).map(|json| value::from_json(&json))
        });
        define(
            &mut edit,
            kind.as_str(),
            &["id", "fields", "map"],
            docs::EDIT,
            move |ctx: Ctx<'_>, id: Dynamic, fields: Dynamic| {
                let own = |u: Unfit| unfit(&format!("edit::{kind}"), u);
                let id = read_id(kind, &id).map_err(own)?;
                let fields = value::fields(&fields).map_err(own)?;
                ask(&ctx, |host| host.edit(kind, &id, fields)).map(|json| value::from_json(&json))
            },
        );
    }
    engine.register_static_module("given", given.into());
    engine.register_static_module("edit", edit.into());
    // Raw requests are for rules.
    engine.register_static_module("pipedrive", Module::new().into());

    faults::register(engine);
}

fn reads(kind: Kind) -> Module {
    let mut module = Module::new();
    define(&mut module, "find", &["criteria", "map"], docs::FIND, move |ctx: Ctx<'_>, criteria: Dynamic| {
        let criteria = value::criteria(&criteria).map_err(|u| unfit(&format!("{kind}::find"), u))?;
        if value::is_void(&criteria) {
            return Ok(Dynamic::UNIT);
        }
        ask(&ctx, |host| host.find(kind, criteria)).map(|json| value::from_json(&json))
    });
    define(&mut module, "get", &["id", "map"], docs::GET, move |ctx: Ctx<'_>, id: Dynamic| {
        let id = read_id(kind, &id).map_err(|u| unfit(&format!("{kind}::get"), u))?;
        ask(&ctx, |host| host.get(kind, &id)).map(|json| value::from_json(&json))
    });
    define(&mut module, "all", &["array"], docs::ALL, move |ctx: Ctx<'_>| {
        ask(&ctx, |host| host.all(kind)).map(|json| value::from_json(&json))
    });
    module
}

fn read_id(kind: Kind, value: &Dynamic) -> Result<Id, Unfit> {
    let id = match (value.as_int(), value.as_immutable_string_ref()) {
        (Ok(number), _) => u64::try_from(number).ok().map(Id::Number),
        (_, Ok(text)) => text.trim().parse::<Id>().ok(),
        _ => return Err(Unfit { reason: format!("takes an id, not {}", type_word(value)), help: None }),
    };
    let wanted = if kind == Kind::Lead { "a uuid" } else { "a positive whole number" };
    id.filter(|id| id.fits(kind)).ok_or_else(|| Unfit {
        reason: format!("a Pipedrive id of a {kind} is {wanted}"),
        help: Some(format!("write `{kind}::find(#{{ .. }})` to find by a field")),
    })
}

fn events(module: &mut Module) {
    for kind in ["identify", "group", "page", "screen", "alias"] {
        define(module, kind, &["event", "map"], docs::SEND, move |ctx: Ctx<'_>, event: Map| {
            let mut event = object(kind, event.into())?;
            event.insert("type".to_owned(), kind.into());
            deliver(&ctx, event)
        });
    }
    let track = |ctx: &Ctx<'_>, name: &str, properties: Dynamic, rest: Dynamic| {
        let mut event = object("track", rest)?;
        event.insert("type".to_owned(), "track".into());
        event.insert("event".to_owned(), name.into());
        if !properties.is_unit() {
            event.insert("properties".to_owned(), Json::Object(object("track", properties)?));
        }
        deliver(ctx, event)
    };
    let params = ["name", "properties", "event", "map"];
    define(module, "track", &params, docs::TRACK, move |ctx: Ctx<'_>, name: &str, properties: Dynamic, rest: Map| {
        track(&ctx, name, properties, rest.into())
    });
    define(module, "track", &["name", "properties", "map"], docs::TRACK, move |ctx: Ctx<'_>, name: &str, properties: Dynamic| {
        track(&ctx, name, properties, Map::new().into())
    });
    define(module, "deliver", &["event", "map"], docs::DELIVER, |ctx: Ctx<'_>, event: Map| {
        let event = object("deliver", event.into())?;
        if !event.contains_key("type") {
            return Err(refuse_with("`deliver`: the event has no `type`", Some("write `type: \"track\"`".to_owned())));
        }
        deliver(&ctx, event)
    });
    define(module, "source", &["name", "()"], docs::SOURCE, |ctx: Ctx<'_>, name: &str| ask(&ctx, |host| host.source(name)));
}

fn object(function: &str, value: Dynamic) -> Hosted<serde_json::Map<String, Json>> {
    match value::to_json(&value).map_err(|u| unfit(function, u))? {
        Json::Object(map) => Ok(map),
        _ => Err(refuse(format!("`{function}` takes a map `#{{ .. }}`, not {}", type_word(&value)))),
    }
}

/// Fills in what every event has, and sends it.
fn deliver(ctx: &Ctx<'_>, mut event: serde_json::Map<String, Json>) -> Hosted<Dynamic> {
    let number = UNDER.with_borrow_mut(|under| {
        under.as_mut().map_or(0, |u| {
            u.events += 1;
            u.events
        })
    });
    event.entry("messageId").or_insert_with(|| format!("test-{number}").into());
    if !["userId", "anonymousId"].iter().any(|id| event.get(*id).is_some_and(|v| !v.is_null())) {
        event.insert("anonymousId".to_owned(), "somebody".into());
    }
    let line = state::call_site(ctx).line;
    let answer = ask(ctx, |host| host.deliver(Json::Object(event)))?;
    let deliveries = answer.get("deliveries").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    for delivery in deliveries {
        let text = |key: &str| delivery.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        if !matches!(text("state").as_str(), "done") {
            let note = format!("the event of line {line}: rule {} ended {}: {}", text("rule"), text("state"), text("reason"));
            UNDER.with_borrow_mut(|under| under.iter_mut().for_each(|u| u.unwell.push(note.clone())));
        }
    }
    if deliveries.is_empty() {
        let note = format!("the event of line {line}: no rule wants it");
        UNDER.with_borrow_mut(|under| under.iter_mut().for_each(|u| u.unwell.push(note.clone())));
    }
    Ok(value::from_json(&answer))
}

/// Ends the test as failed.
pub(super) fn fail(ctx: &Ctx<'_>, message: String, help: Option<String>, notes: Vec<String>) -> Hosted<()> {
    UNDER.with_borrow_mut(|under| under.iter_mut().for_each(|u| u.notes.clone_from(&notes)));
    let at = Some(state::call_site(ctx));
    Err(state::stop(Stop::Error { kind: ScriptErrorKind::Runtime, message, help, at }))
}

mod docs {
    pub(super) const SEND: &str = "
Sends an event of this type through the rules that want it, to its end. `messageId`, `timestamp` and an id of somebody are filled in
where they are missing. Answers `state` and `reason`, `deliveries` (one a rule), `plan` and `requests`.";
    pub(super) const TRACK: &str = "
Sends a track event by its name and properties; the third map holds whatever else the event has.";
    pub(super) const DELIVER: &str = "
Sends a whole event.";
    pub(super) const SOURCE: &str = "
Sets the source that later events of this test are from.";
    pub(super) const ENABLE: &str = "
Turns a rule on that rules.toml has off, for the later events of this test.";
    pub(super) const GIVEN: &str = "
Makes an entity beside the rules, with the field names of scripts, and answers it.";
    pub(super) const EDIT: &str = "
Changes an entity as a person would in Pipedrive, and answers it.";
    pub(super) const FIND: &str = "
What a match finds, as scripts see it; `()` when there is none.";
    pub(super) const GET: &str = "
The entity with this id, as scripts see it; `()` when there is none.";
    pub(super) const ALL: &str = "
All entities of the kind, in the order of their creation.";
    pub(super) const FIXTURE: &str = "
The content of a JSON file in scripts/tests/fixtures/.";
}
