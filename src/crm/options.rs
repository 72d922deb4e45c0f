//! Options that rules add to the account: of custom fields, of labels, and the labels of leads.
//!
//! Invariants: an option is looked for in Pipedrive before it is added, under the lock that fetches of the metadata take, so it is added
//! once, also when several deliveries want it or an answer was lost; what was read is what the metadata has from then on.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fetch::{self, FORMER_LABELS, LABELS, fields_path};
use super::{Account, FieldOption, LeadLabel, Metadata};
use crate::pipedrive::{ApiError, Kind, Method, Purpose, Request, Session, tokens};

/// Lead labels have a colour, and the API wants one.
const LABEL_COLOUR: &str = "gray";
const LEAD_LABELS: &str = "/api/v1/leadLabels";

/// An option that the account does not have and a rule may add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOption {
    /// Kind of the entity whose field it is for.
    pub kind: Kind,
    /// The field's key, `label_ids` included; none: the labels of leads.
    pub field: Option<String>,
    /// Label, as it will be seen in Pipedrive.
    pub label: String,
}

impl NewOption {
    /// The field as people know it.
    #[must_use]
    pub fn field_name<'a>(&'a self, metadata: &'a Metadata) -> &'a str {
        match &self.field {
            Some(key) => metadata.custom_field(self.kind, key).map_or("labels", |field| &field.name),
            None => "labels",
        }
    }
}

/// Whether two names of options, users, stages mean the same: trimmed, and without regard to case.
#[must_use]
pub fn same_name(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.trim().to_lowercase()
}

impl Metadata {
    /// Has the option under an id that Pipedrive does not give: for plans that are looked at and not sent.
    pub fn assume_option(&mut self, option: &NewOption, number: u32) {
        match &option.field {
            None => self.lead_labels.push(LeadLabel { id: format!("new-{number}"), name: option.label.clone() }),
            Some(key) => {
                let id = -i64::from(number);
                if let Some(options) = self.options_mut(option.kind, key) {
                    options.push(FieldOption { id, label: option.label.clone() });
                }
            }
        }
    }

    fn options_mut(&mut self, kind: Kind, key: &str) -> Option<&mut Vec<FieldOption>> {
        let kind = if kind == Kind::Lead { Kind::Deal } else { kind };
        self.fields.get_mut(&kind)?.iter_mut().find(|field| field.key == key).map(|field| &mut field.options)
    }
}

impl Account {
    /// Makes sure that Pipedrive has the option, and that the metadata knows it. True: it was added. Costs 1 token when it is there,
    /// else 7; for labels of leads 10, else 30.
    ///
    /// # Errors
    /// Any failure of a request; the call may be repeated whatever the outcome was.
    pub async fn add_option(&self, session: &Session, option: &NewOption) -> Result<bool, ApiError> {
        let _alone = self.alone().await;
        let Some(key) = &option.field else {
            let mut labels = fetch::lead_labels(session).await?;
            let has = |labels: &[LeadLabel]| labels.iter().any(|l| same_name(&l.name, &option.label));
            let missing = !has(&labels);
            if missing {
                let body = json!({ "name": option.label.trim(), "color": LABEL_COLOUR });
                session.send(&Request::new(Method::Post, LEAD_LABELS).body(body), Purpose::Write).await?;
                labels = fetch::lead_labels(session).await?;
                seen(has(&labels), LEAD_LABELS)?;
            }
            self.amend(|metadata| metadata.lead_labels = labels).await;
            return Ok(missing);
        };
        let (missing, options) = add_to_field(session, option.kind, key, &option.label).await?;
        self.amend(|metadata| {
            if let Some(known) = metadata.options_mut(option.kind, key) {
                *known = options;
            }
        })
        .await;
        Ok(missing)
    }
}

/// Makes sure that a field has an option. True: it was added. The field's options follow. Costs 1 token when it is there, else 7.
///
/// # Errors
/// Any failure of a request; the call may be repeated whatever the outcome was.
pub async fn add_to_field(session: &Session, kind: Kind, key: &str, label: &str) -> Result<(bool, Vec<FieldOption>), ApiError> {
    let (path, mut options) = field_options(session, kind, key).await?;
    let has = |options: &[FieldOption]| options.iter().any(|o| same_name(&o.label, label));
    let missing = !has(&options);
    if missing {
        let body: Value = json!([{ "label": label.trim() }]);
        session.send(&Request::new(Method::Post, format!("{path}/options")).body(body), Purpose::Write).await?;
        options = fetch::options_of(session, &path).await?;
        seen(has(&options), &path)?;
    }
    Ok((missing, options))
}

/// What [`add_to_field`] costs when the option is not there.
#[must_use]
pub fn adding_costs(kind: Kind) -> u32 {
    let field = format!("{}/key", fields_path(kind));
    2 * tokens(&Request::get(field.as_str())) + tokens(&Request::new(Method::Post, format!("{field}/options")))
}

/// The path of a field that has options, and these. Labels may stand under their former name.
async fn field_options(session: &Session, kind: Kind, key: &str) -> Result<(String, Vec<FieldOption>), ApiError> {
    let path = |key: &str| format!("{}/{key}", fields_path(kind));
    match fetch::options_of(session, &path(key)).await {
        Err(error) if key == LABELS && error.is_gone() => {
            let path = path(FORMER_LABELS);
            fetch::options_of(session, &path).await.map(|options| (path, options))
        }
        answered => answered.map(|options| (path(key), options)),
    }
}

/// An option that was added and is not listed is asked for again later, not added again now.
fn seen(there: bool, path: &str) -> Result<(), ApiError> {
    if there { Ok(()) } else { Err(fetch::unreadable(path, "an option that was just added is not among the options yet")) }
}
