//! What an account knows of its fields, fetched once, for commands that run without a daemon.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use tokio::runtime::Runtime;

use super::Folder;
use super::exit::Failure;
use super::output::complain;
use crate::config::{AccountConfig, Config, Secret};
use crate::crm::{Metadata, fetch_metadata};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::mock::{Mock, MockOptions};
use crate::pipedrive::{ApiError, Client, ClientOptions, ErrorKind, HttpTransport, Session, Trace, Transport, base_url};

/// Reads the folder's `rules.toml`, and only that: scripts may be broken.
pub(super) fn config(dir: &Path) -> Result<Config, Failure> {
    Ok(config_and_text(dir)?.0)
}

/// The same, with the text, in which messages have their place.
pub(super) fn config_and_text(dir: &Path) -> Result<(Config, String), Failure> {
    let path = dir.join("rules.toml");
    let text = std::fs::read_to_string(&path).map_err(|e| {
        let help = "name the folder that holds rules.toml with --dir, or make one with `pipewright init DIR`";
        Failure::refused(vec![Diagnostic::error(format!("{} cannot be read: {e}", path.display())).help(help)])
    })?;
    let (config, _) = Config::parse("rules.toml", &text).map_err(Failure::refused)?;
    Ok((config, text))
}

/// The account of that name, or the only one.
pub(super) fn choose<'a>(config: &'a Config, name: Option<&'a str>) -> Result<(&'a str, &'a AccountConfig), Failure> {
    let names = || config.pipedrive.keys().map(String::as_str);
    match name {
        Some(name) => config.pipedrive.get(name).map(|account| (name, account)).ok_or_else(|| {
            let hint = did_you_mean(name, names()).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            let all = names().collect::<Vec<_>>().join(", ");
            Failure::wrong(format!("rules.toml has no account `{name}`{hint}\naccounts in rules.toml: {all}"))
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

/// The metadata of an embedded Pipedrive that starts so.
pub(super) fn of_mock(options: MockOptions) -> Result<Metadata, Failure> {
    Connection::to_mock(options)?.metadata()
}

/// A real account's metadata. Reads only.
pub(super) fn of_account(name: &str, account: &AccountConfig, token: &Secret) -> Result<Metadata, Failure> {
    Connection::to(name, account, token)?.metadata()
}

/// Why a call failed, for a command that ends with it: where the daemon would go on by itself, somebody has to come back.
pub(super) fn reason(error: &ApiError) -> String {
    match &error.kind {
        ErrorKind::Throttled { .. } => format!(
            "{}: Pipedrive keeps answering 429: the account's tokens for today are spent, or others use all of its burst limit; run the \
             command again later",
            error.call
        ),
        ErrorKind::Blocked { retry_after } => format!(
            "{}: Pipedrive's firewall has shut this address out (403 with a web page); run the command again in {} minutes or later",
            error.call,
            retry_after.as_secs().div_ceil(60)
        ),
        _ => error.to_string(),
    }
}

/// Whose account a command reads.
#[derive(Debug, Args)]
pub(super) struct Which {
    #[command(flatten)]
    pub(super) folder: Folder,
    /// Account in rules.toml; may be left out when there is one
    #[arg(long, value_name = "NAME", conflicts_with = "mock")]
    pub(super) account: Option<String>,
    /// Of the embedded Pipedrive
    #[arg(long)]
    pub(super) mock: bool,
}

impl Which {
    pub(super) fn connect(&self) -> Result<Connection, Failure> {
        if !self.mock {
            return Connection::open(&self.folder.dir, self.account.as_deref());
        }
        // A folder is not needed for this; where there is one, it has more to show.
        let declared = config(&self.folder.dir).map(|config| config.declared_fields()).unwrap_or_default();
        Connection::to_mock(MockOptions { declared, ..MockOptions::unlimited() })
    }
}

/// Calls to one account, within its limits, from a command that runs by itself.
pub(super) struct Connection {
    pub(super) name: String,
    client: Client,
    runtime: Runtime,
}

impl Connection {
    /// To the account that is named, or to the only one.
    pub(super) fn open(dir: &Path, name: Option<&str>) -> Result<Self, Failure> {
        let config = config(dir)?;
        let (name, chosen) = choose(&config, name)?;
        let token = chosen.api_token.as_ref().ok_or_else(|| Failure::wrong(format!("[pipedrive.{name}] has no api_token")))?;
        Self::to(name, chosen, &token.resolve(dir).map_err(Failure::wrong)?)
    }

    /// To an embedded Pipedrive of its own.
    pub(super) fn to_mock(options: MockOptions) -> Result<Self, Failure> {
        Self::over("mock", Mock::new(options), u32::MAX)
    }

    /// To this account.
    pub(super) fn to(name: &str, account: &AccountConfig, token: &Secret) -> Result<Self, Failure> {
        let url = base_url(account).map_err(Failure::wrong)?;
        let transport = HttpTransport::new(&url, token, account.timeout.get()).map_err(Failure::wrong)?;
        Self::over(name, Arc::new(transport), account.plan.burst())
    }

    fn over(name: &str, transport: Arc<dyn Transport>, burst: u32) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = Client::new(transport, ClientOptions { burst, account: name.to_owned(), ..ClientOptions::default() });
        Ok(Self { name: name.to_owned(), client, runtime })
    }

    /// Makes a call.
    pub(super) fn call<T>(&self, call: impl AsyncFnOnce(&Session) -> Result<T, ApiError>) -> Result<T, Failure> {
        self.try_call(call).map_err(|e| self.failed(&e))
    }

    /// Makes a call whose failure the caller looks into.
    pub(super) fn try_call<T>(&self, call: impl AsyncFnOnce(&Session) -> Result<T, ApiError>) -> Result<T, ApiError> {
        // The burst limit is shared with whatever else uses the token, such as a running daemon.
        let session = self.client.session(Trace::default()).patient(|waits| complain(&waits.to_string()));
        self.runtime.block_on(call(&session))
    }

    /// A failed call as the end of a command.
    pub(super) fn failed(&self, error: &ApiError) -> Failure {
        Failure::found(format!("account {}: {}", self.name, reason(error)))
    }

    /// What the account has: fields, options, stages, users.
    pub(super) fn metadata(&self) -> Result<Metadata, Failure> {
        self.call(async |session| fetch_metadata(session).await)
    }
}
