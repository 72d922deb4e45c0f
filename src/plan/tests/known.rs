//! What is listed where a value is not known.

use serde_json::json;

use crate::config::{MatchFields, WritePolicy};
use crate::crm::FieldOption;
use crate::pipedrive::Kind;
use crate::plan::fixture::*;
use crate::plan::{OnUnknown, Options, PrepareContext, Verb, prepare};

#[test]
fn what_is_known_is_listed_once_with_what_tells_it_apart() {
    let mut metadata = metadata();
    let person = metadata.fields.get_mut(&Kind::Person).expect("persons");
    let plan_field = person.iter_mut().find(|f| f.name == "Plan").expect("the field");
    let pro = plan_field.options.iter().find(|o| o.label == "Pro").expect("the option").id;
    // Renamed in Pipedrive since the schema file was pulled: it has both names.
    plan_field.options.push(FieldOption { id: pro, label: "Professional".into() });
    let help = |kind, fields| {
        let options = Options { on_unknown: Some(OnUnknown::Fail), ..Options::default() };
        let plan = plan([Verb::Create { kind, fields: entries(fields), options }]);
        let match_fields = MatchFields::default();
        let context = PrepareContext {
            metadata: &metadata,
            match_fields: &match_fields,
            rule: "rule",
            message_id: "m1",
            write: WritePolicy::Changed,
        };
        prepare(&plan, &context).expect_err("a problem").remove(0).help.expect("help")
    };
    assert_eq!(
        help(Kind::Person, json!({"name": "Ada", "Plan": "Gold"})),
        "known here: `Free`, `Pro` (now `Professional`), `Enterprise`"
    );
    assert_eq!(
        help(Kind::Deal, json!({"title": "x", "stage_id": "99"})),
        "known here: `Qualified` (1, in `Sales`), `Done` (2, in `Sales`), `Done` (3, in `Onboarding`)"
    );
    assert_eq!(help(Kind::Deal, json!({"title": "x", "stage_id": 99, "pipeline": "Onboarding"})), "known here: `Done` (3)");
}
