//! Which operation does what: the table from method and path to an action.

use super::entity::Entity;
use super::reply::Version;
use crate::pipedrive::Method;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    List(Entity),
    ListArchived(Entity),
    Get(Entity),
    Create(Entity),
    Update(Entity),
    Delete(Entity),
    Merge(Entity),
    Changelog(Entity),
    Search(Entity),
    ItemSearch,
    FieldSearch,
    ConvertLead,
    ConvertDeal,
    LeadConversion,
    DealConversion,
    ListFields(Entity),
    GetField(Entity),
    CreateField(Entity),
    UpdateField(Entity),
    DeleteField(Entity),
    AddOptions(Entity),
    UpdateOptions(Entity),
    DeleteOptions(Entity),
    V1Fields(Entity),
    ListPipelines,
    GetPipeline,
    CreatePipeline,
    UpdatePipeline,
    DeletePipeline,
    ListStages,
    GetStage,
    CreateStage,
    UpdateStage,
    DeleteStage,
    ListLeadLabels,
    CreateLeadLabel,
    UpdateLeadLabel,
    DeleteLeadLabel,
    LeadSources,
    Users,
    FindUsers,
    Me,
    ActivityTypes,
    Currencies,
    ListWebhooks,
    CreateWebhook,
    DeleteWebhook,
}

/// The action of an operation of the spec.
pub(super) fn action_of(version: Version, method: Method, path: &str) -> Option<Action> {
    use Action as A;
    use Entity::{Activity, Deal, Lead, Note, Organization, Person};
    use Method::{Delete, Get, Patch, Post, Put};
    let mut parts = path.split('/').skip(1);
    let head = parts.next()?;
    let tail: Vec<&str> = parts.collect();
    let tail = tail.as_slice();

    if version == Version::V2
        && let Some(entity) = match head {
            "personFields" => Some(Person),
            "organizationFields" => Some(Organization),
            "dealFields" => Some(Deal),
            "activityFields" => Some(Activity),
            _ => None,
        }
    {
        return Some(match (method, tail) {
            (Get, []) => A::ListFields(entity),
            (Get, [_]) => A::GetField(entity),
            (Post, []) => A::CreateField(entity),
            (Patch, [_]) => A::UpdateField(entity),
            (Delete, [_]) => A::DeleteField(entity),
            (Post, [_, "options"]) => A::AddOptions(entity),
            (Patch, [_, "options"]) => A::UpdateOptions(entity),
            (Delete, [_, "options"]) => A::DeleteOptions(entity),
            _ => return None,
        });
    }
    let action = match (version, method, head, tail) {
        (Version::V2, Post, "leads", [_, "convert", "deal"]) => A::ConvertLead,
        (Version::V2, Get, "leads", [_, "convert", "status", _]) => A::LeadConversion,
        (Version::V2, Post, "deals", [_, "convert", "lead"]) => A::ConvertDeal,
        (Version::V2, Get, "deals", [_, "convert", "status", _]) => A::DealConversion,
        (Version::V2, Get, "itemSearch", []) => A::ItemSearch,
        (Version::V2, Get, "itemSearch", ["field"]) => A::FieldSearch,
        (Version::V2, Get, "pipelines", []) => A::ListPipelines,
        (Version::V2, Get, "pipelines", [_]) => A::GetPipeline,
        (Version::V2, Post, "pipelines", []) => A::CreatePipeline,
        (Version::V2, Patch, "pipelines", [_]) => A::UpdatePipeline,
        (Version::V2, Delete, "pipelines", [_]) => A::DeletePipeline,
        (Version::V2, Get, "stages", []) => A::ListStages,
        (Version::V2, Get, "stages", [_]) => A::GetStage,
        (Version::V2, Post, "stages", []) => A::CreateStage,
        (Version::V2, Patch, "stages", [_]) => A::UpdateStage,
        (Version::V2, Delete, "stages", [_]) => A::DeleteStage,
        (Version::V1, Get, "activityFields", []) => A::V1Fields(Activity),
        (Version::V1, Get, "leadFields", []) => A::V1Fields(Lead),
        (Version::V1, Get, "noteFields", []) => A::V1Fields(Note),
        (Version::V1, Get, "leadLabels", []) => A::ListLeadLabels,
        (Version::V1, Post, "leadLabels", []) => A::CreateLeadLabel,
        (Version::V1, Patch, "leadLabels", [_]) => A::UpdateLeadLabel,
        (Version::V1, Delete, "leadLabels", [_]) => A::DeleteLeadLabel,
        (Version::V1, Get, "leadSources", []) => A::LeadSources,
        (Version::V1, Get, "users", []) => A::Users,
        (Version::V1, Get, "users", ["find"]) => A::FindUsers,
        (Version::V1, Get, "users", ["me"]) => A::Me,
        (Version::V1, Get, "activityTypes", []) => A::ActivityTypes,
        (Version::V1, Get, "currencies", []) => A::Currencies,
        (Version::V1, Get, "webhooks", []) => A::ListWebhooks,
        (Version::V1, Post, "webhooks", []) => A::CreateWebhook,
        (Version::V1, Delete, "webhooks", [_]) => A::DeleteWebhook,
        _ => {
            let entity = Entity::ALL.into_iter().find(|e| e.path() == head)?;
            match (version, method, tail) {
                (_, Get, []) => A::List(entity),
                (_, Get, ["archived"]) => A::ListArchived(entity),
                (Version::V2, Get, ["search"]) => A::Search(entity),
                (_, Get, [_]) => A::Get(entity),
                (_, Post, []) => A::Create(entity),
                (_, Patch, [_]) => A::Update(entity),
                (Version::V1, Put, [_]) => A::Update(entity),
                (_, Delete, [_]) => A::Delete(entity),
                (Version::V1, Put, [_, "merge"]) => A::Merge(entity),
                (Version::V1, Get, [_, "changelog"]) => A::Changelog(entity),
                _ => return None,
            }
        }
    };
    Some(action)
}
