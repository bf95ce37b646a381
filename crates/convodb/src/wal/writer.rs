//! Writer of the write-ahead log: appends one record a group and syncs it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::io::vfs::{Vfs, VfsFile, directory_of};
use crate::wal::{RECORD_HEADER, SEGMENT_HEADER, record_header, segment_header, segment_path};

/// The end of a store's log.
pub(crate) struct Wal {
    vfs: Arc<dyn Vfs>,
    store: PathBuf,
    seed: u64,
    segment: Option<Segment>,
    /// Buffer for one record.
    buffer: Vec<u8>,
}

/// The segment that receives records.
struct Segment {
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
    /// The log of the store at `store`. No file is touched before the first append.
    pub(crate) const fn new(vfs: Arc<dyn Vfs>, store: PathBuf, seed: u64) -> Self {
        Self { vfs, store, seed, segment: None, buffer: Vec::new() }
    }

    /// Appends record `seqno`, whose payload `write` appends to a buffer, and syncs it.
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
                // A partial segment contains no record, and the next attempt replaces it.
                none.insert(created.map_err(AppendError::RolledBack)?)
            }
        };
        if let Err(error) = segment.file.write_all_at(segment.end, &self.buffer) {
            // Everything before was synced, so the segment can be truncated to it.
            let truncated = segment.file.set_size(segment.end).and_then(|()| segment.file.sync());
            let error = Error::from(error);
            return Err(match truncated {
                Ok(()) => AppendError::RolledBack(error),
                Err(_) => AppendError::Unknown(error),
            });
        }
        // After a failed sync a later one proves nothing, because the system may have dropped what
        // it could not write: nothing more is appended to this segment.
        segment.file.sync().map_err(|error| AppendError::Unknown(error.into()))?;
        segment.end += self.buffer.len() as u64;
        Ok(())
    }

    fn encode(&mut self, seqno: u64, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        self.buffer.clear();
        self.buffer.resize(RECORD_HEADER, 0);
        write(&mut self.buffer);
        let (header, payload) = self.buffer.split_at_mut(RECORD_HEADER);
        let length = u32::try_from(payload.len()).map_err(|_| Error::Invalid {
            field: "write",
            reason: "must not change more than 4 GiB at once",
        })?;
        header.copy_from_slice(&record_header(self.seed, seqno, length, payload));
        Ok(())
    }

    /// Ends the segment: the next append starts a new one.
    pub(crate) fn end_segment(&mut self) {
        self.segment = None;
    }

    /// Removes the segments that start at or before `seqno`, whose groups the tables contain. None
    /// of them may be receiving records. Replay ignores a segment that could not be removed, and
    /// the next checkpoint removes it.
    pub(crate) fn remove_segments(&self, seqno: u64) -> Result<()> {
        for (first, path) in super::segments(&*self.vfs, &self.store)? {
            if first <= seqno {
                self.vfs.remove(&path)?;
            }
        }
        Ok(())
    }
}

fn create_segment(vfs: &dyn Vfs, store: &Path, seed: u64, first: u64) -> Result<Segment> {
    let path = segment_path(store, first);
    // A crash may have left a segment of this name, without an acknowledged record.
    match vfs.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let file = vfs.create(&path)?;
    file.write_all_at(0, &segment_header(seed, first))?;
    file.sync()?;
    vfs.sync_directory(directory_of(&path))?;
    Ok(Segment { file, end: SEGMENT_HEADER as u64 })
}
