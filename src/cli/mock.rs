//! `pipewright mock`

use std::net::SocketAddr;

use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::exit::{Failure, Outcome};
use super::output::say;
use crate::mock::{self, MockOptions};

/// Serve an embedded Pipedrive by itself, to try clients and scripts on
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  pipewright mock --listen 127.0.0.1:9000
  curl -H 'x-api-token: mock' http://127.0.0.1:9000/api/v2/persons

It is in memory: what is written is gone when it ends.")]
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
    let options = if args.unlimited {
        MockOptions::unlimited()
    } else {
        MockOptions { search_lag: args.search_lag, ..MockOptions::default() }
    };
    let mock = mock::Mock::new(MockOptions { seed: !args.empty, token: args.token, latency: args.latency, ..options });
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
