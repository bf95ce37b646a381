//! The price of each optional index family: bytes a row, and instructions and bytes of an insert.
//!
//! Prints a table with a line for no family, for each alone and for all. Everything is a count, so
//! another run prints the same. Needs valgrind for the instructions, which are those of
//! [`INSERT_FUNCTION`] on the writer thread; commits and checkpoints are not counted, because their
//! number depends on time.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use convodb::{IndexFamilies, IndexFamily, Store, StoreOptions, Timestamp, UserId};
use convodb_bench::dataset::{self, Dataset};
use convodb_bench::run::SEED;
use convodb_benches::callgrind::{INSERT_FUNCTION, instructions};

/// Environment variable with the families of a child process.
const FAMILIES: &str = "CONVODB_PRICE_OF";
/// The rows of the stores whose size is measured.
const ROWS: u64 = 100_000;
/// The rows that are inserted one after the other.
const INSERTS: usize = 1_000;
/// The rank of the user whose rows are inserted.
const USER: usize = 3;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let done = match std::env::var(FAMILIES) {
        Ok(families) => families.parse().map_err(Into::into).and_then(|one| insert(one).map(drop)),
        Err(_) => print_table(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn print_table() -> Outcome<()> {
    let each = IndexFamily::ALL.map(|family| IndexFamilies::NONE.with(family));
    let mut sets = vec![IndexFamilies::NONE];
    sets.extend(each);
    if IndexFamily::ALL.len() > 1 {
        sets.push(IndexFamilies::ALL);
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| indexes | bytes a row | an insert: instructions | bytes |\n|---|---|---|---|"
    )?;
    let mut none = None;
    for set in sets {
        let price = Price::of(set)?;
        let none = none.get_or_insert(price);
        let Price { row, instructions, written } = price;
        writeln!(
            out,
            "| {set} | {row:.1} ({:.2}) | {instructions:.0} ({:.2}) | {written:.1} ({:.2}) |",
            row / none.row,
            instructions / none.instructions,
            written / none.written,
        )?;
    }
    Ok(())
}

/// What a store with some families costs.
#[derive(Clone, Copy, Debug)]
struct Price {
    /// Bytes of the file for each conversation without messages, after a bulk load.
    row: f64,
    /// Instructions of an insert.
    instructions: f64,
    /// Bytes of keys and values that an insert writes.
    written: f64,
}

impl Price {
    fn of(families: IndexFamilies) -> Outcome<Self> {
        let inserts = INSERTS as f64;
        Ok(Self {
            row: bytes_a_row(families)?,
            instructions: instructions(INSERT_FUNCTION, &[(FAMILIES, &families.to_string())])?
                as f64
                / inserts,
            written: insert(families)? as f64 / inserts,
        })
    }
}

fn bytes_a_row(families: IndexFamilies) -> Outcome<f64> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store.convodb");
    let store = Store::open_with(&path, &StoreOptions::new().indexes(families))?;
    dataset::load(&store, SEED, ROWS, |_| {})?;
    store.close()?;
    Ok(std::fs::metadata(&path)?.len() as f64 / ROWS as f64)
}

/// Inserts rows one after the other, each durable, and returns the bytes that they wrote.
fn insert(families: IndexFamilies) -> Outcome<u64> {
    // First, so that few checkpoints come due while the store is open.
    let rows = Dataset::new(SEED, ROWS).filter(|row| row.user == USER);
    let rows: Vec<_> = rows.take(INSERTS).collect();
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store.convodb");
    let store = Store::open_with(&path, &StoreOptions::new().indexes(families))?;
    let user = create_user(&store)?;
    let before = store.metrics().committed_bytes;
    for row in rows {
        let conversation = row.conversation;
        store.write(move |transaction| transaction.insert(user, conversation, Vec::new()))?;
    }
    let written = store.metrics().committed_bytes - before;
    store.close()?;
    Ok(written)
}

fn create_user(store: &Store) -> Outcome<UserId> {
    Ok(store.write(|transaction| {
        let user = transaction.create_user("Acme", Timestamp::MIN)?.id;
        for number in 0..Dataset::assistants(USER) {
            let id = Dataset::assistant(USER, number);
            transaction.create_assistant(user, id, format!("Assistant {number}"))?;
        }
        Ok::<_, convodb::Error>(user)
    })?)
}
