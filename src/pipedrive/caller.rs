//! On whose behalf requests are sent: by this the limiter shares its turns, and the tokens are booked.

use std::sync::Arc;

use tokio::time::Instant;

/// Who causes a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The rule, when one does.
    pub rule: Option<Arc<str>>,
    /// The rule's `priority`: lower goes first, 0 to 9.
    pub priority: u8,
    /// When the work began that the request is a part of.
    pub began: Instant,
    /// Takes a turn only when nobody else waits, or in 10 s one.
    pub background: bool,
    /// It ends what has begun, or a person waits for it: the budget's reserve is there for it.
    pub must_end: bool,
    /// It has had its tries from the reserve: it counts as ordinary, whatever it asks for.
    pub worn: bool,
}

impl Caller {
    /// Priority of what no rule asks for.
    pub const ORDINARY: u8 = 5;

    /// A rule's delivery, from now on.
    #[must_use]
    pub fn rule(name: Arc<str>, priority: u8) -> Self {
        Self { rule: Some(name), priority, began: Instant::now(), background: false, must_end: false, worn: false }
    }

    /// Nobody's rule: a command, metadata, housekeeping.
    #[must_use]
    pub fn housekeeping() -> Self {
        Self { rule: None, priority: Self::ORDINARY, began: Instant::now(), background: false, must_end: false, worn: false }
    }

    /// Nobody's rule, and nobody waits for it.
    #[must_use]
    pub fn background() -> Self {
        Self { background: true, ..Self::housekeeping() }
    }

    /// A person's command.
    #[must_use]
    pub fn person() -> Self {
        Self::housekeeping().ending()
    }

    /// The same, when it has tried to end too often.
    #[must_use]
    pub fn worn(self) -> Self {
        Self { worn: true, ..self }
    }

    /// The same, for what must end.
    #[must_use]
    pub fn ending(self) -> Self {
        Self { must_end: true, ..self }
    }
}
