//! What the API declares: methods, paths, parameters, bodies and token costs.
//!
//! `spec.json` is derived from the OpenAPI documents that Pipedrive publishes for its v1 and v2 APIs (state of August 2026):
//! names, types, enums, required marks and token costs of the operations that the mock serves, without any prose. Four
//! differences are deliberate: persons also take `first_name` and `last_name` (Pipedrive's migration guide); activities take
//! `outcome` and deals take null for `person_id`, `org_id` and `archive_time` (Pipedrive's own client of September 2026); a
//! deal's `status` is held to its three values; what only draws the user interface (`ui_visibility` and such) is not looked into.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use super::reply::Version;
use super::route::{Action, action_of};
use crate::pipedrive::Method;

/// A JSON type as the document names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Type {
    String,
    Integer,
    Number,
    Boolean,
    Array,
    Object,
}

impl Type {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

/// The declared shape of a value.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Schema {
    #[serde(rename = "type")]
    pub(super) kind: Type,
    #[serde(default)]
    pub(super) nullable: bool,
    #[serde(default, rename = "enum")]
    pub(super) allowed: Vec<Value>,
    #[serde(default)]
    pub(super) format: Option<String>,
    #[serde(default, rename = "minLength")]
    pub(super) min_length: Option<usize>,
    #[serde(default, rename = "maxLength")]
    pub(super) max_length: Option<usize>,
    /// Not looked into.
    #[serde(default)]
    pub(super) open: bool,
    #[serde(default)]
    pub(super) properties: BTreeMap<String, Schema>,
    #[serde(default)]
    pub(super) required: Vec<String>,
    #[serde(default)]
    pub(super) items: Option<Box<Schema>>,
}

/// A declared query parameter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameter {
    #[serde(rename = "type")]
    pub(super) kind: Type,
    #[serde(default, rename = "enum")]
    pub(super) allowed: Vec<Value>,
    #[serde(default)]
    pub(super) format: Option<String>,
    #[serde(default)]
    pub(super) required: bool,
}

#[derive(Debug, Deserialize)]
struct Declared {
    version: String,
    method: String,
    path: String,
    tokens: u32,
    #[serde(default)]
    query: BTreeMap<String, Parameter>,
    #[serde(default)]
    body: Option<Schema>,
}

#[derive(Debug, Deserialize)]
struct Document {
    operations: Vec<Declared>,
}

/// One operation.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) version: Version,
    pub(super) method: Method,
    /// Path template after the version prefix, in segments; `{..}` stands for a value.
    segments: Vec<String>,
    pub(super) tokens: u32,
    pub(super) query: BTreeMap<String, Parameter>,
    pub(super) body: Option<Schema>,
    pub(super) action: Action,
}

/// What a path leads to.
pub(super) enum Route<'p> {
    /// An operation with the values of the path.
    Found(&'static Operation, Vec<&'p str>),
    /// The path is there, not with this method.
    WrongMethod,
    /// An endpoint that Pipedrive has withdrawn from v1.
    Retired,
    /// No such path.
    Unknown,
}

/// All operations by version and first path segment.
pub(super) struct Spec {
    operations: HashMap<(Version, String), Vec<Operation>>,
}

static SPEC: LazyLock<Spec> = LazyLock::new(|| Spec::parse(include_str!("spec.json")));

/// Families of v1 that Pipedrive has replaced by v2 and withdrawn.
const RETIRED: [&str; 12] = [
    "activities",
    "deals",
    "persons",
    "organizations",
    "products",
    "pipelines",
    "stages",
    "itemSearch",
    "dealFields",
    "personFields",
    "organizationFields",
    "productFields",
];

impl Spec {
    /// The spec that is built in.
    pub(super) fn get() -> &'static Self {
        &SPEC
    }

    fn parse(text: &str) -> Self {
        let document: Document = serde_json::from_str(text).expect("the embedded spec is well formed: a test reads it");
        let mut operations: HashMap<(Version, String), Vec<Operation>> = HashMap::new();
        for d in document.operations {
            let version = if d.version == "v2" { Version::V2 } else { Version::V1 };
            let method = Method::parse(&d.method).expect("the embedded spec has known methods only");
            let action = action_of(version, method, &d.path).expect("every operation of the embedded spec has an action");
            let segments: Vec<String> = d.path.split('/').skip(1).map(str::to_owned).collect();
            let first = segments[0].clone();
            operations.entry((version, first)).or_default().push(Operation {
                version,
                method,
                segments,
                tokens: d.tokens,
                query: d.query,
                body: d.body,
                action,
            });
        }
        // Literal segments before values, so that `/deals/search` is not taken for a deal's id.
        for list in operations.values_mut() {
            list.sort_by_key(|o| o.segments.iter().filter(|s| s.starts_with('{')).count());
        }
        Self { operations }
    }

    /// Finds the operation of a request.
    pub(super) fn route<'p>(&'static self, method: Method, path: &'p str) -> Route<'p> {
        let (version, rest) = if let Some(rest) = path.strip_prefix("/api/v2/") {
            (Version::V2, rest)
        } else if let Some(rest) = path.strip_prefix("/api/v1/").or_else(|| path.strip_prefix("/v1/")) {
            (Version::V1, rest)
        } else {
            return Route::Unknown;
        };
        let asked: Vec<&str> = rest.split('/').collect();
        let mut other_method = false;
        for o in self.operations.get(&(version, asked[0].to_owned())).into_iter().flatten() {
            let Some(values) = o.values(&asked) else { continue };
            if o.method == method {
                return Route::Found(o, values);
            }
            // `/deals/search` also looks like `/deals/{id}`; only a literal path tells that the method is wrong.
            other_method = true;
        }
        if version == Version::V1 && RETIRED.contains(&asked[0]) {
            Route::Retired
        } else if other_method {
            Route::WrongMethod
        } else {
            Route::Unknown
        }
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = &Operation> {
        self.operations.values().flatten()
    }
}

impl Operation {
    fn values<'p>(&self, asked: &[&'p str]) -> Option<Vec<&'p str>> {
        if asked.len() != self.segments.len() {
            return None;
        }
        let mut values = Vec::new();
        for (mine, theirs) in self.segments.iter().zip(asked) {
            if mine.starts_with('{') {
                values.push(*theirs);
            } else if mine != theirs {
                return None;
            }
        }
        Some(values)
    }

    /// Whether the operation counts against the search limit.
    pub(super) fn is_search(&self) -> bool {
        matches!(self.action, Action::Search(_) | Action::ItemSearch | Action::FieldSearch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::entity::Entity;
    use super::*;

    #[test]
    fn every_operation_is_read_and_has_an_action() {
        assert!(Spec::get().all().count() > 90);
    }

    #[test]
    fn literal_paths_win_over_ids() {
        let Route::Found(o, values) = Spec::get().route(Method::Get, "/api/v2/deals/search") else { panic!("not found") };
        assert_eq!((o.action, values.len()), (Action::Search(Entity::Deal), 0));
        let Route::Found(o, values) = Spec::get().route(Method::Get, "/api/v2/deals/7") else { panic!("not found") };
        assert_eq!((o.action, values), (Action::Get(Entity::Deal), vec!["7"]));
        assert_eq!(o.tokens, 1);
    }

    #[test]
    fn withdrawn_endpoints_are_told_from_unknown_ones() {
        assert!(matches!(Spec::get().route(Method::Get, "/v1/persons"), Route::Retired));
        assert!(matches!(Spec::get().route(Method::Put, "/v1/persons/3"), Route::Retired));
        assert!(matches!(Spec::get().route(Method::Put, "/v1/persons/3/merge"), Route::Found(..)));
        assert!(matches!(Spec::get().route(Method::Get, "/api/v2/leads"), Route::Unknown));
        assert!(matches!(Spec::get().route(Method::Put, "/api/v2/persons/3"), Route::WrongMethod));
    }
}
