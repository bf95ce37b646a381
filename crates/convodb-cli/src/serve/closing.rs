//! Closing within a time limit: a slow disk must not make a stop take longer than stated.
//!
//! Closing writes the queued writes and a checkpoint, each with syncs that a disk may take seconds
//! for. What was acknowledged is in the WAL, so the process may end without the checkpoint: nothing
//! is lost, and the next start replays the WAL.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use convodb::Store;

use crate::console::say;

/// Closes the store, or leaves that to the next start after `limit`.
pub(crate) fn close_within(store: Store, limit: Duration) -> Result<()> {
    let (done, closed) = sync_channel(1);
    let close = move || {
        // Nobody receives it after the limit.
        let _ = done.send(store.close());
    };
    let thread = thread::Builder::new().name("convodb-close".to_owned());
    thread.spawn(close).context("cannot start a thread")?;
    match closed.recv_timeout(limit) {
        Ok(closed) => closed.context("cannot close the store"),
        Err(RecvTimeoutError::Disconnected) => bail!("closing the store panicked"),
        Err(RecvTimeoutError::Timeout) => {
            say("the disk is slow: stopped without a checkpoint, the next start replays the log");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use convodb::Error;

    use super::*;

    #[test]
    fn what_was_acknowledged_survives_a_close_that_is_not_awaited() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.convodb");
        for limit in [Duration::ZERO, Duration::from_secs(60)] {
            let store = Store::open(&path).unwrap();
            let name = format!("user {limit:?}");
            store.create_user(name.as_str(), convodb::Timestamp::MIN).unwrap();
            close_within(store, limit).unwrap();
            let again = loop {
                match Store::open(&path) {
                    Err(Error::InUse { .. }) => thread::yield_now(),
                    opened => break opened.unwrap(),
                }
            };
            let users = again.snapshot().users().unwrap();
            assert_eq!(users.last().unwrap().name.as_str(), name);
            again.close().unwrap();
        }
    }
}
