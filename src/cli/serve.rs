//! `pipewright serve`

use std::net::SocketAddr;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Folder;
use super::exit::{Failure, Outcome, USED_WRONGLY};
use crate::config::Config;
use crate::daemon::{Daemon, DaemonOptions, MockDoor, MockSetup, StartError};
use crate::ingest;
use crate::mock::{Mock, MockOptions};
use crate::rules::SetFiles;
use crate::telemetry::{LogFormat, init_logging, log_panics};

/// Run the daemon: receive events, run the rules, write to Pipedrive
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright serve --mock               everything runs, against an embedded Pipedrive
  pipewright serve --dir /etc/pipewright --log-format json")]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) folder: Folder,
    /// Write to an embedded Pipedrive instead of the real one; secrets that are not set are `mock`
    #[arg(long)]
    pub(super) mock: bool,
    /// Where to receive events, instead of server.listen
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<SocketAddr>,
    /// Where to serve the admin API, instead of admin.listen
    #[arg(long, value_name = "ADDRESS")]
    pub(super) admin_listen: Option<SocketAddr>,
    /// Where to serve the embedded Pipedrive
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090", requires = "mock")]
    pub(super) mock_listen: SocketAddr,
    /// Take the files on disk, whatever was rolled back to
    #[arg(long)]
    pub(super) unpin: bool,
    /// How log lines are written: `text` or `json`
    #[arg(long, value_name = "FORMAT", default_value = "text", env = "PIPEWRIGHT_LOG_FORMAT")]
    pub(super) log_format: LogFormat,
    /// What is logged: `info`, or finer, such as `info,pipewright::delivery=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "PIPEWRIGHT_LOG")]
    pub(super) log: String,
}

pub(super) fn run(args: Serve) -> Outcome {
    init_logging(args.log_format, &args.log).map_err(Failure::wrong)?;
    log_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: Serve) -> Outcome {
    // What cannot be read refuses the start below, with the place.
    let files = args.mock.then(|| SetFiles::read(&args.folder.dir).ok()).flatten();
    let schema = files.as_ref().and_then(SetFiles::mock_schema);
    let config = files.and_then(|files| Config::parse("rules.toml", &files.rules_toml).ok());
    let declared = config.map(|(config, _)| config.declared_fields()).unwrap_or_default();
    if schema.is_some() {
        tracing::info!("the embedded Pipedrive starts as the schema file's account, without records");
    }
    let mock = args.mock.then(|| MockSetup {
        mock: Mock::new(MockOptions { schema: schema.clone(), declared, ..MockOptions::default() }),
        door: MockDoor::Http(args.mock_listen),
        unlimited: false,
        writes_on: true,
    });
    let options = DaemonOptions {
        dir: args.folder.dir,
        mock,
        listen: args.listen,
        admin_listen: args.admin_listen,
        unpin: args.unpin,
        store_fault: None,
    };
    ingest::raise_file_limit();
    let mut signals = Signals::new()?;
    let daemon = match Daemon::start(options).await {
        Ok(daemon) => daemon,
        Err(StartError::Refused(diagnostics)) => return Err(Failure::Refused(diagnostics, USED_WRONGLY)),
        Err(error) if error.is_usage() => return Err(Failure::wrong(error)),
        Err(error) => return Err(Failure::found(error)),
    };
    greet(&daemon);
    let failed = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping");
            None
        }
        reason = daemon.failed() => Some(reason),
    };
    tokio::select! {
        () = daemon.stop() => {}
        signal = signals.next() => tracing::warn!(signal, "stopped at once; what was under way goes on at the next start"),
    }
    match failed {
        None => Ok(()),
        Some(reason) => Err(Failure::found(format!(
            "{reason}\nIt ends, since it cannot be known what the disk took. Start again: it goes on from what is on the disk, which is all that was \
             acknowledged unless the disk lost it; a store that does not open any more is restored from a backup (docs/backup.md)"
        ))),
    }
}

/// Where everything is, for the person who started it.
fn greet(daemon: &Daemon) {
    let set = daemon.live().load();
    tracing::info!(address = %format_args!("http://{}", daemon.ingest_addr()), "receiving events");
    tracing::info!(address = %format_args!("http://{}", daemon.admin_addr()), "admin API, /metrics, /readyz");
    if let Some(address) = daemon.mock_addr() {
        let mocked: Vec<&str> = set
            .sources
            .iter()
            .filter(|(_, secrets)| secrets.write_keys.iter().any(|key| key.expose() == "mock"))
            .map(|(name, _)| name.as_str())
            .collect();
        tracing::info!(address = %format_args!("http://{address}"), token = "mock", "embedded Pipedrive; its records are a page there");
        if !mocked.is_empty() {
            tracing::info!(sources = mocked.join(", "), write_key = "mock", "no write key is set, so these take the key `mock`");
        }
    }
    let rules = set.rules.iter().filter(|r| r.config.enabled).count();
    tracing::info!(rules, version = %set.version, "ready");
}

/// The signals that stop the daemon.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
