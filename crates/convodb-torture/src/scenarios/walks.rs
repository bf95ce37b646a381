//! Page walks with concurrent writers.
//!
//! There are three kinds of rows. *Steady* rows match the whole time; other fields change. *Moving*
//! rows alternate between two lists, so they match the whole time in a union of both. *Passing* rows are inserted anywhere and deleted, preferably
//! the row at which a walk has stopped. No id is used twice.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use convodb::{
    AssistantId, Channel, ChannelKind, Contact, Conversation, ConversationId, Filter, ListRequest,
    Message, Order, Page, PageCursor, PageSize, Role, Snapshot, Store, Timestamp, UserId,
};
use convodb_testkit::generators::assistants;
use convodb_testkit::harness::plain_id;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};

pub(super) const WALKS: Scenario = Scenario {
    name: "walks",
    row: 11,
    promise: "A walk with concurrent writers returns no row twice, and every row that matches the \
              whole time once; a moved row is in one list, and a batch is visible completely.",
    trial: "walks forward and back, with two writers of 150 writes each",
    trials: Trials { smoke: 5, ci: 200, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run,
};

const WRITERS: usize = 2;
const WRITES: u64 = 150;
const STEADY: u64 = 40;
const MOVING: u64 = 10;
const BATCH: u64 = 10;
/// The ids of each writer start at a multiple of this.
const ID_SPACE: u64 = 1 << 20;
/// The types of steady, moving and passing rows, and one that batches have.
const UNION_KINDS: [ChannelKind; 3] =
    [ChannelKind::Whatsapp, ChannelKind::Widget, ChannelKind::Api];
const BASE_MILLIS: u64 = 1_737_800_000_000;

/// The state that the walk and the writers share.
struct Shared {
    store: Store,
    user: UserId,
    /// The number of the row at which the walk stopped last.
    anchor: AtomicU64,
    done: AtomicBool,
}

fn phone(text: &str) -> Contact {
    Contact { name: None, phone: text.parse().ok() }
}

/// The channel of steady rows, which matches every kind of list.
fn steady_channel() -> Channel {
    Channel::Whatsapp { sender: phone("+1"), customer: phone("+2") }
}

fn row(number: u64, channel: Channel, millis: u64) -> Result<Conversation, Violation> {
    let at = Timestamp::from_millis(millis)?;
    Ok(Conversation::new(plain_id(number), assistants()[0], channel, at))
}

/// The assistants between which rows move. All other rows have another assistant.
fn moving_assistants() -> [AssistantId; 2] {
    let all = assistants();
    [all[1], all[2]]
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let store = Store::in_memory()?;
    let user = store.create_user("one", Timestamp::MIN)?.id;
    for assistant in assistants() {
        store.create_assistant(user, assistant, "Bot")?;
    }
    for number in 0..STEADY {
        // Pairs of rows share a millisecond.
        store.insert(
            user,
            row(number, steady_channel(), BASE_MILLIS + number / 2 * 1_000)?,
            Vec::new(),
        )?;
    }
    for number in STEADY..STEADY + MOVING {
        let mut moving = row(number, Channel::Widget, BASE_MILLIS + number * 500)?;
        moving.assistant = moving_assistants()[0];
        store.insert(user, moving, Vec::new())?;
    }
    let (anchor, done) = (AtomicU64::new(u64::MAX), AtomicBool::new(false));
    let shared = Shared { store, user, anchor, done };
    let seeds: [u64; WRITERS] = trial.random.random();
    thread::scope(|scope| {
        let writers: Vec<_> = (1..)
            .zip(seeds)
            .map(|(number, seed)| {
                let shared = &shared;
                scope.spawn(move || write(shared, number, ChaCha8Rng::seed_from_u64(seed)))
            })
            .collect();
        let mut walked = Ok(());
        let mut last = false;
        while walked.is_ok() && !last {
            last = writers.iter().all(thread::ScopedJoinHandle::is_finished);
            walked = walk(&shared, trial);
        }
        shared.done.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        walked
    })
}

/// Runs one writer. Every write succeeds, because the writer knows its rows.
fn write(shared: &Shared, number: u64, mut random: ChaCha8Rng) -> Result<(), Violation> {
    let Shared { store, user, anchor, done } = shared;
    let (user, mut last_id) = (*user, number * ID_SPACE);
    let mut passing: Vec<u64> = Vec::new();
    for _ in 0..WRITES {
        if done.load(Ordering::Relaxed) {
            break;
        }
        match random.random_range(0..10) {
            0..4 => {
                last_id += 1;
                passing.push(last_id);
                // Anywhere in the list: in the millisecond of another row, long before, far ahead.
                let millis = BASE_MILLIS + random.random_range(0..STEADY) * 500 - 1_000;
                store.insert(user, row(last_id, steady_channel(), millis)?, Vec::new())?;
            }
            4..6 if !passing.is_empty() => {
                let stopped_at = anchor.load(Ordering::Relaxed);
                let found = passing.iter().position(|own| *own == stopped_at);
                let place = found.unwrap_or(random.random_range(0..passing.len()));
                store.delete(user, plain_id(passing.swap_remove(place)))?;
            }
            6 => {
                last_id += BATCH;
                insert_batch(store, user, last_id)?;
            }
            7 => {
                let steady = plain_id(random.random_range(0..STEADY));
                let at = Timestamp::from_millis(BASE_MILLIS)?;
                store.append_message(user, steady, Message::new(Role::User, "hi", at)?)?;
                store.update(user, steady, Timestamp::MIN, |row| {
                    row.ai_enabled = !row.ai_enabled;
                    Ok(())
                })?;
            }
            _ => {
                store.update(
                    user,
                    plain_id(random.random_range(STEADY..STEADY + MOVING)),
                    Timestamp::MIN,
                    |row| {
                        let [first, second] = moving_assistants();
                        row.assistant = if row.assistant == first { second } else { first };
                        Ok(())
                    },
                )?;
            }
        }
    }
    Ok(())
}

/// Inserts the last [`BATCH`] numbers up to `last` in one transaction.
fn insert_batch(store: &Store, user: UserId, last: u64) -> Result<(), Violation> {
    let identifier = "batch".parse()?;
    let channel = Channel::Api { external_identifier: Some(identifier) };
    let rows = (last - BATCH + 1..=last)
        .map(|number| row(number, channel.clone(), BASE_MILLIS + last % 7 * 1_000))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(store.write(move |transaction| {
        rows.into_iter().try_for_each(|row| transaction.insert(user, row, Vec::new()))
    })?)
}

/// Walks to the end of a list and back.
fn walk(shared: &Shared, trial: &mut Trial) -> Result<(), Violation> {
    let text = |text: &str| text.parse().ok();
    let filter = match trial.random.random_range(0..7) {
        0 => Filter::default(),
        1 => Filter { kind: Some(ChannelKind::Whatsapp), ..Filter::default() },
        2 => Filter { customer_phone: text("+2"), ..Filter::default() },
        3 => Filter { assistant: Some(assistants()[0]), ..Filter::default() },
        4 => Filter::new().assistants(assistants())?,
        5 => Filter::new().assistants(assistants())?.kinds(UNION_KINDS)?,
        _ => Filter {
            kind: Some(ChannelKind::Whatsapp),
            sender_phone: text("+1"),
            customer_phone: text("+2"),
            ..Filter::default()
        },
    };
    let moving_match = filter == Filter::default() || filter.assistants.is_some();
    let matching = if moving_match { STEADY + MOVING } else { STEADY };
    let order = if trial.random.random_bool(0.5) { Order::Ascending } else { Order::Descending };
    let page_size = Some(PageSize::new(trial.random.random_range(1..9))?);
    let first = ListRequest { filter, order: Some(order), page_size, ..ListRequest::default() };
    let next = |page: &Page| page.next_cursor().copied();
    let end = follow(shared, trial, first, BTreeSet::new(), matching, next)?;
    if let Some((cursor, rows)) = end {
        // The other rows lie before the last page.
        let prev = |page: &Page| page.prev_cursor().copied();
        follow(shared, trial, ListRequest::at(cursor), rows, matching, prev)?;
    }
    trial.count("walks");
    Ok(())
}

/// Reads page after page, each from its own snapshot, to one end of the list. `seen` has the rows
/// that were read before; the first `matching` rows match the whole time. Returns the previous
/// cursor of the last page, and the rows of that page.
fn follow(
    shared: &Shared,
    trial: &mut Trial,
    mut request: ListRequest,
    mut seen: BTreeSet<ConversationId>,
    matching: u64,
    onward: impl Fn(&Page) -> Option<PageCursor>,
) -> Result<Option<(PageCursor, BTreeSet<ConversationId>)>, Violation> {
    loop {
        let snapshot = shared.store.snapshot();
        let page = snapshot.list(shared.user, &request)?;
        trial.count("pages");
        for row in page.conversations() {
            ensure(seen.insert(row.id), || format!("row {} is returned twice in a walk", row.id))?;
        }
        check_lists(&snapshot, shared.user)?;
        let Some(cursor) = onward(&page) else {
            for number in 0..matching {
                ensure(seen.contains(&plain_id(number)), || {
                    format!("row {number} matched the whole time and was skipped: {request:?}")
                })?;
            }
            let rows = page.conversations().map(|row| row.id).collect();
            return Ok(page.prev_cursor().copied().map(|cursor| (cursor, rows)));
        };
        if let Some(last) = page.conversations().next_back() {
            let number = u64::try_from(last.id.uuid().as_u128())?;
            shared.anchor.store(number, Ordering::Relaxed);
        }
        // A client has only the token.
        let token = snapshot.seal_cursor(&cursor);
        request = ListRequest::at(shared.store.snapshot().open_cursor(shared.user, &token)?);
    }
}

/// Checks that each moving row is in one of the two lists, and that batches are complete.
fn check_lists(snapshot: &Snapshot, user: UserId) -> Result<(), Violation> {
    let ids = |filter: Filter| -> Result<Vec<ConversationId>, Violation> {
        let request = ListRequest { filter, ..ListRequest::default() };
        let rows = snapshot.conversations(user, &request);
        rows.map(|row| Ok(row?.id)).collect()
    };
    let [first, second] = moving_assistants();
    let of_assistant = |assistant| ids(Filter::new().assistant(assistant));
    let mut moving = of_assistant(first)?;
    moving.extend(of_assistant(second)?);
    moving.sort_unstable();
    let expected: Vec<ConversationId> = (STEADY..STEADY + MOVING).map(plain_id).collect();
    ensure(moving == expected, || format!("the two lists together have {moving:?}"))?;
    let batch = Filter { external_identifier: "batch".parse().ok(), ..Filter::default() };
    let batched = ids(batch)?.len() as u64;
    ensure(batched.is_multiple_of(BATCH), || {
        format!("{batched} rows, a multiple of {BATCH} expected")
    })
}
