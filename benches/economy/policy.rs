//! Which fields of an update are sent: the `write` of rules.toml.

/// It.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Changed,
    Differs,
    Always,
}

impl Policy {
    /// As it is written.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Differs => "differs",
            Self::Always => "always",
        }
    }
}
