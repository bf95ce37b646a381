//! Benchmark of upkeep: verification, backup and compaction by turns; bytes of a store's file; bytes
//! that single writes write.
//!
//! Prints three tables. `CONVODB_BENCH_ROWS=1000000` sets the size of the store. Verification, backup
//! and compaction run in processes of their own, so that the peak of each one's memory is its own.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use convodb::{
    Conversation, ConversationId, Message, Role, Store, StoreOptions, Timestamp, UserId,
};
use convodb_bench::dataset::{self, Dataset};
use convodb_bench::system::peak_resident_bytes;
use convodb_benches::{file_of, setting};

/// Environment variable with the operation of a child process, which works on the store at
/// [`STORE`].
const OPERATION: &str = "CONVODB_UPKEEP_OPERATION";
const STORE: &str = "CONVODB_UPKEEP_STORE";
const OPERATIONS: [&str; 3] = ["verify", "backup", "compact"];
/// Rows in a write of a store that grows.
const BATCH: usize = 100;
/// Single writes of each kind whose bytes are counted.
const WRITES: usize = 200;
/// The age of a write at which it begins a checkpoint.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// Attempts to make them before a checkpoint.
const ATTEMPTS: usize = 20;
/// The longest wait for a checkpoint.
const PATIENCE: Duration = Duration::from_secs(30);
const MESSAGE: &str = "Hello, I ordered last week and the parcel has not come yet. Where is it?";
/// Seed of the rows that are written one after the other.
const SEED: u64 = 77;

fn main() -> Result<()> {
    if let Ok(operation) = std::env::var(OPERATION) {
        return run_in_child(&operation, Path::new(&std::env::var(STORE)?));
    }
    let rows = setting("CONVODB_BENCH_ROWS", 1_000_000);
    let mut out = std::io::stdout().lock();
    operations(rows, &mut out)?;
    sizes(rows, &mut out)?;
    writes(rows, &mut out)
}

/// Runs an operation and prints its seconds and the peak of the process's memory in bytes.
fn run_in_child(operation: &str, path: &Path) -> Result<()> {
    let began = Instant::now();
    match operation {
        "verify" => {
            let store = Store::open(path)?;
            let report = store.snapshot().verify()?;
            ensure!(report.is_clean(), "{:?}", report.findings);
            store.close()?;
        }
        "backup" => {
            let store = Store::open(path)?;
            store.snapshot().backup(path.with_extension("backup"))?;
            store.close()?;
        }
        "compact" => {
            convodb::compact(path)?;
        }
        other => bail!("no operation {other}"),
    }
    let peak = peak_resident_bytes().unwrap_or(0);
    Ok(writeln!(std::io::stdout(), "{} {peak}", began.elapsed().as_secs_f64())?)
}

/// Runs an operation on a copy of the store in a process of its own; returns its seconds and the peak
/// of its memory in bytes.
fn run(operation: &str, original: &Path) -> Result<(f64, u64)> {
    let directory = tempfile::tempdir_in(original.parent().context("a directory")?)?;
    let path = directory.path().join("store.convodb");
    std::fs::copy(original, &path)?;
    let output = Command::new(std::env::current_exe()?)
        .env(OPERATION, operation)
        .env(STORE, &path)
        .output()?;
    ensure!(output.status.success(), "{operation}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let (seconds, peak) = text.trim().split_once(' ').context("seconds and bytes")?;
    Ok((seconds.parse()?, peak.parse()?))
}

/// Measures the operations by turns on copies of one store, opening and closing included.
fn operations(rows: u64, out: &mut impl Write) -> Result<()> {
    let original = file_of(rows)?;
    let mut times = OPERATIONS.map(|_| Vec::new());
    let mut peaks = [0; OPERATIONS.len()];
    for _ in 0..5 {
        for ((operation, times), peak) in OPERATIONS.iter().zip(&mut times).zip(&mut peaks) {
            let (seconds, bytes) = run(operation, &original)?;
            times.push(seconds);
            *peak = bytes.max(*peak);
        }
    }
    writeln!(out, "{rows} rows:\n\n| operation | median s | fastest s | / backup | peak MiB |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    let backup = times[1][2];
    for ((operation, times), peak) in OPERATIONS.iter().zip(&times).zip(peaks) {
        let (fastest, median, peak) = (times[0], times[2], peak >> 20);
        let ratio = median / backup;
        writeln!(out, "| {operation} | {median:.2} | {fastest:.2} | {ratio:.2} | {peak} |")?;
    }
    Ok(())
}

/// Measures the file of a store that was loaded in bulk, one that grew by writes of 100 rows, and
/// the latter compacted. All are closed.
fn sizes(rows: u64, out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "\n| store of {rows} rows, bytes a row | content | of it feed | counters | pages | file \
         | on disk | file / pages | close s |\n|---|---|---|---|---|---|---|---|---|"
    )?;
    let directory = tempfile::tempdir_in(file_of(rows)?.parent().context("a directory")?)?;
    let path = directory.path().join("store.convodb");
    std::fs::copy(file_of(rows)?, &path)?;
    size("loaded in bulk", &path, rows, None, out)?;
    std::fs::remove_file(&path)?;
    let store = Store::open(&path)?;
    let (users, _) = dataset::load(&store, SEED, 0, |_| {})?;
    let mut source = Dataset::new(SEED, rows);
    let mut left = usize::try_from(rows)?;
    while left > 0 {
        let batch: Vec<_> = source.by_ref().take(BATCH.min(left)).collect();
        left -= batch.len();
        let users = users.clone();
        store.write(move |write| {
            batch
                .into_iter()
                .try_for_each(|row| write.insert(users[row.user], row.conversation, Vec::new()))
        })?;
    }
    let open = std::fs::metadata(&path)?.len();
    let began = Instant::now();
    store.close()?;
    let closing = began.elapsed().as_secs_f64();
    size("grown by writes of 100", &path, rows, Some(closing), out)?;
    convodb::compact(&path)?;
    size("compacted", &path, rows, None, out)?;
    writeln!(out, "\nThe grown file had {} bytes a row before it was closed.", open / rows)?;
    Ok(())
}

fn size(
    name: &str,
    path: &Path,
    rows: u64,
    closing: Option<f64>,
    out: &mut impl Write,
) -> Result<()> {
    let (file, disk) = bytes_of(path)?;
    let store = Store::open_with(path, &StoreOptions::new().read_only(true))?;
    let tables = store.snapshot().table_bytes()?;
    store.close()?;
    let (content, pages): (u64, u64) = tables
        .iter()
        .fold((0, 0), |(content, pages), table| (content + table.content, pages + table.pages));
    let of = |names: [&str; 2]| -> u64 {
        let named =
            tables.iter().filter(|table| names.iter().any(|name| table.table.contains(name)));
        named.map(|table| table.content).sum()
    };
    let [feed, counters] = [of(["changes", "sequences"]), of(["totals", "counters"])];
    let [content, feed, counters, pages, file, disk] =
        [content, feed, counters, pages, file, disk].map(|bytes| bytes as f64 / rows as f64);
    let (ratio, closing) = (file / pages, closing.map_or_else(String::new, |s| format!("{s:.2}")));
    Ok(writeln!(
        out,
        "| {name} | {content:.0} | {feed:.0} | {counters:.0} | {pages:.0} | {file:.0} | {disk:.0} \
         | {ratio:.2} | {closing} |"
    )?)
}

/// The length of a file and the bytes that it occupies on the disk.
fn bytes_of(path: &Path) -> Result<(u64, u64)> {
    let metadata = std::fs::metadata(path)?;
    #[cfg(unix)]
    let disk = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
    #[cfg(not(unix))]
    let disk = metadata.len();
    Ok((metadata.len(), disk))
}

/// Counts what single durable writes put into the WAL, and what the checkpoint after them puts into
/// the tables, in bytes passed to the system.
fn writes(rows: u64, out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "\n| write into {rows} rows, bytes each | keys and values | WAL | checkpoint of 1 \
         | checkpoint of {WRITES} |\n|---|---|---|---|---|"
    )?;
    let directory = tempfile::tempdir_in(file_of(rows)?.parent().context("a directory")?)?;
    let path = directory.path().join("store.convodb");
    std::fs::copy(file_of(rows)?, &path)?;
    let store = Store::open(&path)?;
    let users: Vec<UserId> = store.snapshot().users()?.into_iter().map(|user| user.id).collect();
    let mut writes = Writes { store, users, rows: Dataset::new(SEED, rows), inserted: Vec::new() };
    // The first write after opening begins an epoch and a log.
    writes.count(Kind::Insert, WRITES)?;
    for kind in Kind::ALL {
        let one = writes.count(kind, 1)?;
        let many = writes.count(kind, WRITES)?;
        let each = many.each(WRITES);
        let (name, single) = (kind.name(), one.checkpoint);
        let [values, log, checkpoint] = each;
        writeln!(out, "| {name} | {values:.0} | {log:.0} | {single} | {checkpoint:.0} |")?;
    }
    Ok(writes.store.close()?)
}

/// A kind of single write.
#[derive(Clone, Copy)]
enum Kind {
    Insert,
    Message,
    Change,
    Delete,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Insert, Self::Message, Self::Change, Self::Delete];

    const fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Message => "message of 72 characters",
            Self::Change => "change of the assistant",
            Self::Delete => "delete",
        }
    }
}

/// Bytes of some writes.
struct Written {
    values: u64,
    log: u64,
    checkpoint: u64,
}

impl Written {
    /// The bytes of each of `count` writes: keys and values, log, checkpoint.
    fn each(&self, count: usize) -> [f64; 3] {
        [self.values, self.log, self.checkpoint].map(|bytes| bytes as f64 / count as f64)
    }
}

struct Writes {
    store: Store,
    users: Vec<UserId>,
    rows: Dataset,
    /// Inserted conversations that were not deleted, with the rank of their user.
    inserted: Vec<(usize, ConversationId)>,
}

impl Writes {
    /// Makes `count` writes and waits for their checkpoint. Begins again if a checkpoint came
    /// between them.
    fn count(&mut self, kind: Kind, count: usize) -> Result<Written> {
        for _ in 0..ATTEMPTS {
            let checkpoints = self.store.metrics().checkpoints.count();
            let (values, bytes) = (self.store.metrics().committed_bytes, written_bytes()?);
            (0..count).try_for_each(|number| self.write(kind, number))?;
            let logged = written_bytes()?;
            let begun = self.store.metrics().checkpoints.count() > checkpoints
                || self.store.metrics().memtable_bytes == 0;
            let values = self.store.metrics().committed_bytes - values;
            self.wait_for(checkpoints + 1)?;
            if begun {
                // More than one may have begun.
                std::thread::sleep(2 * CHECKPOINT_INTERVAL);
                continue;
            }
            let checkpoint = written_bytes()? - logged;
            return Ok(Written { values, log: logged - bytes, checkpoint });
        }
        bail!("{count} writes took more than a second, {ATTEMPTS} times in a row")
    }

    /// Waits until `checkpoints` have ended since the store was opened.
    fn wait_for(&self, checkpoints: u64) -> Result<()> {
        let began = Instant::now();
        while self.store.metrics().checkpoints.count() < checkpoints {
            ensure!(began.elapsed() < PATIENCE, "no checkpoint within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        // The segments of the log are removed after the checkpoint.
        std::thread::sleep(Duration::from_millis(200));
        Ok(())
    }

    fn write(&mut self, kind: Kind, number: usize) -> Result<()> {
        if let Kind::Insert = kind {
            let row = self.rows.next().context("an endless dataset")?;
            self.inserted.push((row.user, row.conversation.id));
            return Ok(self.store.insert(self.users[row.user], row.conversation, Vec::new())?);
        }
        let at = number % self.inserted.len();
        let (rank, id) = match kind {
            Kind::Delete => self.inserted.swap_remove(at),
            _ => self.inserted[at],
        };
        let user = self.users[rank];
        match kind {
            Kind::Insert => {}
            Kind::Delete => self.store.delete(user, id)?,
            Kind::Message => {
                let message = Message::new(Role::User, MESSAGE, Timestamp::now())?;
                self.store.append_message(user, id, message)?;
            }
            Kind::Change => {
                let [one, two] = [0, 1].map(|number| Dataset::assistant(rank, number));
                let two = if Dataset::assistants(rank) > 1 { two } else { one };
                self.store.update(user, id, Timestamp::now(), move |row: &mut Conversation| {
                    row.assistant = if row.assistant == one { two } else { one };
                    Ok(())
                })?;
            }
        }
        Ok(())
    }
}

/// The bytes that this process has passed to the system for writing.
fn written_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io").context("needs Linux")?;
    let bytes = text.lines().find_map(|line| line.strip_prefix("wchar:"));
    Ok(bytes.context("no wchar in /proc/self/io")?.trim().parse()?)
}
