//! Durable writes into a generated store: inserts, changes and deletions, alone, from many threads
//! and in groups.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use convodb::{ConversationId, Store, Timestamp, UserId};

use crate::dataset::{Dataset, Row};
use crate::latency::Latencies;

/// Single writes of each kind.
const SINGLE: usize = 300;
/// Threads that insert at once.
pub const WRITERS: usize = 64;
/// Inserts of each of these threads.
const EACH: usize = 100;
/// Conversations of a group.
pub const GROUP: usize = 100;
/// Groups.
const GROUPS: usize = 20;

/// Durations of durable writes.
pub struct WriteTimes {
    /// One insert.
    pub insert: Latencies,
    /// A change of an indexed field: the assistant.
    pub update: Latencies,
    /// One deletion.
    pub delete: Latencies,
    /// A transaction of 100 inserts.
    pub group: Latencies,
    /// Inserts per second by 64 threads at once.
    pub concurrent_per_second: f64,
}

/// Writes into a store that [`crate::dataset::load`] has loaded with `rows` rows of another seed than
/// `seed`.
///
/// # Errors
/// An error of the store.
pub fn measure(
    store: &Store,
    users: &[UserId],
    seed: u64,
    rows: u64,
    mut progress: impl FnMut(),
) -> Result<WriteTimes> {
    let mut source = Dataset::new(seed, rows);
    let mut next = |count: usize| -> Vec<Row> { source.by_ref().take(count).collect() };
    let inserted = next(SINGLE);
    let written: Vec<(usize, ConversationId)> =
        inserted.iter().map(|row| (row.user, row.conversation.id)).collect();
    let insert = insert(store, users, inserted)?;
    progress();
    let update = time(&written, |(user, id)| {
        let user = *user;
        let updated = store.update(users[user], *id, Timestamp::now(), move |conversation| {
            // A small user has one assistant, and then nothing is changed.
            let mut all = (0..Dataset::assistants(user)).map(|at| Dataset::assistant(user, at));
            if let Some(other) = all.find(|other| *other != conversation.assistant) {
                conversation.assistant = other;
            }
            Ok(())
        });
        updated.map(|_| ())
    })?;
    progress();
    let delete = time(&written, |(user, id)| store.delete(users[*user], *id))?;
    progress();
    let groups: Vec<Vec<Row>> = (0..GROUPS).map(|_| next(GROUP)).collect();
    let mut group = Latencies::new()?;
    for rows in groups {
        let began = Instant::now();
        insert_group(store, users, rows)?;
        group.record(began.elapsed())?;
    }
    progress();
    let elapsed = insert_concurrently(store, users, next(WRITERS * EACH))?;
    let concurrent_per_second = (WRITERS * EACH) as f64 / elapsed.as_secs_f64();
    progress();
    Ok(WriteTimes { insert, update, delete, group, concurrent_per_second })
}

/// The number of times that [`measure`] calls its `progress`.
pub const STEPS: u64 = 5;

fn time<T>(all: &[T], mut write: impl FnMut(&T) -> convodb::Result<()>) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    for one in all {
        let began = Instant::now();
        write(one)?;
        latencies.record(began.elapsed())?;
    }
    Ok(latencies)
}

/// Inserts the rows one by one, each durable.
fn insert(store: &Store, users: &[UserId], rows: Vec<Row>) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    for row in rows {
        let began = Instant::now();
        store.insert(users[row.user], row.conversation, Vec::new())?;
        latencies.record(began.elapsed())?;
    }
    Ok(latencies)
}

/// Inserts all rows in one transaction.
fn insert_group(store: &Store, users: &[UserId], rows: Vec<Row>) -> Result<()> {
    let users = users.to_vec();
    store.write(move |transaction| {
        rows.into_iter()
            .try_for_each(|row| transaction.insert(users[row.user], row.conversation, Vec::new()))
    })?;
    Ok(())
}

/// Inserts the rows from [`WRITERS`] threads and returns the total time.
fn insert_concurrently(store: &Store, users: &[UserId], rows: Vec<Row>) -> Result<Duration> {
    let mut shares: Vec<Vec<Row>> = (0..WRITERS).map(|_| Vec::new()).collect();
    for (at, row) in rows.into_iter().enumerate() {
        shares[at % WRITERS].push(row);
    }
    let began = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(|| insert(store, users, share))).collect();
        threads.into_iter().try_for_each(|thread| {
            let joined = thread.join().unwrap_or_else(|_| Err(anyhow!("a writer thread panicked")));
            joined.map(|_| ())
        })
    })?;
    Ok(began.elapsed())
}
