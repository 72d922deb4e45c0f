//! What a field takes and how it stands on the wire: one word for standard and custom fields.

use crate::crm::{FieldType, Standard, StandardType};
use crate::pipedrive::Kind;

/// What a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    /// Text that Pipedrive reads as HTML: escaped unless the script says `html: true`.
    Html,
    Number,
    Whole,
    Boolean,
    /// A boolean that the wire wants as 0 or 1.
    Flag,
    Date,
    /// `HH:MM:SS` as a string.
    Time,
    /// `HH:MM:SS` in an object, with a zone.
    ZonedTime,
    Duration,
    /// RFC 3339 on the wire.
    Instant,
    /// `YYYY-MM-DD HH:MM:SS` of UTC on the wire.
    SpacedInstant,
    /// `{value, currency}`.
    Money,
    /// A deal's `value`; its currency is a field of its own.
    DealValue,
    /// A lead's `{amount, currency}`.
    LeadValue,
    Currency,
    /// One option of the field, by id.
    Choice,
    /// Several options of the field, by id.
    Choices,
    /// The same, where giving some adds them.
    Labels,
    /// Lead labels, by uuid.
    LeadLabels,
    User,
    /// The id of another entity.
    Link(Kind),
    /// Custom fields of type org and people: as `Link`, and a name or e-mail finds the entity.
    Named(Kind),
    Stage,
    Pipeline,
    ActivityType,
    /// One of these words.
    Word(&'static [&'static str]),
    VisibleTo,
    /// `[{value, primary?, label?}]`.
    Contacts,
    Address,
    DateRange,
    TimeRange,
    /// `[{person_id, primary}]`.
    Participants,
    /// `[{email, name?, ..}]`.
    Attendees,
    /// The entity's own id; never written.
    Id,
}

impl Shape {
    /// Lists as Pipedrive's standard fields have them: emptied by the empty list.
    pub(super) const fn is_standard_list(self) -> bool {
        matches!(self, Self::Contacts | Self::Labels | Self::LeadLabels | Self::Participants | Self::Attendees)
    }

    /// Custom fields whose v2 value has parts, which v1 spreads over several keys.
    pub(super) const fn is_composite(self) -> bool {
        matches!(self, Self::Money | Self::DateRange | Self::TimeRange | Self::ZonedTime | Self::Address)
    }

    /// A write replaces all of its items or parts.
    pub(super) const fn is_replaced_whole(self) -> bool {
        self.is_standard_list() || self.is_composite() || matches!(self, Self::Choices | Self::LeadValue)
    }

    /// The shape of a standard field.
    pub(super) fn of_standard(kind: Kind, row: &Standard) -> Self {
        match row.ty {
            StandardType::Id => Self::Id,
            StandardType::Text => Self::Text,
            StandardType::Html => Self::Html,
            StandardType::Number if kind == Kind::Deal && row.key == "value" => Self::DealValue,
            StandardType::Number => Self::Number,
            StandardType::Integer | StandardType::Project | StandardType::Task => Self::Whole,
            StandardType::Boolean => Self::Boolean,
            StandardType::Flag => Self::Flag,
            StandardType::Date => Self::Date,
            StandardType::DateTime if kind == Kind::Note || row.key == "archive_time" => Self::SpacedInstant,
            StandardType::DateTime => Self::Instant,
            StandardType::Time => Self::Time,
            StandardType::Duration => Self::Duration,
            StandardType::Currency => Self::Currency,
            StandardType::Address => Self::Address,
            StandardType::Emails | StandardType::Phones | StandardType::Ims => Self::Contacts,
            StandardType::Labels if kind == Kind::Lead => Self::LeadLabels,
            StandardType::Labels => Self::Labels,
            StandardType::User => Self::User,
            StandardType::Pipeline => Self::Pipeline,
            StandardType::Stage => Self::Stage,
            StandardType::ActivityType => Self::ActivityType,
            StandardType::Words(words) => Self::Word(words),
            StandardType::Visibility => Self::VisibleTo,
            StandardType::Option => Self::Choice,
            StandardType::Money => Self::LeadValue,
            StandardType::Link(kind) => Self::Link(kind),
            StandardType::Participants => Self::Participants,
            StandardType::Attendees => Self::Attendees,
        }
    }

    /// The shape of a custom field; `None` for types that users cannot make.
    pub(super) const fn of_custom(field_type: &FieldType) -> Option<Self> {
        Some(match field_type {
            FieldType::Varchar | FieldType::VarcharAuto | FieldType::Text | FieldType::Phone => Self::Text,
            FieldType::Double => Self::Number,
            FieldType::Int => Self::Whole,
            FieldType::Boolean => Self::Boolean,
            FieldType::Monetary => Self::Money,
            FieldType::Enum => Self::Choice,
            FieldType::Set => Self::Choices,
            FieldType::User => Self::User,
            FieldType::Org => Self::Named(Kind::Organization),
            FieldType::People => Self::Named(Kind::Person),
            FieldType::Date => Self::Date,
            FieldType::Daterange => Self::DateRange,
            FieldType::Time => Self::ZonedTime,
            FieldType::Timerange => Self::TimeRange,
            FieldType::Address => Self::Address,
            FieldType::Other(_) => return None,
        })
    }
}

/// The field without which Pipedrive refuses to create the kind. Activities need none: Pipedrive names them after their type.
pub(super) fn required(kind: Kind) -> Option<&'static str> {
    let row = crate::crm::standard::fields(kind).iter().find(|row| row.required)?;
    (kind != Kind::Activity).then_some(row.key)
}

/// The link fields of a kind of which a create needs one; empty where it needs none.
pub(super) const fn links(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Person | Kind::Organization => &[],
        Kind::Deal => &["person_id", "org_id"],
        Kind::Lead => &["person_id", "organization_id"],
        Kind::Activity => &["person_id", "org_id", "deal_id", "lead_id", "participants", "project_id"],
        Kind::Note => &["person_id", "org_id", "deal_id", "lead_id", "project_id", "task_id"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crm::standard;

    #[test]
    fn what_a_create_needs_is_in_the_table() {
        for kind in Kind::ALL {
            for key in required(kind).iter().chain(links(kind)) {
                assert_eq!(standard::find(kind, key).map(|row| row.key), Some(*key), "{kind}");
            }
        }
    }
}
