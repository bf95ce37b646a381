//! Retention check: whether the clock, and what a pass is going to delete, are plausible.
//!
//! A pass deletes by age, and the age of everything follows from the clock. A clock that is years
//! ahead, or a period with a missing digit, deletes everything for good. So the store records when
//! the last pass was and up to which creation time it deleted. A pass that follows it as time goes
//! by is never doubted, however much it deletes.

use std::fmt;

use crate::error::Result;
use crate::model::id::UserId;
use crate::model::timestamp::{Day, MILLIS_PER_DAY, Timestamp};
use crate::query::request::ListRequest;
use crate::query::stats::StatsRequest;
use crate::snapshot::Snapshot;
use crate::store::Store;

/// The longest time between two passes that needs no confirmation: of a monthly pass.
const MAX_GAP_MILLIS: u64 = 35 * MILLIS_PER_DAY;
/// How far the clock may go back between two passes.
const MAX_BACK_MILLIS: u64 = MILLIS_PER_DAY;
/// How far the limit of the creation time may advance between two passes without being compared
/// with what exists.
const MAX_ADVANCE_MILLIS: u64 = 2 * MILLIS_PER_DAY;
/// This many conversations are deleted without a comparison.
const FEW: u64 = 10;

/// Why a retention pass should not run unless a person confirms it: see
/// [`Snapshot::doubt_retention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetentionDoubt {
    /// The clock leapt against the last pass: more than 35 days ahead, or more than a day back.
    ClockLeapt {
        /// The time of the last pass.
        last: Timestamp,
        /// The time of this one.
        now: Timestamp,
    },
    /// More than half of the conversations of a user or of the store would be deleted, and more than
    /// ten.
    DeletesMost {
        /// The user; `None` for the store.
        user: Option<UserId>,
        /// The number of conversations that would be deleted.
        expired: u64,
        /// The number of all conversations.
        of: u64,
    },
}

impl fmt::Display for RetentionDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RetentionDoubt::ClockLeapt { last, now } => {
                write!(f, "the clock says {now} UTC, but the last retention pass was at {last} UTC")
            }
            RetentionDoubt::DeletesMost { user: None, expired, of } => {
                write!(f, "{expired} of all {of} conversations would be deleted")
            }
            RetentionDoubt::DeletesMost { user: Some(user), expired, of } => {
                write!(f, "{expired} of the {of} conversations of user {user} would be deleted")
            }
        }
    }
}

/// Whether the clock leapt against the last pass.
pub(crate) fn clock_doubt(last: Option<Timestamp>, now: Timestamp) -> Option<RetentionDoubt> {
    let last = last?;
    let ahead = now.millis().saturating_sub(last.millis());
    let back = last.millis().saturating_sub(now.millis());
    let leapt = ahead > MAX_GAP_MILLIS || back > MAX_BACK_MILLIS;
    leapt.then_some(RetentionDoubt::ClockLeapt { last, now })
}

/// Whether what a pass would delete is compared with what exists: the last pass deleted up to a much
/// earlier time than `before`.
pub(crate) fn needs_comparison(last: Option<Timestamp>, before: Timestamp) -> bool {
    last.is_none_or(|last| before.millis() > last.millis().saturating_add(MAX_ADVANCE_MILLIS))
}

/// Whether `expired` conversations are most of them all.
pub(crate) const fn is_most(expired: u64, of: u64) -> bool {
    expired > FEW && expired > of / 2
}

impl Snapshot {
    /// Whether a retention pass at the time `now`, which deletes the conversations of `users` that
    /// were created before `before`, if any, is doubtful: the clock leapt against the last pass, or
    /// most conversations would be deleted although the last pass deleted up to a much earlier time.
    ///
    /// Reads two numbers in the regular case. After a longer time, or with a shorter period of
    /// retention: the counters of the users, a step for each day and type, and the expired
    /// conversations of one day.
    ///
    /// ```
    /// # use convodb::{Store, Timestamp};
    /// # let store = Store::in_memory()?;
    /// let (now, before): (Timestamp, Timestamp) = ("2025-01-25".parse()?, "2024-01-25".parse()?);
    /// let snapshot = store.snapshot();
    /// let users: Vec<_> = snapshot.users()?.iter().map(|user| user.id).collect();
    /// if let Some(doubt) = snapshot.doubt_retention(&users, now, Some(before))? {
    ///     panic!("not confirmed: {doubt}");
    /// }
    /// store.begin_retention(now, Some(before))?;
    /// // Delete conversations, and call `Store::expire`.
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store.
    pub fn doubt_retention(
        &self,
        users: &[UserId],
        now: Timestamp,
        before: Option<Timestamp>,
    ) -> Result<Option<RetentionDoubt>> {
        let sequences = &self.state().tables.sequences;
        let doubt = clock_doubt(sequences.last_retention()?, now);
        let Some(before) = before.filter(|_| doubt.is_none()) else { return Ok(doubt) };
        if !needs_comparison(sequences.last_retention_limit()?, before) {
            return Ok(None);
        }
        self.doubt_deletion(users, before)
    }

    /// Whether most conversations were created before `before`.
    fn doubt_deletion(
        &self,
        users: &[UserId],
        before: Timestamp,
    ) -> Result<Option<RetentionDoubt>> {
        let (mut all_expired, mut all) = (0, 0);
        for user in users.iter().copied() {
            let (expired, of) = self.count_expired(user, before)?;
            if is_most(expired, of) {
                return Ok(Some(RetentionDoubt::DeletesMost { user: Some(user), expired, of }));
            }
            all_expired += expired;
            all += of;
        }
        let doubt = RetentionDoubt::DeletesMost { user: None, expired: all_expired, of: all };
        Ok(is_most(all_expired, all).then_some(doubt))
    }

    /// The number of the user's conversations that were created before `before`, and of all. Counters
    /// are of whole days, so those of the day of `before` are read.
    fn count_expired(&self, user: UserId, before: Timestamp) -> Result<(u64, u64)> {
        let count = |until| -> Result<u64> {
            let stats = self.stats(user, &StatsRequest::new(Day::new(0), until))?;
            Ok(stats.total.conversations)
        };
        let (day, all) = (before.day(), count(Day::new(u32::MAX))?);
        let midnight = day.start()?;
        let of_day = ListRequest {
            created_from: Some(midnight),
            created_to: Some(before),
            ..ListRequest::default()
        };
        let mut expired = count(day)?;
        for row in self.conversations(user, &of_day) {
            row?;
            expired += 1;
        }
        Ok((expired, all))
    }
}

impl Store {
    /// Records a retention pass at the time `now` that is about to delete the conversations of all
    /// users that were created before `before`, if any: later passes are compared with it by
    /// [`Snapshot::doubt_retention`]. If the pass was doubted, `now` and `before` were confirmed.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn begin_retention(&self, now: Timestamp, before: Option<Timestamp>) -> Result<()> {
        self.write(move |transaction| {
            let sequences = &mut transaction.tables.sequences;
            sequences.put_last_retention(now);
            if let Some(before) = before {
                sequences.put_last_retention_limit(before);
            }
            Ok(())
        })
    }
}
