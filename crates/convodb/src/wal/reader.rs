//! Reader of the write-ahead log: replays the groups that the tables lack.

use std::path::Path;

use crate::error::{Error, Result};
use crate::io::vfs::{Access, Vfs};
use crate::wal::{RECORD_HEADER, SEGMENT_HEADER, parse_record, segment_header};

const fn corrupted(what: &'static str) -> Error {
    Error::Corrupted { table: "wal", what }
}

/// Passes the payload of every group after `flushed` to `apply`, in order, and returns the last
/// sequence number, or `flushed` if there is none.
///
/// The last record of a segment may be one whose sync failed: the system shows it, but the disk may
/// not have it, and nothing was appended after it. So it is written again in place and synced.
///
/// # Errors
/// [`Error::Corrupted`] if an acknowledged group is missing or damaged, or if `apply` returns
/// `None`; or an I/O error.
pub(crate) fn replay(
    vfs: &dyn Vfs,
    store: &Path,
    seed: u64,
    flushed: u64,
    mut apply: impl FnMut(&[u8]) -> Option<()>,
) -> Result<u64> {
    let segments = super::segments(vfs, store)?;
    let mut last = flushed;
    for (at, (first, path)) in segments.iter().enumerate() {
        let next_segment = segments.get(at + 1).map(|(first, _)| *first);
        // The tables contain all of it: a segment that could not be removed, in any state.
        if next_segment.is_some_and(|next| next <= flushed + 1) {
            continue;
        }
        let bytes = vfs.open(path, Access::Read)?.read_all()?;
        let Some(mut rest) = bytes.strip_prefix(&segment_header(seed, *first)) else {
            // The header is synced before the first record is written.
            if next_segment.is_none() && bytes.len() <= SEGMENT_HEADER {
                break;
            }
            return Err(corrupted("a segment is damaged or belongs to another store"));
        };
        if *first > last + 1 {
            return Err(corrupted("groups are missing"));
        }
        let mut expected = *first;
        let mut last_record = 0..0;
        while let Some((payload, after_record)) = parse_record(rest, seed, expected) {
            last_record = bytes.len() - rest.len()..bytes.len() - after_record.len();
            if expected == last + 1 {
                apply(payload).ok_or(corrupted("a group does not decode"))?;
                last = expected;
            }
            expected += 1;
            rest = after_record;
        }
        if last > flushed && !last_record.is_empty() {
            let file = vfs.open(path, Access::Write)?;
            file.write_all_at(last_record.start as u64, &bytes[last_record])?;
            file.sync()?;
        }
        let continues = next_segment.is_some_and(|next| next <= last + 1);
        if !continues && expected > flushed && has_later_record(rest, seed, expected) {
            return Err(corrupted("a record is damaged"));
        }
    }
    Ok(last)
}

/// Whether `bytes` contain an intact record after `seqno` at any offset. Sequence numbers have no
/// gap, so hardly any offset but that of a record contains a plausible one.
fn has_later_record(bytes: &[u8], seed: u64, seqno: u64) -> bool {
    let last = seqno.saturating_add((bytes.len() / RECORD_HEADER) as u64);
    (0..bytes.len()).any(|at| {
        let bytes = &bytes[at..];
        let stored = bytes.get(4..12).and_then(|seqno| seqno.try_into().ok());
        let stored = stored.map(u64::from_le_bytes);
        let later = stored.filter(|stored| (seqno + 1..=last).contains(stored));
        later.is_some_and(|later| parse_record(bytes, seed, later).is_some())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::io::system::SystemVfs;
    use crate::wal::segments;
    use crate::wal::writer::Wal;

    const SEED: u64 = 77;

    struct Fixture {
        _directory: tempfile::TempDir,
        store: PathBuf,
    }

    fn wal(store: &Path) -> Wal {
        Wal::new(Arc::new(SystemVfs), store.to_owned(), SEED)
    }

    fn all_segments(store: &Path) -> Vec<(u64, PathBuf)> {
        segments(&SystemVfs, store).unwrap()
    }

    /// Three groups in a segment, the second cut off after them, and two in another.
    fn fixture() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let mut wal = wal(&store);
        for (seqno, length) in (1..=5).zip([10, 20, 30, 40, 50]) {
            wal.append(seqno, |out| out.resize(out.len() + length, b'a')).unwrap();
            if seqno == 3 {
                wal.end_segment();
            }
        }
        Fixture { _directory: directory, store }
    }

    fn lengths(store: &Path, after: u64) -> Result<Vec<usize>> {
        let mut lengths = Vec::new();
        let last = replay(&SystemVfs, store, SEED, after, |payload| {
            lengths.push(payload.len());
            Some(())
        })?;
        assert_eq!(last, after + lengths.len() as u64);
        Ok(lengths)
    }

    #[test]
    fn groups_are_replayed_in_order_from_any_sequence_number() {
        let fixture = fixture();
        assert_eq!(lengths(&fixture.store, 0).unwrap(), [10, 20, 30, 40, 50]);
        assert_eq!(lengths(&fixture.store, 2).unwrap(), [30, 40, 50]);
        assert_eq!(lengths(&fixture.store, 5).unwrap(), [0; 0]);
        let wal = wal(&fixture.store);
        wal.remove_segments(3).unwrap();
        assert_eq!(lengths(&fixture.store, 3).unwrap(), [40, 50]);
        assert!(lengths(&fixture.store, 2).is_err(), "group 3 is missing");
    }

    #[test]
    fn torn_last_record_is_ignored_and_other_truncation_is_an_error() {
        let fixture = fixture();
        let all = all_segments(&fixture.store);
        let (last, whole) = (&all[1].1, fs::read(&all[1].1).unwrap());
        for cut in 0..whole.len() {
            fs::write(last, &whole[..cut]).unwrap();
            let kept = if cut >= whole.len() - 50 - RECORD_HEADER { 4 } else { 3 };
            assert_eq!(lengths(&fixture.store, 0).unwrap().len(), kept, "cut at {cut}");
        }
        fs::write(last, &whole).unwrap();
        let (first, whole) = (&all[0].1, fs::read(&all[0].1).unwrap());
        for cut in 0..whole.len() {
            fs::write(first, &whole[..cut]).unwrap();
            assert!(lengths(&fixture.store, 0).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn flipped_bit_is_an_error_if_a_later_record_is_intact() {
        let fixture = fixture();
        let all = all_segments(&fixture.store);
        for (path, may_be_torn) in [(&all[0].1, usize::MAX), (&all[1].1, 50 + RECORD_HEADER)] {
            let whole = fs::read(path).unwrap();
            for at in 0..whole.len() {
                let mut flipped = whole.clone();
                flipped[at] ^= 4;
                fs::write(path, &flipped).unwrap();
                let read = lengths(&fixture.store, 0);
                if whole.len() - at <= may_be_torn && may_be_torn != usize::MAX {
                    assert_eq!(read.unwrap(), [10, 20, 30, 40], "the last record, at {at}");
                } else {
                    assert!(matches!(read, Err(Error::Corrupted { table: "wal", .. })), "{at}");
                }
            }
            fs::write(path, &whole).unwrap();
        }
    }

    #[test]
    fn torn_record_is_replaced_by_a_new_segment() {
        let fixture = fixture();
        let all = all_segments(&fixture.store);
        let whole = fs::read(&all[1].1).unwrap();
        fs::write(&all[1].1, &whole[..whole.len() - 1]).unwrap();
        let mut wal = wal(&fixture.store);
        wal.append(5, |out| out.extend([0; 7])).unwrap();
        assert_eq!(lengths(&fixture.store, 0).unwrap(), [10, 20, 30, 40, 7]);
    }

    /// A segment that could not be removed when the tables had it may be in any state.
    #[test]
    fn segments_that_the_tables_contain_are_not_read() {
        let fixture = fixture();
        let all = all_segments(&fixture.store);
        fs::write(&all[0].1, b"half a head").unwrap();
        assert_eq!(lengths(&fixture.store, 3).unwrap(), [40, 50]);
        assert!(lengths(&fixture.store, 2).is_err(), "group 3 is not whole");
    }

    #[test]
    fn a_wal_of_another_store_is_refused() {
        let fixture = fixture();
        let other = replay(&SystemVfs, &fixture.store, SEED + 1, 0, |_| Some(()));
        assert!(matches!(other, Err(Error::Corrupted { table: "wal", .. })));
    }
}
