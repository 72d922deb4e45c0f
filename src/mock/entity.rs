//! The six kinds as the mock sees them.

/// A kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Entity {
    Person,
    Organization,
    Deal,
    Lead,
    Activity,
    Note,
}

impl Entity {
    pub(super) const ALL: [Self; 6] = [Self::Person, Self::Organization, Self::Deal, Self::Lead, Self::Activity, Self::Note];

    /// The collection's name in paths.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Person => "persons",
            Self::Organization => "organizations",
            Self::Deal => "deals",
            Self::Lead => "leads",
            Self::Activity => "activities",
            Self::Note => "notes",
        }
    }

    /// The word in search items.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Organization => "organization",
            Self::Deal => "deal",
            Self::Lead => "lead",
            Self::Activity => "activity",
            Self::Note => "note",
        }
    }

    /// The kind whose field definitions hold: leads inherit the deals' custom fields.
    pub(super) const fn fields_of(self) -> Self {
        match self {
            Self::Lead => Self::Deal,
            other => other,
        }
    }

    /// The key that holds the name or title.
    pub(super) const fn title_key(self) -> &'static str {
        match self {
            Self::Person | Self::Organization => "name",
            Self::Activity => "subject",
            Self::Note => "content",
            Self::Deal | Self::Lead => "title",
        }
    }

    /// Keys that point at other records and are indexed for lists.
    pub(super) const fn links(self) -> &'static [&'static str] {
        match self {
            Self::Person => &["org_id"],
            Self::Organization => &[],
            Self::Deal => &["person_id", "org_id"],
            Self::Lead => &["person_id", "organization_id"],
            Self::Activity | Self::Note => &["person_id", "org_id", "deal_id", "lead_id"],
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}
