//! The log: what each group of writes put, in a file beside the store, synced before the group is
//! acknowledged. The tables get it later, many groups at once; after a crash it is read again.
//!
//! The file is made of segments, `<store>-log.<first group>`. A segment is cut off when a checkpoint
//! begins and removed when it is done, so there are hardly ever more than two. All integers are
//! little-endian; every checksum is xxh3-64 with a seed that is the store's own, so that no other
//! store's log is ever taken for this one's.
//!
//! ```text
//! segment | "convolog" | format u32 | first group u64 | checksum u64 | records ...
//! record  | length u32 | group u64 | checksum u64 | what the group put, `length` bytes
//! ```
//!
//! A power cut may tear the last record, which was then not acknowledged: it is passed over, and
//! the log goes on in a new segment. A record that is damaged while a later one is whole was
//! acknowledged, and is an error.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, Result};
use crate::io::vfs::{Access, Vfs, VfsFile, directory_of};

const MAGIC: &[u8; 8] = b"convolog";
const FORMAT: u32 = 1;
const SEGMENT_HEAD: usize = 28;
const RECORD_HEAD: usize = 20;

/// The end of a store's log, to append to.
pub(crate) struct Wal {
    vfs: Arc<dyn Vfs>,
    store: PathBuf,
    seed: u64,
    segment: Option<Segment>,
    /// One record.
    buffer: Vec<u8>,
}

/// The segment that is appended to.
struct Segment {
    file: Box<dyn VfsFile>,
    /// Where the last record that was acknowledged ends.
    end: u64,
}

/// Why a record was not appended.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The log is as it was: the record will not be read.
    RolledBack(Error),
    /// It is unknown whether the record will be read, and what the segment has on disk.
    Unknown(Error),
}

impl Wal {
    /// The log of the store at `store`. Nothing is touched before the first append.
    pub(crate) const fn new(vfs: Arc<dyn Vfs>, store: PathBuf, seed: u64) -> Self {
        Self { vfs, store, seed, segment: None, buffer: Vec::new() }
    }

    /// Appends the record of `group`, which `write` writes, and syncs it.
    pub(crate) fn append(
        &mut self,
        seqno: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), AppendError> {
        self.encode(seqno, write).map_err(AppendError::RolledBack)?;
        let segment = match &mut self.segment {
            Some(segment) => segment,
            none => {
                let created = create_segment(&*self.vfs, &self.store, self.seed, seqno);
                // What is left of it holds no record, and makes way for the next attempt.
                none.insert(created.map_err(AppendError::RolledBack)?)
            }
        };
        if let Err(error) = segment.file.write_all_at(segment.end, &self.buffer) {
            // What was synced before is whole, so the segment can be cut back to it.
            let truncated = segment.file.set_size(segment.end).and_then(|()| segment.file.sync());
            let error = Error::Io(error);
            return Err(match truncated {
                Ok(()) => AppendError::RolledBack(error),
                Err(_) => AppendError::Unknown(error),
            });
        }
        // After a failed sync a later one proves nothing: the system may have dropped what it
        // could not write. Nothing more goes into this segment.
        segment.file.sync().map_err(|error| AppendError::Unknown(error.into()))?;
        segment.end += self.buffer.len() as u64;
        Ok(())
    }

    /// Makes the record of `group`.
    fn encode(&mut self, seqno: u64, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        self.buffer.clear();
        self.buffer.resize(RECORD_HEAD, 0);
        write(&mut self.buffer);
        let length = self.buffer.len() - RECORD_HEAD;
        let length = u32::try_from(length).map_err(|_| Error::Invalid {
            field: "write",
            reason: "must not put more than 4 GiB at once",
        })?;
        self.buffer[..4].copy_from_slice(&length.to_le_bytes());
        self.buffer[4..12].copy_from_slice(&seqno.to_le_bytes());
        let checksum = record_checksum(self.seed, seqno, &self.buffer[RECORD_HEAD..]);
        self.buffer[12..RECORD_HEAD].copy_from_slice(&checksum.to_le_bytes());
        Ok(())
    }

    /// Ends the segment: the next append begins another.
    pub(crate) fn end_segment(&mut self) {
        self.segment = None;
    }

    /// Removes the segments that begin no later than with `group`: the tables have what they hold.
    /// None of them may be the one that is appended to. One that cannot be removed is passed over
    /// when the log is read, and removed after the next checkpoint.
    pub(crate) fn remove_segments(&self, seqno: u64) -> Result<()> {
        for (first, path) in segments(&*self.vfs, &self.store)? {
            if first <= seqno {
                self.vfs.remove(&path)?;
            }
        }
        Ok(())
    }
}

fn record_checksum(seed: u64, seqno: u64, payload: &[u8]) -> u64 {
    xxh3_64_with_seed(payload, seed ^ seqno)
}

fn create_segment(vfs: &dyn Vfs, store: &Path, seed: u64, first: u64) -> Result<Segment> {
    let path = segment_path(store, first);
    // What a crash left under the name holds no record that was acknowledged.
    match vfs.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let file = vfs.create(&path)?;
    file.write_all_at(0, &segment_head(seed, first))?;
    file.sync()?;
    vfs.sync_directory(directory_of(&path))?;
    Ok(Segment { file, end: SEGMENT_HEAD as u64 })
}

fn segment_head(seed: u64, first: u64) -> [u8; SEGMENT_HEAD] {
    let mut head = [0; SEGMENT_HEAD];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    head[12..20].copy_from_slice(&first.to_le_bytes());
    let checksum = xxh3_64_with_seed(&head[..20], seed);
    head[20..].copy_from_slice(&checksum.to_le_bytes());
    head
}

fn segment_prefix(store: &Path) -> OsString {
    let mut prefix = store.file_name().unwrap_or_default().to_owned();
    prefix.push("-log.");
    prefix
}

fn segment_path(store: &Path, first: u64) -> PathBuf {
    let mut name = segment_prefix(store);
    name.push(format!("{first:020}"));
    store.with_file_name(name)
}

/// The segments of a store's log: the first group of each, and where it is, in order.
pub(crate) fn segments(vfs: &dyn Vfs, store: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let prefix = segment_prefix(store);
    let mut found = Vec::new();
    for path in vfs.list(directory_of(store))? {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let number = name.strip_prefix(prefix.as_encoded_bytes());
        let first = number.and_then(|number| str::from_utf8(number).ok()?.parse().ok());
        found.extend(first.map(|first| (first, path)));
    }
    found.sort_unstable();
    Ok(found)
}

const fn damaged(what: &'static str) -> Error {
    Error::Corrupted { table: "log", what }
}

/// Gives every group after `after` to `take`, in order, and tells the last of them, or `after`.
///
/// The last record of a segment may be one whose sync failed, which the system shows and the disk
/// does not have; nothing is appended after it. So it is written once more where it lies, and synced.
///
/// # Errors
/// [`Error::Corrupted`] where a group that was acknowledged is missing or damaged, or `take` gives
/// none, or a fault of the disk.
pub(crate) fn replay(
    vfs: &dyn Vfs,
    store: &Path,
    seed: u64,
    after: u64,
    mut take: impl FnMut(&[u8]) -> Option<()>,
) -> Result<u64> {
    let segments = segments(vfs, store)?;
    let mut last = after;
    for (at, (first, path)) in segments.iter().enumerate() {
        let next_segment = segments.get(at + 1).map(|(first, _)| *first);
        // The tables have all of it: it may be one that could not be removed, in any state.
        if next_segment.is_some_and(|next| next <= after + 1) {
            continue;
        }
        let bytes = vfs.open(path, Access::Read)?.read_all()?;
        let Some(mut rest) = bytes.strip_prefix(&segment_head(seed, *first)) else {
            // The head is synced before the first record is written.
            if next_segment.is_none() && bytes.len() <= SEGMENT_HEAD {
                break;
            }
            return Err(damaged("a segment is not this store's, or its head is damaged"));
        };
        if *first > last + 1 {
            return Err(damaged("groups are missing"));
        }
        let mut expected = *first;
        let mut last_record = 0..0;
        while let Some((payload, after_record)) = record(rest, seed, expected) {
            last_record = bytes.len() - rest.len()..bytes.len() - after_record.len();
            if expected == last + 1 {
                take(payload).ok_or(damaged("a group is not what was put"))?;
                last = expected;
            }
            expected += 1;
            rest = after_record;
        }
        if last > after && !last_record.is_empty() {
            let file = vfs.open(path, Access::Write)?;
            file.write_all_at(last_record.start as u64, &bytes[last_record])?;
            file.sync()?;
        }
        let goes_on = next_segment.is_some_and(|next| next <= last + 1);
        if !goes_on && expected > after && has_later(rest, seed, expected) {
            return Err(damaged("a record is damaged"));
        }
    }
    Ok(last)
}

/// The record of `group` at the front of `bytes`, if it is whole, and what comes after it.
fn record(bytes: &[u8], seed: u64, seqno: u64) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<RECORD_HEAD>()?;
    let (length, head) = head.split_first_chunk()?;
    let (stored_seqno, head) = head.split_first_chunk()?;
    let (checksum, _) = head.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (payload, rest) = rest.split_at_checked(length)?;
    let whole = u64::from_le_bytes(*stored_seqno) == seqno
        && u64::from_le_bytes(*checksum) == record_checksum(seed, seqno, payload);
    whole.then_some((payload, rest))
}

/// Whether a whole record of a group after `group` lies anywhere in `bytes`. Groups are numbered
/// without gaps, so hardly any place but the head of a record has a number to look closer at.
fn has_later(bytes: &[u8], seed: u64, seqno: u64) -> bool {
    let last = seqno.saturating_add((bytes.len() / RECORD_HEAD) as u64);
    (0..bytes.len()).any(|at| {
        let bytes = &bytes[at..];
        let stored = bytes.get(4..12).and_then(|seqno| seqno.try_into().ok());
        let stored = stored.map(u64::from_le_bytes);
        let later = stored.filter(|stored| (seqno + 1..=last).contains(stored));
        later.is_some_and(|later| record(bytes, seed, later).is_some())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::io::system::SystemVfs;

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
    fn groups_are_read_in_order_from_any_on() {
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
    fn a_torn_end_is_passed_over_and_nothing_else_is() {
        let fixture = fixture();
        let all = all_segments(&fixture.store);
        let (last, whole) = (&all[1].1, fs::read(&all[1].1).unwrap());
        for cut in 0..whole.len() {
            fs::write(last, &whole[..cut]).unwrap();
            let kept = if cut >= whole.len() - 50 - RECORD_HEAD { 4 } else { 3 };
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
    fn a_flipped_bit_is_told_where_a_later_record_is_whole() {
        let fixture = fixture();
        let all = all_segments(&fixture.store);
        for (path, may_be_torn) in [(&all[0].1, usize::MAX), (&all[1].1, 50 + RECORD_HEAD)] {
            let whole = fs::read(path).unwrap();
            for at in 0..whole.len() {
                let mut flipped = whole.clone();
                flipped[at] ^= 4;
                fs::write(path, &flipped).unwrap();
                let read = lengths(&fixture.store, 0);
                if whole.len() - at <= may_be_torn && may_be_torn != usize::MAX {
                    assert_eq!(read.unwrap(), [10, 20, 30, 40], "the last record, at {at}");
                } else {
                    assert!(matches!(read, Err(Error::Corrupted { table: "log", .. })), "{at}");
                }
            }
            fs::write(path, &whole).unwrap();
        }
    }

    #[test]
    fn a_torn_record_is_written_again_in_a_new_segment() {
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
    fn what_the_tables_have_is_not_looked_at() {
        let fixture = fixture();
        let all = all_segments(&fixture.store);
        fs::write(&all[0].1, b"half a head").unwrap();
        assert_eq!(lengths(&fixture.store, 3).unwrap(), [40, 50]);
        assert!(lengths(&fixture.store, 2).is_err(), "group 3 is not whole");
    }

    #[test]
    fn another_stores_log_is_refused() {
        let fixture = fixture();
        let other = replay(&SystemVfs, &fixture.store, SEED + 1, 0, |_| Some(()));
        assert!(matches!(other, Err(Error::Corrupted { table: "log", .. })));
    }
}
