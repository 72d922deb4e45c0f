//! `pipewright fields`

mod pull;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, json};

use super::Format;
use super::account::Which;
use super::exit::Outcome;
use super::output::{Table, complain, say, say_json};
use crate::crm::{Field, FieldType};
use crate::pipedrive::Kind;

/// The fields that an account has
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  pipewright fields list --mock --kind person")]
pub(super) enum Fields {
    List(List),
    Pull(pull::Pull),
}

/// List the fields of an account, as scripts may name them: name, key, type, options
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright fields list --mock --kind person
  pipewright fields list --account main --custom --json")]
pub(super) struct List {
    #[command(flatten)]
    which: Which,
    /// Only of this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<KindWord>,
    /// Only custom fields
    #[arg(long)]
    custom: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindWord {
    Person,
    Organization,
    Deal,
    Lead,
    Activity,
    Note,
}

impl From<KindWord> for Kind {
    fn from(word: KindWord) -> Self {
        match word {
            KindWord::Person => Self::Person,
            KindWord::Organization => Self::Organization,
            KindWord::Deal => Self::Deal,
            KindWord::Lead => Self::Lead,
            KindWord::Activity => Self::Activity,
            KindWord::Note => Self::Note,
        }
    }
}

pub(super) fn run(command: Fields) -> Outcome {
    match command {
        Fields::List(args) => list(&args),
        Fields::Pull(args) => pull::run(&args),
    }
}

fn list(args: &List) -> Outcome {
    let connection = args.which.connect()?;
    let metadata = connection.metadata()?;
    let kinds: Vec<Kind> = args.kind.map_or_else(|| Kind::ALL.to_vec(), |kind| vec![kind.into()]);
    let of = |kind: Kind| metadata.fields_of(kind).iter().filter(|f| f.custom || !args.custom).collect::<Vec<_>>();
    if args.format.json {
        let fields: Map<_, _> = kinds.iter().map(|kind| (kind.to_string(), json!(of(*kind)))).collect();
        return Ok(say_json(&json!({ "account": connection.name, "fields": fields }))?);
    }
    let mut table = Table::new(["KIND", "NAME", "KEY", "TYPE", "OPTIONS"]);
    for kind in kinds {
        for field in of(kind) {
            table.row([kind.to_string(), field.name.clone(), field.key.clone(), type_word(field), options(field)]);
        }
    }
    if table.is_empty() {
        complain("no such fields");
        return Ok(());
    }
    Ok(say(&table.render())?)
}

fn type_word(field: &Field) -> String {
    let word = match &field.field_type {
        FieldType::Other(word) => word.clone(),
        known => serde_json::to_value(known).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default(),
    };
    if field.custom { format!("{word}, custom") } else { word }
}

fn options(field: &Field) -> String {
    const SHOWN: usize = 8;
    let mut labels: Vec<&str> = field.options.iter().take(SHOWN).map(|o| o.label.as_str()).collect();
    let more = format!("and {} more", field.options.len().saturating_sub(SHOWN));
    if field.options.len() > SHOWN {
        labels.push(&more);
    }
    labels.join(", ")
}
