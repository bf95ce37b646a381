//! Writer of the write-ahead log: appends one record a group and syncs it.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::io::file_guard::FileGuard;
use crate::io::vfs::{VfsFile, directory_of};
use crate::wal::{
    Chain, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, SegmentHeader, WalPosition, segment_path,
    segments,
};

/// The size of the first segment in bytes. Each one that becomes full doubles the size of the next.
const FIRST_SEGMENT_BYTES: u64 = 64 << 10;
/// The largest size of a segment that has more than one record.
const MAX_SEGMENT_BYTES: u64 = 4 << 20;

/// The end of a store's log.
pub(crate) struct Wal {
    /// The store's file, which must have its name when a segment is created beside it.
    file: Arc<FileGuard>,
    seed: u64,
    /// The position after the last group.
    position: WalPosition,
    /// The segment that receives records; none before the first one, and after a failure.
    segment: Option<Segment>,
    segment_bytes: u64,
    /// Buffer for one record.
    buffer: Vec<u8>,
}

struct Segment {
    first: u64,
    size: u64,
    file: Box<dyn VfsFile>,
    /// The end of the last acknowledged record.
    end: u64,
}

/// Why a record was not appended.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The log is unchanged: replay will not see the record.
    RolledBack(Error),
    /// Unknown: replay may see the record, and the state of the segment on disk is uncertain.
    Unknown(Error),
}

impl Wal {
    /// The log beside a store's file, which ends at `position`. No file is touched before the first
    /// append or rotation.
    pub(crate) const fn new(file: Arc<FileGuard>, seed: u64, position: WalPosition) -> Self {
        let segment_bytes = FIRST_SEGMENT_BYTES;
        Self { file, seed, position, segment: None, segment_bytes, buffer: Vec::new() }
    }

    /// The position after the last group.
    pub(crate) const fn position(&self) -> WalPosition {
        self.position
    }

    /// The position after a group that has no record, because it is in the tables alone.
    pub(crate) fn after_unlogged(&self) -> WalPosition {
        self.position.after_unlogged(self.seed)
    }

    /// Continues after `position`, which the tables contain.
    pub(crate) const fn continue_after(&mut self, position: WalPosition) {
        self.position = position;
    }

    /// Begins the log of a store that was closed, with a link that no other log has.
    pub(crate) fn begin(&mut self, link: u64) -> Result<()> {
        self.create_segment(link, 0)
    }

    /// Appends a record for the next group, whose payload `write` appends to a buffer, and syncs
    /// it.
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), AppendError> {
        let header = self.encode(write).map_err(AppendError::RolledBack)?;
        let length = self.buffer.len() as u64;
        if self.segment.as_ref().is_none_or(|segment| segment.end + length > segment.size) {
            if self.segment.is_some() {
                self.segment_bytes = (self.segment_bytes * 2).min(MAX_SEGMENT_BYTES);
            }
            self.create_segment(self.link(), length).map_err(AppendError::RolledBack)?;
        }
        let Some(segment) = &mut self.segment else { unreachable!("it was just created") };
        if let Err(error) = segment.file.write_all_at(segment.end, &self.buffer) {
            // Everything before was synced. Without its header the record is none.
            let erased = segment.file.write_all_at(segment.end, &[0; RECORD_HEADER]);
            let erased = erased.and_then(|()| segment.file.sync());
            let error = Error::from(error);
            return Err(match erased {
                Ok(()) => AppendError::RolledBack(error),
                Err(_) => AppendError::Unknown(error),
            });
        }
        // After a failed sync a later one proves nothing, because the system may have dropped what
        // it could not write: nothing more is appended to this segment.
        segment.file.sync().map_err(|error| AppendError::Unknown(error.into()))?;
        segment.end += length;
        let chain = Chain { link: header.checksum, anchor: header.checksum };
        self.position = WalPosition { seqno: header.seqno, chain: Some(chain) };
        Ok(())
    }

    /// Encodes the record of the next group into the buffer.
    fn encode(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<RecordHeader> {
        self.buffer.clear();
        self.buffer.resize(RECORD_HEADER, 0);
        write(&mut self.buffer);
        let (seqno, link) = (self.position.seqno.wrapping_add(1), self.link());
        let (head, payload) = self.buffer.split_at_mut(RECORD_HEADER);
        let length = u32::try_from(payload.len()).map_err(|_| Error::Invalid {
            field: "write",
            reason: "must not change more than 4 GiB at once",
        })?;
        let header = RecordHeader::new(self.seed, seqno, link, length, payload);
        head.copy_from_slice(&header.encode());
        Ok(header)
    }

    /// The link that the next record continues.
    fn link(&self) -> u64 {
        self.position.chain.map_or(0, |chain| chain.link)
    }

    /// Starts a new segment, unless the last one has no record.
    pub(crate) fn rotate(&mut self) -> Result<()> {
        let is_empty = |segment: &Segment| segment.end == SEGMENT_HEADER as u64;
        if self.segment.as_ref().is_some_and(is_empty) {
            return Ok(());
        }
        self.create_segment(self.link(), 0)
    }

    /// Creates a segment that continues `link`, for at least `bytes` of records. The log is
    /// unchanged if that fails.
    fn create_segment(&mut self, link: u64, bytes: u64) -> Result<()> {
        self.file.check()?;
        let (vfs, store) = (self.file.vfs(), self.file.path());
        let mut first = self.position.seqno.wrapping_add(1);
        // A crash or a failure may have left a segment without a record.
        while vfs.exists(&segment_path(store, first))? {
            first = first.wrapping_add(1);
        }
        let path = segment_path(store, first);
        let size = self.segment_bytes.max(SEGMENT_HEADER as u64 + bytes);
        let header = SegmentHeader { first, size, previous: link };
        let file = vfs.create(&path)?;
        let created = file
            .allocate(size)
            .and_then(|()| file.write_all_at(0, &header.encode(self.seed)))
            .and_then(|()| file.sync())
            .and_then(|()| vfs.sync_directory(directory_of(&path)));
        if let Err(error) = created {
            // It has no record: replay ignores it if it remains.
            let _ = vfs.remove(&path);
            return Err(error.into());
        }
        self.position.chain = Some(Chain { link, anchor: link });
        self.segment = Some(Segment { first, size, file, end: SEGMENT_HEADER as u64 });
        Ok(())
    }

    /// Removes the segments that start at or before `seqno`, whose groups the tables contain,
    /// except the last one. Replay ignores a segment that could not be removed, and the next
    /// checkpoint removes it.
    ///
    /// After recovery or a failed append, until a segment is created, none is removed: the tables
    /// have recorded that the log must contain them.
    pub(crate) fn remove_segments(&self, seqno: u64) -> Result<()> {
        let live = self.segment.as_ref().map(|segment| segment.first);
        if live.is_none() && self.position.chain.is_some() {
            return Ok(());
        }
        let vfs = self.file.vfs();
        for (first, path) in segments(vfs, self.file.path())? {
            if first <= seqno && live != Some(first) {
                vfs.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes the whole log, durably, after the tables recorded that they need none.
    pub(crate) fn remove_all(&mut self) -> Result<()> {
        self.segment = None;
        self.position.chain = None;
        self.remove_segments(u64::MAX)?;
        Ok(self.file.vfs().sync_directory(directory_of(self.file.path()))?)
    }
}
