//! Retention: a background task of the server that deletes expired conversations and changes.
//!
//! A pass runs at the start and every hour, in small writes with pauses, so that clients hardly
//! notice.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use convodb::{ExpireReport, ListRequest, Retention, Store, Timestamp, UserId};

use crate::console::now;

const DAY: Duration = Duration::from_secs(24 * 3600);
const DAY_MILLIS: u64 = 86_400_000;
const INTERVAL: Duration = Duration::from_secs(3600);
/// The pause after a write, as a multiple of the write's duration.
const PAUSE_FACTOR: u32 = 3;
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Retention periods in days.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Of conversations, from their creation; `None` is unlimited.
    pub(crate) conversations: Option<u32>,
    /// Of the change feed.
    pub(crate) changes: u32,
}

/// What a pass deleted.
#[derive(Debug, Default)]
struct Pass {
    conversations: u64,
    expired: ExpireReport,
}

/// Stops a running pass when it is dropped.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs passes for as long as the future is polled. A failed pass is logged and retried in an hour.
pub(crate) async fn run(store: Store, policy: Policy) {
    let stopped = Arc::new(AtomicBool::new(false));
    let _stop = StopOnDrop(stopped.clone());
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        interval.tick().await;
        let (store, stopped) = (store.clone(), stopped.clone());
        let pass = tokio::task::spawn_blocking(move || pass(&store, policy, &stopped));
        let failure = match pass.await {
            Ok(Ok(pass)) => {
                pass.log();
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(cause = failure, "retention pass failed; retrying in 1 h");
    }
}

impl Pass {
    fn log(&self) {
        let (changes, idempotency_records) = (self.expired.changes, self.expired.idempotency);
        if self.conversations + changes + idempotency_records > 0 {
            tracing::info!(
                conversations = self.conversations,
                changes,
                idempotency_records,
                "retention pass deleted expired data"
            );
        }
    }
}

fn pass(store: &Store, policy: Policy, stopped: &AtomicBool) -> anyhow::Result<Pass> {
    let now = now()?;
    let conversations = match policy.conversations {
        Some(days) => delete_expired(store, cutoff(now, days), stopped)?,
        None => 0,
    };
    let changes = DAY * policy.changes;
    let expired = store.expire(now, Retention { changes, ..Retention::default() })?;
    Ok(Pass { conversations, expired })
}

fn delete_expired(store: &Store, before: Timestamp, stopped: &AtomicBool) -> convodb::Result<u64> {
    let mut deleted = 0;
    for user in store.snapshot().users()? {
        let mut started = Instant::now();
        deleted += delete_before(store, user.id, before, || {
            if stopped.load(Ordering::Relaxed) {
                return ControlFlow::Break(());
            }
            thread::sleep((started.elapsed() * PAUSE_FACTOR).min(MAX_PAUSE));
            started = Instant::now();
            ControlFlow::Continue(())
        })?;
    }
    Ok(deleted)
}

/// The time `days` before `now`: conversations created earlier have expired.
pub(crate) fn cutoff(now: Timestamp, days: u32) -> Timestamp {
    let millis = now.millis().saturating_sub(u64::from(days) * DAY_MILLIS);
    Timestamp::from_millis(millis).unwrap_or(Timestamp::MIN)
}

/// Deletes the user's conversations that were created before a time, oldest first, and returns
/// their number. Calls `between` after each write; it may sleep or stop.
pub(crate) fn delete_before(
    store: &Store,
    user: UserId,
    before: Timestamp,
    mut between: impl FnMut() -> ControlFlow<()>,
) -> convodb::Result<u64> {
    let request = ListRequest { created_to: Some(before), ..ListRequest::default() };
    store.delete_all_with_progress(user, &request, |_| between())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cutoff_is_a_number_of_days_ago() {
        let now: Timestamp = "2025-01-25 14:30:00".parse().unwrap();
        assert_eq!(cutoff(now, 25).to_string(), "2024-12-31 14:30:00");
        assert_eq!(cutoff(now, u32::MAX), Timestamp::MIN);
    }
}
