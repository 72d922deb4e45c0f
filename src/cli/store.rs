//! The store of a working folder, looked at from beside the daemon.

use std::path::{Path, PathBuf};

use super::exit::Failure;
use crate::config::{Config, ServerConfig};
use crate::store::sqlite::History;

/// Where it is.
pub(super) fn folder(dir: &Path, config: &Config, mocked: bool) -> PathBuf {
    ServerConfig::store_dir(&dir.join(&config.server.data_dir), mocked)
}

/// Opens it, that of `serve --mock` when it is meant.
pub(super) fn open(dir: &Path, config: &Config, mocked: bool) -> Result<History, Failure> {
    History::open(&folder(dir, config, mocked)).map_err(|error| {
        let other = !mocked && History::open(&folder(dir, config, true)).is_ok();
        let hint = if other { "; add --mock for what `serve --mock` took" } else { "" };
        Failure::found(format!("{error}{hint}"))
    })
}
