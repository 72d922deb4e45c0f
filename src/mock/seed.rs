//! The account that every mock starts with: the same ids, keys and times in every run.

use serde_json::{Value, json};

use super::definitions::{Field, FieldOption};
use super::directory::add_lead_label;
use super::entity::Entity;
use super::field_routes;
use super::pipelines;
use super::records;
use super::table::Object;
use super::world::{User, World};

/// When the account was set up: 2026-01-05 08:00 UTC.
pub(super) const SET_UP_MS: i64 = 1_767_600_000_000;
const MINUTE_MS: i64 = 60_000;

pub(super) fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

/// Users, fields, pipelines, labels and types, without records.
pub(super) fn account() -> World {
    let mut world = World::empty();
    world.users = [
        (1, "Ada Lovelace", "ada@acme.com", true, true),
        (2, "Grace Hopper", "grace@acme.com", true, false),
        (3, "Charles Babbage", "charles@acme.com", false, false),
    ]
    .map(|(id, name, email, active, admin)| User { id, name: name.to_owned(), email: email.to_owned(), active, admin })
    .to_vec();
    for (i, (key, name)) in [
        ("call", "Call"),
        ("meeting", "Meeting"),
        ("task", "Task"),
        ("deadline", "Deadline"),
        ("email", "Email"),
        ("lunch", "Lunch"),
    ]
    .into_iter()
    .enumerate()
    {
        world.activity_types.push(activity_type(i, &key.into(), &name.into()));
    }
    for (name, color) in [("Hot", "red"), ("Warm", "yellow"), ("Cold", "blue")] {
        add_lead_label(&mut world, name, color, SET_UP_MS);
    }
    stages(&mut world);
    standard_fields(&mut world);
    custom_fields(&mut world);
    world
}

/// An account with the standard fields that every account has, and nothing else.
pub(super) fn bare() -> World {
    let mut world = World::empty();
    standard_fields(&mut world);
    world
}

pub(super) fn activity_type(position: usize, key: &Value, name: &Value) -> Object {
    object(json!({
        "id": position + 1, "order_nr": position + 1, "name": name, "key_string": key, "icon_key": key, "active_flag": true,
        "color": null, "is_custom_flag": false, "add_time": "2026-01-05 08:00:00", "update_time": "2026-01-05 08:00:00",
    }))
}

fn stages(world: &mut World) {
    for (pipeline, names) in [
        ("Sales", ["Qualified", "Contacted", "Proposal", "Negotiation"].as_slice()),
        ("Onboarding", ["Kickoff", "Contacted", "Live"].as_slice()),
    ] {
        let id = pipelines::insert(world, false, &object(json!({ "name": pipeline })), SET_UP_MS);
        for name in names {
            pipelines::insert(world, true, &object(json!({ "name": name, "pipeline_id": id })), SET_UP_MS);
        }
    }
}

/// Standard fields: (code, name, type, given only on request).
type Standard = (&'static str, &'static str, &'static str, bool);

fn standard_fields(world: &mut World) {
    let common: &[Standard] = &[
        ("id", "ID", "int", false),
        ("owner_id", "Owner", "user", false),
        ("add_time", "Created", "date", false),
        ("update_time", "Updated", "date", false),
        ("visible_to", "Visible to", "visible_to", false),
        ("is_deleted", "Deleted", "boolean", false),
    ];
    let person: &[Standard] = &[
        ("name", "Name", "varchar", false),
        ("first_name", "First name", "varchar", false),
        ("last_name", "Last name", "varchar", false),
        ("email", "Email", "varchar", false),
        ("phone", "Phone", "phone", false),
        ("org_id", "Organization", "org", false),
        ("label_ids", "Labels", "set", false),
        ("im", "Instant messenger", "varchar", false),
        ("postal_address", "Postal address", "address", false),
        ("notes", "Notes", "text", false),
        ("birthday", "Birthday", "date", false),
        ("job_title", "Job title", "varchar", false),
        ("picture_id", "Picture", "picture", false),
        ("marketing_status", "Marketing status", "varchar_options", true),
        ("doi_status", "Double opt-in", "int", true),
    ];
    let organization: &[Standard] = &[
        ("name", "Name", "varchar", false),
        ("label_ids", "Labels", "set", false),
        ("address", "Address", "address", false),
        ("website", "Website", "varchar", false),
        ("linkedin", "LinkedIn profile", "varchar", false),
        ("industry", "Industry", "enum", false),
        ("annual_revenue", "Annual revenue", "int", false),
        ("employee_count", "Number of employees", "int", false),
        ("people_count", "People", "int", true),
    ];
    let deal: &[Standard] = &[
        ("title", "Title", "varchar", false),
        ("value", "Value", "monetary", false),
        ("currency", "Currency", "varchar", false),
        ("person_id", "Contact person", "people", false),
        ("org_id", "Organization", "org", false),
        ("pipeline_id", "Pipeline", "pipeline", false),
        ("stage_id", "Stage", "stage", false),
        ("status", "Status", "status", false),
        ("probability", "Probability", "int", false),
        ("lost_reason", "Lost reason", "varchar_options", false),
        ("expected_close_date", "Expected close date", "date", false),
        ("won_time", "Won time", "date", false),
        ("lost_time", "Lost time", "date", false),
        ("close_time", "Deal closed on", "date", false),
        ("label_ids", "Labels", "set", false),
        ("is_archived", "Archived", "boolean", false),
        ("archive_time", "Archive time", "date", false),
        ("creator_user_id", "Creator", "user", false),
        ("channel", "Source channel", "enum", false),
        ("channel_id", "Source channel ID", "varchar", false),
        ("origin", "Source origin", "varchar", false),
        ("source_lead_id", "Source lead", "lead", true),
    ];
    let lead: &[Standard] = &[
        ("title", "Title", "varchar", false),
        ("person_id", "Contact person", "people", false),
        ("organization_id", "Organization", "org", false),
        ("value", "Value", "monetary", false),
        ("label_ids", "Labels", "set", false),
        ("expected_close_date", "Expected close date", "date", false),
        ("was_seen", "Seen", "boolean", false),
        ("is_archived", "Archived", "boolean", false),
        ("source_name", "Source", "varchar", false),
    ];
    let activity: &[Standard] = &[
        ("subject", "Subject", "varchar", false),
        ("type", "Type", "enum", false),
        ("due_date", "Due date", "date", false),
        ("due_time", "Due time", "time", false),
        ("duration", "Duration", "time", false),
        ("deal_id", "Deal", "deal", false),
        ("lead_id", "Lead", "lead", false),
        ("person_id", "Contact person", "people", false),
        ("org_id", "Organization", "org", false),
        ("project_id", "Project", "project", false),
        ("busy", "Free/busy", "boolean", false),
        ("done", "Done", "boolean", false),
        ("location", "Location", "address", false),
        ("participants", "Participants", "json", false),
        ("attendees", "Attendees", "json", true),
        ("public_description", "Public description", "text", false),
        ("priority", "Priority", "enum", false),
        ("note", "Note", "text", false),
        ("outcome", "Outcome", "enum", false),
        ("creator_user_id", "Creator", "user", false),
    ];
    let note: &[Standard] = &[
        ("content", "Content", "text", false),
        ("person_id", "Person", "people", false),
        ("org_id", "Organization", "org", false),
        ("deal_id", "Deal", "deal", false),
        ("lead_id", "Lead", "lead", false),
    ];
    for (entity, own) in [
        (Entity::Person, person),
        (Entity::Organization, organization),
        (Entity::Deal, deal),
        (Entity::Lead, lead),
        (Entity::Activity, activity),
        (Entity::Note, note),
    ] {
        for (code, name, kind, optional) in common.iter().chain(own) {
            let options = standard_options(world, entity, code);
            let number = world.next_field;
            world.next_field += 1;
            world.fields_mut(entity).push(Field {
                number,
                code: (*code).to_owned(),
                name: (*name).to_owned(),
                kind: (*kind).to_owned(),
                options,
                custom: false,
                optional: *optional,
                required: *code == entity.title_key() && entity != Entity::Activity,
                description: None,
            });
        }
    }
}

fn standard_options(world: &mut World, entity: Entity, code: &str) -> Vec<FieldOption> {
    let labels: &[(&str, Option<&'static str>)] = match (entity, code) {
        (Entity::Person, "label_ids") => {
            &[("Customer", Some("green")), ("Hot lead", Some("red")), ("Warm lead", Some("yellow")), ("Cold lead", Some("blue"))]
        }
        (Entity::Organization, "label_ids") => {
            &[("Customer", Some("green")), ("Partner", Some("purple")), ("Prospect", Some("yellow"))]
        }
        (Entity::Deal, "label_ids") => &[("Hot", Some("red")), ("Warm", Some("yellow")), ("Cold", Some("blue"))],
        (Entity::Organization, "industry") => &[("Software", None), ("Manufacturing", None), ("Education", None)],
        (Entity::Activity, "priority") => &[("Low", None), ("Medium", None), ("High", None)],
        _ => &[],
    };
    labels.iter().map(|(label, color)| FieldOption { color: *color, ..field_routes::new_option(world, label) }).collect()
}

/// A custom field: name, type, options.
type Custom = (&'static str, &'static str, &'static [&'static str]);

/// Types that persons, organizations and deals all have, under the same names.
const EVERY_TYPE: [Custom; 11] = [
    ("Description", "text", &[]),
    ("Score", "double", &[]),
    ("Hotline", "phone", &[]),
    ("Source tag", "varchar_auto", &[]),
    ("Contract term", "daterange", &[]),
    ("Best time to call", "time", &[]),
    ("Office hours", "timerange", &[]),
    ("Billing address", "address", &[]),
    ("Account manager", "user", &[]),
    ("Partner organization", "org", &[]),
    ("Referred by", "people", &[]),
];

fn custom_fields(world: &mut World) {
    let person: &[Custom] = &[
        ("Segment User ID", "varchar", &[]),
        ("Plan", "enum", &["Free", "Pro", "Enterprise"]),
        ("Lifetime Value", "monetary", &[]),
        ("Interests", "set", &["Analytics", "Automation", "Reporting", "Integrations"]),
        ("Signup Date", "date", &[]),
    ];
    let organization: &[Custom] = &[
        ("Segment Group ID", "varchar", &[]),
        ("Domain", "varchar", &[]),
        ("Tier", "enum", &["Bronze", "Silver", "Gold"]),
        ("Annual contract", "monetary", &[]),
        ("Products", "set", &["Core", "Add-on", "Support"]),
        ("Customer since", "date", &[]),
    ];
    let deal: &[Custom] = &[
        ("Segment Deal ID", "varchar", &[]),
        ("Deal source", "enum", &["Inbound", "Outbound", "Referral"]),
        ("Setup fee", "monetary", &[]),
        ("Modules", "set", &["Basic", "Reporting", "API"]),
        ("Contract start", "date", &[]),
    ];
    for (entity, own) in [(Entity::Person, person), (Entity::Organization, organization), (Entity::Deal, deal)] {
        for (name, kind, options) in own.iter().chain(&EVERY_TYPE) {
            field_routes::add(world, entity, name, kind, options);
        }
    }
}

/// Some people, companies, deals, a lead, activities and a note.
pub(super) fn records(world: &mut World) {
    let mut now = SET_UP_MS;
    let mut add = |world: &mut World, entity: Entity, body: Value| {
        now += MINUTE_MS;
        let made = records::insert(world, entity, &object(body), now);
        debug_assert!(made.is_ok(), "the seed is refused by the account's own rules: {made:?}");
    };
    let key = |world: &World, entity: Entity, name: &str| {
        world.fields(entity).by_name(name).map(|f| f.code.clone()).unwrap_or_default()
    };
    let option = |world: &World, entity: Entity, field: &str, label: &str| {
        let fields = world.fields(entity);
        let field = fields.by_name(field).or_else(|| fields.get(field));
        field.and_then(|f| f.options.iter().find(|o| o.label == label)).map(|o| o.id)
    };
    let (group, domain, tier) = (
        key(world, Entity::Organization, "Segment Group ID"),
        key(world, Entity::Organization, "Domain"),
        key(world, Entity::Organization, "Tier"),
    );
    for (name, group_id, host, level, address) in [
        ("Globex Corporation", "globex", "globex.example", "Gold", "12 Harbour Street, Bristol"),
        ("Initech", "initech", "initech.example", "Silver", "4120 Freidrich Lane, Austin"),
        ("Umbrella Logistics", "umbrella", "umbrella.example", "Bronze", "Lai 7, Tallinn"),
    ] {
        let level = option(world, Entity::Organization, "Tier", level);
        let label = option(world, Entity::Organization, "label_ids", "Customer");
        add(
            world,
            Entity::Organization,
            json!({
                "name": name, "label_ids": [label], "address": { "value": address }, "website": format!("https://www.{host}"),
                "custom_fields": { &group: group_id, &domain: host, &tier: level },
            }),
        );
    }
    let (user_id, plan, value, signup) = (
        key(world, Entity::Person, "Segment User ID"),
        key(world, Entity::Person, "Plan"),
        key(world, Entity::Person, "Lifetime Value"),
        key(world, Entity::Person, "Signup Date"),
    );
    for (name, email, phone, org, segment, on, spent) in [
        ("Hank Scorpio", "hank@globex.example", "+44 117 496 0101", Some(1), "u-1001", "Enterprise", 12_500),
        ("Mona Harper", "mona@globex.example", "+44 117 496 0102", Some(1), "u-1002", "Pro", 890),
        ("Peter Gibbons", "peter@initech.example", "+1 512 555 0143", Some(2), "u-1003", "Pro", 430),
        ("Samir Nagheenanajar", "samir@initech.example", "+1 512 555 0144", Some(2), "u-1004", "Free", 0),
        ("Liis Tamm", "liis@umbrella.example", "+372 5555 0101", Some(3), "u-1005", "Free", 0),
        ("Noor Haddad", "noor@example.com", "+31 20 555 0199", None, "u-1006", "Free", 0),
    ] {
        let on = option(world, Entity::Person, "Plan", on);
        let mut body = json!({
            "name": name, "emails": [{ "value": email }], "phones": [{ "value": phone }],
            "custom_fields": {
                &user_id: segment, &plan: on, &value: { "value": spent, "currency": "EUR" }, &signup: "2025-11-03",
            },
        });
        if let Some(org) = org {
            body["org_id"] = json!(org);
        }
        add(world, Entity::Person, body);
    }
    let deal_id = key(world, Entity::Deal, "Segment Deal ID");
    for (title, person, org, stage, amount, status, segment) in [
        ("Globex platform rollout", 1, 1, 3, 24_000, "open", "d-501"),
        ("Initech reporting add-on", 3, 2, 1, 3_600, "open", "d-502"),
        ("Umbrella pilot", 5, 3, 4, 1_200, "won", "d-503"),
    ] {
        add(
            world,
            Entity::Deal,
            json!({
                "title": title, "person_id": person, "org_id": org, "stage_id": stage, "value": amount, "status": status,
                "custom_fields": { &deal_id: segment },
            }),
        );
    }
    let warm = world.lead_labels.get(1).and_then(|l| l.get("id").cloned()).unwrap_or(Value::Null);
    add(
        world,
        Entity::Lead,
        json!({
            "title": "Noor asks for a demo", "person_id": 6, "label_ids": [warm], "value": { "amount": 900, "currency": "EUR" },
        }),
    );
    for (subject, kind, deal, person, done) in
        [("Discovery call", "call", 1, 1, true), ("Send the proposal", "task", 2, 3, false)]
    {
        add(
            world,
            Entity::Activity,
            json!({
                "subject": subject, "type": kind, "deal_id": deal, "due_date": "2026-01-12", "due_time": "09:30", "done": done,
                "participants": [{ "person_id": person, "primary": true }],
            }),
        );
    }
    add(world, Entity::Note, json!({ "content": "<p>Met at the trade fair.</p>", "deal_id": 1, "person_id": 1 }));
}
