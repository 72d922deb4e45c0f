//! SIGHUP asks for a reload, as it does of other daemons.

/// SIGHUP, where there is one.
pub(super) struct Hangup(#[cfg(unix)] Option<tokio::signal::unix::Signal>);

impl Hangup {
    #[cfg(unix)]
    pub(super) fn new() -> Self {
        let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
        Self(signal.inspect_err(|error| tracing::warn!(%error, "SIGHUP cannot be heard")).ok())
    }

    #[cfg(not(unix))]
    pub(super) const fn new() -> Self {
        Self()
    }

    pub(super) async fn received(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}
