//! What a server does beside serving: every hour, it deletes what is older than `--keep` and
//! `--keep-changes`, in small writes with pauses, so that clients hardly notice.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use convodb::{Expired, Keep, Store, Timestamp};

use crate::commands::prune::{delete_before, oldest_kept};
use crate::console::now;

const DAY: Duration = Duration::from_secs(24 * 3600);
const EVERY: Duration = Duration::from_secs(3600);
/// After a write, as often its time is left to others.
const PAUSES: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How many days things are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// Conversations; none for ever.
    pub(crate) conversations: Option<u32>,
    /// Changes, for those who follow them.
    pub(crate) changes: u32,
}

/// What a pass did away with.
#[derive(Debug, Default)]
struct Pass {
    conversations: u64,
    expired: Expired,
}

/// Ends a pass that is going on, when it is dropped.
pub(crate) struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does away with what is not kept longer, now and every hour, for as long as the future is polled.
pub(crate) async fn keep(store: Store, kept: Kept) {
    let stopped = Arc::new(AtomicBool::new(false));
    let _running = Running(stopped.clone());
    let mut hours = tokio::time::interval(EVERY);
    loop {
        hours.tick().await;
        let (store, stopped) = (store.clone(), stopped.clone());
        let pass = tokio::task::spawn_blocking(move || pass(&store, kept, &stopped));
        match pass.await {
            Ok(Ok(Pass { conversations: 0, expired: Expired { changes: 0, answers: 0 } })) => {}
            Ok(Ok(Pass { conversations, expired: Expired { changes, answers } })) => {
                tracing::info!(
                    deleted = conversations,
                    changes,
                    answers,
                    "deleted what is not kept longer"
                );
            }
            // The next hour comes.
            Ok(Err(error)) => tracing::warn!(cause = %error, "what is not kept longer stays"),
            Err(error) => tracing::warn!(cause = %error, "what is not kept longer stays"),
        }
    }
}

fn pass(store: &Store, kept: Kept, stopped: &AtomicBool) -> anyhow::Result<Pass> {
    let now = now()?;
    let conversations = match kept.conversations {
        Some(days) => delete_all(store, oldest_kept(now, days), stopped)?,
        None => 0,
    };
    let changes = DAY * kept.changes;
    let expired = store.expire(now, Keep { changes, ..Keep::default() })?;
    Ok(Pass { conversations, expired })
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
