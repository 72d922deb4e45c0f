//! `pipewright explain`

use clap::Args;
use serde_json::json;

use super::Format;
use super::exit::{Failure, Outcome};
use super::output::{Table, say, say_json};
use crate::diagnostic::Code;

/// Say what a code of `pipewright check` means, with an example and how to mend it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright explain PW404
  pipewright explain                    every code, in a line each

A warning that is meant can be silenced where it is given: `// pipewright: allow PW404` in a script, \
`# pipewright: allow PW103` in rules.toml, on the line or the line before. Errors cannot.")]
pub(super) struct Explain {
    /// The code; without one, all are listed
    #[arg(value_name = "CODE")]
    code: Option<String>,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: &Explain) -> Outcome {
    let Some(word) = &args.code else {
        let said = if args.format.json { say_json(&all()) } else { say(&table().render()) };
        return Ok(said?);
    };
    let code = Code::parse(word).map_err(|near| {
        let help = near.map_or_else(|| "`pipewright explain` lists all".to_owned(), |near| format!("did you mean {near}?"));
        Failure::wrong(format!("there is no code `{word}`; {help}"))
    })?;
    let said = if args.format.json { say_json(&document(code)) } else { say(code.page()) };
    Ok(said?)
}

fn table() -> Table {
    let mut table = Table::new(["CODE", "WEIGHT", "MEANING"]);
    for code in Code::ALL {
        table.row([code.to_string(), code.weight().to_string(), code.title().to_owned()]);
    }
    table
}

fn all() -> serde_json::Value {
    let brief = |code: &Code| json!({ "code": code.id(), "weight": code.weight().to_string(), "title": code.title() });
    json!({ "codes": Code::ALL.iter().map(brief).collect::<Vec<_>>() })
}

fn document(code: Code) -> serde_json::Value {
    json!({ "code": code.id(), "weight": code.weight().to_string(), "title": code.title(), "page": code.page() })
}
