//! Reader of the log of file formats 1 and 2, for upgrades.
//!
//! ```text
//! segment | "convolog" | 1 u32 | first seqno u64 | checksum u64 | records ...
//! record  | length u32 | seqno u64 | checksum u64 | what the group changed, `length` bytes
//! ```
//!
//! Nothing connects this log with its tables but the sequence numbers, which have no gap.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, Result};
use crate::io::vfs::{Access, Vfs};

const SEGMENT_HEADER: usize = 28;
const RECORD_HEADER: usize = 20;

const fn corrupted(what: &'static str) -> Error {
    Error::Corrupted { table: "wal", what }
}

fn segment_header(seed: u64, first: u64) -> [u8; SEGMENT_HEADER] {
    let mut header = [0; SEGMENT_HEADER];
    header[..8].copy_from_slice(super::MAGIC);
    header[8..12].copy_from_slice(&1_u32.to_le_bytes());
    header[12..20].copy_from_slice(&first.to_le_bytes());
    let checksum = xxh3_64_with_seed(&header[..20], seed);
    header[20..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The payload of record `seqno` at the start of `bytes`, if the record is intact, and the bytes
/// after it.
fn parse_record(bytes: &[u8], seed: u64, seqno: u64) -> Option<(&[u8], &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<RECORD_HEADER>()?;
    let (length, header) = header.split_first_chunk()?;
    let (stored_seqno, header) = header.split_first_chunk()?;
    let (checksum, _) = header.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (payload, rest) = rest.split_at_checked(length)?;
    let intact = u64::from_le_bytes(*stored_seqno) == seqno
        && u64::from_le_bytes(*checksum) == xxh3_64_with_seed(payload, seed ^ seqno);
    intact.then_some((payload, rest))
}

/// The last sequence number of a segment of this store, or none if it is not one.
pub(crate) fn last_seqno(bytes: &[u8], seed: u64) -> Option<u64> {
    let first = u64::from_le_bytes(*bytes.get(12..)?.first_chunk()?);
    let mut rest = bytes.strip_prefix(&segment_header(seed, first))?;
    let mut seqno = first;
    while let Some((_, after)) = parse_record(rest, seed, seqno) {
        (rest, seqno) = (after, seqno.checked_add(1)?);
    }
    seqno.checked_sub(1)
}

/// Passes the payload of every group after `flushed` to `apply`, in order, and returns the last
/// sequence number, or `flushed` if there is none.
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
        while let Some((payload, after_record)) = parse_record(rest, seed, expected) {
            if expected == last + 1 {
                apply(payload).ok_or(corrupted("a group does not decode"))?;
                last = expected;
            }
            expected += 1;
            rest = after_record;
        }
        let continues = next_segment.is_some_and(|next| next <= last + 1);
        if !continues && expected > flushed && has_later_record(rest, seed, expected) {
            return Err(corrupted("a record is damaged"));
        }
    }
    Ok(last)
}

/// Whether `bytes` contain an intact record after `seqno` at any offset.
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
