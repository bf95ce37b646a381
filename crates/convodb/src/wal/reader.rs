//! Reader of the write-ahead log: replays the groups that the tables lack.

use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Result};
use crate::io::vfs::{Access, Vfs};
use crate::wal::{Chain, RECORD_HEADER, Record, SegmentHeader, WalPosition, format_1};

/// A log on disk.
#[derive(Clone, Copy)]
pub(crate) struct WalFiles<'a> {
    pub(crate) vfs: &'a dyn Vfs,
    /// The path of the store.
    pub(crate) store: &'a Path,
    pub(crate) seed: u64,
}

impl WalFiles<'_> {
    /// Checks that the log continues the tables, which contain it up to `position`, and changes
    /// nothing.
    ///
    /// # Errors
    /// As [`WalFiles::replay`].
    pub(crate) fn check(self, position: WalPosition) -> Result<()> {
        self.walk(position, |_| Some(()), |_, _| Ok(())).map(drop)
    }

    /// Passes the payload of every group that the tables lack to `apply`, in order, and returns the
    /// position after the last one.
    ///
    /// The last record of a segment may be one whose sync failed: the system shows it, but the disk
    /// may not have it, and nothing was appended after it. So it is written again in place and
    /// synced.
    ///
    /// # Errors
    /// [`Error::WalMismatch`] if the log is not the one that the tables need; [`Error::Corrupted`]
    /// if an acknowledged group is damaged, or if `apply` returns `None`; or an I/O error.
    pub(crate) fn replay(
        self,
        position: WalPosition,
        apply: impl FnMut(&[u8]) -> Option<()>,
    ) -> Result<WalPosition> {
        self.walk(position, apply, |path, (offset, record)| {
            let file = self.vfs.open(path, Access::Write)?;
            file.write_all_at(offset, record)?;
            Ok(file.sync()?)
        })
    }

    fn walk(
        self,
        position: WalPosition,
        mut apply: impl FnMut(&[u8]) -> Option<()>,
        mut rewrite: impl FnMut(&Path, (u64, &[u8])) -> Result<()>,
    ) -> Result<WalPosition> {
        let segments = super::segments(self.vfs, self.store)?;
        let Some(Chain { link, anchor }) = position.chain else {
            for (_, path) in &segments {
                self.check_left_over(path, position.seqno)?;
            }
            return Ok(position);
        };
        let mut walk = Walk { anchor, seqno: position.seqno, link, found: false, damage: None };
        for (_, path) in &segments {
            let bytes = self.vfs.open(path, Access::Read)?.read_all()?;
            let last_record = walk.segment(self, &bytes, &mut apply)?;
            if !last_record.is_empty() {
                rewrite(path, (last_record.start as u64, &bytes[last_record]))?;
            }
        }
        match walk.damage {
            _ if walk.found => Ok(walk.position()),
            Some(damage) => Err(damage),
            None if segments.is_empty() => Err(self.mismatch("is missing")),
            None => Err(self.mismatch("is cut short or belongs to another copy of it")),
        }
    }

    /// Checks that a segment beside a closed store has no group that the tables lack.
    fn check_left_over(self, path: &Path, seqno: u64) -> Result<()> {
        let bytes = self.vfs.open(path, Access::Read)?.read_all()?;
        let last = match SegmentHeader::parse(&bytes, self.seed) {
            Some((_, mut rest)) => {
                let mut last = 0;
                while let Some((record, after)) = Record::parse(rest, self.seed) {
                    (last, rest) = (record.header.seqno, after);
                }
                Some(last)
            }
            None if is_unused(&bytes) => Some(0),
            None => format_1::last_seqno(&bytes, self.seed),
        };
        match last {
            Some(last) if last <= seqno => Ok(()),
            _ => Err(self.mismatch("belongs to another copy of it or to another store")),
        }
    }

    fn mismatch(self, what: &'static str) -> Error {
        Error::WalMismatch { path: self.store.to_owned(), what }
    }
}

/// The state between two segments.
struct Walk {
    /// The last link that was found, or that must be found.
    anchor: u64,
    /// The last group that the tables contain or that was replayed.
    seqno: u64,
    /// The link that the next record must continue.
    link: u64,
    /// Whether the link was found, after which nothing may be missing.
    found: bool,
    /// Damage before the anchor, which is harmless if the anchor is found after it.
    damage: Option<Error>,
}

impl Walk {
    const fn position(&self) -> WalPosition {
        let chain = Chain { link: self.link, anchor: self.anchor };
        WalPosition { seqno: self.seqno, chain: Some(chain) }
    }

    /// Replays a segment, and returns the range of its last record that was replayed.
    fn segment(
        &mut self,
        files: WalFiles<'_>,
        bytes: &[u8],
        apply: &mut impl FnMut(&[u8]) -> Option<()>,
    ) -> Result<Range<usize>> {
        let mut last_record = 0..0;
        let Some((header, mut rest)) = SegmentHeader::parse(bytes, files.seed) else {
            if !is_unused(bytes) {
                self.damaged("a segment is damaged or belongs to another store")?;
            }
            return Ok(last_record);
        };
        // A power cut during its creation can leave a segment with neither its size nor a record,
        // which nothing relies on.
        let is_short = (bytes.len() as u64) < header.size;
        if is_short && Record::parse(rest, files.seed).is_none() {
            return Ok(last_record);
        }
        // A segment may start before groups without a record, which the tables contain.
        if self.found && header.previous != self.link && header.previous != self.anchor {
            // One that the tables do not know yet began another chain, and is empty.
            return match Record::parse(rest, files.seed) {
                None => Ok(last_record),
                Some(_) => Err(files.mismatch("lacks groups of writes")),
            };
        }
        self.found |= header.previous == self.anchor;
        let mut seqno = header.first.saturating_sub(1);
        while let Some((record, after)) = Record::parse(rest, files.seed) {
            let header = record.header;
            if self.found {
                if header.previous != self.link {
                    return Err(files.mismatch("lacks groups of writes"));
                }
                apply(record.payload).ok_or(corrupted("a group does not decode"))?;
                last_record = bytes.len() - rest.len()..bytes.len() - after.len();
                (self.seqno, self.link) = (header.seqno, header.checksum);
                self.anchor = header.checksum;
            }
            self.found |= header.checksum == self.anchor;
            (seqno, rest) = (header.seqno, after);
        }
        if has_later_record(rest, files.seed, seqno) {
            self.damaged("a record is damaged")?;
        }
        if self.found && is_short {
            return Err(files.mismatch("is cut short"));
        }
        Ok(last_record)
    }

    fn damaged(&mut self, what: &'static str) -> Result<()> {
        if self.found {
            return Err(corrupted(what));
        }
        self.damage.get_or_insert(corrupted(what));
        Ok(())
    }
}

const fn corrupted(what: &'static str) -> Error {
    Error::Corrupted { table: "wal", what }
}

/// Whether a segment whose header is not intact never had a record: the header is synced before the
/// first record is written.
fn is_unused(bytes: &[u8]) -> bool {
    bytes.iter().skip(super::SEGMENT_HEADER).all(|byte| *byte == 0)
}

/// Whether `bytes` contain an intact record after `seqno` at any offset. Sequence numbers have
/// hardly any gap, so hardly any offset but that of a record contains a plausible one.
fn has_later_record(bytes: &[u8], seed: u64, seqno: u64) -> bool {
    let last = seqno.saturating_add(2 + (bytes.len() / RECORD_HEADER) as u64);
    (0..bytes.len()).any(|at| {
        let bytes = &bytes[at..];
        let stored = bytes.get(4..12).and_then(|seqno| seqno.try_into().ok());
        let later =
            stored.map(u64::from_le_bytes).is_some_and(|stored| stored > seqno && stored <= last);
        later && Record::parse(bytes, seed).is_some()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::io::fault::FaultSignal;
    use crate::io::file_guard::{FileGuard, FileSize};
    use crate::io::system::SystemVfs;
    use crate::wal::writer::Wal;
    use crate::wal::{SEGMENT_HEADER, segments};

    const SEED: u64 = 77;
    const FIRST_LINK: u64 = 5;

    struct Fixture {
        _directory: tempfile::TempDir,
        store: PathBuf,
        /// The position before each group, and after the last one.
        positions: Vec<WalPosition>,
    }

    fn wal(store: &Path) -> Wal {
        let vfs = Arc::new(SystemVfs);
        let (id, size) = (vfs.file_id(store).unwrap(), Arc::new(FileSize::new(0)));
        let guard = FileGuard::new(vfs, store.to_owned(), id, size, FaultSignal::detached());
        Wal::new(Arc::new(guard), SEED, WalPosition { seqno: 0, chain: None })
    }

    fn append(wal: &mut Wal, length: usize) {
        wal.append(|out| out.resize(out.len() + length, b'a')).unwrap();
    }

    /// Three groups in a segment, and two in another.
    fn fixture() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        fs::write(&store, "").unwrap();
        let mut wal = wal(&store);
        wal.begin(FIRST_LINK).unwrap();
        let mut positions = vec![wal.position()];
        for length in [10, 20, 30, 40, 50] {
            append(&mut wal, length);
            positions.push(wal.position());
            if length == 30 {
                wal.rotate().unwrap();
                wal.rotate().unwrap();
            }
        }
        Fixture { _directory: directory, store, positions }
    }

    impl Fixture {
        fn files(&self) -> WalFiles<'_> {
            WalFiles { vfs: &SystemVfs, store: &self.store, seed: SEED }
        }

        /// The lengths of the groups that are replayed over tables at a position.
        fn lengths(&self, position: WalPosition) -> Result<Vec<usize>> {
            let mut lengths = Vec::new();
            let checked = self.files().check(position);
            let replayed = self.files().replay(position, |payload| {
                lengths.push(payload.len());
                Some(())
            });
            assert_eq!(checked.is_ok(), replayed.is_ok());
            let last = replayed?;
            if position.chain.is_some() {
                assert_eq!(last.seqno, position.seqno + lengths.len() as u64);
            }
            Ok(lengths)
        }

        fn segment(&self, at: usize) -> PathBuf {
            segments(&SystemVfs, &self.store).unwrap()[at].1.clone()
        }

        /// The offset in the second segment at which its last record begins.
        fn last_record(&self) -> usize {
            SEGMENT_HEADER + RECORD_HEADER + 40
        }
    }

    #[track_caller]
    fn assert_mismatch(read: &Result<Vec<usize>>) {
        assert!(matches!(read, Err(Error::WalMismatch { .. })), "{read:?}");
    }

    /// A checkpoint after recovery for which there was no space for a new segment: its position in
    /// the tables still names a segment that the log must contain.
    #[test]
    fn a_recovered_log_keeps_its_segments_until_it_has_a_new_one() {
        let fixture = fixture();
        let mut wal = wal(&fixture.store);
        wal.continue_after(*fixture.positions.last().unwrap());
        let flushed = wal.after_unlogged();
        wal.remove_segments(flushed.seqno).unwrap();
        assert_eq!(fixture.lengths(flushed).unwrap().len(), 0);
        wal.continue_after(flushed);
        wal.rotate().unwrap();
        wal.remove_segments(flushed.seqno).unwrap();
        assert_eq!(fixture.lengths(wal.position()).unwrap().len(), 0);
        assert_eq!(segments(&SystemVfs, &fixture.store).unwrap().len(), 1);
    }

    #[test]
    fn groups_are_replayed_in_order_from_any_position() {
        let fixture = fixture();
        let all = [10, 20, 30, 40, 50];
        for (at, position) in fixture.positions.iter().enumerate() {
            assert_eq!(fixture.lengths(*position).unwrap(), all[at..]);
        }
        fs::remove_file(fixture.segment(0)).unwrap();
        let rotated = WalPosition { seqno: 3, ..fixture.positions[3] };
        assert_eq!(fixture.lengths(rotated).unwrap(), [40, 50]);
        assert_mismatch(&fixture.lengths(fixture.positions[2]));
    }

    #[test]
    fn a_log_that_is_missing_cut_short_or_foreign_is_refused() {
        let fixture = fixture();
        let (begin, last) = (fixture.positions[0], fixture.segment(1));
        let whole = fs::read(&last).unwrap();
        for cut in [0, 1, SEGMENT_HEADER, fixture.last_record(), whole.len() - 1] {
            fs::write(&last, &whole[..cut]).unwrap();
            // The tables need what the segment contained, or at least that it begins.
            assert_mismatch(&fixture.lengths(fixture.positions[4]));
        }
        fs::write(&last, &whole).unwrap();
        let foreign = Chain { link: 9, anchor: 9 };
        assert_mismatch(&fixture.lengths(WalPosition { seqno: 0, chain: Some(foreign) }));
        // An older copy of the tables, which lacks a group that has no record.
        let mut wal = wal(&fixture.store);
        wal.continue_after(*fixture.positions.last().unwrap());
        wal.continue_after(wal.after_unlogged());
        append(&mut wal, 60);
        assert_mismatch(&fixture.lengths(begin));
        for at in 0..3 {
            fs::remove_file(fixture.segment(2 - at)).unwrap();
        }
        let missing = fixture.lengths(begin).unwrap_err().to_string();
        assert!(missing.contains("is missing"), "{missing}");
    }

    #[test]
    fn beside_a_closed_store_only_what_the_tables_contain_is_left_over() {
        let fixture = fixture();
        let closed = |seqno| WalPosition { seqno, chain: None };
        assert_eq!(fixture.lengths(closed(5)).unwrap(), [0; 0]);
        assert_mismatch(&fixture.lengths(closed(4)));
        fs::write(fixture.segment(1), [b'x'; 100]).unwrap();
        assert_mismatch(&fixture.lengths(closed(5)));
    }

    /// As a power cut during the creation of a segment leaves it, before another takes its place.
    #[test]
    fn a_short_segment_without_a_record_is_ignored() {
        let fixture = fixture();
        let mut wal = wal(&fixture.store);
        wal.continue_after(fixture.positions[5]);
        wal.rotate().unwrap();
        let short = fixture.segment(2);
        let header = fs::read(&short).unwrap()[..SEGMENT_HEADER].to_vec();
        fs::write(&short, header).unwrap();
        assert_eq!(fixture.lengths(fixture.positions[5]).unwrap(), [0; 0]);
        let mut wal = self::wal(&fixture.store);
        wal.continue_after(fixture.positions[5]);
        append(&mut wal, 7);
        for _ in 0..2 {
            fs::remove_file(fixture.segment(0)).unwrap();
        }
        assert_eq!(fixture.lengths(fixture.positions[5]).unwrap(), [7]);
        fs::remove_file(fixture.segment(1)).unwrap();
        assert_mismatch(&fixture.lengths(fixture.positions[5]));
    }

    #[test]
    fn torn_last_record_is_ignored() {
        let fixture = fixture();
        let last = fixture.segment(1);
        let whole = fs::read(&last).unwrap();
        let end = fixture.last_record() + RECORD_HEADER + 50;
        for torn in fixture.last_record()..end {
            let mut bytes = whole.clone();
            bytes[torn..end].fill(0);
            fs::write(&last, &bytes).unwrap();
            assert_eq!(fixture.lengths(fixture.positions[0]).unwrap(), [10, 20, 30, 40]);
        }
    }

    #[test]
    fn flipped_bit_is_an_error_if_a_later_record_is_intact() {
        let fixture = fixture();
        for (segment, used) in [(0, 3 * RECORD_HEADER + 60), (1, 2 * RECORD_HEADER + 90)] {
            let path = fixture.segment(segment);
            let whole = fs::read(&path).unwrap();
            for at in 0..SEGMENT_HEADER + used {
                let mut flipped = whole.clone();
                flipped[at] ^= 4;
                fs::write(&path, &flipped).unwrap();
                let read = fixture.lengths(fixture.positions[0]);
                if segment == 1 && at >= fixture.last_record() {
                    assert_eq!(read.unwrap(), [10, 20, 30, 40], "the last record, at {at}");
                } else {
                    let refused =
                        matches!(read, Err(Error::Corrupted { .. } | Error::WalMismatch { .. }));
                    assert!(refused, "segment {segment}, at {at}: {read:?}");
                }
            }
            fs::write(&path, &whole).unwrap();
        }
    }

    #[test]
    fn writing_continues_in_a_new_segment_after_a_torn_record() {
        let fixture = fixture();
        let last = fixture.segment(1);
        let mut bytes = fs::read(&last).unwrap();
        bytes[fixture.last_record() + RECORD_HEADER] ^= 1;
        fs::write(&last, &bytes).unwrap();
        let mut wal = wal(&fixture.store);
        wal.continue_after(fixture.positions[4]);
        append(&mut wal, 7);
        assert_eq!(fixture.lengths(fixture.positions[0]).unwrap(), [10, 20, 30, 40, 7]);
    }

    /// The number of a segment that got no record is not used again.
    #[test]
    fn a_segment_without_a_record_is_never_overwritten() {
        let fixture = fixture();
        let mut wal = wal(&fixture.store);
        wal.continue_after(fixture.positions[5]);
        wal.rotate().unwrap();
        let mut wal = self::wal(&fixture.store);
        wal.continue_after(fixture.positions[5]);
        append(&mut wal, 7);
        assert_eq!(segments(&SystemVfs, &fixture.store).unwrap().len(), 4);
        assert_eq!(fixture.lengths(fixture.positions[0]).unwrap(), [10, 20, 30, 40, 50, 7]);
    }

    #[test]
    fn a_full_segment_is_followed_by_a_larger_one() {
        let fixture = fixture();
        let mut wal = wal(&fixture.store);
        wal.continue_after(fixture.positions[5]);
        for length in [40_000, 40_000, 40_000, 5_000_000, 10] {
            append(&mut wal, length);
        }
        let lengths = fixture.lengths(fixture.positions[5]).unwrap();
        assert_eq!(lengths, [40_000, 40_000, 40_000, 5_000_000, 10]);
        let sizes: Vec<u64> =
            (2..6).map(|at| fs::metadata(fixture.segment(at)).unwrap().len()).collect();
        assert_eq!(sizes[..2], [64 << 10, 128 << 10]);
        assert!(sizes[2] > 5_000_000 && sizes[3] >= 512 << 10, "{sizes:?}");
        wal.remove_segments(wal.position().seqno).unwrap();
        assert_eq!(segments(&SystemVfs, &fixture.store).unwrap().len(), 1);
    }
}
