//! The price of each optional index family: bytes a row, and instructions and bytes of an insert.
//!
//! Prints two tables with a line for no family, for each alone and for all: of conversations without
//! messages, and with two, which the previews are of. Everything is a count, so
//! another run prints the same. Needs valgrind for the instructions, which are those of
//! [`INSERT_FUNCTION`] on the writer thread; commits and checkpoints are not counted, because their
//! number depends on time.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use convodb::{
    BulkOptions, Conversation, IndexFamilies, IndexFamily, Message, Role, Store, StoreOptions,
    Timestamp, UserId,
};
use convodb_bench::dataset::{self, Dataset};
use convodb_bench::run::SEED;
use convodb_benches::callgrind::{INSERT_FUNCTION, instructions};

/// Environment variable with the families of a child process.
const FAMILIES: &str = "CONVODB_PRICE_OF";
/// Environment variable with the number of messages that a child process inserts with each row.
const MESSAGES: &str = "CONVODB_PRICE_MESSAGES";
/// The characters of a message, as many as a preview has.
const MESSAGE_LENGTH: usize = 140;
/// The rows of the stores whose size is measured.
const ROWS: u64 = 100_000;
/// The rows that are inserted one after the other.
const INSERTS: usize = 1_000;
/// The rank of the user whose rows are inserted.
const USER: usize = 3;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let done = match std::env::var(FAMILIES) {
        Ok(families) => insert_in_child(&families),
        Err(_) => [0, 2].into_iter().try_for_each(print_table),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn insert_in_child(families: &str) -> Outcome<()> {
    insert(families.parse()?, std::env::var(MESSAGES)?.parse()?).map(drop)
}

/// Prints the prices for conversations with this number of messages.
fn print_table(messages: usize) -> Outcome<()> {
    let each = IndexFamily::ALL.map(|family| IndexFamilies::NONE.with(family));
    let mut sets = vec![IndexFamilies::NONE];
    sets.extend(each);
    if IndexFamily::ALL.len() > 1 {
        sets.push(IndexFamilies::ALL);
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{messages} messages:\n\n\
         | indexes | bytes a row | an insert: instructions | bytes |\n|---|---|---|---|"
    )?;
    let mut none = None;
    for set in sets {
        let price = Price::of(set, messages)?;
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
    Ok(writeln!(out)?)
}

/// What a store with some families costs.
#[derive(Clone, Copy, Debug)]
struct Price {
    /// Bytes of the pages of all tables for each conversation, after a bulk load.
    row: f64,
    /// Instructions of an insert.
    instructions: f64,
    /// Bytes of keys and values that an insert writes.
    written: f64,
}

impl Price {
    fn of(families: IndexFamilies, messages: usize) -> Outcome<Self> {
        let inserts = INSERTS as f64;
        let child = [(FAMILIES, &*families.to_string()), (MESSAGES, &*messages.to_string())];
        Ok(Self {
            row: bytes_a_row(families, messages)?,
            instructions: instructions(INSERT_FUNCTION, &child)? as f64 / inserts,
            written: insert(families, messages)? as f64 / inserts,
        })
    }
}

fn bytes_a_row(families: IndexFamilies, messages: usize) -> Outcome<f64> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store.convodb");
    let store = Store::open_with(&path, &StoreOptions::new().indexes(families))?;
    match messages {
        0 => drop(dataset::load(&store, SEED, ROWS, |_| {})?),
        messages => load_one_user(&store, messages)?,
    }
    // The file grows by large steps, so its length says little about the tables.
    let tables = store.snapshot().table_bytes()?;
    let bytes: u64 = tables.iter().map(|table| table.pages).sum();
    store.close()?;
    Ok(bytes as f64 / ROWS as f64)
}

/// Loads rows of one user with this number of messages each.
fn load_one_user(store: &Store, messages: usize) -> Outcome<()> {
    let (user, messages) = (create_user(store)?, these(messages)?);
    let mut load = store.bulk_load(BulkOptions::default());
    let rows = Dataset::new(SEED, ROWS).filter(|row| row.user == USER);
    for row in rows.zip(0..ROWS).map(|(row, _)| row) {
        load.push(user, &with_two(row.conversation), &messages)?;
    }
    load.finish()?;
    Ok(())
}

/// The conversation, which counts at least two messages.
fn with_two(conversation: Conversation) -> Conversation {
    Conversation { message_count: conversation.message_count.max(2), ..conversation }
}

/// Different messages.
fn these(messages: usize) -> Outcome<Vec<Message>> {
    let text = |number: usize| format!("{number:MESSAGE_LENGTH$}");
    let messages =
        (0..messages).map(|number| Message::new(Role::User, text(number), Timestamp::MIN));
    Ok(messages.collect::<Result<_, _>>()?)
}

/// Inserts rows one after the other, each durable, and returns the bytes that they wrote.
fn insert(families: IndexFamilies, messages: usize) -> Outcome<u64> {
    // First, so that few checkpoints come due while the store is open.
    let rows = Dataset::new(SEED, ROWS).filter(|row| row.user == USER);
    let rows: Vec<_> = rows.take(INSERTS).collect();
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store.convodb");
    let store = Store::open_with(&path, &StoreOptions::new().indexes(families))?;
    let user = create_user(&store)?;
    let messages = these(messages)?;
    let before = store.metrics().committed_bytes;
    for row in rows {
        let (conversation, messages) = (with_two(row.conversation), messages.clone());
        store.write(move |transaction| transaction.insert(user, conversation, messages))?;
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
