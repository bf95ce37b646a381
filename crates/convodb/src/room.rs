//! What is known of a disk that was full. A checkpoint that the disk has no room for makes the tables
//! useless until they are opened again; so once room ran out, it is asked for with a file beside the
//! store before the next one. Groups go on into the log for as long as that has room.

use std::io;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::file::{self, Place};
use crate::storage::table::Weight;

/// How often a disk that was full is asked for room.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Room for the tables beside the tail: a leaf and the branches above it for each of a few hundred
/// entries.
const ROOM_BYTES: usize = 1 << 20;

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Room {
    /// When the disk, which was full, is asked again.
    ask: Option<Instant>,
}

impl Room {
    /// The disk has no room.
    pub(crate) fn ran_out(&mut self) {
        self.ask.get_or_insert_with(|| Instant::now() + ASK_EVERY);
    }

    /// While the disk is full, the log may fill what room is left, but the tail has its bound. A
    /// group that removes something makes room in the end, and is tried now and then.
    ///
    /// # Errors
    /// [`Error::GivenUp`].
    pub(crate) fn check(&self, group: Weight, tail: usize, most: usize) -> Result<()> {
        let refused = self.ask.is_some_and(|at| match group.removals {
            0 => tail >= most.max(ROOM_BYTES),
            _ => Instant::now() < at,
        });
        if refused {
            let (kind, why) = (io::ErrorKind::StorageFull, "the disk is full".to_owned());
            return Err(Error::GivenUp { kind, why });
        }
        Ok(())
    }

    /// When a checkpoint that is due at `due` is tried.
    pub(crate) fn due(&self, due: Instant) -> Instant {
        self.ask.map_or(due, |at| at.max(due))
    }

    /// Whether there may be room for a tail of `bytes`; where there was none, the disk is asked.
    pub(crate) fn has(&mut self, place: Option<&Place>, bytes: usize) -> bool {
        let (Some(at), Some(place)) = (self.ask, place) else { return true };
        if Instant::now() < at {
            return false;
        }
        let fits = file::has_room(place, ROOM_BYTES + 4 * bytes);
        self.ask = (!fits).then(|| Instant::now() + ASK_EVERY);
        fits
    }
}

/// Whether the system says that the disk is full.
pub(crate) const fn is_disk_full(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
