//! The standard fields of each kind: what bodies accept, under which name, in which shape.
//!
//! Pipedrive's own field lists name standard fields that no body accepts (`email`, `phone`, `label`) and leave out others, and its v2
//! bodies refuse unknown keys whole. So what can be written is this table, not the account's metadata; metadata says only which
//! options a field has. Custom fields are not here.
//!
//! How to read an entry: `key` is the name in answers and, unless `write` says otherwise, in bodies; `aliases` are other names that
//! scripts may use; `ty` is what a value must be and how it is given on the wire; `find` is how an entity is found by the field.

use super::{Address, FieldType};
use crate::pipedrive::{Kind, SearchField};

/// One standard field of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Standard {
    /// Name in answers and bodies.
    pub key: &'static str,
    /// Other names for scripts.
    pub aliases: &'static [&'static str],
    /// What a value must be.
    pub ty: StandardType,
    /// Where it may be written.
    pub write: Writable,
    /// Needed to create.
    pub required: bool,
    /// `null` empties it. List fields are emptied by an empty list.
    pub clearable: bool,
    /// How an entity is found by it.
    pub find: Finding,
}

/// What the value of a standard field must be. The wire shape is that of v2; leads and notes have their own where noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandardType {
    /// The id itself.
    Id,
    /// One line of text.
    Text,
    /// HTML, sanitised by Pipedrive.
    Html,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// 0 or 1 (the pins of notes).
    Flag,
    /// `YYYY-MM-DD`.
    Date,
    /// RFC 3339 in UTC; notes and `archive_time` want `YYYY-MM-DD HH:MM:SS`.
    DateTime,
    /// `HH:MM` or `HH:MM:SS`, UTC.
    Time,
    /// `HH:MM` or `HH:MM:SS`.
    Duration,
    /// ISO 4217 code.
    Currency,
    /// `{value, ...}`; parts that are left out are emptied.
    Address,
    /// List of `{value, primary?, label?}`, e-mail addresses.
    Emails,
    /// The same, phone numbers.
    Phones,
    /// The same, messenger names.
    Ims,
    /// List of ids of the options of this kind's `label_ids` field; scripts give labels. Leads: uuids of lead labels.
    Labels,
    /// Id of a user; scripts give e-mail, name or id.
    User,
    /// Id of a pipeline; scripts give its name.
    Pipeline,
    /// Id of a stage; scripts give its name, with the pipeline where it is ambiguous.
    Stage,
    /// `key_string` of an activity type; scripts give key or name.
    ActivityType,
    /// One of these words.
    Words(&'static [&'static str]),
    /// 1, 3, 5 or 7; a string on leads. Scripts may give `owner`, `group`, `subgroup`, `everyone` as well.
    Visibility,
    /// Id of an option of the metadata field of this name; scripts give labels.
    Option,
    /// `{amount, currency}` (the value of leads).
    Money,
    /// Id of an entity of this kind.
    Link(Kind),
    /// Id of a project.
    Project,
    /// Id of a task.
    Task,
    /// List of `{person_id, primary}`. `person_id` of an activity is written through it.
    Participants,
    /// List of `{email, name?, ...}`.
    Attendees,
}

impl StandardType {
    /// A list that is replaced whole by what is sent, so that adding needs the present value.
    #[must_use]
    pub const fn is_list(self) -> bool {
        matches!(self, Self::Emails | Self::Phones | Self::Ims | Self::Labels | Self::Participants | Self::Attendees)
    }
}

/// Where a field may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writable {
    /// On create and update.
    Both,
    /// On create only.
    Create,
    /// On update only.
    Update,
    /// As the primary one of `participants` (the person of an activity).
    AsParticipant,
    /// Never.
    No,
}

/// How an entity is found by a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It is the id.
    ById,
    /// By Pipedrive's search.
    Search(SearchField<'static>),
    /// A custom field of a searchable type: by Pipedrive's search in that one field.
    SearchCustom,
    /// By a list filter of this name; for searches of the kind, the filter of the second name, when it has one.
    Filter(&'static str, Option<&'static str>),
    /// Compared on what another criterion has found; alone it finds nothing.
    Compare,
    /// Not at all.
    No,
}

impl Finding {
    /// Whether an entity can be found by it alone.
    #[must_use]
    pub const fn alone(self) -> bool {
        matches!(self, Self::ById | Self::Search(_) | Self::SearchCustom | Self::Filter(..))
    }
}

/// How an entity of this kind is found by a field; `field_type` is that of a custom field.
#[must_use]
pub fn finding(kind: Kind, address: &Address, field_type: Option<&FieldType>) -> Finding {
    match (address, kind) {
        (Address::Standard(key), _) => find(kind, key).map_or(Finding::No, |field| field.find),
        (Address::Custom(_), Kind::Activity | Kind::Note) => Finding::No,
        (Address::Custom(_), _) => match field_type {
            Some(
                FieldType::Varchar
                | FieldType::VarcharAuto
                | FieldType::Text
                | FieldType::Double
                | FieldType::Monetary
                | FieldType::Phone
                | FieldType::Address,
            ) => Finding::SearchCustom,
            Some(_) => Finding::Compare,
            None => Finding::No,
        },
    }
}

/// The standard field of this name or alias.
#[must_use]
pub fn find(kind: Kind, name: &str) -> Option<&'static Standard> {
    let fields = fields(kind);
    fields.iter().find(|f| f.key == name).or_else(|| fields.iter().find(|f| f.aliases.contains(&name)))
}

/// All names that scripts may use for a kind's standard fields, for suggestions.
pub fn names(kind: Kind) -> impl Iterator<Item = &'static str> {
    fields(kind).iter().flat_map(|f| std::iter::once(f.key).chain(f.aliases.iter().copied()))
}

/// The table of a kind.
#[must_use]
pub const fn fields(kind: Kind) -> &'static [Standard] {
    match kind {
        Kind::Person => PERSON,
        Kind::Organization => ORGANIZATION,
        Kind::Deal => DEAL,
        Kind::Lead => LEAD,
        Kind::Activity => ACTIVITY,
        Kind::Note => NOTE,
    }
}

/// A writable field that can be compared but not searched; the builders below say what differs.
const fn field(key: &'static str, ty: StandardType) -> Standard {
    Standard { key, aliases: &[], ty, write: Writable::Both, required: false, clearable: false, find: Finding::Compare }
}

impl Standard {
    const fn also(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn clearable(self) -> Self {
        Self { clearable: true, ..self }
    }

    const fn write(self, write: Writable) -> Self {
        Self { write, ..self }
    }

    const fn find(self, find: Finding) -> Self {
        Self { find, ..self }
    }
}

const ID: Standard = field("id", StandardType::Id).write(Writable::No).find(Finding::ById);
const OWNER: Standard = field("owner_id", StandardType::User).also(&["owner"]);
const LABELS: Standard = field("label_ids", StandardType::Labels).also(&["labels", "label"]).find(Finding::No);
const VISIBLE_TO: Standard = field("visible_to", StandardType::Visibility);
const PERSON_ID: Standard = field("person_id", StandardType::Link(Kind::Person)).also(&["person"]);
const ORG_ID: Standard =
    field("org_id", StandardType::Link(Kind::Organization)).also(&["organization_id", "organization", "org"]);
const DEAL_ID: Standard = field("deal_id", StandardType::Link(Kind::Deal)).also(&["deal"]);
const LEAD_ID: Standard = field("lead_id", StandardType::Link(Kind::Lead)).also(&["lead"]);
const ADD_TIME: Standard = field("add_time", StandardType::DateTime).write(Writable::Create);
const UPDATE_TIME: Standard = field("update_time", StandardType::DateTime).write(Writable::No);

/// The stage that a deal is to have reached: it goes forward to it, never back.
pub const STAGE_AT_LEAST: &str = "stage_at_least";

const PERSON: &[Standard] = &[
    ID,
    field("name", StandardType::Text).required().find(Finding::Search(SearchField::Name)),
    field("emails", StandardType::Emails).also(&["email"]).find(Finding::Search(SearchField::Email)),
    field("phones", StandardType::Phones).also(&["phone"]).find(Finding::Search(SearchField::Phone)),
    OWNER,
    ORG_ID.find(Finding::Filter("org_id", Some("organization_id"))),
    LABELS,
    VISIBLE_TO,
    ADD_TIME,
    UPDATE_TIME,
    field("first_name", StandardType::Text).write(Writable::No),
    field("last_name", StandardType::Text).write(Writable::No),
    field("im", StandardType::Ims).also(&["ims"]).find(Finding::No),
    field("postal_address", StandardType::Address).find(Finding::No),
    field("notes", StandardType::Text).find(Finding::No),
    field("birthday", StandardType::Date),
    field("job_title", StandardType::Text),
    field("marketing_status", StandardType::Words(&["no_consent", "unsubscribed", "subscribed", "archived"])),
];

const ORGANIZATION: &[Standard] = &[
    ID,
    field("name", StandardType::Text).required().find(Finding::Search(SearchField::Name)),
    OWNER,
    LABELS,
    VISIBLE_TO,
    ADD_TIME,
    UPDATE_TIME,
    field("address", StandardType::Address).find(Finding::Search(SearchField::Address)),
    field("website", StandardType::Text).clearable(),
    field("linkedin", StandardType::Text).clearable(),
    field("industry", StandardType::Option).clearable(),
    field("annual_revenue", StandardType::Integer).clearable(),
    field("employee_count", StandardType::Integer).clearable(),
];

const DEAL: &[Standard] = &[
    ID,
    field("title", StandardType::Text).also(&["name"]).required().find(Finding::Search(SearchField::Title)),
    OWNER.find(Finding::Filter("owner_id", None)),
    PERSON_ID.find(Finding::Filter("person_id", Some("person_id"))),
    ORG_ID.find(Finding::Filter("org_id", Some("organization_id"))),
    field("pipeline_id", StandardType::Pipeline).also(&["pipeline"]).find(Finding::Filter("pipeline_id", None)),
    field("stage_id", StandardType::Stage).also(&["stage"]).find(Finding::Filter("stage_id", None)),
    // No field of Pipedrive: the body writes it as `stage_id`, where that moves the deal forward.
    field(STAGE_AT_LEAST, StandardType::Stage).find(Finding::No),
    field("value", StandardType::Number).also(&["amount"]),
    field("currency", StandardType::Currency),
    field("status", StandardType::Words(&["open", "won", "lost"])).find(Finding::Filter("status", Some("status"))),
    field("probability", StandardType::Number).clearable(),
    field("lost_reason", StandardType::Text).clearable(),
    VISIBLE_TO,
    field("close_time", StandardType::DateTime).clearable(),
    field("won_time", StandardType::DateTime),
    field("lost_time", StandardType::DateTime),
    field("expected_close_date", StandardType::Date),
    LABELS,
    field("is_archived", StandardType::Boolean),
    field("archive_time", StandardType::DateTime).find(Finding::No),
    ADD_TIME.write(Writable::No),
    UPDATE_TIME,
    field("stage_change_time", StandardType::DateTime).write(Writable::No),
    field("origin", StandardType::Text).write(Writable::No),
    field("origin_id", StandardType::Text).write(Writable::No),
    field("channel", StandardType::Integer).write(Writable::No),
    field("channel_id", StandardType::Text).write(Writable::No),
    field("acv", StandardType::Number).write(Writable::No),
    field("arr", StandardType::Number).write(Writable::No),
    field("mrr", StandardType::Number).write(Writable::No),
];

const LEAD: &[Standard] = &[
    ID,
    field("title", StandardType::Text).also(&["name"]).required().find(Finding::Search(SearchField::Title)),
    OWNER,
    PERSON_ID.clearable().find(Finding::Filter("person_id", Some("person_id"))),
    // v1 has its own name for it; scripts may say `org_id` for every kind.
    field("organization_id", StandardType::Link(Kind::Organization))
        .also(&["org_id", "organization", "org"])
        .clearable()
        .find(Finding::Filter("organization_id", Some("organization_id"))),
    LABELS,
    field("value", StandardType::Money).also(&["amount"]).clearable().find(Finding::No),
    field("expected_close_date", StandardType::Date).clearable(),
    VISIBLE_TO,
    field("was_seen", StandardType::Boolean),
    field("origin_id", StandardType::Text).write(Writable::Create),
    field("channel", StandardType::Integer).clearable(),
    field("channel_id", StandardType::Text).clearable(),
    field("is_archived", StandardType::Boolean).write(Writable::Update),
    ADD_TIME.write(Writable::No),
    UPDATE_TIME,
    field("source_name", StandardType::Text).write(Writable::No),
    field("creator_id", StandardType::User).write(Writable::No),
];

const ACTIVITY: &[Standard] = &[
    ID,
    field("subject", StandardType::Text).also(&["title", "name"]).required().find(Finding::No),
    field("type", StandardType::ActivityType).find(Finding::No),
    OWNER.find(Finding::No),
    DEAL_ID.find(Finding::No),
    LEAD_ID.find(Finding::No),
    PERSON_ID.write(Writable::AsParticipant).find(Finding::No),
    ORG_ID.find(Finding::No),
    field("project_id", StandardType::Project).find(Finding::No),
    field("due_date", StandardType::Date).find(Finding::No),
    field("due_time", StandardType::Time).find(Finding::No),
    field("duration", StandardType::Duration).find(Finding::No),
    field("busy", StandardType::Boolean).find(Finding::No),
    field("done", StandardType::Boolean).find(Finding::No),
    field("location", StandardType::Address).find(Finding::No),
    field("participants", StandardType::Participants).find(Finding::No),
    field("attendees", StandardType::Attendees).find(Finding::No),
    field("public_description", StandardType::Text).find(Finding::No),
    field("priority", StandardType::Option).find(Finding::No),
    field("note", StandardType::Html).find(Finding::No),
    ADD_TIME.write(Writable::No).find(Finding::No),
    UPDATE_TIME.find(Finding::No),
    field("creator_user_id", StandardType::User).write(Writable::No).find(Finding::No),
    field("marked_as_done_time", StandardType::DateTime).write(Writable::No).find(Finding::No),
];

const NOTE: &[Standard] = &[
    ID,
    field("content", StandardType::Html).required().find(Finding::No),
    LEAD_ID.find(Finding::No),
    DEAL_ID.find(Finding::No),
    PERSON_ID.find(Finding::No),
    ORG_ID.find(Finding::No),
    field("project_id", StandardType::Project).find(Finding::No),
    field("task_id", StandardType::Task).find(Finding::No),
    field("user_id", StandardType::User).also(&["owner", "owner_id"]).find(Finding::No),
    ADD_TIME.write(Writable::Both).find(Finding::No),
    UPDATE_TIME.find(Finding::No),
    field("pinned_to_lead_flag", StandardType::Flag).find(Finding::No),
    field("pinned_to_deal_flag", StandardType::Flag).find(Finding::No),
    field("pinned_to_organization_flag", StandardType::Flag).find(Finding::No),
    field("pinned_to_person_flag", StandardType::Flag).find(Finding::No),
    field("pinned_to_project_flag", StandardType::Flag).find(Finding::No),
    field("pinned_to_task_flag", StandardType::Flag).find(Finding::No),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_or_alias_stands_for_two_fields_of_a_kind() {
        for kind in Kind::ALL {
            let mut seen = std::collections::HashSet::new();
            for name in names(kind) {
                assert!(seen.insert(name), "{kind}: {name}");
            }
        }
    }

    #[test]
    fn scripts_may_use_the_same_words_for_every_kind() {
        for kind in [Kind::Person, Kind::Deal, Kind::Lead, Kind::Activity, Kind::Note] {
            assert!(find(kind, "org_id").is_some_and(|f| f.ty == StandardType::Link(Kind::Organization)), "{kind}");
        }
        assert_eq!(find(Kind::Lead, "org_id").map(|f| f.key), Some("organization_id"));
        assert_eq!(find(Kind::Person, "email").map(|f| f.key), Some("emails"));
        assert_eq!(find(Kind::Deal, "stage").map(|f| f.key), Some("stage_id"));
    }
}
