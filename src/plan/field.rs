//! From a name in a script to a field of the account, and from a wire address back to it.
//!
//! API names go first, then custom fields: by key, by exact name, by name without regard to case where that is unique.

use super::refusal::{Refusal, listed};
use super::shape::Shape;
use crate::crm::standard::{self, Finding, Standard, StandardType, Writable};
use crate::crm::{Address, Field, FieldOption, FieldType, Metadata};
use crate::diagnostic::did_you_mean;
use crate::pipedrive::Kind;

/// A field of the account, with what is needed to read values for it.
#[derive(Debug, Clone)]
pub(super) struct FieldRef<'a> {
    pub(super) kind: Kind,
    pub(super) address: Address,
    /// As the script has it, or as the account shows it: for messages.
    pub(super) label: &'a str,
    pub(super) shape: Shape,
    pub(super) options: &'a [FieldOption],
    pub(super) write: Writable,
    pub(super) clears: bool,
    /// The type, where it is a custom field.
    pub(super) field_type: Option<&'a FieldType>,
    finding: Finding,
}

impl<'a> FieldRef<'a> {
    fn standard(kind: Kind, row: &'static Standard, label: &'a str, metadata: &'a Metadata) -> Self {
        let options = metadata.fields_of(kind).iter().find(|f| !f.custom && f.key == row.key).map_or(&[][..], |f| &f.options);
        let shape = Shape::of_standard(kind, row);
        Self {
            kind,
            address: Address::Standard(row.key.to_owned()),
            label,
            shape,
            options,
            write: row.write,
            clears: row.clearable || shape.is_standard_list() && row.ty != StandardType::Attendees,
            field_type: None,
            finding: row.find,
        }
    }

    fn custom(kind: Kind, field: &'a Field, label: &'a str) -> Option<Self> {
        let address = Address::Custom(field.key.clone());
        Some(Self {
            kind,
            finding: standard::finding(kind, &address, Some(&field.field_type)),
            address,
            label,
            shape: Shape::of_custom(&field.field_type)?,
            options: &field.options,
            write: Writable::Both,
            clears: true,
            field_type: Some(&field.field_type),
        })
    }

    /// Whether the field alone finds entities; else it can only narrow what another field finds.
    pub(super) const fn finds_alone(&self) -> bool {
        self.finding.alone()
    }

    /// Whether the field may stand in a match.
    pub(super) const fn in_matches(&self) -> bool {
        !matches!(self.finding, Finding::No)
    }

    /// Why nothing is found by this field.
    pub(super) fn unsearchable(&self) -> Refusal {
        let label = self.label;
        match self.field_type {
            Some(field_type) => Refusal::name(format!(
                "nothing can be found by `{label}`: Pipedrive does not search fields of type {}",
                field_type
            ))
            .help("match by a field of type text, number, money, phone or address, or add one of these to the match"),
            None if matches!(self.kind, Kind::Activity | Kind::Note) => {
                Refusal::name(format!("nothing can be found by `{label}`: Pipedrive does not search {}", plural(self.kind)))
                    .help("match by `id`, or create with a `key` so that it is created once")
            }
            None => {
                let can: Vec<&str> =
                    standard::fields(self.kind).iter().filter(|row| row.find.alone()).map(|row| row.key).collect();
                Refusal::name(format!("nothing can be found by `{label}`: Pipedrive does not search {} by it", plural(self.kind)))
                    .help(format!("match by {}, or by a custom field of text", listed(&can)))
            }
        }
    }
}

/// The kind in the plural, for messages.
pub const fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Person => "persons",
        Kind::Organization => "organizations",
        Kind::Deal => "deals",
        Kind::Lead => "leads",
        Kind::Activity => "activities",
        Kind::Note => "notes",
    }
}

/// `a` or `an`.
#[must_use]
pub const fn article(kind: Kind) -> &'static str {
    if matches!(kind, Kind::Organization | Kind::Activity) { "an" } else { "a" }
}

/// Whether the API takes custom fields of the kind.
pub(super) const fn has_custom_fields(kind: Kind) -> bool {
    !matches!(kind, Kind::Activity | Kind::Note)
}

fn custom_fields(kind: Kind, metadata: &Metadata) -> impl Iterator<Item = &Field> {
    metadata.fields_of(kind).iter().filter(move |f| f.custom && has_custom_fields(kind))
}

/// The field that a name in a script means.
pub(super) fn resolve<'a>(kind: Kind, name: &'a str, custom_only: bool, metadata: &'a Metadata) -> Result<FieldRef<'a>, Refusal> {
    if !custom_only && let Some(row) = standard::find(kind, name) {
        return Ok(FieldRef::standard(kind, row, name, metadata));
    }
    if custom_only && !has_custom_fields(kind) {
        return Err(Refusal::name(format!("{} have no custom fields in Pipedrive's API", plural(kind))));
    }
    let field = match find_custom(kind, name, metadata)? {
        Some(field) => field,
        None => return Err(unknown(kind, name, custom_only, metadata)),
    };
    FieldRef::custom(kind, field, name)
        .ok_or_else(|| Refusal::name(format!("`{name}` is a field of type {}, which cannot be written", field.field_type)))
}

/// The address of the field that a person names, by the rules by which scripts name fields.
///
/// # Errors
/// What is wrong with the name, and what to do.
pub fn address(kind: Kind, name: &str, metadata: &Metadata) -> Result<Address, String> {
    resolve(kind, name, false, metadata).map(|field| field.address).map_err(|refusal| match refusal.help {
        Some(help) => format!("{}; {help}", refusal.message),
        None => refusal.message,
    })
}

/// The field at an address of a step; `None` when the account no longer has it.
pub(super) fn at<'a>(kind: Kind, address: &Address, metadata: &'a Metadata) -> Option<FieldRef<'a>> {
    match address {
        Address::Standard(key) => standard::find(kind, key).map(|row| FieldRef::standard(kind, row, row.key, metadata)),
        Address::Custom(key) => {
            custom_fields(kind, metadata).find(|f| f.key == *key).and_then(|f| FieldRef::custom(kind, f, &f.name))
        }
    }
}

fn find_custom<'a>(kind: Kind, name: &str, metadata: &'a Metadata) -> Result<Option<&'a Field>, Refusal> {
    if let Some(field) = custom_fields(kind, metadata).find(|f| f.key == name) {
        return Ok(Some(field));
    }
    let exact: Vec<&Field> = custom_fields(kind, metadata).filter(|f| f.name == name).collect();
    let found = if exact.is_empty() {
        let lower = name.trim().to_lowercase();
        custom_fields(kind, metadata).filter(|f| f.name.trim().to_lowercase() == lower).collect()
    } else {
        exact
    };
    match found.as_slice() {
        [] => Ok(None),
        [field] => Ok(Some(field)),
        several => {
            let keys: Vec<String> = several.iter().map(|f| format!("`{}` ({})", f.key, f.field_type)).collect();
            Err(Refusal::name(format!("{} have {} custom fields named `{name}`", plural(kind), several.len()))
                .help(format!("name the one you mean by its key: {}", keys.join(", "))))
        }
    }
}

fn unknown(kind: Kind, name: &str, custom_only: bool, metadata: &Metadata) -> Refusal {
    let what = if custom_only { "custom field" } else { "field" };
    let refusal = Refusal::name(format!("{} have no {what} `{name}`", plural(kind)));
    let custom = custom_fields(kind, metadata).map(|f| f.name.as_str());
    let candidates: Vec<&str> =
        standard::names(kind).filter(|_| !custom_only).map(|name| -> &str { name }).chain(custom).collect();
    match did_you_mean(name, candidates) {
        Some(near) => refusal.help(format!("did you mean `{near}`?")),
        None => match elsewhere(kind, name, metadata) {
            Some(other) => refusal.help(format!("{} have a field of this name", plural(other))),
            None => refusal.help("`pipewright fields list` shows the names, and a new field is declared in rules.toml under [pipedrive.NAME.fields]"),
        },
    }
}

/// Another kind that has a field of exactly this name.
fn elsewhere(kind: Kind, name: &str, metadata: &Metadata) -> Option<Kind> {
    Kind::ALL.into_iter().find(|other| {
        *other != kind && (standard::find(*other, name).is_some() || custom_fields(*other, metadata).any(|f| f.name == name))
    })
}
