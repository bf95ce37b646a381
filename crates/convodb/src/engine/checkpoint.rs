//! A checkpoint that is being written: a thread of its own carries a tail, which nobody adds to any
//! more, into the tables, while new groups go on into the log.

use std::thread::{self, JoinHandle};

use crate::error::{Error, Result};

/// See the head of this file.
pub(crate) struct Checkpoint {
    thread: JoinHandle<Result<()>>,
    /// The last group that it carries into the tables.
    seqno: u64,
    bytes: usize,
}

impl Checkpoint {
    /// Begins `work`, which carries `bytes` of groups up to `group` into the tables.
    ///
    /// # Errors
    /// The system has no thread.
    pub(crate) fn begin(
        seqno: u64,
        bytes: usize,
        work: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let thread = thread::Builder::new().name("convodb-checkpoint".to_owned()).spawn(work)?;
        Ok(Self { thread, seqno, bytes })
    }

    /// How much it writes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether [`Checkpoint::finish`] will not wait.
    pub(crate) fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for it, and tells the last group that the tables hold with it.
    ///
    /// # Errors
    /// A fault of the commit: the tables are without it.
    pub(crate) fn finish(self) -> Result<u64> {
        let panicked = |_| Err(Error::Storage("a checkpoint panicked".to_owned()));
        self.thread.join().unwrap_or_else(panicked).map(|()| self.seqno)
    }
}
