//! What we know of an account: its metadata, the match index, known values.
//!
//! Invariants: a failed look-up is a failure, never "not found"; every hit of a search is verified locally before it counts;
//! everything here is per account.

mod account;
mod aliased;
pub mod budget;
mod changelog;
mod claims;
mod converted;
mod duplicates;
mod ensure;
mod fetch;
mod find;
mod gather;
pub mod index;
mod known;
mod lists;
mod lookup;
mod metadata;
mod mirror;
mod normalise;
mod options;
mod pin;
mod reconcile;
mod schema;
mod sight;
pub mod standard;
mod time;
mod together;
mod webhooks;

pub use account::{Account, Accounts, Learned, Listener, REFRESH_AT_MOST};
pub use aliased::{ByAlias, holds_alias, with_aliases};
pub use changelog::{Logged, changelog, is_logged};
pub use claims::Claims;
pub use converted::{Kin, LeadFate, became_deal, deal_field, deal_of_lead, find_deal_of_lead};
pub use duplicates::{Duplicates, Group, Holder};
pub use ensure::{FieldState, State, compare, create_field, unmatched};
pub use fetch::{fetch_custom_fields, fetch_metadata};
pub use find::{FindError, Found, find, find_known, searchable};
pub use gather::Gathering;
pub use known::{Carried, Known, held, held_value};
pub use lookup::{Address, ListOp, Lookup, OnMany, Term, WireTarget, WireValue};
pub use metadata::{Field, FieldOption, FieldType, LeadLabel, Me, Metadata, Pipeline, Stage, User};
pub use mirror::{MIRRORED, Mirror, MirrorStatus, Standing, forget_all, forget_list};
pub use normalise::{field_value, holds, normalise, values};
pub use options::{NewOption, add_to_field, adding_costs, same_name};
pub use pin::{Became, SchemaChange, pin};
pub use reconcile::find_unclaimed_create;
pub use schema::{place_in_schema, read_schema, write_schema};
pub use sight::Sight;
pub use standard::{Finding, Standard, StandardType, Writable};
pub use time::earlier;
pub use webhooks::{
    Checked, Heard, NotANotice, Notice, Registered, Webhooks, WebhooksError, WebhooksStatus, keep as keep_webhooks,
};
