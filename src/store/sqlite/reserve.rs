//! The reserve: a file of some MiB whose only use is to be deleted.
//!
//! Invariants: while the reserve is released, new events are refused, and outcomes live on the room that it left. It is
//! made again when there is room for all of it, and only then are events taken again. It is larger than the WAL may grow:
//! with it gone, all of the WAL can be copied into the file, which is what lets the WAL start over.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

/// How often at most it is tried to make it again.
const PROBE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: usize,
    released: Option<(String, Instant)>,
}

impl Reserve {
    /// Makes the file if it is not there. A disk that is too full for it is no error: the store starts refusing events.
    pub(super) fn open(path: PathBuf, bytes: usize) -> io::Result<Self> {
        let mut reserve = Self { path, bytes, released: None };
        let length = std::fs::metadata(&reserve.path).map_or(0, |m| m.len());
        if length != bytes as u64 {
            match reserve.make() {
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
        self.released.as_ref().map(|(why, _)| why.as_str())
    }

    pub(super) fn release(&mut self, why: &str) {
        tracing::error!(reason = why, "the disk is full: new events are refused, outcomes go on from the reserve");
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(%error, path = %self.path.display(), "the reserve could not be released");
        }
        self.released = Some((why.to_owned(), Instant::now()));
    }

    /// Makes it again once there is room.
    pub(super) fn restore(&mut self) {
        let due = self.released.as_ref().is_some_and(|(_, tried)| tried.elapsed() >= PROBE);
        if !due {
            return;
        }
        match self.make() {
            Ok(()) => {
                self.released = None;
                tracing::info!("there is room again: new events are taken");
            }
            Err(error) => {
                drop(std::fs::remove_file(&self.path));
                if let Some((why, tried)) = &mut self.released {
                    *why = error.to_string();
                    *tried = Instant::now();
                }
            }
        }
    }

    fn make(&self) -> io::Result<()> {
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
        let mut file = File::create(&self.path)?;
        let mut left = self.bytes;
        while left > 0 {
            let length = left.min(block.len());
            file.write_all(&block[..length])?;
            left -= length;
        }
        // Not synced: it is the room that counts, and that is taken when the write is accepted.
        Ok(())
    }
}
