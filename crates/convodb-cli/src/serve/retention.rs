//! Retention: a background task of the server that deletes expired conversations and changes.
//!
//! A pass runs at the start and every hour, in small writes with pauses, so that clients hardly
//! notice. What the clock or the data make doubtful is not deleted unless a person confirms it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use convodb::{
    Day, ExpireReport, ListRequest, Retention, RetentionDoubt, Store, Timestamp, UserId,
};

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
    /// The date of `--confirm-retention`.
    pub(crate) confirmed: Option<Day>,
}

/// What a pass deleted, and why it did not delete more.
#[derive(Debug, Default)]
struct Pass {
    conversations: u64,
    expired: ExpireReport,
    doubt: Option<RetentionDoubt>,
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
    let mut is_doubted = false;
    loop {
        interval.tick().await;
        let (store, stopped) = (store.clone(), stopped.clone());
        let pass = tokio::task::spawn_blocking(move || pass(&store, now()?, policy, &stopped));
        let failure = match pass.await {
            Ok(Ok(pass)) => {
                pass.log(is_doubted);
                is_doubted = pass.doubt.is_some();
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(cause = failure, "retention pass failed; retrying in 1 h");
    }
}

impl Pass {
    /// Logs what was deleted, and a doubt unless the last pass had one.
    fn log(&self, is_known: bool) {
        if let Some(doubt) = self.doubt.filter(|_| !is_known) {
            tracing::warn!(cause = %doubt, "retention refused; {CONFIRM}");
        }
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

/// Deletes what has expired by `now`. If the clock is doubtful, deletes nothing; if what would be
/// deleted is, deletes no conversation.
fn pass(
    store: &Store,
    now: Timestamp,
    policy: Policy,
    stopped: &AtomicBool,
) -> anyhow::Result<Pass> {
    // Whatever the clock says.
    store.remove_abandoned_inserts()?;
    let snapshot = store.snapshot();
    let users: Vec<UserId> = snapshot.users()?.into_iter().map(|user| user.id).collect();
    let before = policy.conversations.map(|days| cutoff(now, days));
    let doubt = snapshot.doubt_retention(&users, now, before)?;
    drop(snapshot);
    let doubt = doubt.filter(|_| !is_confirmed(policy.confirmed, now));
    let mut pass = Pass { doubt, ..Pass::default() };
    match doubt {
        Some(RetentionDoubt::ClockLeapt { .. }) => return Ok(pass),
        Some(_) => {}
        None => {
            store.begin_retention(now, before)?;
            if let Some(before) = before {
                pass.conversations = delete_expired(store, &users, before, stopped)?;
            }
        }
    }
    let changes = DAY * policy.changes;
    pass.expired = store.expire(now, Retention { changes, ..Retention::default() })?;
    Ok(pass)
}

/// What to do about a [`RetentionDoubt`].
pub(crate) const CONFIRM: &str =
    "if the clock and the period are right, confirm it with --confirm-retention and today's date";

/// Whether a person has confirmed the clock: the date of `--confirm-retention` is that of `now`, or
/// next to it, as it may be elsewhere.
pub(crate) fn is_confirmed(date: Option<Day>, now: Timestamp) -> bool {
    date.is_some_and(|date| date.days_until(now.day()).abs() <= 1)
}

fn delete_expired(
    store: &Store,
    users: &[UserId],
    before: Timestamp,
    stopped: &AtomicBool,
) -> convodb::Result<u64> {
    let mut deleted = 0;
    for user in users.iter().copied() {
        let mut started = Instant::now();
        deleted += delete_before(store, user, before, || {
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

    #[test]
    fn a_confirmation_is_of_the_date_of_the_clock() {
        let now: Timestamp = "2025-01-25 23:30:00".parse().unwrap();
        let check = |date: &str| is_confirmed(Some(date.parse().unwrap()), now);
        assert!(check("2025-01-24") && check("2025-01-25") && check("2025-01-26"));
        assert!(!check("2025-01-23") && !check("2024-01-25") && !check("2031-01-25"));
        assert!(!is_confirmed(None, now));
    }

    /// A store of 50 conversations of the last 100 days before `now`.
    fn filled(now: Timestamp) -> (Store, UserId) {
        use convodb::{AssistantId, Channel, Conversation, ConversationId};
        let store = Store::in_memory().unwrap();
        let user = store.create_user("acme", now).unwrap().id;
        let bot = store.create_assistant(user, AssistantId::generate(now), "Bot").unwrap().id;
        for number in 0..50 {
            let at = Timestamp::from_millis(now.millis() - number * 2 * DAY_MILLIS).unwrap();
            let row = Conversation::new(ConversationId::generate(at), bot, Channel::Test, at);
            store.insert(user, row, Vec::new()).unwrap();
        }
        (store, user)
    }

    fn run(store: &Store, now: Timestamp, policy: Policy) -> Pass {
        pass(store, now, policy, &AtomicBool::new(false)).unwrap()
    }

    #[test]
    fn a_clock_that_is_years_ahead_deletes_nothing() {
        let now: Timestamp = "2025-06-25 14:30:00".parse().unwrap();
        let later = Timestamp::from_millis(now.millis() + 6 * 365 * DAY_MILLIS).unwrap();
        let (store, user) = filled(now);
        let count = || store.snapshot().conversations(user, &ListRequest::default()).count();
        let changes = |since| {
            let size = convodb::PageSize::default();
            store.snapshot().changes_since(user, convodb::ChangesSince::Cursor(since), size).is_ok()
        };
        let size = convodb::PageSize::default();
        let start = store.snapshot().changes_since(user, convodb::ChangesSince::Now, size);
        let start = start.unwrap().next_cursor;
        let row = store.snapshot().conversations(user, &ListRequest::default()).next();
        store.delete(user, row.unwrap().unwrap().id).unwrap();

        // The first pass of a store has no other to compare with, but sees what it would delete.
        let policy = Policy { conversations: Some(365), changes: 30, confirmed: None };
        let refused = run(&store, later, policy);
        assert!(matches!(refused.doubt, Some(RetentionDoubt::DeletesMost { expired: 49, .. })));
        assert_eq!(count(), 49);
        // Passes as time goes by, then a start years ahead.
        for hours in 0..3 {
            let at = Timestamp::from_millis(now.millis() + hours * 3_600_000).unwrap();
            assert!(run(&store, at, policy).doubt.is_none());
        }
        let refused = run(&store, later, policy);
        assert!(matches!(refused.doubt, Some(RetentionDoubt::ClockLeapt { .. })), "{refused:?}");
        assert!(count() == 49 && changes(start));
        // A confirmation of another day is none. That of the day is.
        let of = |day: Day| Policy { confirmed: Some(day), ..policy };
        assert!(run(&store, later, of(now.day())).doubt.is_some());
        let pass = run(&store, later, of(later.day()));
        assert!(pass.doubt.is_none() && pass.conversations == 49 && count() == 0);
        // The clock goes back: no more is deleted until that is confirmed, too.
        assert!(matches!(run(&store, now, policy).doubt, Some(RetentionDoubt::ClockLeapt { .. })));
        assert!(run(&store, now, of(now.day())).doubt.is_none());
        assert!(run(&store, now, policy).doubt.is_none());
    }

    #[test]
    fn a_period_that_is_much_shorter_is_refused_and_regular_passes_never_are() {
        let now: Timestamp = "2025-06-25 14:30:00".parse().unwrap();
        let (store, _) = filled(now);
        let policy = Policy { conversations: Some(365), changes: 30, confirmed: None };
        assert!(run(&store, now, policy).doubt.is_none());
        let shorter = Policy { conversations: Some(3), ..policy };
        let refused = run(&store, now, shorter);
        assert!(matches!(
            refused.doubt,
            Some(RetentionDoubt::DeletesMost { user: Some(_), expired: 48, of: 50 })
        ));
        assert_eq!(refused.conversations, 0);
        // Nothing is written any more: in the end everything is deleted, a pass a day.
        let mut deleted = 0;
        for day in 0..400 {
            let at = Timestamp::from_millis(now.millis() + day * DAY_MILLIS).unwrap();
            let pass = run(&store, at, policy);
            assert!(pass.doubt.is_none(), "day {day}: {pass:?}");
            deleted += pass.conversations;
        }
        assert_eq!(deleted, 50);
    }
}
