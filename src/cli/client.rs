//! Asks the running daemon, through the Unix socket in its data folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use super::Folder;
use super::exit::Failure;
use crate::config::ServerConfig;
use crate::console::{self, Problem};

/// A reload that reads a slow disk, or a replay of thousands, may take its time; a daemon that hangs must not hang us for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which daemon.
#[derive(Debug, Args)]
pub(super) struct Daemon {
    #[command(flatten)]
    folder: Folder,
    /// Command socket of the daemon, when it is not in the data_dir that rules.toml names
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// An answer: its status and its JSON.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Answer {
    /// What a success holds. Anything else becomes the failure that the daemon named.
    pub(super) fn read<T: DeserializeOwned>(self) -> Result<T, Failure> {
        if !(200..300).contains(&self.status) {
            let reason = match serde_json::from_value::<Problem>(self.body) {
                Ok(problem) => problem.error,
                Err(_) => format!("the daemon answered {}", self.status),
            };
            // What the daemon does not understand was asked wrongly; the rest could not be done.
            return Err(if self.status == 400 { Failure::wrong(reason) } else { Failure::found(reason) });
        }
        self.parse()
    }

    /// The body, whatever the status.
    pub(super) fn parse<T: DeserializeOwned>(self) -> Result<T, Failure> {
        serde_json::from_value(self.body)
            .map_err(|e| Failure::found(format!("the daemon's answer is not understood ({e}); is it of another version?")))
    }
}

impl Daemon {
    /// The folder of its rules.
    pub(super) fn dir(&self) -> &Path {
        &self.folder.dir
    }

    pub(super) fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.ask("GET", path, None)
    }

    pub(super) fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(body).map_err(Failure::found)?;
        self.ask("POST", path, Some(body))
    }

    fn ask(&self, method: &str, path: &str, body: Option<Vec<u8>>) -> Result<Answer, Failure> {
        let socket = self.socket.clone().unwrap_or_else(|| socket_of(&self.folder.dir));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match tokio::time::timeout(PATIENCE, exchange(&socket, method, path, body)).await {
                Ok(answer) => answer.map_err(|e| e.explain(&socket, &self.folder.dir)),
                Err(_) => Err(Failure::found(format!("the daemon on {} did not answer in {PATIENCE:?}", socket.display()))),
            }
        })
    }
}

/// The socket of a folder's daemon.
fn socket_of(dir: &Path) -> PathBuf {
    console::socket_path(&data_dir(dir))
}

/// The data directory of a folder. `rules.toml` may be broken just now, which must not keep anybody from asking the daemon about it, or from
/// making a backup.
pub(super) fn data_dir(dir: &Path) -> PathBuf {
    let text = std::fs::read_to_string(dir.join("rules.toml")).unwrap_or_default();
    let data_dir = match toml::from_str::<toml::Table>(&text) {
        Ok(table) => table.get("server").and_then(|s| s.get("data_dir")).and_then(toml::Value::as_str).map(PathBuf::from),
        Err(_) => text.lines().find_map(data_dir_of_line),
    };
    dir.join(data_dir.unwrap_or_else(|| ServerConfig::default().data_dir))
}

fn data_dir_of_line(line: &str) -> Option<PathBuf> {
    let value = line.trim().strip_prefix("data_dir")?.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value[1..].split(quote).next().map(PathBuf::from)
}

enum Trouble {
    Connect(std::io::Error),
    Http(hyper::Error),
    Other(String),
}

impl Trouble {
    fn explain(self, socket: &Path, dir: &Path) -> Failure {
        let (socket, dir) = (socket.display(), dir.display());
        Failure::found(match self {
            Self::Connect(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                format!("{socket} is another user's: only who runs the daemon may command it")
            }
            Self::Connect(e) => format!(
                "no daemon answers on {socket} ({e})\n\
                 Start one with `pipewright serve --dir {dir}`, or name its folder with --dir."
            ),
            Self::Http(e) => format!("the daemon on {socket} cut the connection: {e}"),
            Self::Other(e) => format!("the daemon on {socket} cannot be asked: {e}"),
        })
    }
}

async fn exchange(socket: &Path, method: &str, path: &str, body: Option<Vec<u8>>) -> Result<Answer, Trouble> {
    let stream = console::connect(socket).await.map_err(Trouble::Connect)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(Trouble::Http)?;
    let mut request = http::Request::builder().method(method).uri(path).header(http::header::HOST, "localhost");
    if body.is_some() {
        request = request.header(http::header::CONTENT_TYPE, "application/json");
    }
    let request = request.body(Full::new(Bytes::from(body.unwrap_or_default()))).map_err(|e| Trouble::Other(e.to_string()))?;
    let asking = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        Ok::<_, hyper::Error>((status, answer.into_body().collect().await?.to_bytes()))
    };
    tokio::pin!(asking, connection);
    let (status, bytes) = tokio::select! {
        answer = &mut asking => answer,
        // The connection may end in the same moment in which the answer is whole.
        _ = &mut connection => asking.await,
    }
    .map_err(Trouble::Http)?;
    // An event that goes as deep as the door allows lies some levels deeper in the answer.
    let mut reader = serde_json::Deserializer::from_slice(&bytes);
    reader.disable_recursion_limit();
    let body = Value::deserialize(&mut reader).map_err(|e| Trouble::Other(format!("its answer ({status}) is not JSON: {e}")))?;
    Ok(Answer { status, body })
}

/// A path segment, escaped.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// `?a=1&b=2` of a struct of strings and numbers; `""` when all is left out.
pub(super) fn query(of: &impl Serialize) -> String {
    let Ok(Value::Object(fields)) = serde_json::to_value(of) else { return String::new() };
    let pairs: Vec<String> = fields
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}={}", segment(&text)),
            other => format!("{name}={}", segment(&other.to_string())),
        })
        .collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_found_even_while_rules_toml_is_broken() {
        let dir = tempfile::tempdir().expect("a folder");
        let of = |text: &str| {
            std::fs::write(dir.path().join("rules.toml"), text).expect("a file");
            socket_of(dir.path())
        };
        let expected = dir.path().join("var/pipewright.sock");
        assert_eq!(of("[server]\ndata_dir = \"var\"\n"), expected);
        assert_eq!(of("[server]\ndata_dir = \"var\" # here\nlisten = = 1\n"), expected);
        assert_eq!(of("[server"), dir.path().join("data/pipewright.sock"));
        assert_eq!(of("[server]\ndata_dir = \"/abs\"\n"), Path::new("/abs/pipewright.sock"));
    }

    #[test]
    fn queries_are_escaped_and_empty_ones_left_out() {
        let asked = console::EventsQuery { name: Some("Order & Co".into()), limit: Some(5), ..Default::default() };
        let text = query(&asked);
        assert!(text.contains("name=Order%20%26%20Co") && text.contains("limit=5") && text.starts_with('?'), "{text}");
        assert_eq!(query(&console::EventsQuery::default()), "");
    }
}
