//! Write-ahead log: the on-disk format of what each group of writes changed.
//!
//! A group is appended to a file beside the store and synced before it is acknowledged
//! ([`writer`]). The tables receive it later, many groups at once; recovery replays what they lack
//! ([`reader`]).
//!
//! The log consists of segments, `<store>-log.<first sequence number>`. A segment ends when a
//! checkpoint starts and is removed when the checkpoint is done, so there are rarely more than two.
//! All integers are little-endian. Every checksum is xxh3-64 with a seed that is secret to the
//! store, so a log of another store is never accepted.
//!
//! ```text
//! segment | "convolog" | format u32 | first seqno u64 | checksum u64 | records ...
//! record  | length u32 | seqno u64 | checksum u64 | what the group changed, `length` bytes
//! ```
//!
//! A power cut may tear the last record, which was then not acknowledged: replay ignores it, and
//! new groups continue in a new segment. A damaged record that precedes an intact one was
//! acknowledged, and is an error.

pub(crate) mod reader;
pub(crate) mod writer;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::Result;
use crate::io::vfs::{Vfs, directory_of};

const MAGIC: &[u8; 8] = b"convolog";
const FORMAT: u32 = 1;
const SEGMENT_HEADER: usize = 28;
const RECORD_HEADER: usize = 20;

fn segment_header(seed: u64, first: u64) -> [u8; SEGMENT_HEADER] {
    let mut header = [0; SEGMENT_HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    header[12..20].copy_from_slice(&first.to_le_bytes());
    let checksum = xxh3_64_with_seed(&header[..20], seed);
    header[20..].copy_from_slice(&checksum.to_le_bytes());
    header
}

fn record_header(seed: u64, seqno: u64, length: u32, payload: &[u8]) -> [u8; RECORD_HEADER] {
    let mut header = [0; RECORD_HEADER];
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..12].copy_from_slice(&seqno.to_le_bytes());
    header[12..].copy_from_slice(&record_checksum(seed, seqno, payload).to_le_bytes());
    header
}

fn record_checksum(seed: u64, seqno: u64, payload: &[u8]) -> u64 {
    xxh3_64_with_seed(payload, seed ^ seqno)
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
        && u64::from_le_bytes(*checksum) == record_checksum(seed, seqno, payload);
    intact.then_some((payload, rest))
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

/// The segments of a store's log in order: first sequence number and path.
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
