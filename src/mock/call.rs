//! One request on its way through the account, and the dispatch to what carries it out.

use serde_json::Value;

use super::reply::{Handled, Reply, Version, not_found};
use super::route::Action;
use super::spec::Operation;
use super::table::Object;
use super::world::World;
use super::{
    changelog, convert, custom, directory, entity::Entity, field_routes, list, merge, pipelines, records, search, validate,
    webhooks,
};

/// A request whose operation is known.
pub(super) struct Call<'c> {
    pub(super) operation: &'c Operation,
    /// The values of the path template, in order.
    pub(super) values: Vec<&'c str>,
    pub(super) query: &'c [(String, String)],
    pub(super) body: Option<&'c Value>,
    pub(super) now: i64,
    /// How often a conversion's status says `running` before it is completed.
    pub(super) conversion_polls: u32,
}

impl Call<'_> {
    pub(super) const fn version(&self) -> Version {
        self.operation.version
    }

    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.param(name)?.parse().ok()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.param(name) == Some("true")
    }

    /// The body's object; empty when there is none.
    pub(super) fn object(&self) -> Object {
        self.body.and_then(Value::as_object).cloned().unwrap_or_default()
    }

    /// The first value of the path.
    pub(super) fn id(&self) -> &str {
        self.values.first().copied().unwrap_or_default()
    }

    /// The first value of the path as a number.
    pub(super) fn number(&self) -> Result<u64, Reply> {
        self.id().parse().map_err(|_| super::reply::schema(self.version(), &["id: Expected integer, received string".to_owned()]))
    }

    /// The 404 of this version.
    pub(super) fn missing(&self) -> Reply {
        not_found(self.version())
    }

    /// The schema check of query and body.
    pub(super) fn check(&self, world: &World) -> Result<(), Reply> {
        let mut problems = validate::query(self.operation, self.query);
        match (&self.operation.body, self.body) {
            (Some(schema), Some(body)) => {
                let lead = matches!(self.operation.action, Action::Create(Entity::Lead) | Action::Update(Entity::Lead));
                let extra = |key: &str| lead && custom::v1_key(world, Entity::Lead, key).is_some();
                problems.extend(validate::body(schema, body, &extra));
            }
            (Some(schema), None) if !schema.required.is_empty() => problems.push("body: Required".to_owned()),
            (None, Some(body)) if body.as_object().is_none_or(|o| !o.is_empty()) => {
                problems.push("body: not allowed for this request".to_owned());
            }
            _ => {}
        }
        if problems.is_empty() { Ok(()) } else { Err(super::reply::schema(self.version(), &problems)) }
    }

    /// Carries it out.
    pub(super) fn run(&self, world: &mut World) -> Handled {
        use Action as A;
        self.check(world)?;
        match self.operation.action {
            A::List(e) => list::list(world, self, e, false),
            A::ListArchived(e) => list::list(world, self, e, true),
            A::Get(e) => records::get(world, self, e),
            A::Create(e) => records::create(world, self, e),
            A::Update(e) => records::update(world, self, e),
            A::Delete(e) => records::delete(world, self, e),
            A::Merge(e) => merge::merge(world, self, e),
            A::Changelog(e) => changelog::list(world, self, e),
            A::Search(e) => search::search(world, self, e),
            A::ItemSearch => search::items(world, self),
            A::FieldSearch => search::field(world, self),
            A::ConvertLead => convert::lead(world, self),
            A::ConvertDeal => convert::deal(world, self),
            A::LeadConversion | A::DealConversion => convert::status(world, self),
            A::ListFields(e) => field_routes::list(world, self, e),
            A::GetField(e) => field_routes::get(world, self, e),
            A::CreateField(e) => field_routes::create(world, self, e),
            A::UpdateField(e) => field_routes::update(world, self, e),
            A::DeleteField(e) => field_routes::delete(world, self, e),
            A::AddOptions(e) => field_routes::add_options(world, self, e),
            A::UpdateOptions(e) => field_routes::update_options(world, self, e),
            A::DeleteOptions(e) => field_routes::delete_options(world, self, e),
            A::V1Fields(e) => field_routes::v1(world, self, e),
            A::ListPipelines => pipelines::list(world, self, false),
            A::GetPipeline => pipelines::get(world, self, false),
            A::CreatePipeline => pipelines::create(world, self, false),
            A::UpdatePipeline => pipelines::update(world, self, false),
            A::DeletePipeline => pipelines::delete(world, self, false),
            A::ListStages => pipelines::list(world, self, true),
            A::GetStage => pipelines::get(world, self, true),
            A::CreateStage => pipelines::create(world, self, true),
            A::UpdateStage => pipelines::update(world, self, true),
            A::DeleteStage => pipelines::delete(world, self, true),
            A::ListLeadLabels => Ok(directory::lead_labels(world)),
            A::CreateLeadLabel => directory::create_lead_label(world, self),
            A::UpdateLeadLabel => directory::update_lead_label(world, self),
            A::DeleteLeadLabel => directory::delete_lead_label(world, self),
            A::LeadSources => Ok(directory::lead_sources()),
            A::Users => Ok(directory::users(world)),
            A::FindUsers => Ok(directory::find_users(world, self)),
            A::Me => Ok(directory::me(world)),
            A::ActivityTypes => Ok(directory::activity_types(world)),
            A::Currencies => Ok(directory::currencies(world, self)),
            A::ListWebhooks => Ok(webhooks::list(world)),
            A::CreateWebhook => webhooks::create(world, self),
            A::DeleteWebhook => webhooks::delete(world, self),
        }
    }
}
