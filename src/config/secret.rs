//! References to secrets (`env:NAME`, `file:PATH`) and the secrets themselves.
//!
//! Invariant: a [`Secret`] prints as `[redacted]` everywhere; only [`Secret::expose`] gives the text.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de::Error as _};

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file; its content without the trailing line break. Relative paths start at the folder of `rules.toml`.
    File(PathBuf),
}

/// A secret's text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text. Meant for the mock and for tests; users give references.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A reference that cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set or blank.
    #[error("the environment variable {0} is not set; set it, or name another with env:NAME or file:PATH")]
    NotSet(String),
    /// The file cannot be read.
    #[error("the secret file {path} cannot be read: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is blank.
    #[error("the secret file {0} is empty")]
    Empty(PathBuf),
}

impl SecretRef {
    /// Reads the secret. `dir` is the folder of `rules.toml`.
    ///
    /// # Errors
    /// When the variable is not set, or the file cannot be read or is blank.
    pub fn resolve(&self, dir: &Path) -> Result<Secret, SecretError> {
        match self {
            Self::Env(name) => match std::env::var(name) {
                Ok(text) if !text.trim().is_empty() => Ok(Secret(text.trim().to_owned())),
                _ => Err(SecretError::NotSet(name.clone())),
            },
            Self::File(path) => {
                let path = dir.join(path);
                let text = std::fs::read_to_string(&path).map_err(|source| SecretError::File { path: path.clone(), source })?;
                match text.trim() {
                    "" => Err(SecretError::Empty(path)),
                    text => Ok(Secret(text.to_owned())),
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The text is not repeated in the message: it may be the secret itself, written in by mistake.
        match text.split_once(':') {
            Some(("env", name)) if !name.trim().is_empty() => Ok(Self::Env(name.trim().to_owned())),
            Some(("file", path)) if !path.trim().is_empty() => Ok(Self::File(PathBuf::from(path.trim()))),
            _ => Err(D::Error::custom("a secret is given by reference: \"env:NAME\" or \"file:PATH\", never as plain text")),
        }
    }
}
