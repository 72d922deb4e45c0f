//! `pipewright fields list`

use clap::{Args, ValueEnum};
use serde_json::{Map, json};

use super::super::Format;
use super::super::account::{self, Connection, Which};
use super::super::exit::{Failure, Outcome};
use super::super::output::{Table, complain, say, say_json};
use crate::config::SecretError;
use crate::crm::{Field, Metadata, fetch_metadata};
use crate::failure::FailureClass;
use crate::pipedrive::Kind;
use crate::rules::{SchemaFile, read_schema_file, schema_file_name};

/// List the fields of an account, as scripts may name them: name, key, type, options
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright fields list --mock --kind person
  pipewright fields list --account main --custom --json
  pipewright fields list --offline      from the schema file that `pipewright fields pull` wrote

Where no token is set, or the account cannot be reached, the schema file is read if there is one. Which of them was read is said.")]
pub(in crate::cli) struct List {
    #[command(flatten)]
    which: Which,
    /// From the schema file, without asking the account
    #[arg(long, conflicts_with = "mock")]
    offline: bool,
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

pub(super) fn run(args: &List) -> Outcome {
    let Source { account, from, metadata } = source(args)?;
    let kinds: Vec<Kind> = args.kind.map_or_else(|| Kind::ALL.to_vec(), |kind| vec![kind.into()]);
    let of = |kind: Kind| metadata.fields_of(kind).iter().filter(|f| f.custom || !args.custom).collect::<Vec<_>>();
    if args.format.json {
        let fields: Map<_, _> = kinds.iter().map(|kind| (kind.to_string(), json!(of(*kind)))).collect();
        return Ok(say_json(&json!({ "account": account, "source": from, "fields": fields }))?);
    }
    complain(&format!("read from {from}"));
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

/// What is listed, and where it is from.
struct Source {
    account: String,
    from: String,
    metadata: Metadata,
}

fn source(args: &List) -> Result<Source, Failure> {
    if args.which.mock {
        let connection = args.which.connect()?;
        let metadata = connection.metadata()?;
        return Ok(Source { account: connection.name, from: "the embedded Pipedrive".to_owned(), metadata });
    }
    let dir = &args.which.folder.dir;
    let config = account::config(dir)?;
    let (name, chosen) = account::choose(&config, args.which.account.as_deref())?;
    let of_file = || match read_schema_file(dir, &config, name).map_err(|problems| Failure::refused_as(args.format, problems))? {
        Some(SchemaFile { file, schema, .. }) => {
            Ok(Some(Source { account: name.to_owned(), from: file, metadata: Metadata::clone(&schema) }))
        }
        None => Ok::<_, Failure>(None),
    };
    if args.offline {
        let file = schema_file_name(&config, name);
        let none =
            || Failure::wrong(format!("there is no {file}; `pipewright fields pull` writes it, once, with the account's token"));
        return of_file()?.ok_or_else(none);
    }
    let reference = chosen.api_token.as_ref().ok_or_else(|| Failure::wrong(format!("[pipedrive.{name}] has no api_token")))?;
    let (why, failure) = match reference.resolve(dir) {
        Ok(token) => {
            let connection = Connection::to(name, chosen, &token)?;
            match connection.try_call(async |session| fetch_metadata(session).await) {
                Ok(metadata) => {
                    return Ok(Source { account: name.to_owned(), from: format!("the account {name}"), metadata });
                }
                Err(error) if error.class() == FailureClass::Transient => (error.to_string(), connection.failed(&error)),
                Err(error) => return Err(connection.failed(&error)),
            }
        }
        Err(error @ SecretError::NotSet(_)) => (error.to_string(), Failure::wrong(error)),
        Err(error) => return Err(Failure::wrong(error)),
    };
    let found = of_file()?.ok_or(failure)?;
    complain(&format!("warning: the account {name} could not be asked: {why}"));
    Ok(found)
}

fn type_word(field: &Field) -> String {
    let word = &field.field_type;
    if field.custom { format!("{word}, custom") } else { word.to_string() }
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
