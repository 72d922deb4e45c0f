//! Definition files for editors: what they declare exists, what exists is declared, and they are well formed.

use std::collections::{BTreeMap, BTreeSet};

use pipewright::config::Config;
use pipewright::crm::{Field, FieldOption, FieldType, Metadata, Pipeline, Stage, User};
use pipewright::pipedrive::Kind;
use pipewright::script::{AccountFields, DEFINITIONS_MARK, definitions};

/// One declaration, with its documentation.
struct Declared {
    module: String,
    name: String,
    params: Vec<(String, String)>,
    result: String,
    doc: String,
}

/// The types that declarations may name; `?` is any value.
const TYPES: &[&str] = &[
    "?",
    "()",
    "int",
    "float",
    "bool",
    "char",
    "String",
    "Array",
    "Map",
    "Blob",
    "FnPtr",
    "Reference",
    "Money",
    "By",
    "ListChange",
    "Table",
    "Clear",
    "Range<int>",
    "RangeInclusive<int>",
];

/// Reads a file by the grammar of definition files, and fails on anything else.
fn read(file: &str, text: &str) -> Vec<Declared> {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(DEFINITIONS_MARK), "{file}");
    let (mut outer, mut inner, mut doc, mut found) = (None::<String>, None::<String>, String::new(), Vec::new());
    for line in lines.map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(text) = line.strip_prefix("///") {
            doc.push_str(text.strip_prefix(' ').unwrap_or(text));
            doc.push('\n');
            continue;
        }
        if line == "}" {
            assert!(inner.take().is_some(), "{file}: {line}");
        } else if let Some(name) = line.strip_prefix("module ") {
            match name.strip_suffix(" {") {
                Some(name) => assert!(outer.is_some() && inner.replace(name.to_owned()).is_none(), "{file}: {line}"),
                None => {
                    let name = name.strip_suffix(';').unwrap_or_else(|| panic!("{file}: {line}"));
                    assert!(outer.replace(name.to_owned()).is_none(), "{file}: {line}");
                }
            }
        } else if let Some(constant) = line.strip_prefix("const ") {
            let (name, of) =
                constant.strip_suffix(';').and_then(|c| c.split_once(": ")).unwrap_or_else(|| panic!("{file}: {line}"));
            assert!(name == "CLEAR" && TYPES.contains(&of), "{file}: {line}");
        } else {
            let module = inner.clone().or_else(|| outer.clone()).unwrap_or_else(|| panic!("{file} has no module"));
            found.push(function(file, line, module, std::mem::take(&mut doc)));
        }
        doc.clear();
    }
    assert!(inner.is_none() && outer.is_some(), "{file}");
    found
}

fn function(file: &str, line: &str, module: String, doc: String) -> Declared {
    let wrong = || -> ! { panic!("{file}: {line}") };
    let Some(declared) = line.strip_prefix("fn ").and_then(|f| f.strip_suffix(';')) else { wrong() };
    // The interpreter's own text leaves out that nothing is returned.
    let (head, result) =
        declared.split_once(") -> ").or_else(|| Some((declared.strip_suffix(')')?, "()"))).unwrap_or_else(|| wrong());
    let Some((name, params)) = head.split_once('(') else { wrong() };
    let split =
        |param: &str| param.split_once(": ").map(|(name, of)| (name.to_owned(), of.to_owned())).unwrap_or_else(|| wrong());
    let params: Vec<(String, String)> = params.split(", ").filter(|p| !p.is_empty()).map(split).collect();
    for of in params.iter().map(|(_, of)| of.as_str()).chain([result]).flat_map(|of| of.split(" | ")) {
        assert!(TYPES.contains(&of), "{file}: {of} in {line}");
    }
    // Names are the interpreter's to judge; its own may be words that it keeps for itself.
    let judged = if file == "rhai.d.rhai" { "f" } else { name };
    let names = params.iter().map(|(name, _)| name.trim_start_matches("...")).collect::<Vec<_>>().join(", ");
    let script = format!("fn {judged}({names}) {{ }}");
    rhai::Engine::new().compile(&script).unwrap_or_else(|e| panic!("{file}: {script}: {e}"));
    Declared { module, name: name.to_owned(), params, result: result.to_owned(), doc }
}

fn all(accounts: &[AccountFields<'_>]) -> Vec<Declared> {
    definitions(accounts).iter().flat_map(|(file, text)| read(file, text)).collect()
}

fn config(fields: &str) -> Config {
    let text = format!(
        "[sources.web]\nwrite_keys = [\"env:K\"]\n[pipedrive.main]\ndomain = \"acme\"\napi_token = \"env:T\"\n[pipedrive.main.fields]\n{fields}\n"
    );
    Config::parse("rules.toml", &text).expect("a valid rules.toml").0
}

#[test]
fn every_function_on_the_page_is_declared_with_as_many_parameters_and_its_documentation() {
    let declared = all(&[]);
    let mut by_call: BTreeMap<(String, usize), &Declared> = BTreeMap::new();
    for one in &declared {
        let name = if one.module == "static" { one.name.clone() } else { format!("{}::{}", one.module, one.name) };
        by_call.insert((name, one.params.len()), one);
    }
    let page = pipewright::script::reference();
    let mut looked_at = BTreeSet::new();
    for call in page.split('`').skip(1).step_by(2) {
        let Some((name, rest)) = call.split_once('(') else { continue };
        let Some((params, _)) = rest.split_once(')') else { continue };
        let is_word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !name.split("::").all(is_word)
            || !params.split(", ").filter(|p| !p.is_empty()).all(is_word)
            || name.starts_with("test_")
        {
            continue;
        }
        let count = params.split(", ").filter(|p| !p.is_empty()).count();
        let kinds = match name.split_once("::") {
            Some(("KIND", function)) => Kind::ALL.map(|kind| format!("{kind}::{function}")).to_vec(),
            Some((module, "KIND")) => Kind::ALL.map(|kind| format!("{module}::{kind}")).to_vec(),
            _ => vec![name.to_owned()],
        };
        let found: Vec<_> = kinds.iter().filter_map(|name| by_call.get(&(name.clone(), count))).collect();
        assert!(!found.is_empty(), "`{call}` is declared nowhere");
        for one in found {
            assert!(one.doc.len() > 10, "`{call}` has no documentation");
            looked_at.insert((one.module.clone(), one.name.clone(), count));
        }
    }
    assert!(looked_at.len() > 120, "{}", looked_at.len());
}

#[test]
fn what_may_be_missing_says_so_and_nothing_shows_how_errors_travel() {
    let declared = all(&[]);
    let of = |module: &str, name: &str| {
        let one = declared.iter().find(|d| d.module == module && d.name == name);
        let one = one.unwrap_or_else(|| panic!("{module}::{name}"));
        (one.params.iter().map(|(name, of)| format!("{name}: {of}")).collect::<Vec<_>>().join(", "), one.result.clone())
    };
    let said = |params: &str, result: &str| (params.to_owned(), result.to_owned());
    assert_eq!(of("person", "find"), said("criteria: Map | Array", "Map | ()"));
    assert_eq!(of("lead", "convert"), said("target: Map | Array | Reference | int | String", "Reference"));
    assert_eq!(of("static", "money"), said("amount: int | float | String | ()", "Money"));
    assert_eq!(of("static", "skip"), said("reason: ?", "()"));
    assert_eq!(of("email", "normalize"), said("value: ?", "String | ()"));
    assert_eq!(of("given", "person"), said("fields: Map", "Map"));
    assert_eq!(of("person", "all"), said("", "Array"));
    assert!(declared.iter().find(|d| d.name == "all" && d.module == "person").is_some_and(|d| d.doc.contains("Only in tests.")));
    assert!(declared.iter().any(|d| d.name == "filter" && d.params[0].1 == "Array"), "what Rhai brings along is there, too");
    assert!(
        !declared.iter().any(|d| ["sleep", "timestamp", "eval", "curry", "exit"].contains(&d.name.as_str())),
        "these do not exist here"
    );
}

#[test]
fn a_kind_shows_the_fields_of_the_accounts_schema_with_their_options() {
    let option = |id, label: &str| FieldOption { id, label: label.into() };
    let field = |key: &str, name: &str, field_type, options, custom| Field {
        key: key.into(),
        name: name.into(),
        field_type,
        options,
        custom,
    };
    let key = |digit: &str| digit.repeat(40);
    let metadata = Metadata {
        fields: BTreeMap::from([
            (
                Kind::Person,
                vec![
                    field(&key("1"), "Segment User ID", FieldType::Varchar, vec![], true),
                    field(&key("2"), "Plan \"B\"\nor C", FieldType::Enum, vec![option(1, "Free"), option(2, "Pro | Team")], true),
                    field("label_ids", "Labels", FieldType::Set, vec![option(3, "Customer")], false),
                ],
            ),
            (Kind::Deal, vec![field(&key("3"), "Modules", FieldType::Set, vec![option(4, "API")], true)]),
        ]),
        pipelines: vec![Pipeline { id: 1, name: "Sales".into() }, Pipeline { id: 2, name: "Onboarding".into() }],
        stages: [(1, "Won over", 1), (2, "Contacted", 1), (3, "Contacted", 2)]
            .map(|(id, name, pipeline_id)| Stage { id, name: name.into(), pipeline_id, order: id })
            .into(),
        users: [(1, "ada", true), (2, "gone", false)]
            .map(|(id, name, active)| User { id, name: name.into(), email: format!("{name}@acme.com"), active })
            .into(),
        ..Metadata::default()
    };
    let config = config("person = [{ name = \"Shoe size\", type = \"double\" }]");
    let account = AccountFields { name: "main", schema: Some(&metadata), declared: &config.pipedrive["main"].fields };
    let files = definitions(&[account]);
    assert_eq!(files, definitions(&[account]), "the same again");

    let person = &files["person.d.rhai"];
    for line in [
        "/// | `\"Segment User ID\"` | text |",
        r#"/// | `"Plan \"B\" or C"` | one option: `"Free"`, `"Pro \| Team"` |"#,
        "/// | `label_ids` or `labels` or `label` | labels, which are added: `\"Customer\"` |",
        "/// | `owner_id` or `owner` | a user's e-mail, name or id: `\"ada@acme.com\"` |",
        "/// | `name` | text; needed by new ones |",
    ] {
        assert!(person.lines().any(|l| l == line), "{line}\n{person}");
    }
    assert!(!person.contains("Shoe size") && !person.contains("gone@acme.com"), "{person}");
    let deal = &files["deal.d.rhai"];
    assert!(deal.contains("`\"Won over\"`, `\"Contacted (Sales)\"`, `\"Contacted (Onboarding)\"`"), "{deal}");
    assert!(
        files["lead.d.rhai"].contains("/// | `\"Modules\"` | options, which replace; `add(..)` keeps what is there: `\"API\"` |")
    );
    let upsert = read("person.d.rhai", person).into_iter().find(|d| d.name == "upsert").expect("upsert");
    assert!(upsert.doc.contains("Fields: `name`, ") && upsert.doc.contains("`\"Segment User ID\"`"), "{}", upsert.doc);
}

#[test]
fn without_a_schema_there_are_the_declared_fields_and_it_says_so() {
    let config = config("deal = [{ name = \"Seats\", type = \"double\" }]");
    let account = AccountFields { name: "main", schema: None, declared: &config.pipedrive["main"].fields };
    let files = definitions(&[account]);
    for file in ["deal.d.rhai", "lead.d.rhai"] {
        assert!(files[file].contains("/// | `\"Seats\"` | a number |"), "{}", files[file]);
        assert!(files[file].contains("as rules.toml declares them; `pipewright fields pull` says what the account has"));
    }
    assert!(files["person.d.rhai"].contains("has no custom fields for them"), "{}", files["person.d.rhai"]);
}
