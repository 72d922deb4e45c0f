//! `pipewright try`

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::events::record::{indented, render};
use super::exit::{FOUND, Failure, Outcome};
use super::output::{printable, say, say_json};
use super::{Folder, Format, store};
use crate::diagnostic::did_you_mean;
use crate::event::Event;
use crate::ingest::decode_event;
use crate::rules::{BuildOptions, ScriptSet, SetFiles};
use crate::store::{DeliveryState, Seq};
use crate::testing::{self, Against, Delivered, DryRun, SandboxError, Tried, Wish};

/// Largest file that is read.
const MAX_EVENT: u64 = 1 << 20;

/// Show what one event would do: triggers met, plan, requests, changed fields. Writes nothing
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright try identify.json
  echo '{\"type\":\"identify\",\"userId\":\"u1\",\"traits\":{\"name\":\"Ada\"}}' | pipewright try - --json
  pipewright try --event 17               an event that the daemon took, by the rules as they are in this folder
  pipewright try --event 17 --live        the same against the account, with reads only

Plans against a fresh embedded Pipedrive with the fields of schema.json, unless --live is given; that one reads from the accounts in \
rules.toml and sends nothing that writes. What the daemon has learned of earlier events (its match index, the values it last sent) is not \
used. Exits with 1 when a rule fails.")]
pub(super) struct Try {
    /// File with one event as JSON; `-` reads standard input
    #[arg(value_name = "EVENT.json", required_unless_present = "recorded", conflicts_with = "recorded")]
    event: Option<PathBuf>,
    /// An event that the daemon took, by its number or messageId; it may be running or not
    #[arg(long = "event", value_name = "ID", id = "recorded")]
    recorded: Option<String>,
    #[command(flatten)]
    pub(super) folder: Folder,
    /// Plan against the accounts in rules.toml; reads only
    #[arg(long)]
    live: bool,
    /// The event is one that `serve --mock` took
    #[arg(long, requires = "recorded")]
    mock: bool,
    /// Source that the event is from; may be left out when there is one
    #[arg(long, value_name = "NAME", conflicts_with = "recorded")]
    pub(super) source: Option<String>,
    /// Only this rule, whether its trigger is met or not
    #[arg(long, value_name = "NAME")]
    pub(super) rule: Option<String>,
    #[command(flatten)]
    pub(super) format: Format,
}

pub(super) fn run(args: Try) -> Outcome {
    let dir = &args.folder.dir;
    // What only the daemon needs, such as write keys, need not be set here.
    let options = BuildOptions { dir: dir.clone(), mock: true, metadata: None };
    let built = SetFiles::read(dir).and_then(|files| ScriptSet::build_as_required(files, &options));
    let set = Arc::new(built.map_err(|problems| Failure::refused_as(args.format, problems))?.set);
    let event = match (&args.event, &args.recorded) {
        (_, Some(id)) => recorded(&set, dir, args.mock, id)?,
        (Some(path), None) => {
            let raw = read(path)?;
            let source = source(&set, args.source.as_deref())?;
            decode_event(&source, jiff::Timestamp::now(), raw)
                .map_err(|why| Failure::wrong(format!("{}: {why}", path.display())))?
        }
        (None, None) => return Err(Failure::wrong("name a file with an event, or one that the daemon took with --event ID")),
    };
    let wish = match &args.rule {
        Some(name) if set.rule(name).is_none() => {
            let near = did_you_mean(name, set.rules.iter().map(|r| &*r.name)).map(|n| format!("; did you mean `{n}`?"));
            return Err(Failure::wrong(format!("rules.toml has no rule `{name}`{}", near.unwrap_or_default())));
        }
        Some(name) => Wish::Only(name),
        None => Wish::Wanted,
    };
    let against = if args.live { Against::Accounts } else { Against::Mock };
    if against == Against::Accounts {
        reachable(&set, dir, &event, wish)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let about = About::of(&event);
    let dry = runtime.block_on(testing::dry_run(&set, event, against, wish)).map_err(|error| match error {
        SandboxError::Account { .. } => {
            Failure::wrong(format!("{error}; without --live it is planned against an embedded Pipedrive"))
        }
        SandboxError::Store(_) => Failure::found(error),
    })?;
    if args.format.json {
        say_json(&json!({ "ok": !dry.failed(), "event": about.document(), "against": dry.against, "rules": dry.rules }))?;
    } else {
        show(&about, &dry)?;
    }
    if dry.failed() { Err(Failure::Code(FOUND)) } else { Ok(()) }
}

/// An event from the store.
fn recorded(set: &ScriptSet, dir: &Path, mocked: bool, id: &str) -> Result<Event, Failure> {
    let history = store::open(dir, &set.config, mocked)?;
    let found = match id.parse() {
        Ok(seq) => history.event(Seq(seq)),
        Err(_) => history.by_message(id),
    };
    let found = found.map_err(Failure::found)?;
    let stored = found.ok_or_else(|| {
        Failure::found(format!(
            "the store has no event {id}; `pipewright events list` shows numbers, and retention may have taken it"
        ))
    })?;
    Event::from_payload(&stored.source, stored.received_at, &stored.payload)
        .map_err(|e| Failure::found(format!("event {id}: {e}")))
}

/// The event's JSON.
fn read(path: &Path) -> Result<Value, Failure> {
    let mut text = String::new();
    let (name, result) = if path == Path::new("-") {
        ("standard input".to_owned(), std::io::stdin().lock().take(MAX_EVENT + 1).read_to_string(&mut text))
    } else {
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_EVENT + 1).read_to_string(&mut text));
        (path.display().to_string(), read)
    };
    result.map_err(|e| Failure::wrong(format!("{name} cannot be read: {e}")))?;
    if text.len() as u64 > MAX_EVENT {
        return Err(Failure::wrong(format!("{name} is larger than 1 MiB")));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    serde_json::from_str(text).map_err(|e| Failure::wrong(format!("{name} is no JSON: {e}")))
}

fn source(set: &ScriptSet, name: Option<&str>) -> Result<String, Failure> {
    let names = || set.config.sources.keys().map(String::as_str);
    match name {
        Some(name) if set.config.sources.contains_key(name) => Ok(name.to_owned()),
        Some(name) => {
            let near = did_you_mean(name, names()).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            Err(Failure::wrong(format!("rules.toml has no [sources.{name}]{near}")))
        }
        None => {
            let mut all = names();
            match (all.next(), all.next()) {
                (Some(name), None) => Ok(name.to_owned()),
                (None, _) => Err(Failure::wrong("rules.toml has no [sources.NAME]")),
                _ => Err(Failure::wrong(format!("name one with --source: {}", names().collect::<Vec<_>>().join(", ")))),
            }
        }
    }
}

/// The accounts that will be read from have what that takes.
fn reachable(set: &ScriptSet, dir: &Path, event: &Event, wish: Wish<'_>) -> Outcome {
    let rules = match wish {
        Wish::Wanted => set.wanted(event),
        Wish::Only(name) => set.rule(name).into_iter().collect(),
    };
    for rule in rules {
        let Some(account) = set.config.pipedrive.get(&*rule.account) else { continue };
        let problem = match &account.api_token {
            None => "it has no api_token".to_owned(),
            Some(token) => match token.resolve(dir) {
                Ok(_) => continue,
                Err(error) => error.to_string(),
            },
        };
        let help = "without --live it is planned against an embedded Pipedrive";
        return Err(Failure::wrong(format!("[pipedrive.{}]: {problem}; {help}", rule.account)));
    }
    Ok(())
}

/// What is said of the event.
struct About {
    kind: &'static str,
    name: Option<String>,
    message_id: String,
    source: String,
}

impl About {
    fn of(event: &Event) -> Self {
        Self {
            kind: event.kind.as_str(),
            name: event.name().map(str::to_owned),
            message_id: event.message_id.clone(),
            source: event.source.clone(),
        }
    }

    fn document(&self) -> Value {
        json!({ "type": self.kind, "event": self.name, "messageId": self.message_id, "source": self.source })
    }
}

fn show(about: &About, dry: &DryRun) -> std::io::Result<()> {
    let name = about.name.as_ref().map(|n| format!(" \"{n}\"")).unwrap_or_default();
    let against = match dry.against {
        Against::Mock => "a fresh embedded Pipedrive",
        Against::Accounts => "the account, with reads only",
    };
    let head = format!("{}{name} from {}, against {against}; messageId {}", about.kind, about.source, about.message_id);
    say(&printable(&head))?;
    // What was run is looked for first.
    let (met, others): (Vec<_>, Vec<_>) = dry.rules.iter().partition(|tried| tried.delivery.is_some());
    for tried in others.iter().chain(&met) {
        say(&rule(tried))?;
    }
    let ran = dry.rules.iter().filter(|tried| tried.delivery.is_some()).count();
    let wrote = match (ran, dry.against) {
        (0, _) => "no rule wants this event",
        (_, Against::Mock) => "nothing was written but to that Pipedrive, which is gone",
        (_, Against::Accounts) => "nothing was written",
    };
    say(&format!("\n{wrote}"))
}

fn rule(tried: &Tried) -> String {
    let trigger = if tried.trigger.matched { "trigger met" } else { "trigger not met" };
    let off = if tried.enabled { "" } else { ", rule is off" };
    let deaf = if tried.listens { "" } else { ", not for this source" };
    let mut text = format!("\nrule {}: {trigger}{off}{deaf}\n", tried.rule);
    for condition in &tried.trigger.failed {
        text.push_str(&indented(&printable(&condition.to_string()), 2));
    }
    if let Some(delivered) = &tried.delivery {
        if delivered.state == DeliveryState::Pending {
            text.push_str("  the daemon would hold it and try again\n");
        }
        text.push_str(&records(delivered));
    }
    text
}

fn records(delivered: &Delivered) -> String {
    delivered.records.iter().map(|record| indented(&render(record), 2)).collect()
}
