//! `duplicates`: told from lists, with the price said first.

use pipewright::mock::MockOptions;
use pipewright::pipedrive::{Method, Request};
use serde_json::{Value, json};

use crate::support::account::Served;
use crate::support::binary::{code, command_async, err, out, parsed};
use crate::support::{temp_dir, write};

/// A folder whose account is an embedded Pipedrive with these persons.
async fn account(persons: Vec<Value>) -> (tempfile::TempDir, Served) {
    let account = Served::start(MockOptions { seed: false, token: "t0ken".to_owned(), ..MockOptions::unlimited() }).await;
    for person in persons {
        let answer = account.mock.aside(&Request::new(Method::Post, "/api/v2/persons").body(person));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let dir = temp_dir();
    let rules = format!("[pipedrive.main]\nbase_url = \"{}\"\napi_token = \"env:PIPEDRIVE_API_TOKEN\"\n", account.url());
    write(dir.path(), "rules.toml", &rules);
    (dir, account)
}

async fn duplicates(dir: &tempfile::TempDir, args: &[&str]) -> std::process::Output {
    let args = [&["duplicates"], args].concat();
    let mut command = command_async(&args);
    command.env("PIPEDRIVE_API_TOKEN", "t0ken").current_dir(dir.path());
    command.output().await.expect("the binary starts")
}

fn person(name: &str, email: &str) -> Value {
    json!({ "name": name, "emails": [{ "value": email }] })
}

#[tokio::test]
async fn records_that_share_a_value_are_grouped_as_matches_compare_them() {
    let people = vec![
        person("Ada", "ADA@acme.com"),
        person("Bob", "bob@acme.com"),
        person("ada", "ada@acme.com "),
        // Twice in one person is no duplicate.
        json!({ "name": "Cyd", "emails": [{ "value": "cyd@acme.com" }, { "value": "Cyd@acme.com", "label": "home" }] }),
        json!({ "name": "No e-mail" }),
        json!({ "name": "No e-mail either" }),
    ];
    let (dir, served) = account(people).await;
    let output = duplicates(&dir, &["--by", "email", "--by", "name", "--yes"]).await;
    assert_eq!(code(&output), 1, "{}", err(&output));
    assert_eq!(
        out(&output),
        "1 value of `emails` shared by 2 of 6 persons, the oldest of each first:\n\
         VALUE         COUNT  RECORDS\nada@acme.com  2      1 Ada, 3 ada\n\
         1 value of `name` shared by 2 of 6 persons, the oldest of each first:\n\
         VALUE  COUNT  RECORDS\nada    2      1 Ada, 3 ada\n"
    );
    let answer = parsed(&duplicates(&dir, &["--yes", "--json"]).await);
    assert_eq!(answer["records"], 6);
    assert_eq!(answer["tokens"], 10);
    assert_eq!(answer["fields"][0]["field"], "emails");
    assert_eq!(answer["fields"][0]["groups"][0]["records"][1], json!({ "id": 3, "name": "ada" }));
    assert!(served.mock.log().iter().all(|e| e.method == Method::Get && !e.path.contains("search")));
}

#[tokio::test]
async fn without_yes_it_says_the_price_and_reads_no_list() {
    let people = (0..1100).map(|n| person(&format!("P{n}"), &format!("p{n}@acme.com"))).collect();
    let (dir, served) = account(people).await;
    let output = duplicates(&dir, &[]).await;
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("at most 30 tokens"), "{}", out(&output));
    assert!(out(&output).contains("Add --yes"), "{}", out(&output));
    let lists = served.mock.log().into_iter().filter(|e| e.path == "/api/v2/persons").count();
    assert_eq!(lists, 1, "one record, to learn the bound");

    let output = duplicates(&dir, &["--yes"]).await;
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(out(&output), "no two of 1100 persons share a value of `emails`\n");
    assert!(err(&output).contains("500 persons read, 10 tokens"), "{}", err(&output));
    assert!(err(&output).contains("1100 persons read, 30 tokens"), "{}", err(&output));
}

#[tokio::test]
async fn a_field_that_is_not_there_is_named_with_a_suggestion() {
    let (dir, _served) = account(Vec::new()).await;
    for (field, said) in [("nmae", "did you mean `name`?"), ("id", "every record has an `id` of its own")] {
        let output = duplicates(&dir, &["--by", field, "--yes"]).await;
        assert_eq!(code(&output), 2);
        assert!(err(&output).contains(said), "{}", err(&output));
    }
}
