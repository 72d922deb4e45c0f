//! `pipewright duplicates`

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde_json::json;

use super::Format;
use super::account::{Connection, Which};
use super::exit::{FOUND, Failure, Outcome};
use super::output::{Table, complain, say, say_json};
use crate::crm::{Address, Duplicates, Group, Metadata};
use crate::pipedrive::{Entity, Id, Kind, PAGE, Purpose, Request, tokens};
use crate::plan;

/// Kinds of which one record stands for one thing in the world.
const KINDS: [&str; 4] = ["person", "organization", "deal", "lead"];

/// How many of a group are named in the table.
const SHOWN: usize = 5;

/// Report the records of an account that share an e-mail, a name or another field
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright duplicates --mock
  pipewright duplicates --kind person --by email --by 'Segment User ID'          what it would cost
  pipewright duplicates --kind organization --by name --yes --json

It reads the whole list, 500 records a request, and never searches; without --yes it says what that costs and stops. Values are \
compared as matches are: e-mails and names without regard to case and outer blanks, phones by their digits. Nothing is written: merge \
what is found in Pipedrive, or by a rule with `person::merge(keep, drop)`.

Exit code 1: there are duplicates.")]
pub(super) struct Find {
    #[command(flatten)]
    which: Which,
    /// Kind of the records
    #[arg(long, value_name = "KIND", default_value = "person", value_parser = PossibleValuesParser::new(KINDS).try_map(|word| Kind::parse(&word).ok_or("no kind")))]
    kind: Kind,
    /// Field to compare, as scripts name it; may be given several times [default: email of persons, name of organizations, title of the rest]
    #[arg(long, value_name = "FIELD")]
    by: Vec<String>,
    /// Start, whatever it costs
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: &Find) -> Outcome {
    let connection = args.which.connect()?;
    let metadata = connection.metadata()?;
    let fields = fields(args, &metadata)?;
    let path = args.kind.path();
    let price = tokens(&Request::get(path));
    if !(args.yes || args.which.mock) {
        return estimate(args, &connection, path, price);
    }
    let mut all: Vec<Duplicates> = fields.iter().map(|address| Duplicates::new(args.kind, address.clone(), &metadata)).collect();
    let (mut read, mut spent, mut next) = (0, 0, None);
    loop {
        let filters = order(args.kind, "asc");
        let (page, follows) =
            connection.call(async |session| session.list_page(path, &filters, PAGE, next.as_ref(), Purpose::Report).await)?;
        spent += price;
        read += page.len();
        page.iter().for_each(|entity| all.iter_mut().for_each(|found| found.add(entity)));
        complain(&format!("{read} {} read, {spent} tokens", plan::plural(args.kind)));
        match follows.filter(|_| !page.is_empty()) {
            Some(follows) => next = Some(follows),
            None => break,
        }
    }
    let found: Vec<(&str, Vec<Group>)> =
        fields.iter().map(|address| metadata.name_of(args.kind, address)).zip(all.into_iter().map(Duplicates::groups)).collect();
    report(args, &connection.name, &found, read, spent)
}

/// The fields to compare by.
fn fields(args: &Find, metadata: &Metadata) -> Result<Vec<Address>, Failure> {
    let default = match args.kind {
        Kind::Person => "email",
        Kind::Organization => "name",
        Kind::Deal | Kind::Lead | Kind::Activity | Kind::Note => "title",
    };
    let named: Vec<&str> = if args.by.is_empty() { vec![default] } else { args.by.iter().map(String::as_str).collect() };
    named
        .into_iter()
        .map(|name| match plan::address(args.kind, name, metadata) {
            Ok(Address::Standard(key)) if key == "id" => {
                Err("every record has an `id` of its own; name another field".to_owned())
            }
            found => found,
        })
        .collect::<Result<_, _>>()
        .map_err(|problem| Failure::wrong(format!("--by: {problem}")))
}

/// v2 lists are read by id, so that what is created meanwhile comes last and nothing is read twice.
fn order(kind: Kind, direction: &str) -> Vec<(&'static str, String)> {
    if kind.is_v2() { vec![("sort_by", "id".to_owned()), ("sort_direction", direction.to_owned())] } else { Vec::new() }
}

/// What the report would cost. Pipedrive counts records nowhere; the newest one's id says how many there can be.
fn estimate(args: &Find, connection: &Connection, path: &str, price: u32) -> Outcome {
    let kind = plan::plural(args.kind);
    let newest = if args.kind.is_v2() {
        let filters = order(args.kind, "desc");
        let (page, _): (Vec<Entity>, _) =
            connection.call(async |session| session.list_page(path, &filters, 1, None, Purpose::Report).await)?;
        Some(page.first().and_then(|entity| entity.get("id")?.as_u64()).unwrap_or(0))
    } else {
        None
    };
    let most = newest.map(|newest| newest.div_ceil(PAGE as u64).max(1) * u64::from(price));
    if args.format.json {
        return Ok(say_json(&json!({
            "account": connection.name, "kind": args.kind, "started": false,
            "tokens_per_page": price, "records_per_page": PAGE, "records_at_most": newest, "tokens_at_most": most,
        }))?);
    }
    let bound = match (newest, most) {
        (Some(newest), Some(most)) => {
            format!("The newest has the id {newest}: at most {most} tokens of the day's budget ({price} spent on learning that).")
        }
        _ => format!("Pipedrive does not say how many {kind} there are."),
    };
    Ok(say(&format!("{kind} are read {PAGE} at a time, {price} tokens a request. {bound}\nAdd --yes to start."))?)
}

fn report(args: &Find, account: &str, found: &[(&str, Vec<Group>)], read: usize, spent: u32) -> Outcome {
    let kind = plan::plural(args.kind);
    if args.format.json {
        let groups = |groups: &[Group]| {
            let one = |(value, holders): &Group| {
                let records: Vec<_> = holders.iter().map(|h| json!({ "id": h.id, "name": h.name })).collect();
                json!({ "value": value, "records": records })
            };
            groups.iter().map(one).collect::<Vec<_>>()
        };
        let fields: Vec<_> = found.iter().map(|(field, g)| json!({ "field": field, "groups": groups(g) })).collect();
        say_json(&json!({
            "account": account, "kind": args.kind, "started": true, "records": read, "tokens": spent, "fields": fields,
        }))?;
    } else {
        for (field, groups) in found {
            let holders: usize = groups.iter().map(|(_, holders)| holders.len()).sum();
            match groups.len() {
                0 => say(&format!("no two of {read} {kind} share a value of `{field}`"))?,
                n => {
                    let values = if n == 1 { "1 value".to_owned() } else { format!("{n} values") };
                    say(&format!("{values} of `{field}` shared by {holders} of {read} {kind}, the oldest of each first:"))?;
                    say(&table(groups).render())?;
                }
            }
        }
    }
    if found.iter().all(|(_, groups)| groups.is_empty()) { Ok(()) } else { Err(Failure::Code(FOUND)) }
}

fn table(groups: &[Group]) -> Table {
    let mut table = Table::new(["VALUE", "COUNT", "RECORDS"]);
    let record = |id: &Id, name: &str| if name.is_empty() { id.to_string() } else { format!("{id} {name}") };
    for (value, holders) in groups {
        let mut shown: Vec<String> = holders.iter().take(SHOWN).map(|h| record(&h.id, &h.name)).collect();
        if holders.len() > SHOWN {
            shown.push(format!("and {} more", holders.len() - SHOWN));
        }
        table.row([value.clone(), holders.len().to_string(), shown.join(", ")]);
    }
    table
}
