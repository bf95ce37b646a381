//! Benchmark of removals: durable inserts, deletes and changes of an indexed field in turns, alone
//! and a hundred in a write; then pages while a tenth of all rows is deleted.
//!
//! Prints two tables. `CONVODB_BENCH_ROWS=1000000` sets the size of the store.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;
use convodb::{
    Conversation, ConversationId, Error, ListRequest, PageSize, Store, Timestamp, Transaction,
    UserId,
};
use convodb_bench::dataset::Dataset;
use convodb_benches::{file_of, lists, page_starts};

/// Turns of single writes, and of writes of a hundred.
const TURNS: [(usize, usize); 2] = [(1, 300), (100, 30)];
/// Conversations deleted in one write while pages are measured: as many as an erasure deletes.
const BATCH: usize = 256;
/// Pages between two such writes. Their median hides a single slow one.
const PAGES: usize = 15;

struct Bench {
    store: Store,
    /// The biggest user.
    user: UserId,
    /// Ids of stored conversations of this user, spread over the list, none twice.
    stored: Vec<ConversationId>,
    new: Box<dyn Iterator<Item = Conversation>>,
}

impl Bench {
    fn open(rows: u64) -> Result<Self> {
        let original = file_of(rows)?;
        // A bench that was stopped leaves a WAL, which opening the store empties.
        Store::open(&original)?.close()?;
        let path = original.with_extension("removals");
        std::fs::copy(&original, &path)?;
        let store = Store::open(&path)?;
        let user = store.snapshot().users()?.first().ok_or(Error::UserNotFound)?.id;
        let all = store.snapshot();
        let stored = all.conversations(user, &ListRequest::default());
        let mut stored = stored.map(|row| Ok(row?.id)).collect::<convodb::Result<Vec<_>>>()?;
        // In no order of age: a stride through the list that visits each once.
        let length = stored.len();
        let stride = (length * 2 / 3..).find(|stride| gcd(*stride, length) == 1).unwrap_or(1);
        stored = (0..length).map(|at| stored[at * stride % length]).collect();
        let of_user =
            |row: convodb_bench::dataset::Row| (row.user == 0).then_some(row.conversation);
        let new = Box::new(Dataset::new(77, rows).filter_map(of_user));
        Ok(Self { store, user, stored, new })
    }

    fn take_stored(&mut self, count: usize) -> Vec<ConversationId> {
        self.stored.split_off(self.stored.len().saturating_sub(count))
    }

    fn time(
        &self,
        write: impl FnOnce(&mut Transaction<'_>) -> convodb::Result<()> + Send + 'static,
    ) -> Result<Duration> {
        let began = Instant::now();
        self.store.write(write)?;
        Ok(began.elapsed())
    }

    fn insert(&mut self, count: usize) -> Result<Duration> {
        let (user, rows) = (self.user, self.new.by_ref().take(count).collect::<Vec<_>>());
        self.time(move |write| {
            rows.into_iter().try_for_each(|row| write.insert(user, row, Vec::new()))
        })
    }

    fn delete(&mut self, count: usize) -> Result<Duration> {
        let (user, ids) = (self.user, self.take_stored(count));
        self.time(move |write| ids.iter().try_for_each(|id| write.delete(user, *id)))
    }

    /// Gives conversations to another assistant of the user, which moves their index entries.
    fn change(&mut self, count: usize) -> Result<Duration> {
        let (user, ids) = (self.user, self.take_stored(count));
        let [one, two] = [0, 1].map(|number| Dataset::assistant(0, number));
        self.time(move |write| {
            ids.iter().try_for_each(|id| {
                let change = |row: &mut Conversation| {
                    row.assistant = if row.assistant == one { two } else { one };
                    Ok(())
                };
                write.update(user, *id, Timestamp::MIN, change).map(drop)
            })
        })
    }
}

const fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

/// Measures writes in turns, and prints how long each kind takes compared with an insert.
fn writes(bench: &mut Bench, out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "| durable write | p50 | p99 | p50 / insert | bytes a row |\n|---|---|---|---|---|"
    )?;
    for (count, turns) in TURNS {
        let mut times = [const { Vec::new() }; 3];
        let mut bytes = [0; 3];
        let mut before = bench.store.metrics().committed_bytes;
        for _ in 0..turns {
            for (kind, (times, bytes)) in times.iter_mut().zip(&mut bytes).enumerate() {
                times.push(match kind {
                    0 => bench.insert(count)?,
                    1 => bench.delete(count)?,
                    _ => bench.change(count)?,
                });
                let committed = bench.store.metrics().committed_bytes;
                *bytes += committed - before;
                before = committed;
            }
        }
        let insert = percentile(&mut times[0], 50).as_secs_f64();
        let names = ["insert", "delete", "change of the assistant"];
        for ((name, times), bytes) in names.iter().zip(&mut times).zip(bytes) {
            let (p50, p99) = (percentile(times, 50), percentile(times, 99));
            let ratio = p50.as_secs_f64() / insert;
            let bytes = bytes / (count * turns) as u64;
            writeln!(out, "| {name} of {count} | {p50:.2?} | {p99:.2?} | {ratio:.2} | {bytes} |")?;
        }
    }
    Ok(())
}

/// Measures pages of 15 between writes that delete up to `count` conversations in random order, and
/// prints the medians of the slowest moment beside those before.
fn pages(bench: &mut Bench, count: usize, out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "\n| list | page before | slowest moment | ratio | entries |\n|---|---|---|---|---|"
    )?;
    // Until the memtables are flushed.
    std::thread::sleep(Duration::from_secs(3));
    let snapshot = bench.store.snapshot();
    let mut measured = Vec::new();
    for (name, filter) in lists(&snapshot, bench.user)? {
        let starts = page_starts(&snapshot, bench.user, &filter, PageSize::default())?.next;
        if !starts.is_empty() {
            measured.push((name, starts, 0));
        }
    }
    drop(snapshot);
    let mut before = vec![Vec::new(); measured.len()];
    let mut worst = vec![(Duration::ZERO, 0); measured.len()];
    let mut deleted = 0;
    while deleted < count {
        let warming = before[0].len() < 20 * PAGES;
        if !warming {
            bench.delete(BATCH)?;
            deleted += BATCH;
        }
        for (list, (_, starts, turn)) in measured.iter_mut().enumerate() {
            let (mut times, mut entries) = (Vec::new(), 0);
            for _ in 0..PAGES {
                *turn += 1;
                let began = Instant::now();
                let page =
                    bench.store.snapshot().list(bench.user, &starts[*turn % starts.len()])?;
                times.push(began.elapsed());
                entries = entries.max(page.cost().entries);
            }
            if warming {
                before[list].extend(times);
            } else {
                worst[list] = worst[list].max((percentile(&mut times, 50), entries));
            }
        }
    }
    for (((name, ..), before), (slowest, entries)) in measured.iter().zip(&mut before).zip(worst) {
        let before = percentile(before, 50);
        let ratio = slowest.as_secs_f64() / before.as_secs_f64();
        writeln!(out, "| {name} | {before:.2?} | {slowest:.2?} | {ratio:.2} | {entries} |")?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let size = std::env::var("CONVODB_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let rows: u64 = size.unwrap_or(1_000_000);
    let mut out = std::io::stdout().lock();
    let mut bench = Bench::open(rows)?;
    writes(&mut bench, &mut out)?;
    let count = bench.stored.len().min(100_000);
    let began = Instant::now();
    pages(&mut bench, count, &mut out)?;
    writeln!(out, "\n{count} conversations deleted in {:.1?}, pages included", began.elapsed())?;
    Ok(bench.store.close()?)
}
