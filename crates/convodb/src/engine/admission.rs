//! Admission control: checks the free space before a group of writes enters the WAL.
//!
//! It decides whether the group goes to the WAL, directly to the tables, or is refused.
//!
//! What the WAL contains must fit into the tables later, or the WAL could never be truncated again.
//! So a group goes into the WAL only while the disk has space for both.
//!
//! What removes something goes straight into the tables where the WAL has no space: it may use a
//! reserve that is allocated in the store's file, so that others who fill the disk cannot take it.
//! While the reserve cannot be allocated, the disk is full, whether the system reports it or not, as
//! with a quota.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::checkpoint::CheckpointBackoff;
use crate::engine::store_file::StoreLocation;
use crate::error::{Error, Result, is_storage_full};
use crate::io::vfs::directory_of;
use crate::kv::table::PendingWrites;

/// Space reserved for the branches and leaves that removals rewrite before they free any.
const RESERVE_BYTES: u64 = 4 << 20;
/// The space that a byte of the memtables may take in the tables: most entries have twenty bytes,
/// and the leaf that an entry falls on is written whole.
const TABLE_BYTES: u64 = 8;
/// Free space is checked again after the memtables have grown by this many bytes.
const CHECK_INTERVAL_BYTES: usize = 256 << 10;

/// The interval at which the committer tries whether refused writes are accepted again.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// The size of the group that such an attempt stands for, at most.
const PROBE_BYTES: usize = 256 << 10;

/// Which way a group takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WritePath {
    /// Into the WAL and the memtables.
    Wal,
    /// Straight into the tables, together with the memtables.
    WriteThrough,
}

/// A group that was refused because of the disk.
pub(crate) struct Refusal {
    pub(crate) group: PendingWrites,
    /// When to try whether such a group is accepted again.
    pub(crate) probe_at: Instant,
}

impl Refusal {
    /// The refusal of a group at `now`.
    pub(crate) fn of(group: PendingWrites, now: Instant) -> Self {
        Self { group, probe_at: now + PROBE_INTERVAL }
    }

    /// The size of the group with which to try again.
    pub(crate) fn probe(&self) -> PendingWrites {
        PendingWrites { bytes: self.group.bytes.min(PROBE_BYTES), ..self.group }
    }

    /// Records that the group would be refused still.
    pub(crate) fn postpone(&mut self, now: Instant) {
        self.probe_at = now + PROBE_INTERVAL;
    }
}

/// Whether a write was refused because the disk is full.
pub(crate) fn is_refused_by_a_full_disk(error: &Error) -> bool {
    matches!(error, Error::WriteAborted { .. }) && error.is_storage_full()
}

/// Remembers up to which size of the memtables the disk has space.
#[derive(Debug, Default)]
pub(crate) struct DiskSpaceGuard {
    checked_up_to: usize,
    reserve: Reserve,
}

/// The reserve in the store's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reserve {
    /// The system cannot allocate one: the same space has to be free on the disk.
    #[default]
    Unsupported,
    Allocated,
    /// There is no space for it.
    Missing,
}

impl DiskSpaceGuard {
    /// Allocates what earlier commits took from the reserve.
    pub(crate) fn renew(&mut self, location: &StoreLocation) {
        self.checked_up_to = 0;
        self.reserve = match location.vfs.reserve(&location.path, RESERVE_BYTES) {
            Ok(()) => Reserve::Allocated,
            Err(error) if is_storage_full(error.kind()) => Reserve::Missing,
            Err(_) => Reserve::Unsupported,
        };
    }

    /// The path for a group of `bytes`, with `unflushed` bytes that are not in the tables. Queries
    /// the disk once for each 256 KiB of them.
    ///
    /// # Errors
    /// [`Error::WriteAborted`] with [`io::ErrorKind::StorageFull`].
    fn route(
        &mut self,
        location: &StoreLocation,
        unflushed: usize,
        bytes: usize,
        may_write_through: bool,
    ) -> Result<WritePath> {
        let with_group = unflushed + bytes;
        if unflushed > 0 && with_group <= self.checked_up_to {
            return Ok(WritePath::Wal);
        }
        if self.reserve == Reserve::Missing {
            self.renew(location);
        }
        if self.reserve == Reserve::Missing {
            return Err(disk_full());
        }
        let free = free_space(location);
        if free >= self.required(with_group) {
            self.checked_up_to = with_group + CHECK_INTERVAL_BYTES;
            Ok(WritePath::Wal)
        } else if free >= self.required(bytes) && unflushed > 0 && may_write_through {
            // The space reserved for the memtables is used for them.
            Ok(WritePath::WriteThrough)
        } else {
            Err(disk_full())
        }
    }

    /// Whether the disk has space for a checkpoint of `bytes`.
    pub(crate) fn has_space_for_checkpoint(&self, location: &StoreLocation, bytes: usize) -> bool {
        free_space(location) >= self.required(bytes)
    }

    /// The free space that `bytes` of the memtables require in the tables.
    const fn required(&self, bytes: usize) -> u64 {
        let reserve = match self.reserve {
            Reserve::Allocated => 0,
            Reserve::Missing | Reserve::Unsupported => RESERVE_BYTES,
        };
        reserve + TABLE_BYTES * bytes as u64
    }
}

/// The path for a group at `now`.
///
/// # Errors
/// [`Error::WriteAborted`]: the disk is full, or the tables cannot be written and the memtables have
/// reached their limit.
pub(crate) fn route(
    now: Instant,
    backoff: &CheckpointBackoff,
    space: &mut DiskSpaceGuard,
    location: &StoreLocation,
    unflushed: usize,
    group: PendingWrites,
) -> Result<WritePath> {
    let may_write_through = backoff.write_through_at.is_none_or(|at| at <= now);
    let routed = match backoff.refuses(unflushed, group.bytes) {
        true => Err(tables_unavailable(backoff)),
        false => space.route(location, unflushed, group.bytes, may_write_through),
    };
    match routed {
        Err(_) if group.removals > 0 && may_write_through => Ok(WritePath::WriteThrough),
        routed => routed,
    }
}

/// The free space that the disk reports. Where it cannot, a write finds out.
fn free_space(location: &StoreLocation) -> u64 {
    location.vfs.free_space(directory_of(&location.path)).unwrap_or(u64::MAX)
}

fn tables_unavailable(backoff: &CheckpointBackoff) -> Error {
    match backoff.last_kind() {
        Some(kind) if !is_storage_full(kind) => {
            let fault = io::Error::new(kind, "the tables cannot be written");
            Error::WriteAborted { source: Arc::new(fault) }
        }
        _ => disk_full(),
    }
}

fn disk_full() -> Error {
    let fault = io::Error::new(io::ErrorKind::StorageFull, "disk full");
    Error::WriteAborted { source: Arc::new(fault) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::checkpoint::FailureHistory;
    use crate::io::memory::MemoryVfs;
    use crate::model::index_family::IndexFamilies;

    fn group(bytes: usize, removals: usize) -> PendingWrites {
        PendingWrites { changes: 1, removals, bytes }
    }

    fn location() -> StoreLocation {
        let vfs = Arc::new(MemoryVfs::default());
        StoreLocation {
            vfs,
            path: "store".into(),
            cache_bytes: 0,
            check: false,
            without_wal: false,
            indexes: IndexFamilies::NONE,
        }
    }

    #[test]
    fn memtables_are_bounded_while_the_tables_cannot_be_written() {
        let now = Instant::now();
        let after = |failures| {
            let none = CheckpointBackoff::default();
            (0..failures).fold(none, |mut backoff, _| {
                backoff.failed();
                let history: FailureHistory = backoff.history(Some(io::ErrorKind::Other));
                CheckpointBackoff::after(now, history, 1 << 20)
            })
        };
        let path_of = |backoff: &CheckpointBackoff, unflushed, group| {
            route(now, backoff, &mut DiskSpaceGuard::default(), &location(), unflushed, group)
        };
        let once = after(1);
        assert_eq!(path_of(&once, 100 << 20, group(1, 0)).unwrap(), WritePath::Wal);
        assert_eq!(path_of(&once, 100 << 20, group(1, 1)).unwrap(), WritePath::Wal);

        let twice = after(2);
        assert_eq!(path_of(&twice, 4 << 20, group(0, 0)).unwrap(), WritePath::Wal);
        for refused in [group(1, 0), group(1, 1)] {
            let error = path_of(&twice, 4 << 20, refused).unwrap_err();
            assert!(matches!(error, Error::WriteAborted { .. }) && !error.is_storage_full());
        }
    }
}
