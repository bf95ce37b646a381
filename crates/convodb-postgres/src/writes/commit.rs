//! Commit of a group of writes: two flights in one transaction, and what follows from a fault.
//!
//! ```text
//! flight 1   begin, lock the user's head, read what the writes name
//! flight 2   write what the group changed, number its changes, commit
//! ```
//!
//! What fails before flight 2 is sent is not written, and runs again. A connection that fails
//! afterwards leaves it in doubt: the lock of the user's head waits for a commit that still runs, and
//! then the random number of the group, its origin, is stored or is not. A commit is never cancelled.
//!
//! An attempt that fails after it made no progress makes its group a suspect: see
//! [`crate::writes::connection`].

use std::cmp::Ordering;
use std::time::Duration;

use convodb::UserId;
use convodb::seam::Keys;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use crate::error::{Error, Result, is_of_connection};
use crate::rows::Columns;
use crate::writes::changes::commit_commands;
use crate::writes::connection::{OnStall, Place, STALL, Unanswered, WriteConnections};
use crate::writes::group::{Head, Refusal, WriteGroup, WriteRules};
use crate::writes::lookups::{
    Lookups, decode_assistants, decode_head, decode_state, look_up_assistants, look_up_origin,
};
use crate::writes::metrics::WriteCounters;
use crate::writes::request::{Reply, WriteRequest};
use crate::writes::statements::{Command, Sql};

/// How often a group that conflicts with another transaction runs again.
const MAX_CONFLICTS: u32 = 5;
/// The time for a flight. A server that does not answer longer may be gone, and another one may be
/// there; if it is only slow, what it does is in doubt and is waited for.
const FLIGHT: Duration = Duration::from_secs(5);
/// The longest pause before another attempt.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// What the groups of all users share.
pub(crate) struct GroupContext<'c> {
    pub(crate) connections: &'c WriteConnections,
    pub(crate) keys: &'c Keys,
    pub(crate) rules: WriteRules,
    pub(crate) counters: &'c WriteCounters,
}

/// The results of a group's writes, in their order.
type Replies = Vec<Result<Reply>>;

/// Why an attempt failed.
enum Fault {
    /// Nothing is written, and another attempt would fail, too.
    Refused(Error),
    /// Nothing is written, because of another transaction.
    Conflict(Error),
    /// Nothing is written, because there is no connection.
    Unavailable(Error),
    /// Nothing is written: the group has given its connection up to those that make progress.
    Stalled,
    /// The group may be written.
    InDoubt(Box<Doubt>),
}

/// A group that may be written.
struct Doubt {
    /// The head before the group, and after it.
    heads: (Head, Head),
    origin: i64,
    replies: Replies,
}

/// The answer to a doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    Landed,
    NotWritten,
    Unknown,
}

impl GroupContext<'_> {
    /// Runs the writes of a user as one transaction, until it is committed or `deadline` passes.
    pub(crate) async fn commit(
        &self,
        user: UserId,
        writes: &[&WriteRequest],
        deadline: Instant,
    ) -> Replies {
        let all = |error: Error| writes.iter().map(|_| Err(error.clone())).collect();
        let (mut attempts, mut conflicts, mut is_suspect) = (0, 0, false);
        loop {
            match self.attempt(user, writes, deadline, &mut is_suspect).await {
                Ok(replies) => return replies,
                Err(Fault::Refused(error)) => return all(error),
                Err(Fault::Conflict(error)) if conflicts == MAX_CONFLICTS => return all(error),
                Err(Fault::Conflict(_)) => {
                    conflicts += 1;
                    WriteCounters::add(&self.counters.conflicts);
                }
                Err(Fault::Unavailable(error)) => {
                    WriteCounters::add(&self.counters.lost_connections);
                    self.connections.discard_idle();
                    tracing::warn!(%error, "a group of writes lost its connection");
                }
                Err(Fault::Stalled) => WriteCounters::add(&self.counters.stalled),
                Err(Fault::InDoubt(doubt)) => match self.resolve(user, &doubt, deadline).await {
                    Resolution::Landed => {
                        WriteCounters::add(&self.counters.doubts_landed);
                        return doubt.replies;
                    }
                    Resolution::NotWritten => {
                        WriteCounters::add(&self.counters.doubts_not_written);
                    }
                    Resolution::Unknown => {
                        WriteCounters::add(&self.counters.doubts_unknown);
                        return all(Error::InDoubt);
                    }
                },
            }
            if pause(attempts, deadline).await.is_err() {
                return all(Error::TimedOut);
            }
            attempts += 1;
        }
    }

    /// Runs the group once, which becomes a suspect if it fails without progress.
    async fn attempt(
        &self,
        user: UserId,
        writes: &[&WriteRequest],
        deadline: Instant,
        is_suspect: &mut bool,
    ) -> Result<Replies, Fault> {
        // Suspects wait in order, as long as they have time.
        let place = match *is_suspect {
            true => timeout_at(deadline, self.connections.place(true))
                .await
                .map_err(|_| Fault::Refused(Error::TimedOut))?,
            false => timeout_at(end_of_flight(deadline), self.connections.place(false))
                .await
                .map_err(late)?,
        };
        let place = place.map_err(Fault::unwritten)?;
        let since = place.since();
        let done = self.attempt_with(place, user, writes, deadline).await;
        *is_suspect |= done.is_err() && since.elapsed() >= STALL;
        done
    }

    async fn attempt_with(
        &self,
        place: Place<'_>,
        user: UserId,
        writes: &[&WriteRequest],
        deadline: Instant,
    ) -> Result<Replies, Fault> {
        let lease = timeout_at(end_of_flight(deadline), place.connect()).await.map_err(late)?;
        let lease = lease.map_err(Fault::unwritten)?;
        let mut lookups = Lookups::of(user, writes.iter().copied());
        let commands = lookups.commands(user).map_err(Fault::Refused)?;
        let found =
            lease.flight_until(end_of_flight(deadline), &commands, OnStall::Abandon).await?;
        let found = found.into_iter().collect::<Result<Vec<_>, _>>();
        let found = found.map_err(|error| Fault::unwritten(error.into()))?;
        let mut state = decode_state(&commands, &found, &lookups).map_err(Fault::Refused)?;
        let (group, replies) = loop {
            let mut group = WriteGroup::new(user, self.keys, self.rules, state.clone());
            let unknown = match run(&mut group, writes) {
                Ok(replies) => break (group, replies),
                Err(unknown) => unknown,
            };
            // Changes have chosen assistants that no write names.
            lookups.assistants = unknown;
            let command = look_up_assistants(user, &lookups.assistants).map_err(Fault::Refused)?;
            let found =
                lease.flight_until(end_of_flight(deadline), &[command], OnStall::Abandon).await?;
            for rows in found {
                let rows = rows.map_err(|error| Fault::unwritten(error.into()))?;
                let decoded = decode_assistants(&rows, &lookups.assistants, &mut state);
                decoded.map_err(Fault::Refused)?;
            }
        };
        if group.is_empty() {
            // What failed or was repeated is answered by what was read.
            let ended =
                timeout_at(end_of_flight(deadline), lease.flight(&[Command::bare(Sql::Rollback)]))
                    .await;
            if ended.is_ok_and(|ended| ended.iter().all(Result::is_ok)) {
                lease.give_back();
            }
            return Ok(replies);
        }
        let origin = random()?;
        let heads = group.heads();
        let changes = group.into_changes().map_err(Fault::Refused)?;
        let commands = commit_commands(user, changes, heads, self.keys, origin);
        let commands = commands.map_err(Fault::Refused)?;
        lease.take_warning();
        let doubt = |replies| Fault::InDoubt(Box::new(Doubt { heads, origin, replies }));
        match lease.flight_until(end_of_flight(deadline), &commands, OnStall::Wait).await {
            Err(_) => Err(doubt(replies)),
            Ok(results) => match ending(results) {
                Ending::Committed if !lease.take_warning() => {
                    lease.give_back();
                    WriteCounters::add(&self.counters.groups);
                    Ok(replies)
                }
                Ending::Committed | Ending::InDoubt => Err(doubt(replies)),
                Ending::NotWritten(error) => Err(Fault::unwritten(error.into())),
            },
        }
    }

    /// Learns whether a group is written, until `deadline`. It is, only when this transaction, too,
    /// is confirmed by the standbys that the server waits for.
    async fn resolve(&self, user: UserId, doubt: &Doubt, deadline: Instant) -> Resolution {
        for attempts in 0.. {
            match timeout_at(end_of_flight(deadline), self.look_up(user, doubt)).await {
                Ok(Some(resolution)) => return resolution,
                Ok(None) | Err(_) if pause(attempts, deadline).await.is_ok() => {}
                Ok(None) | Err(_) => break,
            }
        }
        Resolution::Unknown
    }

    /// Locks the user's head and looks for the group; `None` if the connection fails.
    async fn look_up(&self, user: UserId, doubt: &Doubt) -> Option<Resolution> {
        let (before, _) = doubt.heads;
        // A doubt does not wait behind suspects: there are no more than groups that were committed.
        let lease = self.connections.place(false).await.ok()?.connect().await.ok()?;
        lease.take_warning();
        let commands = look_up_origin(user, before.last_change + 1).ok()?;
        let found = lease.flight(&commands).await;
        let found = found.into_iter().collect::<Result<Vec<Vec<Row>>, _>>().ok()?;
        if lease.take_warning() {
            return None;
        }
        lease.give_back();
        let head = found.get(1)?.first().map(decode_head)?.ok()?;
        let change = found.get(2)?.first();
        let origin = change.map(|row| Columns::new(row, 0, "change").next::<Option<i64>>());
        Some(doubt.resolution(&head, origin.transpose().ok()?))
    }
}

impl Doubt {
    /// Whether the group is written, by the head and by the origin of the first change after those
    /// before the group.
    fn resolution(&self, head: &Head, change: Option<Option<i64>>) -> Resolution {
        let (before, after) = self.heads;
        let mine = Some(self.origin);
        if head.origin == mine {
            return Resolution::Landed;
        }
        if head.origin == before.origin {
            // No other group has been written since.
            return Resolution::NotWritten;
        }
        match head.last_change.cmp(&before.last_change) {
            // Without changes, a later group has hidden it.
            _ if after.last_change == before.last_change => Resolution::Unknown,
            Ordering::Equal => Resolution::NotWritten,
            // The feed was put back.
            Ordering::Less => Resolution::Unknown,
            Ordering::Greater => match change {
                Some(origin) if origin == mine => Resolution::Landed,
                Some(_) => Resolution::NotWritten,
                // It is trimmed.
                None => Resolution::Unknown,
            },
        }
    }
}

impl From<Unanswered> for Fault {
    /// Of a flight before the commit.
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::TimedOut => Self::Unavailable(Error::TimedOut),
            Unanswered::Stalled => Self::Stalled,
        }
    }
}

fn late(_: Elapsed) -> Fault {
    Fault::Unavailable(Error::TimedOut)
}

impl Fault {
    /// A fault before flight 2 was sent.
    fn unwritten(error: Error) -> Self {
        let Error::Postgres(cause) = &error else { return Self::Unavailable(error) };
        match cause.code() {
            Some(code) if is_conflict(code) => Self::Conflict(error),
            Some(code) if !is_of_connection(code) => Self::Refused(error),
            _ => Self::Unavailable(error),
        }
    }
}

/// How flight 2 ended.
enum Ending {
    Committed,
    NotWritten(tokio_postgres::Error),
    InDoubt,
}

/// A statement that the server refused makes the commit a rollback. Of one whose answer is lost, and of
/// a commit, nothing is known.
fn ending(results: Vec<Result<Vec<Row>, tokio_postgres::Error>>) -> Ending {
    let last = results.len().saturating_sub(1);
    let failed = results.into_iter().enumerate().find_map(|(at, result)| Some((at, result.err()?)));
    match failed {
        None => Ending::Committed,
        Some((at, error)) => match error.code() {
            Some(code) if at < last || is_conflict(code) => Ending::NotWritten(error),
            _ => Ending::InDoubt,
        },
    }
}

fn is_conflict(code: &SqlState) -> bool {
    [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code)
}

/// Runs the writes in order; fails with the assistants that have to be looked up first.
fn run(
    group: &mut WriteGroup<'_>,
    writes: &[&WriteRequest],
) -> Result<Replies, std::collections::BTreeSet<uuid::Uuid>> {
    let mut unknown = std::collections::BTreeSet::new();
    let mut replies = Vec::with_capacity(writes.len());
    for write in writes {
        replies.push(match group.run(write) {
            Ok(reply) => Ok(reply),
            Err(Refusal::Failed(error)) => Err(error),
            Err(Refusal::Unknown(id)) => {
                unknown.insert(id.uuid());
                continue;
            }
        });
    }
    if unknown.is_empty() { Ok(replies) } else { Err(unknown) }
}

/// When a flight that begins now has to be answered.
fn end_of_flight(deadline: Instant) -> Instant {
    deadline.min(Instant::now() + FLIGHT)
}

/// Waits before another attempt: longer each time, and not as long as others. Fails if `deadline`
/// passes before.
async fn pause(attempts: u32, deadline: Instant) -> Result<(), ()> {
    let longest = Duration::from_millis(20 << attempts.min(6)).min(MAX_PAUSE);
    let jitter = getrandom::u32().unwrap_or_default();
    let end = Instant::now() + longest.mul_f64(0.5 + f64::from(jitter) / f64::from(u32::MAX) / 2.0);
    if end >= deadline {
        return Err(());
    }
    sleep_until(end).await;
    Ok(())
}

/// The origin of a group.
fn random() -> Result<i64, Fault> {
    let number = getrandom::u64().map_err(|error| {
        Fault::Refused(Error::Unavailable(format!("no random numbers: {error}")))
    })?;
    Ok(number.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(last_change: u64, origin: i64) -> Head {
        Head { last_change, origin: Some(origin), ..Head::default() }
    }

    /// What a group of origin 7, which found origin 1, learns from the head and the first change.
    #[track_caller]
    fn check(changes: u64, found: Head, change: Option<i64>, expected: Resolution) {
        let heads = (head(10, 1), head(10 + changes, 7));
        let doubt = Doubt { heads, origin: 7, replies: Vec::new() };
        assert_eq!(doubt.resolution(&found, change.map(Some)), expected);
    }

    #[test]
    fn a_group_with_changes_is_found_by_its_first_change() {
        use Resolution::{Landed, NotWritten, Unknown};
        check(2, head(12, 7), Some(7), Landed);
        check(2, head(10, 1), None, NotWritten);
        // Other groups have followed.
        check(2, head(15, 9), Some(7), Landed);
        check(2, head(15, 9), Some(9), NotWritten);
        check(2, head(10, 9), None, NotWritten);
        // The change is trimmed, or the database was put back.
        check(2, head(5_000, 9), None, Unknown);
        check(2, head(4, 9), None, Unknown);
    }

    #[test]
    fn a_group_without_changes_is_known_until_another_follows() {
        check(0, head(10, 7), None, Resolution::Landed);
        check(0, head(10, 1), None, Resolution::NotWritten);
        check(0, head(12, 9), Some(9), Resolution::Unknown);
    }
}
