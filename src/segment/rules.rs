//! The rules.toml of an import.

use std::fmt::Write as _;

use super::export::Destination;
use super::{Rule, Wanted, one_line, slug, unused};
use crate::config::CustomType;
use crate::pipedrive::Kind;

/// Names for `[pipedrive.NAME]`: `main` when there is one.
pub(super) fn account_names(accounts: &[Destination]) -> Vec<String> {
    if accounts.len() == 1 {
        return vec!["main".to_owned()];
    }
    let mut names: Vec<String> = Vec::new();
    for account in accounts {
        let name = slug(account.name.as_deref().or(account.domain.as_deref()).unwrap_or("account"));
        names.push(unused(&name, |n| names.iter().any(|known| known == n)));
    }
    names
}

/// The text.
pub(super) fn text(accounts: &[Destination], names: &[String], wanted: &[Wanted], rules: &[Rule]) -> String {
    let mut text = String::from(
        "# From Segment's Pipedrive destination. What each key means, and all others, stands in the rules.toml of `pipewright init`.\n\n\
         [sources.segment]\nwrite_keys = [\"env:PIPEWRIGHT_WRITE_KEY\"]\n",
    );
    for ((account, name), wanted) in accounts.iter().zip(names).zip(wanted) {
        let several = accounts.len() > 1;
        let domain = account.domain.as_deref().unwrap_or("your-company");
        let variable = match several {
            true => format!("PIPEDRIVE_API_TOKEN_{}", name.to_ascii_uppercase().replace('-', "_")),
            false => "PIPEDRIVE_API_TOKEN".to_owned(),
        };
        let field = |field: &Option<String>| toml_text(field.as_deref().unwrap_or("id"));
        let _ = write!(
            text,
            "\n[pipedrive.{name}]\n{}domain = {}\napi_token = \"env:{variable}\"\n\
             # Nothing is sent until this is \"on\": look at the decision records first.\nwrites = \"off\"\n\
             match_fields = {{ person = {}, organization = {}, deal = {} }}\n",
            if account.domain.is_none() { "# Not in the export: the `acme` of https://acme.pipedrive.com.\n" } else { "" },
            toml_text(domain),
            field(&account.person),
            field(&account.organization),
            field(&account.deal),
        );
        declare(name, wanted, &mut text);
    }
    for rule in rules {
        let _ = write!(text, "\n# {}\n", one_line(&rule.title));
        for warning in &rule.warnings {
            let _ = writeln!(text, "# Look at the trigger: {}", one_line(warning));
        }
        let _ = write!(text, "[[rules]]\nname = {}\n", toml_text(&rule.name));
        if !rule.enabled {
            text.push_str("enabled = false\n");
        }
        if accounts.len() > 1 {
            let _ = writeln!(text, "account = {}", toml_text(&names[rule.account]));
        }
        let _ = write!(text, "when = {}\nscript = \"{}.rhai\"\n", toml_text(&rule.when), rule.name);
    }
    text
}

/// `[pipedrive.NAME.fields]`, for `pipewright fields ensure`.
fn declare(account: &str, wanted: &Wanted, text: &mut String) {
    if wanted.is_empty() {
        return;
    }
    let _ = write!(
        text,
        "\n# What the rules match by. `pipewright fields ensure` says whether the account has it, and with --apply makes what is missing; \
         give\n# the type that the field has there, if it is another.\n[pipedrive.{account}.fields]\n"
    );
    for kind in [Kind::Person, Kind::Organization, Kind::Deal] {
        let of_kind = wanted.iter().filter(|(of, _)| *of == kind);
        let fields: Vec<String> =
            of_kind.map(|(_, name)| format!("{{ name = {}, type = \"{}\" }}", toml_text(name), CustomType::Varchar)).collect();
        if !fields.is_empty() {
            let _ = writeln!(text, "{kind} = [{}]", fields.join(", "));
        }
    }
}

/// A text as TOML: in single quotes where that is the plainer form.
fn toml_text(text: &str) -> String {
    match text.contains('"') && !text.contains('\'') && !text.chars().any(char::is_control) {
        true => format!("'{text}'"),
        false => toml::Value::String(text.to_owned()).to_string(),
    }
}
