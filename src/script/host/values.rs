//! The types that host functions hand to scripts: references, `CLEAR`, money, `by(..)` and list changes.

use rhai::{Array, Dynamic, Engine, EvalAltResult, FuncRegistration, Map, Module, NativeCallContext};
use serde_json::{Number, Value as Json};

use super::{define, options, unfit};
use crate::pipedrive::Kind;
use crate::plan::{Criteria, ListOp};
use crate::script::state::{self, Hosted, refuse, refuse_with};
use crate::script::value::{self, type_word};

/// The entity of an earlier action, whose id is not known before the plan is carried out.
#[derive(Debug, Clone)]
pub(in crate::script) struct Reference {
    /// Ordinal of the action.
    pub ordinal: u32,
    /// What it will be.
    pub kind: Kind,
}

/// `CLEAR`.
#[derive(Debug, Clone, Copy)]
pub(in crate::script) struct Clear;

/// `money(amount, currency)`.
#[derive(Debug, Clone)]
pub(in crate::script) struct Money {
    /// Amount.
    pub amount: Number,
    /// ISO 4217 code.
    pub currency: Option<String>,
}

/// `by(match, options)`.
#[derive(Debug, Clone)]
pub(in crate::script) struct By {
    /// What finds it.
    pub criteria: Criteria,
    /// Seconds to wait for it, when the rule's `link_wait` does not count.
    pub wait: Option<u32>,
}

/// `add(..)` and its kin.
#[derive(Debug, Clone)]
pub(in crate::script) struct ListChange {
    /// What to do with the items.
    pub op: ListOp,
    /// Items.
    pub items: Vec<Json>,
}

/// The functions that make values for fields.
pub(super) fn register(engine: &mut Engine, module: &mut Module) {
    engine.register_type_with_name::<Reference>("Reference");
    engine.register_type_with_name::<Clear>("CLEAR");
    engine.register_type_with_name::<Money>("Money");
    engine.register_type_with_name::<By>("By");
    engine.register_type_with_name::<ListChange>("ListChange");
    keep_opaque(module);

    define(module, "money", &["amount", "currency", "Money"], docs::MONEY, |amount: Dynamic, currency: Dynamic| {
        money(&amount, &currency)
    });
    define(module, "money", &["amount", "Money"], docs::MONEY, |amount: Dynamic| money(&amount, &Dynamic::UNIT));
    define(module, "by", &["criteria", "By"], docs::BY, |criteria: Dynamic| by(&criteria, &Dynamic::UNIT));
    define(module, "by", &["criteria", "options", "By"], docs::BY, |criteria: Dynamic, options: Dynamic| by(&criteria, &options));
    for (name, op, docs) in [
        ("add", ListOp::Add, docs::ADD),
        ("remove", ListOp::Remove, docs::REMOVE),
        ("replace", ListOp::Replace, docs::REPLACE),
        ("primary", ListOp::Primary, docs::PRIMARY),
    ] {
        define(module, name, &["items", "ListChange"], docs, move |items: Dynamic| list_change(name, op, items));
    }
}

fn by(criteria: &Dynamic, options: &Dynamic) -> Hosted<Dynamic> {
    if criteria.is::<Reference>() {
        return Err(refuse_with(
            "`by` takes a match, not a reference",
            Some("a reference links by itself: `org_id: org`".to_owned()),
        ));
    }
    let wait = options::wait(options).map_err(|u| unfit("by", u))?;
    let criteria = match value::bare(criteria) {
        Some(criteria) => criteria,
        None => value::criteria(criteria).map_err(|u| unfit("by", u))?,
    };
    Ok(if value::is_void(&criteria) { Dynamic::UNIT } else { Dynamic::from(By { criteria, wait }) })
}

fn money(amount: &Dynamic, currency: &Dynamic) -> Hosted<Dynamic> {
    let number = if let Ok(n) = amount.as_int() {
        Some(Number::from(n))
    } else if let Ok(n) = amount.as_float() {
        Number::from_f64(n)
    } else if let Ok(text) = amount.as_immutable_string_ref() {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Dynamic::UNIT);
        }
        text.parse::<i64>().ok().map(Number::from).or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64))
    } else if amount.is_unit() {
        return Ok(Dynamic::UNIT);
    } else {
        None
    };
    let Some(amount) = number else {
        return Err(refuse_with(
            format!("the amount of `money` is a number or a text like \"12.50\", not {}", describe_amount(amount)),
            Some("read formatted amounts with `number::parse`".to_owned()),
        ));
    };
    let currency = match currency.as_immutable_string_ref() {
        Ok(code) => Some(code.trim().to_ascii_uppercase()).filter(|c| !c.is_empty()),
        Err(_) if currency.is_unit() => None,
        Err(_) => {
            let reason = format!("the currency of `money` is a code like \"EUR\", not {}", type_word(currency));
            return Err(refuse_with(
                reason,
                Some("write `money(12.5, \"EUR\")`, or leave it out for the account's own".to_owned()),
            ));
        }
    };
    Ok(Dynamic::from(Money { amount, currency }))
}

fn describe_amount(amount: &Dynamic) -> &'static str {
    if amount.is_string() { "another text" } else { type_word(amount) }
}

fn list_change(name: &str, op: ListOp, items: Dynamic) -> Hosted<Dynamic> {
    let items: Array = match items.is_array() {
        true => items.into_array().map_err(|_| refuse(format!("`{name}` takes a value or an array")))?,
        false => vec![items],
    };
    let kept = value::list_items(&items).map_err(|u| unfit(name, u))?;
    Ok(kept.map_or(Dynamic::UNIT, |items| Dynamic::from(ListChange { op, items })))
}

/// Why a reference is not to be looked into.
fn why(reference: &Reference, what: &str) -> (String, Option<String>) {
    let kind = reference.kind;
    (
        format!("{what} a reference: the id of this {kind} is known only when the plan is carried out"),
        Some(format!("give the reference itself to a later action, or read the {kind} first with `{kind}::find(..)`")),
    )
}

/// The same as an error.
pub(super) fn opaque(reference: &Reference, what: &str) -> Box<EvalAltResult> {
    let (message, help) = why(reference, what);
    refuse_with(message, help)
}

/// Whatever would look into a reference says why it cannot. Printing swallows errors, so there the run ends.
fn keep_opaque(module: &mut Module) {
    fn refused<T>(reference: &Reference, what: &str) -> Hosted<T> {
        Err(opaque(reference, what))
    }
    // The interpreter's own makes a text of anything.
    FuncRegistration::new("to_json").in_global_namespace().set_into_module(module, |map: &mut Map| -> Hosted<String> {
        let json = value::to_json(&Dynamic::from_map(map.clone())).map_err(|u| unfit("to_json", u))?;
        Ok(json.to_string())
    });
    for name in ["to_string", "to_debug"] {
        FuncRegistration::new(name).in_global_namespace().set_into_module(
            module,
            |ctx: NativeCallContext<'_>, reference: &mut Reference| -> Hosted<String> {
                let (message, help) = why(reference, "cannot print");
                Err(state::misuse(&ctx, message, help))
            },
        );
    }
    FuncRegistration::new_index_getter().set_into_module(module, |reference: &mut Reference, _: &str| -> Hosted<Dynamic> {
        refused(reference, "cannot read from")
    });
    FuncRegistration::new_index_setter()
        .set_into_module(module, |reference: &mut Reference, _: &str, _: Dynamic| -> Hosted<()> {
            refused(reference, "cannot write into")
        });
    for op in ["==", "!=", "<", ">", "<=", ">="] {
        FuncRegistration::new(op)
            .in_global_namespace()
            .set_into_module(module, |left: Reference, _: Dynamic| -> Hosted<bool> { refused(&left, "cannot compare") });
        FuncRegistration::new(op)
            .in_global_namespace()
            .set_into_module(module, |_: Dynamic, right: Reference| -> Hosted<bool> { refused(&right, "cannot compare") });
    }
    for op in ["+", "+="] {
        FuncRegistration::new(op)
            .in_global_namespace()
            .set_into_module(module, |left: Reference, _: Dynamic| -> Hosted<Dynamic> { refused(&left, "cannot add to") });
        FuncRegistration::new(op)
            .in_global_namespace()
            .set_into_module(module, |_: Dynamic, right: Reference| -> Hosted<Dynamic> { refused(&right, "cannot add") });
    }
}

mod docs {
    pub(super) const MONEY: &str = r#"
An amount with its currency, for deal values and monetary fields. The amount is a number or a numeric text; `()` and `""`
leave the field alone. Without a currency the account's default is meant. An amount that is no number is an error. Text and number put together with `+` are a text: turn what an event brings as text into a number
first, `deal.value + number::parse(p.price)`.

```rhai
person::upsert(#{ email: "ada@acme.com" }, #{ "Lifetime Value": money("1250.50", "EUR") });
```
"#;
    pub(super) const BY: &str = r#"
A link to an entity that a match finds, for `person_id`, `org_id`, `deal_id` and `lead_id`. The entity is found, not changed. A
text or number in place of a match is compared with the account's match field (`match_fields` in rules.toml). A value that is given but not found yet makes the delivery wait up to the rule's `link_wait`; then the option `on_missing`
decides. `wait` among the options of `by` is another time for this link, in seconds after the event came: 0 does not wait. A match without any value is `()`: the field is left alone.

```rhai
deal::create(#{ title: "Renewal", person_id: by(#{ email: "ada@acme.com" }) });
deal::create(
    #{ title: "Trial", person_id: by(#{ email: "ada@acme.com" }), org_id: by(#{ name: "Acme" }, #{ wait: 0 }) },
    #{ on_missing: "omit" });
```
"#;
    pub(super) const ADD: &str = r#"
Adds items to a list field (e-mails, phones, labels, several options) and keeps what is there. Takes one value or an array.

```rhai
person::update(#{ email: "ada@acme.com" }, #{ "Interests": add("Chess") });
```
"#;
    pub(super) const REMOVE: &str = r#"
Takes items out of a list field and keeps the others. Takes one value or an array.

```rhai
person::update(#{ email: "ada@acme.com" }, #{ labels: remove(["Trial"]) });
```
"#;
    pub(super) const REPLACE: &str = r#"
Makes a list field exactly these items. Takes one value or an array; `replace([])` empties the field.

```rhai
person::update(#{ email: "ada@acme.com" }, #{ phones: replace("+49 30 901820") });
```
"#;
    pub(super) const PRIMARY: &str = r#"
Adds items to e-mails or phones and makes the first one the primary one.

```rhai
person::update(#{ "Segment User ID": "u1" }, #{ emails: primary("ada@newmail.com") });
```
"#;
}
