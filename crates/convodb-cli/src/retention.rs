//! What a server with `--keep` does beside serving: every hour, it deletes what is older, in small
//! writes with pauses, so that clients hardly notice.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use convodb::{Store, Timestamp};

use crate::console::now;
use crate::retain::{delete_before, oldest_kept};

const EVERY: Duration = Duration::from_secs(3600);
/// After a write, as often its time is left to others.
const PAUSES: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Ends a pass that is going on, when it is dropped.
pub(crate) struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Deletes what is older than `days`, now and every hour, for as long as the future is polled.
pub(crate) async fn keep(store: Store, days: u32) {
    let stopped = Arc::new(AtomicBool::new(false));
    let _running = Running(stopped.clone());
    let mut hours = tokio::time::interval(EVERY);
    loop {
        hours.tick().await;
        let (store, stopped) = (store.clone(), stopped.clone());
        let pass = tokio::task::spawn_blocking(move || {
            let before = oldest_kept(now()?, days);
            delete_all(&store, before, &stopped)
        });
        match pass.await {
            Ok(Ok(0)) => {}
            Ok(Ok(deleted)) => tracing::info!(deleted, days, "deleted what is not kept longer"),
            // The next hour comes.
            Ok(Err(error)) => tracing::warn!(cause = %error, "what is not kept longer stays"),
            Err(error) => tracing::warn!(cause = %error, "what is not kept longer stays"),
        }
    }
}

fn delete_all(store: &Store, before: Timestamp, stopped: &AtomicBool) -> convodb::Result<u64> {
    let mut deleted = 0;
    for user in store.snapshot().users()? {
        let mut began = Instant::now();
        deleted += delete_before(store, user.id, before, || {
            if stopped.load(Ordering::Relaxed) {
                return ControlFlow::Break(());
            }
            thread::sleep((began.elapsed() * PAUSES).min(LONGEST_PAUSE));
            began = Instant::now();
            ControlFlow::Continue(())
        })?;
    }
    Ok(deleted)
}
