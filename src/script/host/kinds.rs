//! The six kinds as modules, and `pipedrive::request`.

use rhai::{Dynamic, Engine, Module, NativeCallContext};

use super::values::Reference;
use super::{define, options, unfit};
use crate::pipedrive::{Id, Kind, Method};
use crate::plan::{Target, Verb, article};
use crate::script::run::{LogLevel, Read};
use crate::script::state::{self, Hosted, refuse, refuse_with};
use crate::script::value::{self, Unfit, type_word};

type Ctx<'a> = NativeCallContext<'a>;

/// Registers them.
pub(super) fn register(engine: &mut Engine) {
    for kind in Kind::ALL {
        let mut module = Module::new();
        writes(&mut module, kind);
        reads(&mut module, kind);
        if matches!(kind, Kind::Person | Kind::Organization | Kind::Deal) {
            merges(&mut module, kind);
        }
        if kind == Kind::Lead {
            converts(&mut module);
        }
        engine.register_static_module(kind.as_str(), module.into());
    }
    let mut pipedrive = Module::new();
    define(
        &mut pipedrive,
        "request",
        &["method", "path", "body", "map"],
        docs::REQUEST,
        |ctx: Ctx<'_>, method: Dynamic, path: Dynamic, body: Dynamic| request(&ctx, &method, &path, &body),
    );
    define(
        &mut pipedrive,
        "request",
        &["method", "path", "map"],
        docs::REQUEST,
        |ctx: Ctx<'_>, method: Dynamic, path: Dynamic| request(&ctx, &method, &path, &Dynamic::UNIT),
    );
    engine.register_static_module("pipedrive", pipedrive.into());
}

fn writes(module: &mut Module, kind: Kind) {
    define(
        module,
        "upsert",
        &["criteria", "fields", "options", "Reference"],
        docs::UPSERT,
        move |ctx: Ctx<'_>, criteria: Dynamic, fields: Dynamic, options: Dynamic| {
            upsert(&ctx, kind, &criteria, &fields, &options)
        },
    );
    define(
        module,
        "upsert",
        &["criteria", "fields", "Reference"],
        docs::UPSERT,
        move |ctx: Ctx<'_>, criteria: Dynamic, fields: Dynamic| upsert(&ctx, kind, &criteria, &fields, &Dynamic::UNIT),
    );
    define(
        module,
        "create",
        &["fields", "options", "Reference"],
        docs::CREATE,
        move |ctx: Ctx<'_>, fields: Dynamic, options: Dynamic| create(&ctx, kind, &fields, &options),
    );
    define(module, "create", &["fields", "Reference"], docs::CREATE, move |ctx: Ctx<'_>, fields: Dynamic| {
        create(&ctx, kind, &fields, &Dynamic::UNIT)
    });
    define(
        module,
        "update",
        &["target", "fields", "options", "Reference"],
        docs::UPDATE,
        move |ctx: Ctx<'_>, target: Dynamic, fields: Dynamic, options: Dynamic| update(&ctx, kind, &target, &fields, &options),
    );
    define(
        module,
        "update",
        &["target", "fields", "Reference"],
        docs::UPDATE,
        move |ctx: Ctx<'_>, target: Dynamic, fields: Dynamic| update(&ctx, kind, &target, &fields, &Dynamic::UNIT),
    );
    define(
        module,
        "delete",
        &["target", "options", "()"],
        docs::DELETE,
        move |ctx: Ctx<'_>, target: Dynamic, options: Dynamic| delete(&ctx, kind, &target, &options),
    );
    define(module, "delete", &["target", "()"], docs::DELETE, move |ctx: Ctx<'_>, target: Dynamic| {
        delete(&ctx, kind, &target, &Dynamic::UNIT)
    });
}

fn reads(module: &mut Module, kind: Kind) {
    define(module, "find", &["criteria", "map"], docs::FIND, move |ctx: Ctx<'_>, criteria: Dynamic| find(&ctx, kind, &criteria));
    define(module, "get", &["id", "map"], docs::GET, move |ctx: Ctx<'_>, id: Dynamic| get(&ctx, kind, &id));
}

fn merges(module: &mut Module, kind: Kind) {
    define(
        module,
        "merge",
        &["keep", "drop", "options", "Reference"],
        docs::MERGE,
        move |ctx: Ctx<'_>, keep: Dynamic, drop: Dynamic, options: Dynamic| merge(&ctx, kind, &keep, &drop, &options),
    );
    define(module, "merge", &["keep", "drop", "Reference"], docs::MERGE, move |ctx: Ctx<'_>, keep: Dynamic, drop: Dynamic| {
        merge(&ctx, kind, &keep, &drop, &Dynamic::UNIT)
    });
}

fn converts(module: &mut Module) {
    define(
        module,
        "convert",
        &["target", "fields", "options", "Reference"],
        docs::CONVERT,
        |ctx: Ctx<'_>, target: Dynamic, fields: Dynamic, options: Dynamic| convert(&ctx, &target, &fields, &options),
    );
    define(
        module,
        "convert",
        &["target", "fields", "Reference"],
        docs::CONVERT,
        |ctx: Ctx<'_>, target: Dynamic, fields: Dynamic| convert(&ctx, &target, &fields, &Dynamic::UNIT),
    );
    define(module, "convert", &["target", "Reference"], docs::CONVERT, |ctx: Ctx<'_>, target: Dynamic| {
        convert(&ctx, &target, &Dynamic::UNIT, &Dynamic::UNIT)
    });
}

fn upsert(ctx: &Ctx<'_>, kind: Kind, criteria: &Dynamic, fields: &Dynamic, options: &Dynamic) -> Hosted<Reference> {
    let own = |u: Unfit| unfit(&format!("{kind}::upsert"), u);
    let criteria = value::criteria(criteria).map_err(own)?;
    let fields = value::fields(fields).map_err(own)?;
    let options = options::read(options, options::UPSERT).map_err(own)?;
    let ordinal = state::record(ctx, Verb::Upsert { kind, criteria, fields, options })?;
    Ok(Reference { ordinal, kind })
}

fn create(ctx: &Ctx<'_>, kind: Kind, fields: &Dynamic, options: &Dynamic) -> Hosted<Reference> {
    let own = |u: Unfit| unfit(&format!("{kind}::create"), u);
    let fields = value::fields(fields).map_err(own)?;
    let options = options::read(options, options::CREATE).map_err(own)?;
    let ordinal = state::record(ctx, Verb::Create { kind, fields, options })?;
    Ok(Reference { ordinal, kind })
}

fn update(ctx: &Ctx<'_>, kind: Kind, target: &Dynamic, fields: &Dynamic, options: &Dynamic) -> Hosted<Reference> {
    let own = |u: Unfit| unfit(&format!("{kind}::update"), u);
    let target = read_target(kind, target).map_err(own)?;
    let fields = value::fields(fields).map_err(own)?;
    let options = options::read(options, options::UPDATE).map_err(own)?;
    let ordinal = state::record(ctx, Verb::Update { kind, target, fields, options })?;
    Ok(Reference { ordinal, kind })
}

fn delete(ctx: &Ctx<'_>, kind: Kind, target: &Dynamic, options: &Dynamic) -> Hosted<()> {
    let own = |u: Unfit| unfit(&format!("{kind}::delete"), u);
    let target = read_target(kind, target).map_err(own)?;
    let options = options::read(options, options::TARGETED).map_err(own)?;
    state::record(ctx, Verb::Delete { kind, target, options })?;
    Ok(())
}

fn merge(ctx: &Ctx<'_>, kind: Kind, keep: &Dynamic, drop: &Dynamic, options: &Dynamic) -> Hosted<Reference> {
    let own = |u: Unfit| unfit(&format!("{kind}::merge"), u);
    let keep = read_target(kind, keep).map_err(own)?;
    let drop = read_target(kind, drop).map_err(own)?;
    let options = options::read(options, options::TARGETED).map_err(own)?;
    let ordinal = state::record(ctx, Verb::Merge { kind, keep, drop, options })?;
    Ok(Reference { ordinal, kind })
}

fn convert(ctx: &Ctx<'_>, target: &Dynamic, fields: &Dynamic, options: &Dynamic) -> Hosted<Reference> {
    let own = |u: Unfit| unfit("lead::convert", u);
    let target = read_target(Kind::Lead, target).map_err(own)?;
    let fields = value::fields(fields).map_err(own)?;
    let options = options::read(options, options::CONVERT).map_err(own)?;
    let ordinal = state::record(ctx, Verb::Convert { target, fields, options })?;
    Ok(Reference { ordinal, kind: Kind::Deal })
}

/// A match, a reference, or an id. `()` and `""` are a match without criteria.
fn read_target(kind: Kind, target: &Dynamic) -> Result<Target, Unfit> {
    if let Some(reference) = target.read_lock::<Reference>() {
        return if reference.kind == kind {
            Ok(Target::Reference(reference.ordinal))
        } else {
            Err(Unfit {
                reason: format!(
                    "the reference is to {} {}, not to {} {kind}",
                    article(reference.kind),
                    reference.kind,
                    article(kind)
                ),
                help: Some(format!("give the reference of {} {kind}, its id, or a match", article(kind))),
            })
        };
    }
    if target.as_immutable_string_ref().is_ok_and(|t| t.is_empty()) {
        return Ok(Target::Match(crate::plan::Criteria::default()));
    }
    match read_id(kind, target)? {
        Some(id) => Ok(Target::Id(id)),
        None => value::criteria(target).map(Target::Match),
    }
}

/// A Pipedrive id, when the value is a number or a text.
fn read_id(kind: Kind, value: &Dynamic) -> Result<Option<Id>, Unfit> {
    let id = if let Ok(number) = value.as_int() {
        u64::try_from(number).ok().filter(|n| *n > 0).map(Id::Number)
    } else if let Ok(text) = value.as_immutable_string_ref() {
        text.trim().parse::<Id>().ok()
    } else {
        return Ok(None);
    };
    let wanted = if kind == Kind::Lead { "a uuid" } else { "a positive whole number" };
    let given = if value.is_int() { "number" } else { "text" };
    id.filter(|id| id.fits(kind)).map(Some).ok_or_else(|| Unfit {
        reason: format!("a Pipedrive id of {} {kind} is {wanted}, and this {given} is none", article(kind)),
        help: Some("to find by an id of yours, write a match: a map with the field that holds it".to_owned()),
    })
}

fn find(ctx: &Ctx<'_>, kind: Kind, criteria: &Dynamic) -> Hosted<Dynamic> {
    let criteria = value::criteria(criteria).map_err(|u| unfit(&format!("{kind}::find"), u))?;
    if value::is_void(&criteria) {
        let at = state::call_site(ctx);
        let text = format!("{kind}::find: no criterion holds a value; nothing was looked for");
        state::log(LogLevel::Debug, &text, Some(&at.file), usize::try_from(at.line).ok());
        return Ok(Dynamic::UNIT);
    }
    state::read(ctx, Read::Find { kind, criteria }).map(|answer| value::from_json(&answer))
}

fn get(ctx: &Ctx<'_>, kind: Kind, id: &Dynamic) -> Hosted<Dynamic> {
    let name = format!("{kind}::get");
    if id.is_unit() || id.as_immutable_string_ref().is_ok_and(|t| t.is_empty()) {
        return Ok(Dynamic::UNIT);
    }
    if let Some(reference) = id.read_lock::<Reference>() {
        let kind = reference.kind;
        return Err(refuse_with(
            format!("`{name}` takes an id, not a reference: the id of this {kind} is known only when the plan is carried out"),
            Some(format!("read it before the write with `{kind}::find(..)`")),
        ));
    }
    let id = read_id(kind, id)
        .and_then(|found| found.ok_or_else(|| Unfit { reason: format!("takes an id, not {}", type_word(id)), help: None }))
        .map_err(|u| unfit(&name, u))?;
    state::read(ctx, Read::Get { kind, id }).map(|answer| value::from_json(&answer))
}

fn request(ctx: &Ctx<'_>, method: &Dynamic, path: &Dynamic, body: &Dynamic) -> Hosted<Dynamic> {
    const NAME: &str = "pipedrive::request";
    let word = method.as_immutable_string_ref().map(|m| m.to_string()).unwrap_or_default();
    let Some(method) = Method::parse(&word) else {
        return Err(refuse(format!("`{NAME}`: the method is \"GET\", \"POST\", \"PATCH\", \"PUT\" or \"DELETE\"")));
    };
    let path = path.as_immutable_string_ref().map(|p| p.to_string()).unwrap_or_default();
    check_path(&path).map_err(|u| unfit(NAME, u))?;
    let body = if body.is_unit() { None } else { Some(value::to_json(body).map_err(|u| unfit(NAME, u))?) };
    if method == Method::Get {
        if body.is_some() {
            return Err(refuse_with(
                format!("`{NAME}`: a GET has no body"),
                Some("put parameters into the path's query".to_owned()),
            ));
        }
        return state::read(ctx, Read::Request { path }).map(|answer| value::from_json(&answer));
    }
    state::record(ctx, Verb::Request { method, path, body })?;
    Ok(Dynamic::UNIT)
}

/// The path stays on the account's API, and never carries the token.
fn check_path(path: &str) -> Result<(), Unfit> {
    let refuse = |reason: &str| {
        Err(Unfit { reason: reason.to_owned(), help: Some("write it as \"/api/v2/products/7?include=..\"".to_owned()) })
    };
    if !path.starts_with("/api/v1/") && !path.starts_with("/api/v2/") {
        return refuse("the path starts with /api/v1/ or /api/v2/");
    }
    if path.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '#' | '\\')) {
        return refuse("the path has a space, `#`, `\\` or a control character; encode it");
    }
    let (route, query) = path.split_once('?').unwrap_or((path, ""));
    if route.split('/').any(|part| matches!(part, "." | "..") || part.to_ascii_lowercase().contains("%2e")) {
        return refuse("the path has a `.` or `..` part");
    }
    if query.split('&').any(|pair| pair.split('=').next().is_some_and(|name| name.eq_ignore_ascii_case("api_token"))) {
        return refuse("the token is sent by the client, never in a path");
    }
    Ok(())
}

mod docs {
    pub(super) const UPSERT: &str = r#"
Updates what the match finds, or creates it. `criteria` is a map (all its fields must be equal) or an array of maps (the first
that hits decides). `fields` are sent on create and update. Options: `on_create`, `if_empty` and `unless_edited` (further
fields: for new ones; where nothing is; while nobody else has written them), `on_empty`
(no criterion has a value: `"skip"`, `"fail"`, `"create"`), `on_many` (`"oldest"`, `"newest"`, `"fail"`), `on_conflict`
(`"fail"`, `"create"`, `"take"`), `on_archived` (a deal or lead that it finds is archived: `"fail"`, `"skip"`, `"unarchive"`),
`on_missing` (`"fail"`, `"omit"`), `on_unknown` (`"drop"`, `"fail"`, `"create"`), `unlinked`
(true or false), `write` (`"changed"`, `"differs"`, `"always"`), `key` (a text). Returns a reference for later actions. Values
of a wrong shape are errors here; names and types are checked against the account when the plan is complete.

```rhai
let org = organization::upsert(#{ "Segment Group ID": event.context?.groupId }, #{ name: "Acme" });
person::upsert(
    [#{ "Segment User ID": event.userId }, #{ email: event.traits?.email }],
    #{ name: event.traits?.name, org_id: org },
    #{ on_create: #{ labels: ["Customer"] }, on_many: "oldest" });
```
"#;
    pub(super) const CREATE: &str = r#"
Creates one, without looking for it first. Notes and activities are created once per `key` (default: message, rule and place in
the plan), also when the delivery runs again. Their text is escaped for HTML; `html: true` among the fields sends it as it is. Options: `on_missing`, `on_unknown`, `unlinked`, `key`. Returns a reference.

```rhai
let person = person::upsert(#{ email: "ada@acme.com" }, #{ name: "Ada King" });
note::create(#{ content: "Asked for a demo", person_id: person }, #{ key: event.messageId });
```
"#;
    pub(super) const UPDATE: &str = r#"
Updates what a match finds, the entity of a reference, or the one with a Pipedrive id; never creates. Options: `if_empty`, `unless_edited`,
`on_empty`, `on_many`, `on_conflict`, `on_archived`, `on_miss` (nothing found: `"fail"`, `"skip"`), `on_missing`, `on_unknown`, `write`.
Returns a reference.

```rhai
deal::update(#{ "Segment Deal ID": "d-17" }, #{ status: "won" }, #{ on_miss: "skip" });
```
"#;
    pub(super) const DELETE: &str = r#"
Deletes what a match finds, the entity of a reference, or the one with a Pipedrive id. Several hits fail unless `on_many` says
otherwise. Options: `on_empty`, `on_many`, `on_miss`.

```rhai
person::delete(#{ "Segment User ID": event.userId }, #{ on_miss: "skip" });
```
"#;
    pub(super) const FIND: &str = r#"
Reads what a match finds: a map with API names, and custom fields by name; `()` when nothing is found or no criterion has a
value. A read sees the writes that this run has asked for. The script runs again from its start once the answer is there.

```rhai
let found = person::find(#{ email: "ada@acme.com" });
if found?.name == () { log::info("new here"); }
```
"#;
    pub(super) const GET: &str = r#"
Reads the one with a Pipedrive id (a whole number; a uuid for leads): a map as `find` returns it, or `()`.

```rhai
let owner = deal::get(42)?.owner_id;
```
"#;
    pub(super) const MERGE: &str = r#"
Merges two of a kind: `keep` stays and takes what it lacks from `drop`, which goes. Both are a match, a reference or an id.
Several hits fail unless `on_many` says otherwise. Options: `on_empty`, `on_many`, `on_miss`. Returns a reference to what stays.

```rhai
person::merge(#{ "Segment User ID": event.userId }, #{ "Segment User ID": event.previousId }, #{ on_miss: "skip" });
```
"#;
    pub(super) const CONVERT: &str = r#"
Converts a lead to a deal, and waits for the end of it. `fields` may hold `stage` and `pipeline` of the deal. Options: `on_empty`,
`on_many`, `on_miss`, `on_unknown`. Returns a reference to the deal, also when the lead was converted before. It is sent once: when its
answer is lost, the deal is looked for; where none is found it ends as `uncertain`. Later events that name the lead go to the deal.

```rhai
lead::convert(#{ title: "Acme: 20 seats" }, #{ pipeline: "Sales" });
```
"#;
    pub(super) const REQUEST: &str = r#"
For what the six kinds do not cover. A GET reads and returns the answer's JSON (`()` when there is none); the other methods are
actions of the plan and return `()`. The path starts with `/api/v1/` or `/api/v2/`. What such a write did cannot be looked up
after a cut connection, so it then ends as `uncertain` and is not sent again by itself.

```rhai
let product = pipedrive::request("GET", "/api/v2/products/7");
pipedrive::request("POST", "/api/v1/filters", #{ name: "Won today", type: "deals" });
```
"#;
}
