//! References to secrets (`env:NAME`, `file:PATH`) and the secrets themselves.
//!
//! Invariant: a [`Secret`] prints as `[redacted]` everywhere; only [`Secret::expose`] gives the text.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de::Error as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Bytes of a secret file that are read at most.
const LONGEST_SECRET: u64 = 64 << 10;

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

    /// Whether a sender gave this very text. Digests are compared, in constant time: neither text nor length shows in the time taken.
    #[must_use]
    pub fn is(&self, given: &str) -> bool {
        Sha256::digest(given).ct_eq(&Sha256::digest(&self.0)).into()
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
    /// The file is too large to be a secret: a mistaken path, or a device that never ends.
    #[error("the secret file {0} is larger than {LONGEST_SECRET} bytes; name a file that holds the secret and nothing else")]
    TooLarge(PathBuf),
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
                let text = read(&path).map_err(|source| SecretError::File { path: path.clone(), source })?;
                match text.trim() {
                    _ if text.len() as u64 > LONGEST_SECRET => Err(SecretError::TooLarge(path)),
                    "" => Err(SecretError::Empty(path)),
                    text => Ok(Secret(text.to_owned())),
                }
            }
        }
    }
}

/// A secret file that others than its owner may read.
#[derive(Debug, thiserror::Error)]
#[error("the secret file {} can be read by {}: its mode is {mode:04o}", path.display(), if mode & 0o004 == 0 { "its group" } else { "every user of this machine" })]
pub struct Readable {
    /// The file.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
}

impl SecretRef {
    /// Whether others than its owner may read the file, as its mode says; a link's own mode says nothing.
    #[must_use]
    pub fn readable_by_others(&self, dir: &Path) -> Option<Readable> {
        let Self::File(path) = self else { return None };
        let path = dir.join(path);
        let mode = std::fs::metadata(&path).ok()?.permissions().mode() & 0o7777;
        (mode & 0o044 != 0).then_some(Readable { path, mode })
    }
}

/// At most one byte more than the longest.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST_SECRET + 1).read_to_string(&mut text)?;
    Ok(text)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_text_is_the_secret_and_it_is_never_printed() {
        let secret = Secret::new("s3cret");
        assert!(secret.is("s3cret"));
        for other in ["", "s3cre", "s3crets", "S3cret", " s3cret", "s3cret\0"] {
            assert!(!secret.is(other), "{other:?}");
        }
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[redacted] Some([redacted])");
    }
}
