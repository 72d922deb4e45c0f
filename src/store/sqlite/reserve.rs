//! The reserve: a file of some MiB whose only use is to be deleted.
//!
//! Invariants: while the reserve is released, new events are refused, and outcomes live on the room that it left. It is
//! made again when there is room for all of it and some more, and only then are events taken again: with room for just the
//! reserve the next events would fill the disk at once. It is larger than the WAL may grow:
//! with it gone, all of the WAL can be copied into the file, which is what lets the WAL start over.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::open::private;

/// How soon it is first tried to make it again; each try that fails doubles the wait.
const FIRST_PROBE: Duration = Duration::from_millis(500);

/// The longest wait between two tries.
const LAST_PROBE: Duration = Duration::from_secs(30);

/// Room beside the reserve that must be there before events are taken again.
const HEADROOM: usize = 16 * 1024 * 1024;

/// Why new events are refused, while they are; shared with those who report it.
pub(super) type Refusing = Arc<Mutex<Option<String>>>;

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: usize,
    refusing: Refusing,
    released: Option<Released>,
    /// When the last release ended, and how long its last wait was.
    ended: Option<(Instant, Duration)>,
}

#[derive(Debug)]
struct Released {
    why: String,
    tried: Instant,
    wait: Duration,
}

impl Reserve {
    /// Makes the file if it is not there. A disk that is too full for it is no error: the store starts refusing events.
    pub(super) fn open(path: PathBuf, bytes: usize) -> io::Result<Self> {
        let mut reserve = Self { path, bytes, refusing: Refusing::default(), released: None, ended: None };
        let length = std::fs::metadata(&reserve.path).map_or(0, |m| m.len());
        if length != bytes as u64 {
            match reserve.make(bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => reserve.release(&error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(reserve)
    }

    pub(super) const fn is_released(&self) -> bool {
        self.released.is_some()
    }

    /// Why it was released, while it is.
    pub(super) fn released_for(&self) -> Option<&str> {
        self.released.as_ref().map(|released| released.why.as_str())
    }

    /// Where it is said why new events are refused.
    pub(super) fn refusing(&self) -> Refusing {
        Arc::clone(&self.refusing)
    }

    /// How long until the next try, while it is released.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.released.as_ref().map(|released| released.wait.saturating_sub(released.tried.elapsed()))
    }

    fn say(&mut self, why: &str) {
        let room = (self.bytes + HEADROOM) / (1024 * 1024);
        *self.refusing.lock() = Some(format!("{why}; events are taken again once {room} MiB are free"));
    }

    pub(super) fn release(&mut self, why: &str) {
        tracing::error!(reason = why, "the disk is full: new events are refused, outcomes go on from the reserve");
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(%error, path = %self.path.display(), "the reserve could not be released");
        }
        self.say(why);
        // Full again soon after it was not: it is tried less and less often.
        let wait = match self.ended {
            Some((at, wait)) if at.elapsed() < LAST_PROBE * 2 => (wait * 2).min(LAST_PROBE),
            _ => FIRST_PROBE,
        };
        self.released = Some(Released { why: why.to_owned(), tried: Instant::now(), wait });
    }

    /// Makes it again once there is room.
    pub(super) fn restore(&mut self) {
        let Some(released) = self.released.as_ref().filter(|released| released.tried.elapsed() >= released.wait) else { return };
        let wait = released.wait;
        match self.make(self.bytes + HEADROOM) {
            Ok(()) => {
                self.released = None;
                *self.refusing.lock() = None;
                self.ended = Some((Instant::now(), wait));
                tracing::info!("there is room again: new events are taken");
            }
            Err(error) => {
                drop(std::fs::remove_file(&self.path));
                let why = error.to_string();
                self.say(&why);
                self.released = Some(Released { why, tried: Instant::now(), wait: (wait * 2).min(LAST_PROBE) });
            }
        }
    }

    /// Writes the file with so many bytes, and cuts it to its size.
    fn make(&self, bytes: usize) -> io::Result<()> {
        // Written, not only sized: a hole would reserve nothing. Not zeros: some file systems store those as holes.
        let mut word: u64 = 0x9e37_79b9_7f4a_7c15;
        let block: Vec<u8> = (0..8192)
            .flat_map(|_| {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
                word.to_le_bytes()
            })
            .collect();
        let mut file = private().create(true).truncate(true).write(true).open(&self.path)?;
        let mut left = bytes;
        while left > 0 {
            let length = left.min(block.len());
            file.write_all(&block[..length])?;
            left -= length;
        }
        file.set_len(self.bytes as u64)?;
        // Not synced: it is the room that counts, and that is taken when the write is accepted.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_is_full_again_at_once_is_tried_less_and_less_often() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut reserve = Reserve::open(dir.path().join("reserve"), 64 * 1024).expect("opens");
        let mut waits = Vec::new();
        for _ in 0..8 {
            reserve.release("full");
            assert!(reserve.refusing().lock().as_deref().is_some_and(|why| why.contains("once 16 MiB are free")));
            let wait = reserve.patience().expect("released");
            waits.push(wait.as_millis());
            tokio::time::advance(wait - Duration::from_millis(1)).await;
            reserve.restore();
            assert!(reserve.is_released(), "not before its time");
            tokio::time::advance(Duration::from_millis(1)).await;
            reserve.restore();
            assert!(!reserve.is_released() && reserve.refusing().lock().is_none());
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(std::fs::metadata(dir.path().join("reserve")).expect("there").len(), 64 * 1024, "the headroom is given back");
        tokio::time::advance(Duration::from_secs(61)).await;
        reserve.release("full");
        assert_eq!(reserve.patience(), Some(FIRST_PROBE));
    }
}
