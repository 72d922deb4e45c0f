//! `pipewright mock`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::exit::{Failure, Outcome, USED_WRONGLY};
use super::output::say;
use crate::crm;
use crate::mock::{self, MockOptions};

/// Serve an embedded Pipedrive by itself, to try clients and scripts on
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  pipewright mock --listen 127.0.0.1:9000
  curl -H 'x-api-token: mock' http://127.0.0.1:9000/api/v2/persons

It is in memory: what is written is gone when it ends. It sends webhooks to those who subscribe with POST /v1/webhooks, and /mock/webhooks shows what became of them.")]
pub(super) struct Mock {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// The API token that it wants
    #[arg(long, value_name = "TOKEN", default_value = "mock")]
    token: String,
    /// Start without people, companies, deals and leads: fields, users and pipelines only
    #[arg(long)]
    empty: bool,
    /// Start as the account of this schema file (`pipewright fields pull` writes it), without records
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// How long search does not see a write
    #[arg(long, value_name = "SPAN", default_value = "3s", value_parser = humantime::parse_duration)]
    search_lag: std::time::Duration,
    /// Without burst limits, daily budget and search lag
    #[arg(long, conflicts_with = "search_lag")]
    unlimited: bool,
    /// How long every answer takes
    #[arg(long, value_name = "SPAN", default_value = "0s", value_parser = humantime::parse_duration)]
    latency: std::time::Duration,
}

pub(super) fn run(args: Mock) -> Outcome {
    let schema = args.schema.as_deref().map(schema).transpose()?;
    let options = if args.unlimited {
        MockOptions::unlimited()
    } else {
        MockOptions { search_lag: args.search_lag, ..MockOptions::default() }
    };
    let mock = mock::Mock::new(MockOptions { seed: !args.empty, schema, token: args.token, latency: args.latency, ..options });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener =
            TcpListener::bind(args.listen).await.map_err(|e| Failure::found(format!("cannot listen on {}: {e}", args.listen)))?;
        say(&format!("embedded Pipedrive on http://{}", listener.local_addr()?))?;
        let (stop, stopped) = watch::channel(false);
        let serving = mock::serve(listener, mock, stopped);
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            signal = tokio::signal::ctrl_c() => {
                signal?;
                stop.send_replace(true);
                serving.await;
            }
        }
        Ok(())
    })
}

/// The JSON of a schema file that can be read as one.
fn schema(path: &Path) -> Result<Arc<serde_json::Value>, Failure> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| Failure::wrong(format!("{shown} cannot be read: {e}")))?;
    crm::read_schema(&shown, &text).map_err(|problem| Failure::Refused(vec![problem], USED_WRONGLY))?;
    serde_json::from_str(&text).map(Arc::new).map_err(Failure::wrong)
}
