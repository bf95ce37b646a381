//! An unreadable page: one bad sector under one conversation, while others are read and written.

use std::path::Path;

use convodb::{
    Channel, Conversation, ConversationId, Durability, Error, Message, Role, Snapshot, Store,
    StoreOptions, StoreState, Timestamp,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::Counts;
use crate::generators::assistants;
use crate::oracle::Oracle;
use crate::simulation::checker::check_state;
use crate::simulation::disk::SimulatedDisk;
use crate::simulation::runner::{PATH, await_open, open, random_options};
use crate::simulation::workload::{Step, WriteOperation, user};

/// Conversations of the first user. A page contains a few of their messages.
const CONVERSATIONS: u32 = 16;
/// Messages that may share a page with another one are fewer than this away.
const NEAR: u32 = 6;

/// Breaks the page below a message, then reads and writes. Reads of this message fail with an I/O
/// error, which is counted; all other reads and the writes of other conversations succeed, and the
/// store stays open. Then the writer needs the page: no acknowledged write is lost, and the store
/// recovers once the page can be read.
///
/// # Errors
/// A violation.
pub fn unreadable_page(seed: u64) -> Result<Counts, String> {
    let disk = SimulatedDisk::new(seed);
    run(seed, &disk).map_err(|violation| format!("seed {seed}: {violation}\n{}", disk.trace()))
}

/// A store whose tables contain the conversations, and its state.
fn fill(
    disk: &SimulatedDisk,
    options: &StoreOptions,
    random: &mut ChaCha8Rng,
) -> Result<(Store, Oracle), String> {
    let mut state = Oracle::default();
    let store = open(disk, options).map_err(text)?;
    Step::SetUp.run(&store).map_err(text)?;
    for number in 0..CONVERSATIONS {
        write(&store, &mut state, insert(0, number, random.random_range(5_000..9_000)))?;
    }
    store.close().map_err(text)?;
    Ok((open(disk, options).map_err(text)?, state))
}

fn run(seed: u64, disk: &SimulatedDisk) -> Result<Counts, String> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Without a cache each read reaches the disk. Checkpoints are due after a second.
    let options = random_options(&mut random, Durability::Immediate);
    let options = options.cache_bytes(0).memtable_bytes(1 << 20);
    let mut counts = Counts::new();
    let (store, mut state) = fill(disk, &options, &mut random)?;

    let victim = random.random_range(0..CONVERSATIONS - NEAR);
    break_message(disk, victim)?;
    let before = store.snapshot();
    let mut failed = 0;
    for number in 0..random.random_range(10..40_u32) {
        match random.random_range(0..5) {
            0 => {
                failed += 1;
                expect_unreadable(&store.snapshot(), victim)?;
            }
            1 => {
                failed += 1;
                expect_unreadable(&before, victim)?;
            }
            2 => read(&store.snapshot(), &state, random.random_range(0..CONVERSATIONS), victim)?,
            3 => {
                // The writer reads the message to remove it: this write alone fails.
                failed += 1;
                let delete = WriteOperation::Delete(user(0), id(0, victim));
                match Step::Write(vec![delete]).run(&store) {
                    Err(Error::Io(_)) => {}
                    other => return Err(format!("a delete of an unreadable row: {other:?}")),
                }
            }
            _ => {
                write(&store, &mut state, insert(1, number, random.random_range(0..9_000)))?;
                *counts.entry("writes beside the page").or_default() += 1;
            }
        }
        if store.state() != StoreState::Open {
            return Err(format!("a read of one page made the store {:?}", store.state()));
        }
    }
    if store.metrics().read_faults < failed {
        return Err(format!("{failed} failed reads, counted {}", store.metrics().read_faults));
    }
    *counts.entry("failed reads").or_default() += failed;

    // A flush needs the page: new messages belong beside all of the old ones.
    disk.clear_faults();
    for number in 0..CONVERSATIONS {
        let append = WriteOperation::Append(user(0), id(0, number), message("appended"));
        write(&store, &mut state, append)?;
    }
    break_message(disk, victim)?;
    // A write that goes straight into the tables flushes the messages.
    let flushed = Step::RotateCursorKey.run(&store).is_ok();
    *counts.entry(if flushed { "flushes" } else { "failed flushes" }).or_default() += 1;
    disk.clear_faults();
    await_open(&store)?;
    let state = [state];
    check_state(&store.snapshot(), &state, false).map_err(String::from)?;
    let store = open(&disk.worst_power_cut(), &options).map_err(text)?;
    check_state(&store.snapshot(), &state, false).map_err(String::from)?;
    Ok(counts)
}

#[expect(clippy::needless_pass_by_value, reason = "used with `map_err`")]
fn text(error: Error) -> String {
    error.to_string()
}

fn id(of: usize, number: u32) -> ConversationId {
    ConversationId::new(Uuid::from_u128(1_000 * (of as u128 + 1) + u128::from(number)))
}

/// A text that only the message of one conversation contains.
fn marker(of: usize, number: u32) -> String {
    format!("message {number} of user {of};")
}

fn message(text: &str) -> Message {
    let message = Message::new(Role::User, text, Timestamp::MIN);
    message.unwrap_or_else(|_| unreachable!("a short text is a message"))
}

/// Makes the pages of a message of the first user unreadable.
fn break_message(disk: &SimulatedDisk, number: u32) -> Result<(), String> {
    match disk.break_pages_with(Path::new(PATH), marker(0, number).as_bytes()) {
        Ok(0) => Err("the message is in no page".to_owned()),
        broken => broken.map(drop).map_err(|error| error.to_string()),
    }
}

/// Inserts a conversation with one message of about `length` bytes. Later numbers are newer.
fn insert(of: usize, number: u32, length: usize) -> WriteOperation {
    let created = Timestamp::from_millis(1_737_800_000_000 + u64::from(number));
    let created = created.unwrap_or(Timestamp::MIN);
    let new = Conversation::new(id(of, number), assistants()[0], Channel::Widget, created);
    // Beyond what the row keeps as a preview.
    let message = message(&format!("{}{}", "m".repeat(length), marker(of, number)));
    WriteOperation::Insert(user(of), Conversation { message_count: 1, ..new }, vec![message])
}

/// Writes what must succeed.
fn write(store: &Store, state: &mut Oracle, operation: WriteOperation) -> Result<(), String> {
    operation.apply(state);
    let written = Step::Write(vec![operation]).run(store);
    written.map_err(|error| format!("a write beside the unreadable page: {error}"))
}

fn expect_unreadable(snapshot: &Snapshot, victim: u32) -> Result<(), String> {
    match snapshot.messages(user(0), id(0, victim)) {
        Err(Error::Io(_)) => Ok(()),
        other => Err(format!("an unreadable page returned {other:?}")),
    }
}

/// Reads a conversation. The page of the victim may contain a part of its neighbours.
fn read(snapshot: &Snapshot, state: &Oracle, number: u32, victim: u32) -> Result<(), String> {
    let row = snapshot.conversation(user(0), id(0, number)).map_err(text)?;
    if row.map(|row| row.id) != Some(id(0, number)) {
        return Err(format!("conversation {number} is missing"));
    }
    match snapshot.messages(user(0), id(0, number)) {
        Ok(messages) if messages.as_deref() == state.messages(user(0), id(0, number)) => Ok(()),
        Err(Error::Io(_)) if number.abs_diff(victim) < NEAR => Ok(()),
        other => Err(format!("conversation {number} beside the unreadable page: {other:?}")),
    }
}
