//! Whether there is room for what is written: on the disk, and after setbacks. What is put into the log has to find room in the tables later, or the
//! log could never be cut again; so a group goes into the log only while there is room for both, and
//! what removes something may use what is kept free that way.
//!
//! A commit of the tables that the disk has no room for all the same makes them useless until they
//! are opened again, and snapshots with them. After one, a checkpoint waits until the disk says that
//! it has room; what removes something is tried every half second, because pages that earlier
//! commits freed may be enough for it.
//!
//! Where the files can be opened but a commit of the tables fails again and again, as over a damaged
//! page, each further one waits twice as long; meanwhile groups go into the log, up to a limit.

use std::io;
use std::time::{Duration, Instant};

use crate::engine::store_file::StoreLocation;
use crate::error::{Error, Result};
use crate::io::vfs::directory_of;
use crate::kv::table::PendingWrites;

/// How long a commit of the tables is put off after one that found no room.
const PAUSE: Duration = Duration::from_millis(500);
/// What is kept free: for the branches and leaves that removals touch, which would make room.
const RESERVE_BYTES: u64 = 4 << 20;
/// What a byte of the tail may take in the tables: most entries are of twenty bytes, and a leaf that
/// they fall on is written whole.
const TABLE_BYTES: u64 = 8;
/// The longest time that a commit of the tables is put off.
const LAST_PAUSE: Duration = Duration::from_secs(64);
/// How large the tail may become while the tables cannot be written: so many times what begins a
/// checkpoint, or so many MiB.
const LIMIT: usize = 4;
/// The disk is asked again when the tail has grown by so much.
const STEP_BYTES: usize = 256 << 10;

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Admission {
    /// Until when no group is tried that goes into the tables, because the disk had no room.
    paused_until: Option<Instant>,
    /// When the disk, which had no room for a checkpoint, is asked for it again.
    ask_at: Option<Instant>,
    /// How large the tail may become before the disk is asked again.
    asked_up_to: usize,
    /// What committers met since the tables were last written.
    failures: Option<FailureHistory>,
    /// Whether a commit of the tables failed.
    failed: bool,
    /// How large the tail may become at all.
    limit: Option<usize>,
}

/// What a committer that met a fault leaves to the next one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailureHistory {
    /// What the system said of the fault.
    kind: Option<io::ErrorKind>,
    /// How often the tables could not be written since they last were.
    count: u32,
}

/// Where a group goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WritePath {
    /// Into the log and the tail.
    Wal,
    /// Into the tables, with the tail.
    WriteThrough,
}

impl Admission {
    /// After a setback, for tails that are to be written at `tail_bytes`. The first one may have been
    /// of a moment; on a full disk it is asked again and again.
    pub(crate) fn after(failures: FailureHistory, memtable_bytes: usize) -> Self {
        let full = failures.kind.is_some_and(is_disk_full);
        let doublings = failures.count.saturating_sub(2).min(LAST_PAUSE.as_secs().ilog2() + 1);
        let pause = if full { PAUSE } else { (PAUSE * 2_u32.pow(doublings)).min(LAST_PAUSE) };
        let until = (full || failures.count > 1).then(|| Instant::now() + pause);
        let limit = (!full && failures.count > 1).then(|| LIMIT * memtable_bytes.max(1 << 20));
        let failures = Some(failures);
        Self { paused_until: until, ask_at: until, failures, limit, ..Self::default() }
    }

    /// A commit of the tables failed.
    pub(crate) const fn failed(&mut self) {
        self.failed = true;
    }

    /// A fault of this kind came up.
    pub(crate) fn failures(&self, kind: Option<io::ErrorKind>) -> FailureHistory {
        let before = self.failures.map_or(0, |failures| failures.count);
        FailureHistory { kind, count: before.saturating_add(u32::from(self.failed)) }
    }

    /// When a checkpoint that is due at `due` may be tried.
    pub(crate) fn due(&self, due: Instant) -> Instant {
        self.ask_at.map_or(due, |at| at.max(due))
    }

    /// Whether a checkpoint of so many bytes may be tried.
    pub(crate) fn may_checkpoint(&mut self, location: Option<&StoreLocation>, tail: usize) -> bool {
        let (Some(at), Some(location)) = (self.ask_at, location) else { return true };
        let now = Instant::now();
        let admitted = now >= at && told(location) >= needed(tail);
        if now >= at && !admitted {
            self.ask_at = Some(now + PAUSE);
        }
        admitted
    }

    /// Which way there is room for a group, where so many bytes of a tail are not in the tables yet.
    /// Asks the disk once for each 256 KiB of them.
    ///
    /// # Errors
    /// [`Error::WriteAborted`], of a full disk with [`io::ErrorKind::StorageFull`].
    pub(crate) fn route(
        &mut self,
        location: Option<&StoreLocation>,
        tail: usize,
        group: PendingWrites,
    ) -> Result<WritePath> {
        let paused = self.paused_until.is_some_and(|until| Instant::now() < until);
        if group.removals > 0 {
            return if paused { Err(self.refused()) } else { Ok(WritePath::WriteThrough) };
        }
        let with_group = tail + group.bytes;
        if self.limit.is_some_and(|limit| with_group > limit) {
            return Err(self.refused());
        }
        let Some(location) = location.filter(|_| tail == 0 || with_group > self.asked_up_to) else {
            return Ok(WritePath::Wal);
        };
        let room = told(location);
        if room >= needed(with_group) {
            self.asked_up_to = with_group + STEP_BYTES;
            Ok(WritePath::Wal)
        } else if room >= needed(group.bytes) && tail > 0 && !paused {
            // What is kept free for the tail is used for it.
            Ok(WritePath::WriteThrough)
        } else {
            Err(full())
        }
    }

    /// Why nothing goes into the tables now.
    fn refused(&self) -> Error {
        match self.failures.and_then(|failures| failures.kind) {
            Some(kind) if !is_disk_full(kind) => {
                Error::WriteAborted { kind, why: "the tables cannot be written".to_owned() }
            }
            _ => full(),
        }
    }
}

/// The room that a tail of so many bytes needs.
const fn needed(bytes: usize) -> u64 {
    RESERVE_BYTES + TABLE_BYTES * bytes as u64
}

/// What the disk tells of its room. Where it cannot, writing is what finds out.
fn told(location: &StoreLocation) -> u64 {
    location.vfs.free_space(directory_of(&location.path)).unwrap_or(u64::MAX)
}

fn full() -> Error {
    Error::WriteAborted { kind: io::ErrorKind::StorageFull, why: "the disk is full".to_owned() }
}

/// Whether the system says that the disk is full.
const fn is_disk_full(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(kind: io::ErrorKind, faults: u32) -> Admission {
        (0..faults).fold(Admission::default(), |mut room, _| {
            room.failed();
            Admission::after(room.failures(Some(kind)), 1 << 20)
        })
    }

    fn group(bytes: usize, removals: usize) -> PendingWrites {
        PendingWrites { changes: 1, removals, bytes }
    }

    #[test]
    fn a_commit_that_fails_again_and_again_waits_longer_each_time() {
        let now = Instant::now();
        let waits = |faults| room(io::ErrorKind::Other, faults).due(now).duration_since(now);
        assert_eq!(waits(1), Duration::ZERO);
        for (faults, seconds) in [(2, 0.5), (3, 1.0), (4, 2.0), (9, 64.0), (40, 64.0)] {
            let waited = waits(faults).as_secs_f64();
            assert!((seconds..seconds + 0.4).contains(&waited), "{faults}: {waited}");
        }
        assert!(waits(2) < waits(3) && waits(3) < waits(4));
        let read = room(io::ErrorKind::Other, 1).failures(None);
        assert_eq!(read.count, 1, "a fault of a reader says nothing of the tables");
        let full = room(io::ErrorKind::StorageFull, 40).due(now).duration_since(now);
        assert!(full < Duration::from_secs(1), "a full disk is asked often");
    }

    #[test]
    fn what_the_tables_cannot_take_does_not_grow_without_end() {
        let mut well = room(io::ErrorKind::Other, 1);
        assert_eq!(well.route(None, 100 << 20, group(1, 0)).unwrap(), WritePath::Wal);
        assert_eq!(well.route(None, 0, group(1, 1)).unwrap(), WritePath::WriteThrough);

        let mut ill = room(io::ErrorKind::Other, 2);
        assert_eq!(ill.route(None, 4 << 20, group(0, 0)).unwrap(), WritePath::Wal);
        for refused in [ill.route(None, 4 << 20, group(1, 0)), ill.route(None, 0, group(1, 1))] {
            let told =
                matches!(&refused, Err(Error::WriteAborted { kind: io::ErrorKind::Other, .. }));
            assert!(told, "{refused:?}");
        }
    }
}
