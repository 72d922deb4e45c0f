//! From a script's value to a wire value, by the shape of the field.

use serde_json::{Value as Json, json};

use super::composite::{self, Amount};
use super::{PrepareContext, list, options, scalar};
use crate::crm::{Address, Metadata, NewOption};
use crate::pipedrive::{Id, Kind};
use crate::plan::field::{FieldRef, article, plural};
use crate::plan::refusal::Refusal;
use crate::plan::shape::Shape;
use crate::plan::{Action, Criteria, Criterion, FieldEntry, Link, ListOp, OnUnknown, Target, Value, Verb, WireTarget, WireValue};

type Result<T> = std::result::Result<T, Refusal>;

/// What the fields of one list say about each other.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// The pipeline given beside a stage.
    pub(super) pipeline: Option<i64>,
    /// The currency given beside a lead's value.
    pub(super) currency: Option<String>,
    /// Text is HTML already.
    pub(super) html: bool,
}

/// Reads the values of one action.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) context: &'a PrepareContext<'a>,
    /// The plan's actions; references may name those before `ordinal`.
    pub(super) actions: &'a [Action],
    pub(super) ordinal: u32,
    pub(super) on_unknown: OnUnknown,
    pub(super) said: Said,
}

/// What was decided while an action was read, for the decision record.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) warnings: Vec<String>,
    /// Custom fields that have the name of a field of the API.
    pub(super) custom: Vec<String>,
    /// A value was dropped that the account does not know.
    pub(super) dropped: bool,
}

impl Said {
    /// A line a policy.
    pub(super) fn decisions(&self) -> Vec<String> {
        let names = self.custom.join(", ");
        (!names.is_empty())
            .then(|| format!("custom: the custom field is meant, not that of the API: {names}"))
            .into_iter()
            .collect()
    }
}

impl<'a> Reader<'a> {
    pub(super) fn metadata(&self) -> &'a Metadata {
        self.context.metadata
    }

    /// The wire value; `None` when the field is left alone.
    pub(super) fn read(&mut self, field: &FieldRef<'_>, value: &Value, hints: &Hints) -> Result<Option<WireValue>> {
        match value {
            Value::Leave => Ok(None),
            Value::Clear if field.clears => Ok(Some(WireValue::Clear)),
            Value::Clear => Err(Refusal::value(format!(
                "`{}` of {} cannot be emptied: Pipedrive has no way to",
                field.label,
                plural(field.kind)
            ))
            .help("leave it out, or write another value")),
            Value::Link(link) => self.read_link(field, link),
            Value::List { op, items } => self.read_list(field, Some(*op), &Json::Array(items.clone())),
            Value::Money { amount, currency } => {
                let currency = currency.as_ref().map(|c| scalar::currency(field.label, &c.as_str().into())).transpose()?;
                self.read_money(field, Amount { amount: amount.clone(), currency }, hints)
            }
            Value::Json(json) if composite::is_blank(json) => Ok(None),
            Value::Json(json) => self.read_json(field, json, hints),
        }
    }

    fn read_json(&mut self, field: &FieldRef<'_>, json: &Json, hints: &Hints) -> Result<Option<WireValue>> {
        let label = field.label;
        let scalar = match field.shape {
            Shape::Choices | Shape::Labels | Shape::LeadLabels | Shape::Contacts | Shape::Participants | Shape::Attendees => {
                return self.read_list(field, None, json);
            }
            Shape::Link(kind) => return self.read_id(field, kind, json),
            Shape::Named(kind) => return self.read_named(field, kind, json),
            Shape::Money | Shape::LeadValue | Shape::DealValue => {
                let amount = composite::money(label, json)?;
                return self.read_money(field, amount, hints);
            }
            Shape::Address => match composite::address(label, json)? {
                Some(address) => address,
                None => return Ok(None),
            },
            Shape::Text => scalar::text(label, json)?.into(),
            Shape::Html => html(&scalar::text(label, json)?, hints.html).into(),
            Shape::Number => Json::Number(scalar::number(label, json)?),
            Shape::Whole => scalar::whole(label, json)?.into(),
            Shape::Boolean => scalar::boolean(label, json)?.into(),
            Shape::Flag => i64::from(scalar::boolean(label, json)?).into(),
            Shape::Date => scalar::date(label, json)?.into(),
            Shape::Time => scalar::time(label, json)?.into(),
            Shape::ZonedTime => composite::zoned_time(label, json)?,
            Shape::Duration => scalar::duration(label, json)?.into(),
            Shape::Instant => scalar::rfc3339(scalar::instant(label, json)?).into(),
            Shape::SpacedInstant => scalar::spaced(scalar::instant(label, json)?).into(),
            Shape::DateRange => composite::range(label, json, scalar::date)?,
            Shape::TimeRange => composite::range(label, json, scalar::time)?,
            Shape::Currency => scalar::currency(label, json)?.into(),
            Shape::Word(words) => options::word(label, json, words)?.into(),
            Shape::VisibleTo => options::visible_to(label, json)?.into(),
            Shape::Id => return Err(Refusal::name("`id` is not a field that can be written".to_owned())),
            Shape::Choice | Shape::User | Shape::Stage | Shape::Pipeline | Shape::ActivityType => {
                let found = self.named_value(field, json, hints);
                match self.known(field, json, found)? {
                    Some(json) => json,
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(WireValue::Json(scalar)))
    }

    fn named_value(&self, field: &FieldRef<'_>, json: &Json, hints: &Hints) -> Result<Json> {
        let (label, metadata) = (field.label, self.metadata());
        match field.shape {
            Shape::User => options::user(label, json, &metadata.users).map(Json::from),
            Shape::Stage => options::stage(label, json, hints.pipeline, metadata).map(Json::from),
            Shape::Pipeline => options::pipeline(label, json, metadata).map(Json::from),
            Shape::ActivityType => options::activity_type(label, json, &metadata.activity_types).map(Json::from),
            _ => options::option(label, json, field.options).map(Json::from),
        }
    }

    /// Applies `on_unknown`: `None` when the value is dropped, with a warning.
    fn known<T>(&mut self, field: &FieldRef<'_>, given: &Json, found: Result<T>) -> Result<Option<T>> {
        match found {
            Ok(value) => Ok(Some(value)),
            Err(refusal) if refusal.unknown && self.on_unknown == OnUnknown::Drop => {
                let Refusal { message, help, value, .. } = refusal;
                let value = value.map(|v| format!(" (`{v}`)")).unwrap_or_default();
                let help = help.map(|h| format!("; {h}")).unwrap_or_default();
                self.said.warnings.push(format!("left out: {message}{value}{help} (on_unknown: drop)"));
                self.said.dropped = true;
                Ok(None)
            }
            Err(refusal) if refusal.unknown && self.on_unknown == OnUnknown::Create => Err(match new_option(field, given) {
                Ok(option) => Refusal { adds: Some(option), ..refusal },
                Err(why) => Refusal {
                    message: format!("{}, and `on_unknown: \"create\"` cannot add it", refusal.message),
                    help: Some(format!("{why}; add it in Pipedrive, or use `on_unknown: \"drop\"`")),
                    ..refusal
                },
            }),
            Err(refusal) => Err(refusal),
        }
    }

    fn read_money(&mut self, field: &FieldRef<'_>, money: Amount, hints: &Hints) -> Result<Option<WireValue>> {
        let json = match field.shape {
            // A deal keeps its currency unless one is given; it stands in a field of its own.
            Shape::DealValue | Shape::Number => Json::Number(money.amount),
            Shape::Money => json!({ "value": money.amount, "currency": self.currency(field, money.currency, None)? }),
            Shape::LeadValue => {
                json!({ "amount": money.amount, "currency": self.currency(field, money.currency, hints.currency.as_ref())? })
            }
            _ => {
                return Err(Refusal::value(format!("`{}` does not take money", field.label))
                    .help("use a number or a field of type monetary"));
            }
        };
        Ok(Some(WireValue::Json(json)))
    }

    fn currency(&self, field: &FieldRef<'_>, given: Option<String>, beside: Option<&String>) -> Result<String> {
        let default = &self.metadata().me.default_currency;
        given.or_else(|| beside.cloned()).or_else(|| (!default.is_empty()).then(|| default.clone())).ok_or_else(|| {
            Refusal::value(format!("`{}` needs a currency, and the account has no default", field.label))
                .help("`money(amount, \"EUR\")`")
        })
    }

    fn read_list(&mut self, field: &FieldRef<'_>, op: Option<ListOp>, json: &Json) -> Result<Option<WireValue>> {
        let label = field.label;
        let default = match field.shape {
            Shape::Labels | Shape::LeadLabels | Shape::Contacts | Shape::Participants => ListOp::Add,
            Shape::Choices | Shape::Attendees => ListOp::Replace,
            _ => {
                return Err(Refusal::value(format!("`{label}` holds one value: add, remove, replace and primary are for lists"))
                    .help("give the value itself"));
            }
        };
        let explicit = op.is_some();
        let op = op.unwrap_or(default);
        if op == ListOp::Primary && field.shape != Shape::Contacts && field.shape != Shape::Participants {
            return Err(Refusal::value(format!("`{label}` has no primary item")).help("use add(..)"));
        }
        let given = list::items(json);
        let mut items = Vec::new();
        for item in &given {
            let read = match field.shape {
                Shape::Contacts => list::contact(label, item)?,
                Shape::Participants => Some(list::participant(label, item)?),
                Shape::Attendees => Some(list::attendee(label, item)?),
                Shape::LeadLabels => {
                    let found = options::lead_label(label, item, &self.metadata().lead_labels).map(Json::from);
                    self.known(field, item, found)?
                }
                _ => self.known(field, item, list::choice(label, item, field.options))?,
            };
            items.extend(read.filter(|i| !items.contains(i)));
        }
        match (items.is_empty(), op) {
            // Nothing to add or take out. `replace([])` empties; an empty array alone leaves alone, and so does one of unknowns.
            (true, ListOp::Replace) if given.is_empty() && explicit => self.read(field, &Value::Clear, &Hints::default()),
            (true, _) => Ok(None),
            (false, _) => Ok(Some(WireValue::List { op, items })),
        }
    }

    fn read_id(&mut self, field: &FieldRef<'_>, kind: Kind, json: &Json) -> Result<Option<WireValue>> {
        match Id::from_json(json) {
            Some(id) => self.read_link(field, &Link::Id(id)),
            None => Err(Refusal::link(format!(
                "`{}` takes the {kind} as id, reference or `by(..)`, not {}",
                field.label,
                crate::plan::refusal::kind_of(json)
            ))
            .help("`by(value)` finds it by the account's match field, `by(#{ field: value })` by another")
            .showing(json)),
        }
    }

    fn read_named(&mut self, field: &FieldRef<'_>, kind: Kind, json: &Json) -> Result<Option<WireValue>> {
        let Json::String(name) = json else { return self.read_id(field, kind, json) };
        if Id::from_json(json).is_some() {
            return self.read_id(field, kind, json);
        }
        let by = if kind == Kind::Person && name.contains('@') { "email" } else { "name" };
        let entry = FieldEntry { name: by.to_owned(), custom: false, value: Value::Json(json.clone()) };
        self.read_link(field, &Link::By { criteria: Criteria(vec![Criterion(vec![entry])]), wait: None })
    }

    fn read_link(&mut self, field: &FieldRef<'_>, link: &Link) -> Result<Option<WireValue>> {
        let (Shape::Link(kind) | Shape::Named(kind)) = field.shape else {
            return Err(Refusal::link(format!("`{}` does not link to another entity", field.label))
                .help("use a reference or `by(..)` in a link field such as `org_id`"));
        };
        let target = match link {
            Link::Reference(ordinal) => self.reference(field.label, kind, *ordinal)?,
            Link::Id(id) => Self::id(field.label, kind, id)?,
            Link::By { criteria, .. } => match self.lookups(kind, criteria)? {
                lookups if lookups.is_empty() => return Ok(None),
                lookups => super::criteria::by_id(&lookups).unwrap_or(WireTarget::Lookups(lookups)),
            },
        };
        let wait = if let Link::By { wait, .. } = link { *wait } else { None };
        Ok(Some(WireValue::Link { kind, target, wait }))
    }

    /// What a verb acts on.
    pub(super) fn target(&mut self, kind: Kind, target: &Target) -> Result<WireTarget> {
        match target {
            Target::Match(criteria) => {
                let lookups = self.lookups(kind, criteria)?;
                Ok(super::criteria::by_id(&lookups).unwrap_or(WireTarget::Lookups(lookups)))
            }
            Target::Reference(ordinal) => self.reference("the target", kind, *ordinal),
            Target::Id(id) => Self::id("the target", kind, id),
        }
    }

    fn id(what: &str, kind: Kind, id: &Id) -> Result<WireTarget> {
        if id.fits(kind) {
            return Ok(WireTarget::Id(id.clone()));
        }
        let wanted = if kind == Kind::Lead { "a uuid" } else { "a positive whole number" };
        let given = if matches!(id, Id::Number(_)) { "number" } else { "uuid" };
        Err(Refusal::link(format!("{what}: this {given} is not the id of {} {kind}, which is {wanted}", article(kind)))
            .help(format!("give the id of {} {kind}, its reference, or `by(..)` with a match", article(kind)))
            .showing(&id.to_json()))
    }

    fn reference(&self, what: &str, kind: Kind, ordinal: u32) -> Result<WireTarget> {
        let action = self.actions.get(ordinal as usize).filter(|_| ordinal < self.ordinal);
        match action.map(|a| result_of(&a.verb)) {
            Some(Some(found)) if found == kind => Ok(WireTarget::Reference(ordinal)),
            Some(Some(found)) => Err(Refusal::link(format!(
                "{what} takes {} {kind}, and this reference is {} {found}",
                article(kind),
                article(found)
            ))
            .help(format!("give the reference of {} {kind}, its id, or `by(..)` with a match", article(kind)))),
            Some(None) => Err(Refusal::link(format!("{what}: the action referred to leaves no {kind} behind"))),
            None => Err(Refusal::link(format!("{what}: the reference does not name an earlier action of this run"))),
        }
    }
}

/// The option that would make the value known, or why rules cannot add one.
fn new_option(field: &FieldRef<'_>, given: &Json) -> std::result::Result<NewOption, &'static str> {
    let Json::String(label) = given else { return Err("a number is the id of an option, and no option has this one") };
    let key = match (field.shape, &field.address) {
        (Shape::LeadLabels, _) => None,
        (Shape::Labels, address) | (Shape::Choice | Shape::Choices, address @ Address::Custom(_)) => {
            Some(address.key().to_owned())
        }
        (Shape::User, _) => return Err("users are invited in Pipedrive, rules make none"),
        (Shape::Choice | Shape::Choices, _) => return Err("Pipedrive takes no further options for its own fields"),
        _ => return Err("rules make options and labels only"),
    };
    Ok(NewOption { kind: field.kind, field: key, label: label.trim().to_owned() })
}

/// The kind of the entity that an action's reference stands for.
const fn result_of(verb: &Verb) -> Option<Kind> {
    match verb {
        Verb::Upsert { kind, .. } | Verb::Create { kind, .. } | Verb::Update { kind, .. } | Verb::Merge { kind, .. } => {
            Some(*kind)
        }
        Verb::Convert { .. } => Some(Kind::Deal),
        Verb::Delete { .. } | Verb::Request { .. } => None,
    }
}

/// Text as HTML: escaped, with line breaks kept. As it is when it is HTML already.
fn html(text: &str, already: bool) -> String {
    if already {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("<br>"),
            '\r' => {}
            c => out.push(c),
        }
    }
    out
}
