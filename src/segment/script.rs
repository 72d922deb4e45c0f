//! From a mapping to a script: one function a kind.
//!
//! Invariants: a script does what Segment's action did, except where that is a defect; each such place is in `mended`.

use serde_json::{Map, Value as Json};

use super::export::Destination;
use super::fields::{Fields, custom, is_nothing};
use super::kind::Action;
use super::mapping::{Mapping, Unfit, read, unfit};
use super::rhai::Writer;
use crate::pipedrive::Kind;
use crate::plan::notation::name;

/// A script and what there is to say about it.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// The body of `handle`, and the functions that it calls.
    pub(super) body: String,
    /// Whether it imports the helpers.
    pub(super) helpers: bool,
    /// What a person must look at.
    pub(super) warnings: Vec<String>,
    /// Defects of Segment's that are mended in it.
    pub(super) mended: Vec<String>,
}

/// The mapping of one subscription with its destination's settings.
pub(super) struct Source<'a> {
    action: &'static Action,
    destination: &'a Destination,
    fields: Vec<(String, Mapping)>,
}

impl<'a> Source<'a> {
    /// Reads a mapping whole.
    ///
    /// # Errors
    /// Everything in it that cannot be taken over.
    pub(super) fn new(
        action: &'static Action,
        destination: &'a Destination,
        map: &Map<String, Json>,
    ) -> Result<Self, Vec<Unfit>> {
        let mut wrong = Vec::new();
        let mut fields = Vec::new();
        if map.keys().any(|k| k == "__segment_internal_directive") {
            wrong.push(unfit(
                "settings",
                "the whole mapping is wrapped in Segment's internal directive; write the script by hand",
            ));
        }
        for (key, json) in map.iter().filter(|(key, _)| action.fields.contains(&key.as_str())) {
            match read(json, &format!("settings.{key}")) {
                Ok(mapping) if is_nothing(&mapping) => {}
                Ok(mapping) => fields.push((key.clone(), mapping)),
                Err(error) => wrong.push(error),
            }
        }
        let source = Self { action, destination, fields };
        for required in action.required {
            if wrong.is_empty() && source.get(required).is_none() {
                let reason = "the action does not run without it: Segment refused every event of this subscription";
                wrong.push(unfit(&format!("settings.{required}"), reason));
            }
        }
        for field in ["match_field", "person_match_field", "organization_match_field", "deal_match_field"] {
            if source.get(field).is_some_and(|m| !matches!(m, Mapping::Literal(Json::String(_)))) {
                wrong.push(unfit(&format!("settings.{field}"), "the field to match by is computed; write the script by hand"));
            }
        }
        if wrong.is_empty() { Ok(source) } else { Err(wrong) }
    }

    /// A field that is mapped to something.
    pub(super) fn get(&self, field: &str) -> Option<&Mapping> {
        self.fields.iter().find(|(key, _)| key == field).map(|(_, mapping)| mapping)
    }

    pub(super) fn kind(&self) -> Kind {
        self.action.kind
    }

    /// The field that entities of a kind are looked up by, and whether the mapping itself names it.
    pub(super) fn match_field(&self, kind: Kind) -> (String, bool) {
        let own =
            if kind == self.kind() && kind != Kind::Deal { "match_field".to_owned() } else { format!("{kind}_match_field") };
        if let Some(Mapping::Literal(Json::String(field))) = self.get(&own) {
            return (field.clone(), true);
        }
        let setting = match kind {
            Kind::Person => &self.destination.person,
            Kind::Organization => &self.destination.organization,
            _ => &self.destination.deal,
        };
        (setting.clone().unwrap_or_else(|| "id".to_owned()), false)
    }

    /// Writes the script.
    pub(super) fn script(&self) -> Script {
        let mut script = Script::default();
        let mut writer = Writer::default();
        let mut draft = Draft { source: self, writer: &mut writer, script: &mut script };
        let body = match self.kind() {
            Kind::Person | Kind::Organization => draft.contact(),
            Kind::Deal => draft.deal(),
            Kind::Lead => draft.lead(),
            Kind::Activity => draft.activity(),
            Kind::Note => draft.note(),
        };
        let functions = writer.functions.iter();
        let functions = functions.map(|(name, parameter, body)| format!("\nfn {name}({parameter}) {{\n    {body}\n}}\n"));
        script.body = format!("fn handle(event) {{\n{body}}}\n{}", functions.collect::<String>());
        script.helpers = writer.helpers;
        script
    }
}

struct Draft<'a, 'b> {
    source: &'a Source<'a>,
    writer: &'b mut Writer,
    script: &'b mut Script,
}

/// How an id that may be 0 or empty is told from none.
const NO_ID: &str = "(id ?? \"\") == \"\" || id == 0 || id == \"0\"";

impl Draft<'_, '_> {
    fn expression(&mut self, field: &str) -> Option<String> {
        self.source.get(field).map(|mapping| self.writer.field(mapping))
    }

    fn mended(&mut self, text: impl Into<String>) {
        self.script.mended.push(text.into());
    }

    /// Copies fields that need nothing but a name.
    fn copy(&mut self, fields: &mut Fields, names: &[(&str, &str)]) {
        for (from, to) in names {
            if let Some(expression) = self.expression(from) {
                fields.put(to, expression);
            }
        }
    }

    fn custom(&mut self, fields: &mut Fields) -> Option<String> {
        let mapping = self.source.get("custom_fields")?;
        custom(mapping, self.source.kind(), fields, self.writer, &mut self.script.warnings)
    }

    /// The criteria by which the entity itself is found.
    fn criteria(&mut self, value: &str) -> String {
        let kind = self.source.kind();
        let (field, own) = self.source.match_field(kind);
        match (field.as_str(), own) {
            ("id", _) => self.script.warnings.push(format!(
                "{kind}s are looked up by their id in Pipedrive. When your events carry ids of your own, Segment never found anybody and \
                 created anew each time; here such an event fails and creates nothing. Run the import again with --match \
                 {kind}=\"{}\" to keep your ids in a field of their own",
                suggested(kind)
            )),
            (field, false) => {
                self.mended(format!("`{field}` is written on create; Segment left it empty, and created another at the next event"));
            }
            ("email", _) => self.mended("the address is added to those that are there; Segment replaced them"),
            _ => {}
        }
        format!("#{{ {}: {value} }}", name(&field))
    }

    /// `person_id`, `org_id` and `deal_id`.
    fn links(&mut self, kinds: &[Kind]) -> Fields {
        let mut links = Fields::default();
        for kind in kinds {
            let Some(value) = self.expression(&format!("{kind}_match_value")) else { continue };
            let key = match kind {
                Kind::Organization => "org_id",
                Kind::Deal => "deal_id",
                _ => "person_id",
            };
            let (field, own) = self.source.match_field(*kind);
            links.put(key, if own { format!("by(#{{ {}: {value} }})", name(&field)) } else { format!("by({value})") });
        }
        if !links.is_empty() {
            self.mended("links are waited for (`link_wait`), and a failed look-up is tried again; Segment went on without them");
        }
        links
    }

    fn contact(&mut self) -> String {
        let kind = self.source.kind();
        let value = self.expression("match_value").unwrap_or_default();
        let criteria = self.criteria(&value);
        let mut fields = Fields::default();
        self.copy(&mut fields, &[("name", "name"), ("email", "emails"), ("phone", "phones"), ("visible_to", "visible_to")]);
        let more = self.custom(&mut fields);
        let mut on_create = Fields::default();
        if !matches!(self.source.get("name"), Some(Mapping::Literal(_))) {
            let mut names: Vec<String> = self.expression("name").into_iter().collect();
            if matches!(self.source.get("email"), Some(Mapping::Path(_) | Mapping::Template(_))) {
                names.extend(self.expression("email"));
            }
            names.push(value);
            names.dedup();
            on_create.put(
                "name",
                if let [one] = names.as_slice() { one.clone() } else { format!("text::first_of([{}])", names.join(", ")) },
            );
            self.mended("without a name a new one is called by what else is known of it; Pipedrive refused it for Segment");
        }
        if let Some(time) = self.expression("add_time") {
            on_create.put("add_time", time);
            self.mended("add_time is sent on create only, in Pipedrive's form");
        }
        let on_create =
            if on_create.is_empty() { String::new() } else { format!(",\n        #{{ on_create: {} }}", on_create.map(8)) };
        format!("    {kind}::upsert(\n        {criteria},\n        {}{on_create});\n", with(&fields.map(8), more))
    }

    fn deal(&mut self) -> String {
        let mut fields = Fields::default();
        self.copy(&mut fields, &[("title", "title")]);
        match (self.expression("value"), self.expression("currency")) {
            (Some(value), Some(currency)) => fields.put("value", format!("money({value}, {currency})")),
            (Some(value), None) => fields.put("value", format!("money({value})")),
            (None, Some(currency)) => fields.put("currency", currency),
            (None, None) => {}
        }
        if self.source.get("value").is_some() {
            self.mended("value is sent as a number; Segment sent a text");
        }
        self.copy(&mut fields, &[("stage_id", "stage_id")]);
        let status = self.expression("status");
        match status.as_deref() {
            Some("\"deleted\"") => {
                self.script.warnings.push("settings.status: `deleted` is left out; use deal::delete(..) to delete".to_owned());
            }
            Some(status) => fields.put("status", status.to_owned()),
            None => {}
        }
        self.copy(&mut fields, &[("expected_close_date", "expected_close_date"), ("probability", "probability")]);
        if let Some(reason) = self.expression("lost_reason") {
            // Pipedrive takes a reason for lost deals only.
            let status = status.unwrap_or_else(|| "\"\"".to_owned());
            match status.as_str() {
                "\"lost\"" => fields.put("lost_reason", reason),
                status if status.starts_with('"') => {
                    self.script
                        .warnings
                        .push("settings.lost_reason: left out, since the mapping never makes a deal lost".to_owned());
                }
                status => fields.put("lost_reason", format!("if ({status}) == \"lost\" {{ {reason} }}")),
            }
        }
        self.copy(&mut fields, &[("visible_to", "visible_to")]);
        if self.source.get("add_time").is_some() {
            self.script.warnings.push("settings.add_time: left out; Pipedrive's API no longer takes it for deals".to_owned());
        }
        for (key, link) in self.links(&[Kind::Person, Kind::Organization]).0 {
            fields.put(&key, link);
        }
        let more = self.custom(&mut fields);
        let Some(value) = self.expression("deal_match_value") else {
            return format!(
                "    deal::create(\n        {},\n        #{{ on_missing: \"omit\" }});\n",
                with(&fields.map(8), more)
            );
        };
        let criteria = self.criteria(&value);
        let options = "on_empty: \"create\", on_missing: \"omit\"";
        format!("    deal::upsert(\n        {criteria},\n        {},\n        #{{ {options} }});\n", with(&fields.map(8), more))
    }

    fn lead(&mut self) -> String {
        let mut fields = Fields::default();
        self.copy(&mut fields, &[("title", "title")]);
        if let Some(amount) = self.expression("amount") {
            let currency = self.expression("currency").map(|c| format!(", {c}")).unwrap_or_default();
            fields.put("value", format!("money({amount}{currency})"));
            self.mended("an amount of 0, or one without a currency, is an amount; Segment dropped it");
        }
        self.copy(&mut fields, &[("expected_close_date", "expected_close_date"), ("visible_to", "visible_to")]);
        for (key, link) in self.links(&[Kind::Person, Kind::Organization]).0 {
            fields.put(&key, link);
        }
        self.mended("an event without a title is skipped; Segment counted a refused event");
        let mut body = format!("    let fields = {};\n", fields.map(4));
        if let Some(id) = self.expression("lead_id") {
            body.push_str(&format!(
                "    let id = {id};\n    if (id ?? \"\") != \"\" {{\n        \
                 return lead::update(#{{ id: id }}, fields, #{{ on_missing: \"omit\" }});\n    }}\n"
            ));
        }
        body.push_str(
            "    if (fields.title ?? \"\") == \"\" { skip(\"no title: not a lead\"); }\n    lead::create(fields, #{ on_missing: \"omit\" });\n",
        );
        body
    }

    fn activity(&mut self) -> String {
        let mut fields = Fields::default();
        let names = [
            ("subject", "subject"),
            ("type", "type"),
            ("description", "public_description"),
            ("note", "note"),
            ("due_date", "due_date"),
            ("due_time", "due_time"),
            ("duration", "duration"),
            ("done", "done"),
        ];
        self.copy(&mut fields, &names);
        self.escaped("note");
        for (key, link) in self.links(&[Kind::Person, Kind::Organization, Kind::Deal]).0 {
            fields.put(&key, link);
        }
        let body = format!("    let fields = {};\n", fields.map(4));
        let update = "activity::update(#{ id: id }, fields, #{ on_missing: \"omit\" })";
        self.mended("a new activity without a subject is called as its event; Pipedrive refuses one without");
        body + &self.by_id("activity_id", update)
            + "    if (fields.subject ?? \"\") == \"\" { fields.subject = event.event ?? \"Activity\"; }\n    \
               activity::create(fields, #{ unlinked: true, on_missing: \"omit\" });\n"
    }

    fn note(&mut self) -> String {
        let mut fields = Fields::default();
        self.copy(&mut fields, &[("content", "content"), ("lead_id", "lead_id")]);
        self.escaped("content");
        for (key, link) in self.links(&[Kind::Person, Kind::Organization, Kind::Deal]).0 {
            fields.put(&key, link);
        }
        let body = format!("    let fields = {};\n", fields.map(4));
        let update = "note::update(#{ id: id }, fields, #{ on_missing: \"omit\" })";
        body + &self.by_id("note_id", update) + "    note::create(fields, #{ on_missing: \"omit\" });\n"
    }

    /// The way out for an event that names the entity by its id.
    fn by_id(&mut self, field: &str, update: &str) -> String {
        let Some(id) = self.expression(field) else { return String::new() };
        self.mended(format!("{field} 0 stands for none; Segment sent it on"));
        format!(
            "    let id = {id};\n    // Some sources send 0 for none.\n    if !({NO_ID}) {{\n        return {update};\n    }}\n"
        )
    }

    fn escaped(&mut self, field: &str) {
        if self.source.get(field).is_some() {
            self.script.warnings.push(format!(
                "settings.{field}: the text is escaped, so that it shows as it is; Segment passed HTML through. Where your events \
                 carry HTML, add `html: true` to the fields"
            ));
        }
    }
}

/// The fields, and what is added to them.
fn with(fields: &str, more: Option<String>) -> String {
    more.map_or_else(|| fields.to_owned(), |more| format!("{fields} + ({more} ?? #{{}})"))
}

/// The name of a field that Pipewright's own scripts match by.
pub(super) const fn suggested(kind: Kind) -> &'static str {
    match kind {
        Kind::Organization => "Segment Group ID",
        Kind::Deal => "Segment Deal ID",
        _ => "Segment User ID",
    }
}
