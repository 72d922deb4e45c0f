//! Fields that `rules.toml` declares, in the embedded account.

use pipewright::config::Config;
use pipewright::mock::{Mock, MockOptions};
use pipewright::pipedrive::{Body, Method, Request};
use serde_json::{Value, json};

/// An account beside whose own fields these are declared.
fn declared(fields: &str, options: MockOptions) -> std::sync::Arc<Mock> {
    let text = format!(
        "[sources.web]\nwrite_keys = [\"env:K\"]\n[pipedrive.main]\ndomain = \"acme\"\napi_token = \"env:T\"\n\
         [pipedrive.main.fields]\n{fields}\n"
    );
    let (config, _) = Config::parse("rules.toml", &text).expect("a valid rules.toml");
    Mock::new(MockOptions { declared: config.declared_fields(), ..options })
}

fn fields(mock: &Mock, path: &str) -> Vec<Value> {
    let answer = mock.aside(&Request::new(Method::Get, format!("/api/v2/{path}")));
    let Body::Json(body) = answer.body else { panic!("{answer:?}") };
    body["data"].as_array().expect("a list").clone()
}

fn named<'f>(fields: &'f [Value], name: &str) -> Vec<&'f Value> {
    fields.iter().filter(|field| field["field_name"] == name).collect()
}

fn labels(field: &Value) -> Vec<&str> {
    field["options"].as_array().map_or_else(Vec::new, |all| all.iter().filter_map(|o| o["label"].as_str()).collect())
}

#[test]
fn what_is_declared_is_there_beside_the_accounts_own_fields() {
    let country = r#"organization = [{ name = "Country", type = "enum", options = ["Germany", "Estonia"] }]"#;
    let mock = declared(country, MockOptions::unlimited());
    let all = fields(&mock, "organizationFields");
    let [field] = named(&all, "Country")[..] else { panic!("one field") };
    assert_eq!((&field["field_type"], labels(field)), (&json!("enum"), vec!["Germany", "Estonia"]));
    assert_eq!(named(&all, "Tier").len(), 1, "its own are there still");
}

#[test]
fn a_field_of_its_own_gets_the_options_that_are_declared_and_keeps_the_others() {
    let plan = r#"person = [{ name = "Plan", type = "enum", options = ["Pro", "Trial"] }]"#;
    let mock = declared(plan, MockOptions::unlimited());
    let all = fields(&mock, "personFields");
    let [field] = named(&all, "Plan")[..] else { panic!("one field") };
    assert_eq!(labels(field), ["Free", "Pro", "Enterprise", "Trial"]);
}

#[test]
fn a_field_of_its_own_of_another_type_gives_way_with_its_values() {
    let tier = r#"organization = [{ name = "Tier", type = "varchar" }]"#;
    let mock = declared(tier, MockOptions::unlimited());
    let all = fields(&mock, "organizationFields");
    let [field] = named(&all, "Tier")[..] else { panic!("one field") };
    assert_eq!(field["field_type"], "varchar");
    for organization in mock.entities("organizations") {
        let held = &organization["custom_fields"][field["field_code"].as_str().expect("a key")];
        assert!(held.is_null(), "an option's id is no text: {organization}");
    }
}

#[test]
fn an_account_of_a_schema_file_has_what_the_file_says_and_no_more() {
    let schema = json!({ "account": { "fields": { "person": [] } } });
    let options = MockOptions { schema: Some(std::sync::Arc::new(schema)), ..MockOptions::unlimited() };
    let mock = declared(r#"person = [{ name = "Shoe size", type = "double" }]"#, options);
    assert!(named(&fields(&mock, "personFields"), "Shoe size").is_empty());
}
