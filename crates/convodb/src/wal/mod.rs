//! Write-ahead log: the on-disk format of what each group of writes changed.
//!
//! A group is appended to a file beside the store and synced before it is acknowledged
//! ([`writer`]). The tables receive it later, many groups at once; recovery replays what they lack
//! ([`reader`]).
//!
//! The log consists of segments, `<store>-log.<first sequence number>`. A segment is allocated at
//! its full size before the first record. It ends when a checkpoint starts or when it is full, and
//! is removed when the tables contain it, so there are rarely more than two. All integers are
//! little-endian. Every checksum is xxh3-64 with a seed that is secret to the store.
//!
//! ```text
//! segment | "convolog" | format u32 | first seqno u64 | size u64 | previous u64 | checksum u64 | records ...
//! record  | length u32 | seqno u64 | previous u64 | checksum u64 | what the group changed, `length` bytes
//! ```
//!
//! The records form a chain: each one, and each segment, carries the checksum of the record before
//! it. The tables store the [`WalPosition`] up to which they contain the chain, so a log that is
//! missing, cut short, or of another store or another copy of this store is recognized.
//!
//! A power cut may tear the last record, which was then not acknowledged: replay ignores it, and
//! new groups continue in a new segment. A damaged record that precedes an intact one was
//! acknowledged, and is an error.

pub(crate) mod format_1;
pub(crate) mod reader;
pub(crate) mod writer;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::Result;
use crate::io::vfs::{Vfs, directory_of};

const MAGIC: &[u8; 8] = b"convolog";
const FORMAT: u32 = 2;
const SEGMENT_HEADER: usize = 44;
const RECORD_HEADER: usize = 28;

/// Up to where the tables contain the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WalPosition {
    /// The sequence number of the last group.
    pub(crate) seqno: u64,
    /// None if the store is closed: it has no log, and needs none.
    pub(crate) chain: Option<Chain>,
}

/// Where the log of a store continues its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The link that the next record continues: the checksum of the last record, unless groups
    /// without a record followed it.
    pub(crate) link: u64,
    /// A link that the log contains, as the checksum of a record or as the start of a segment. The
    /// tables lack all records after it.
    pub(crate) anchor: u64,
}

impl WalPosition {
    /// The position after a group that has no record, because it is in the tables alone.
    pub(crate) fn after_unlogged(self, seed: u64) -> Self {
        let seqno = self.seqno.wrapping_add(1);
        let link = |link: u64| xxh3_64_with_seed(&seqno.to_le_bytes(), seed ^ link);
        let chain = self.chain.map(|chain| Chain { link: link(chain.link), ..chain });
        Self { seqno, chain }
    }
}

/// The head of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SegmentHeader {
    /// The number of the segment, higher than those before: the sequence number of its first
    /// record, unless that was taken by a segment that got no record.
    first: u64,
    /// The size of the file in bytes.
    size: u64,
    /// The link that the first record continues.
    previous: u64,
}

impl SegmentHeader {
    fn encode(&self, seed: u64) -> [u8; SEGMENT_HEADER] {
        let mut header = [0; SEGMENT_HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        header[12..20].copy_from_slice(&self.first.to_le_bytes());
        header[20..28].copy_from_slice(&self.size.to_le_bytes());
        header[28..36].copy_from_slice(&self.previous.to_le_bytes());
        let checksum = xxh3_64_with_seed(&header[..36], seed);
        header[36..].copy_from_slice(&checksum.to_le_bytes());
        header
    }

    /// The header of a segment of this store, and the bytes after it.
    fn parse(bytes: &[u8], seed: u64) -> Option<(Self, &[u8])> {
        let (header, rest) = bytes.split_first_chunk::<SEGMENT_HEADER>()?;
        let word = |at: usize| header[at..].first_chunk().map(|word| u64::from_le_bytes(*word));
        let parsed = Self { first: word(12)?, size: word(20)?, previous: word(28)? };
        (parsed.encode(seed) == *header).then_some((parsed, rest))
    }
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RecordHeader {
    length: u32,
    seqno: u64,
    /// The link that the record continues.
    previous: u64,
    /// The link that the next record continues.
    checksum: u64,
}

impl RecordHeader {
    fn new(seed: u64, seqno: u64, previous: u64, length: u32, payload: &[u8]) -> Self {
        let checksum = xxh3_64_with_seed(payload, seed ^ seqno ^ previous);
        Self { length, seqno, previous, checksum }
    }

    fn encode(&self) -> [u8; RECORD_HEADER] {
        let mut header = [0; RECORD_HEADER];
        header[..4].copy_from_slice(&self.length.to_le_bytes());
        header[4..12].copy_from_slice(&self.seqno.to_le_bytes());
        header[12..20].copy_from_slice(&self.previous.to_le_bytes());
        header[20..].copy_from_slice(&self.checksum.to_le_bytes());
        header
    }
}

/// An intact record.
struct Record<'a> {
    header: RecordHeader,
    payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record at the start of `bytes`, if it is intact, and the bytes after it.
    fn parse(bytes: &'a [u8], seed: u64) -> Option<(Self, &'a [u8])> {
        let (header, rest) = bytes.split_first_chunk::<RECORD_HEADER>()?;
        let (length, words) = header.split_first_chunk()?;
        let word = |at: usize| words[at..].first_chunk().map(|word| u64::from_le_bytes(*word));
        let (seqno, previous) = (word(0)?, word(8)?);
        let length = u32::from_le_bytes(*length);
        let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let parsed = RecordHeader::new(seed, seqno, previous, length, payload);
        // Unused space is zeros: no record.
        let intact = seqno > 0 && parsed.encode() == *header;
        intact.then_some((Self { header: parsed, payload }, rest))
    }
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

/// Whether a file of this name is taken for a WAL segment of some store.
pub(crate) fn is_segment_name(name: &str) -> bool {
    let number = name.rsplit_once("-log.").map(|(_, number)| number);
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}
