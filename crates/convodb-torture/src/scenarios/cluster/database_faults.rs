//! Faults that an operator inflicts by SQL, on a leader that keeps running.

use std::thread;
use std::time::Duration;

use crate::scenario::{Trial, Violation, ensure};
use crate::scenarios::cluster::cell::{Cell, PAUSE, RESUMPTION};
use crate::scenarios::cluster::nodes::{await_that, kill_process};
use crate::scenarios::cluster::operator::{Operator, STORE_ROLE};

/// The number of conflicts of a fault.
const CONFLICTS: u64 = 10;
/// The time for a transaction to meet a lock.
const WAIT: Duration = Duration::from_secs(20);
/// How long the leader refuses connections.
const REFUSAL: Duration = Duration::from_secs(2);

/// Terminates connections: in the middle of a commit, between the flights of a group, or anywhere.
pub(super) fn kill_backends(cell: &mut Cell, trial: &mut Trial) -> Result<(), Violation> {
    const ROUNDS: usize = 90;
    let operator = cell.operator()?;
    for round in 0..ROUNDS {
        let state = match round % 3 {
            0 => "query = 'commit' and state = 'active'",
            1 => "state = 'idle in transaction'",
            _ => "state <> 'idle'",
        };
        let sql = format!(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity \
             where application_name = 'convodb' and {state}"
        );
        let mut tries = 0;
        let mut killed = 0;
        while killed == 0 && tries < 200 {
            killed = operator.number(&sql)?;
            tries += 1;
        }
        trial.add("backends killed", killed.unsigned_abs());
        // The writers write again before the next.
        let before = cell.writers.acknowledged();
        await_that("a write after a killed backend", RESUMPTION, PAUSE, || {
            (cell.writers.acknowledged() > before).then_some(())
        })?;
    }
    Ok(())
}

/// Lets one transaction in five fail with 40001, as engines do that check more than locks of rows.
pub(super) fn fail_serialization(cell: &mut Cell, trial: &mut Trial) -> Result<(), Violation> {
    let operator = cell.operator()?;
    let before = cell.writers.conflicts();
    operator.run(
        "create function torture.fail() returns trigger language plpgsql as $$ begin \
         if random() < 0.2 then raise exception 'conflict' using errcode = '40001'; end if; \
         return null; end $$; \
         create trigger fail after insert on torture.change execute function torture.fail()",
    )?;
    let conflicts = await_that("serialization failures", RESUMPTION, PAUSE, || {
        let conflicts = cell.writers.conflicts() - before;
        (conflicts >= CONFLICTS).then_some(conflicts)
    });
    operator.run("drop trigger fail on torture.change; drop function torture.fail()")?;
    trial.add("serialization failures", conflicts?);
    Ok(())
}

/// Locks the user's counters, and then the user's head, which a transaction of the writers locks in the
/// other order. That one is rolled back with 40P01, because the operator has more patience.
pub(super) fn deadlock(cell: &mut Cell, trial: &mut Trial) -> Result<(), Violation> {
    const DEADLOCKS: u64 = 3;
    let (operator, observer) = (cell.operator()?, cell.operator()?);
    operator.run("set deadlock_timeout = '15s'")?;
    let waiting = "select count(*) from pg_stat_activity where application_name = 'convodb' \
                   and wait_event_type = 'Lock' and query like '%total%'";
    let before = cell.writers.conflicts();
    let deadlocks = await_that("deadlocks", RESUMPTION, PAUSE, || {
        let locked = operator.run("begin; select from torture.total for update");
        let is_waiting = await_that("a transaction to wait for a lock", WAIT, PAUSE, || {
            observer.number(waiting).is_ok_and(|count| count > 0).then_some(())
        });
        // Whether it ends by itself or is rolled back.
        let closed = operator.try_run("select from torture.head for update");
        let ended = operator.run("rollback");
        if let Err(violation) = locked.and(is_waiting).and(closed.map(|_| ())).and(ended) {
            return Some(Err(violation));
        }
        let deadlocks = cell.writers.conflicts() - before;
        (deadlocks >= DEADLOCKS).then_some(Ok(deadlocks))
    })?;
    trial.add("deadlocks", deadlocks?);
    Ok(())
}

/// Terminates all connections of the store, and refuses new ones with 53300, as a server does whose
/// connections are all taken.
pub(super) fn refuse_connections(cell: &mut Cell, _: &mut Trial) -> Result<(), Violation> {
    let operator = cell.operator()?;
    operator.run(&format!("alter role {STORE_ROLE} connection limit 0"))?;
    let gone = await_no_connections(&operator);
    let refused = gone.and_then(|()| no_writes(cell, REFUSAL));
    operator.run(&format!("alter role {STORE_ROLE} connection limit -1"))?;
    refused
}

/// Kills the process of a session in its commit. The server ends all sessions with 57P02, recovers from
/// its WAL, and refuses connections with 57P03 meanwhile; it stays the leader.
pub(super) fn crash_server(cell: &mut Cell, trial: &mut Trial) -> Result<(), Violation> {
    const ROUNDS: usize = 2;
    let committing = "select coalesce(max(pid), 0)::bigint from pg_stat_activity \
                      where application_name = 'convodb' and query = 'commit' and state = 'active'";
    for _ in 0..ROUNDS {
        let operator = cell.operator()?;
        let process = await_that("a session in its commit", RESUMPTION, Duration::ZERO, || {
            operator.number(committing).ok().filter(|process| *process > 0)
        })?;
        kill_process(process)?;
        cell.await_writes()?;
        trial.count("servers crashed");
    }
    Ok(())
}

/// Terminates the connections of the store until there is none.
fn await_no_connections(operator: &Operator) -> Result<(), Violation> {
    let sql = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity \
         where usename = '{STORE_ROLE}' and backend_type = 'client backend'"
    );
    await_that("the connections of the store to end", RESUMPTION, PAUSE, || {
        operator.number(&sql).is_ok_and(|count| count == 0).then_some(())
    })
}

/// Checks that no write is acknowledged for a time, after those that were on their way.
fn no_writes(cell: &Cell, time: Duration) -> Result<(), Violation> {
    thread::sleep(Duration::from_secs(1));
    let before = cell.writers.acknowledged();
    thread::sleep(time);
    let acknowledged = cell.writers.acknowledged() - before;
    ensure(acknowledged == 0, || {
        format!("{acknowledged} writes were acknowledged by a server that refuses them")
    })
}
