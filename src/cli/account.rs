//! What an account knows of its fields, fetched once, for commands that run without a daemon.

use std::path::Path;
use std::sync::Arc;

use super::exit::Failure;
use crate::config::{AccountConfig, Config, Secret};
use crate::crm::{Metadata, fetch_metadata};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::mock::{Mock, MockOptions};
use crate::pipedrive::{Client, ClientOptions, HttpTransport, Trace, Transport, base_url};

/// Reads the folder's `rules.toml`, and only that: scripts may be broken.
pub(super) fn config(dir: &Path) -> Result<Config, Failure> {
    let path = dir.join("rules.toml");
    let text = std::fs::read_to_string(&path).map_err(|e| {
        let help = "name the folder that holds rules.toml with --dir, or make one with `pipewright init DIR`";
        Failure::refused(vec![Diagnostic::error(format!("{} cannot be read: {e}", path.display())).help(help)])
    })?;
    Config::parse("rules.toml", &text).map(|(config, _)| config).map_err(Failure::refused)
}

/// The account of that name, or the only one.
pub(super) fn choose<'a>(config: &'a Config, name: Option<&'a str>) -> Result<(&'a str, &'a AccountConfig), Failure> {
    let names = || config.pipedrive.keys().map(String::as_str);
    match name {
        Some(name) => config.pipedrive.get(name).map(|account| (name, account)).ok_or_else(|| {
            let hint = did_you_mean(name, names()).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            Failure::wrong(format!("rules.toml has no account `{name}`{hint}"))
        }),
        None => {
            let mut all = config.pipedrive.iter();
            match (all.next(), all.next()) {
                (Some((name, account)), None) => Ok((name, account)),
                (None, _) => Err(Failure::wrong("rules.toml has no [pipedrive.NAME]")),
                _ => Err(Failure::wrong(format!("name one with --account: {}", names().collect::<Vec<_>>().join(", ")))),
            }
        }
    }
}

/// The embedded Pipedrive's metadata.
pub(super) fn of_mock() -> Result<Metadata, Failure> {
    fetch("mock", Mock::new(MockOptions::unlimited()), u32::MAX)
}

/// A real account's metadata. Reads only.
pub(super) fn of_account(name: &str, account: &AccountConfig, token: &Secret) -> Result<Metadata, Failure> {
    let url = base_url(account).map_err(Failure::wrong)?;
    let transport = HttpTransport::new(&url, token, account.timeout.get()).map_err(Failure::wrong)?;
    fetch(name, Arc::new(transport), account.plan.burst())
}

fn fetch(name: &str, transport: Arc<dyn Transport>, burst: u32) -> Result<Metadata, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::new(transport, ClientOptions { burst, account: name.to_owned(), ..ClientOptions::default() });
        let session = client.session(Trace::default());
        fetch_metadata(&session).await.map_err(|e| Failure::found(format!("account {name}: {e}")))
    })
}
