//! `pipewright events edit`
//!
//! Invariants: what is being edited lies in a file that only its owner may read; a text that is refused stays there, and is named.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use clap::Args;
use serde_json::{Value, json};

use super::super::Format;
use super::super::client::{Daemon, segment};
use super::super::exit::{FOUND, Failure, Outcome};
use super::super::output::{say, say_json};
use super::select::How;
use crate::console::{EditRequest, EventDetail, EventDetails};
use crate::delivery::Edited;
use crate::diagnostic::Diagnostic;
use crate::ingest::{Rejection, decode_text};
use crate::store::{DeliveryId, ReplayOptions};

/// Largest text that is read.
const MOST: u64 = 1 << 20;

/// Correct an event in an editor, and deliver it again
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright events edit 17
  pipewright events edit 17 --file corrected.json
  pipewright events show 17 --json | jq '.events[0].event | .traits.plan = \"Pro\"' | pipewright events edit 17 --file -

Opens $VISUAL, else $EDITOR. The original is kept as it came; what you save becomes a new event, for the rules that want it now, at the tail \
of its lane. Its deliveries repeat those of the original: what these have created is not created again, and what later events have written \
stays; --again and --overwrite say otherwise, as in `events replay`. When nothing was changed, nothing is done.")]
pub(in crate::cli) struct Edit {
    /// An event's number, one of its deliveries (17/person), or a messageId
    #[arg(value_name = "ID")]
    id: String,
    /// Take the event from this file, without an editor; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

/// A text, and what it is called in messages.
struct Text {
    name: String,
    text: String,
    /// The file that goes when all is well.
    draft: Option<PathBuf>,
}

pub(super) fn run(args: &Edit) -> Outcome {
    let detail = the_event(&args.daemon, &args.id)?;
    let seq = detail.row.seq;
    let Some(original) = &detail.event else {
        return Err(Failure::found(format!("event {seq} is no longer kept, so there is nothing to edit")));
    };
    let edited = match &args.file {
        Some(path) => read(path)?,
        None => in_editor(&format!("{seq}"), &(serde_json::to_string_pretty(original).map_err(Failure::found)? + "\n"))?,
    };
    let result = save(args, &detail, original, &edited);
    match (&edited.draft, &result) {
        (Some(draft), Ok(())) => fs::remove_file(draft)?,
        (Some(draft), Err(_)) => super::super::output::complain(&format!(
            "What you wrote is in {}: correct it there, then `pipewright events edit {seq} --file {0}`, and delete it.",
            draft.display()
        )),
        (None, _) => {}
    }
    result
}

fn save(args: &Edit, detail: &EventDetail, original: &Value, edited: &Text) -> Outcome {
    let seq = detail.row.seq;
    if serde_json::from_str::<Value>(&edited.text).is_ok_and(|value| value == *original) {
        if args.format.json {
            return Ok(say_json(&json!({ "edited_from": seq, "event": null }))?);
        }
        return Ok(say("nothing was changed, and nothing was done")?);
    }
    if let Err(why) = decode_text(&detail.row.source, jiff::Timestamp::now(), &Bytes::from(edited.text.clone())) {
        return Err(refused(args.format, edited, &why));
    }
    let ReplayOptions { again, overwrite } = args.how.into();
    let request = EditRequest { seq, event: edited.text.clone(), again, overwrite };
    let answer = args.daemon.post("/api/events/edit", &request)?;
    let done: Edited = answer.read()?;
    if args.format.json {
        let Edited { event, deliveries, left } = done;
        return Ok(say_json(&json!({ "edited_from": seq, "event": event, "deliveries": deliveries, "left": left }))?);
    }
    let deliveries: Vec<String> = done.deliveries.iter().map(ToString::to_string).collect();
    say(&format!("event {seq} edited as {}, delivered as {}", done.event, deliveries.join(", ")))?;
    if !done.left.is_empty() {
        say(&format!("not for {}, which had the original: the trigger is not met any more", done.left.join(", ")))?;
    }
    Ok(())
}

/// What the door would say, at its place in the text.
fn refused(format: Format, edited: &Text, why: &Rejection) -> Failure {
    let Text { name, text, .. } = edited;
    let diagnostic = Diagnostic::error(why.to_string()).help("nothing was done; correct the event");
    let at_key = why.key().and_then(|key| text.find(&format!("\"{key}\"")).map(|at| at..at + key.len() + 2));
    let diagnostic = match (why, at_key) {
        (Rejection::Malformed { line, column, .. }, _) => diagnostic.at(name, text, *line, *column, 1),
        (_, Some(span)) => diagnostic.at_span(name, text, span),
        _ => diagnostic.at(name, text, 1, 1, 1),
    };
    if format.json { Failure::refused_as(format, vec![diagnostic]) } else { Failure::Refused(vec![diagnostic], FOUND) }
}

/// The one event that an id names.
fn the_event(daemon: &Daemon, id: &str) -> Result<EventDetail, Failure> {
    let id = id.parse::<DeliveryId>().map_or_else(|_| id.to_owned(), |delivery| delivery.seq.to_string());
    let details: EventDetails = daemon.get(&format!("/api/events/{}", segment(&id)))?.read()?;
    let numbers: Vec<String> = details.events.iter().map(|event| event.row.seq.to_string()).collect();
    match <[EventDetail; 1]>::try_from(details.events) {
        Ok([detail]) => Ok(detail),
        Err(_) => {
            Err(Failure::wrong(format!("several events have this messageId: name one by its number ({})", numbers.join(", "))))
        }
    }
}

fn read(path: &Path) -> Result<Text, Failure> {
    let mut text = String::new();
    let (name, result) = if path == Path::new("-") {
        ("standard input".to_owned(), std::io::stdin().lock().take(MOST + 1).read_to_string(&mut text))
    } else {
        let read = fs::File::open(path).and_then(|file| file.take(MOST + 1).read_to_string(&mut text));
        (path.display().to_string(), read)
    };
    result.map_err(|e| Failure::wrong(format!("{name} cannot be read: {e}")))?;
    if text.len() as u64 > MOST {
        return Err(Failure::wrong(format!("{name} is larger than 1 MiB, which no event may be")));
    }
    Ok(Text { name, text, draft: None })
}

/// The text as the person leaves it.
fn in_editor(what: &str, text: &str) -> Result<Text, Failure> {
    let editor = ["VISUAL", "EDITOR"].into_iter().filter_map(std::env::var_os).find(|editor| !editor.is_empty());
    let editor = editor.ok_or_else(|| {
        Failure::wrong("no editor is known: set VISUAL or EDITOR, or name a file with the corrected event (--file FILE, `-` for standard input)")
    })?;
    let draft = std::env::temp_dir().join(format!("pipewright-event-{what}-{}.json", uuid::Uuid::new_v4().simple()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    drop(file);
    // As other programs do: the variable may hold arguments.
    let mut command = std::ffi::OsString::from(&editor);
    command.push(" \"$1\"");
    let ended = Command::new("sh").arg("-c").arg(&command).arg("sh").arg(&draft).status();
    let failed = |why: String| {
        // Nobody has written anything that is worth keeping.
        let kept = fs::remove_file(&draft).err().map(|e| format!("; {} stays behind: {e}", draft.display())).unwrap_or_default();
        Failure::found(format!("the editor `{}` {why}; nothing was done{kept}", editor.to_string_lossy()))
    };
    match ended {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(failed(format!("ended with {status}"))),
        Err(error) => return Err(failed(format!("could not be started: {error}"))),
    }
    let read = read(&draft)?;
    Ok(Text { draft: Some(draft), ..read })
}
