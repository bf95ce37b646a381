//! Whether the disk has room. What is put into the log has to find room in the tables later, or the
//! log could never be cut again; so a group goes into the log only while there is room for both, and
//! what removes something may use what is kept free that way.
//!
//! A commit of the tables that the disk has no room for all the same makes them useless until they
//! are opened again, and snapshots with them. After one, a checkpoint waits until the disk says that
//! it has room; what removes something is tried every half second, because pages that earlier
//! commits freed may be enough for it.

use std::io;
use std::time::{Duration, Instant};

use crate::disk::directory_of;
use crate::error::{Error, Result};
use crate::file::Place;
use crate::storage::table::Weight;

/// How long a commit of the tables is put off after one that found no room.
const PAUSE: Duration = Duration::from_millis(500);
/// What is kept free: for the branches and leaves that removals touch, which would make room.
const RESERVE_BYTES: u64 = 4 << 20;
/// What a byte of the tail may take in the tables: most entries are of twenty bytes, and a leaf that
/// they fall on is written whole.
const TABLE_BYTES: u64 = 8;
/// The disk is asked again when the tail has grown by so much.
const STEP_BYTES: usize = 256 << 10;

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Room {
    /// Until when no group is tried that goes into the tables, because the disk had no room.
    paused_until: Option<Instant>,
    /// When the disk, which had no room for a checkpoint, is asked for it again.
    ask_at: Option<Instant>,
    /// How large the tail may become before the disk is asked again.
    asked_up_to: usize,
}

/// Where a group goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Into the log and the tail.
    Log,
    /// Into the tables, with the tail.
    Tables,
}

impl Room {
    /// The disk had no room for a commit of the tables.
    pub(crate) fn ran_out(&mut self) {
        let then = Instant::now() + PAUSE;
        (self.paused_until, self.ask_at) = (Some(then), Some(then));
    }

    /// When a checkpoint that is due at `due` may be tried.
    pub(crate) fn due(&self, due: Instant) -> Instant {
        self.ask_at.map_or(due, |at| at.max(due))
    }

    /// Whether a checkpoint of so many bytes may be tried.
    pub(crate) fn admits(&mut self, place: Option<&Place>, tail: usize) -> bool {
        let (Some(at), Some(place)) = (self.ask_at, place) else { return true };
        let now = Instant::now();
        let admitted = now >= at && told(place) >= needed(tail);
        if now >= at && !admitted {
            self.ask_at = Some(now + PAUSE);
        }
        admitted
    }

    /// Which way there is room for a group, where the tail has so many bytes. Asks the disk once for
    /// each 256 KiB of a tail.
    ///
    /// # Errors
    /// [`Error::GivenUp`], with [`io::ErrorKind::StorageFull`].
    pub(crate) fn way(&mut self, place: Option<&Place>, tail: usize, group: Weight) -> Result<Way> {
        let paused = self.paused_until.is_some_and(|until| Instant::now() < until);
        if group.removals > 0 {
            return if paused { Err(full()) } else { Ok(Way::Tables) };
        }
        let with_group = tail + group.bytes;
        let Some(place) = place.filter(|_| tail == 0 || with_group > self.asked_up_to) else {
            return Ok(Way::Log);
        };
        let room = told(place);
        if room >= needed(with_group) {
            self.asked_up_to = with_group + STEP_BYTES;
            Ok(Way::Log)
        } else if room >= needed(group.bytes) && tail > 0 && !paused {
            // What is kept free for the tail is used for it.
            Ok(Way::Tables)
        } else {
            Err(full())
        }
    }
}

/// The room that a tail of so many bytes needs.
const fn needed(bytes: usize) -> u64 {
    RESERVE_BYTES + TABLE_BYTES * bytes as u64
}

/// What the disk tells of its room. Where it cannot, writing is what finds out.
fn told(place: &Place) -> u64 {
    place.disk.room(directory_of(&place.path)).unwrap_or(u64::MAX)
}

fn full() -> Error {
    Error::GivenUp { kind: io::ErrorKind::StorageFull, why: "the disk is full".to_owned() }
}

/// Whether the system says that the disk is full.
pub(crate) const fn is_disk_full(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
