//! Walks by last activity among concurrent writers, then the changes since their beginning.
//!
//! Writers append messages at the present and at earlier times, change, insert and delete. A walk
//! collects the pages by id. When the writers have stopped, the changes since the cursor of its first
//! page are applied, and the copy must equal what the store has.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use convodb::{
    ChangeCursor, ChangesSince, Channel, ChannelKind, Contact, Conversation, ConversationId,
    Filter, IndexFamilies, IndexFamily, ListRequest, Message, Order, PageCost, PageSize, Role,
    Sort, Store, Timestamp, UserId,
};
use convodb_testkit::generators::assistants;
use convodb_testkit::harness::plain_id;
use convodb_testkit::oracle::ListQuery;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};

pub(super) const ACTIVITY: Scenario = Scenario {
    name: "activity",
    row: 31,
    promise: "A walk by last activity among concurrent writers, and the changes since the cursor that \
              its pages name, give each conversation once, in its last state, and no other.",
    trial: "walks in both orders beside two writers of 200 writes each",
    trials: Trials { smoke: 5, ci: 200, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run,
};

const WRITERS: u64 = 2;
const WRITES: u64 = 200;
/// The conversations that exist when the walks begin, and are never deleted.
const ROWS: u64 = 60;
/// The ids of each writer start at a multiple of this.
const ID_SPACE: u64 = 1 << 20;
const BASE_MILLIS: u64 = 1_737_800_000_000;

/// The state that the walk and the writers share.
struct Shared {
    store: Store,
    user: UserId,
    /// The present, in milliseconds.
    clock: AtomicU64,
    done: AtomicBool,
}

/// A copy of a list, and where the feed was when its walk began.
struct Copied {
    filter: Filter,
    rows: BTreeMap<ConversationId, Conversation>,
    since: ChangeCursor,
}

fn row(number: u64, millis: u64) -> Result<Conversation, Violation> {
    let contact = |phone: &str| Contact { name: None, phone: phone.parse().ok() };
    let channel = match number % 4 {
        0 => Channel::Widget,
        1 => Channel::Api { external_identifier: None },
        _ => Channel::Whatsapp { sender: contact("+1"), customer: contact("+2") },
    };
    let assistant = assistants()[usize::try_from(number % 3)?];
    Ok(Conversation::new(plain_id(number), assistant, channel, Timestamp::from_millis(millis)?))
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let store = Store::in_memory()?;
    store.add_indexes(IndexFamilies::NONE.with(IndexFamily::LastActivity))?;
    let user = store.create_user("one", Timestamp::MIN)?.id;
    for assistant in assistants() {
        store.create_assistant(user, assistant, "Bot")?;
    }
    for number in 0..ROWS {
        // Pairs of rows share a millisecond.
        store.insert(user, row(number, BASE_MILLIS + number / 2)?, Vec::new())?;
    }
    let (clock, done) = (AtomicU64::new(BASE_MILLIS + ROWS), AtomicBool::new(false));
    let shared = Shared { store, user, clock, done };
    let seeds: [u64; 2] = trial.random.random();
    let mut copies = Vec::new();
    thread::scope(|scope| {
        let writers: Vec<_> = (1..=WRITERS)
            .zip(seeds)
            .map(|(number, seed)| {
                let shared = &shared;
                scope.spawn(move || write(shared, number, ChaCha8Rng::seed_from_u64(seed)))
            })
            .collect();
        let mut walked = Ok(());
        while walked.is_ok() && !writers.iter().all(thread::ScopedJoinHandle::is_finished) {
            walked = walk(&shared, trial).map(|copy| copies.push(copy));
        }
        shared.done.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        walked
    })?;
    copies.push(walk(&shared, trial)?);
    for copy in copies {
        check(&shared, copy, trial)?;
    }
    Ok(())
}

/// Runs one writer. Every write succeeds, because the writer knows its rows.
fn write(shared: &Shared, number: u64, mut random: ChaCha8Rng) -> Result<(), Violation> {
    let Shared { store, user, clock, done } = shared;
    let (user, mut last_id) = (*user, number * ID_SPACE);
    let mut own: Vec<u64> = Vec::new();
    for _ in 0..WRITES {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let now = clock.fetch_add(1, Ordering::Relaxed);
        let at = Timestamp::from_millis(now)?;
        let any = plain_id(random.random_range(0..ROWS));
        match random.random_range(0..10) {
            0..5 => {
                store.append_message(user, any, Message::new(Role::User, "hi", at)?)?;
            }
            5 => {
                let earlier = Timestamp::from_millis(BASE_MILLIS + random.random_range(0..ROWS))?;
                store.append_message(user, any, Message::new(Role::User, "hi", earlier)?)?;
            }
            6 => {
                let assistant = assistants()[random.random_range(0..3)];
                store.update(user, any, at, move |row| {
                    row.assistant = assistant;
                    Ok(())
                })?;
            }
            7 if !own.is_empty() => {
                let at = random.random_range(0..own.len());
                store.delete(user, plain_id(own.swap_remove(at)))?;
            }
            _ => {
                last_id += 1;
                own.push(last_id);
                // Imported, with an activity anywhere in the list, or new.
                let millis = BASE_MILLIS + random.random_range(0..now - BASE_MILLIS + 1);
                store.insert(user, row(last_id, millis)?, Vec::new())?;
            }
        }
    }
    Ok(())
}

/// Copies a list by a walk from its first page to its last.
fn walk(shared: &Shared, trial: &mut Trial) -> Result<Copied, Violation> {
    let none = Filter::new;
    let filter = match trial.random.random_range(0..7) {
        0 => none(),
        1 => none().kind(ChannelKind::Whatsapp),
        2 => none().assistant(assistants()[0]),
        3 => none().kind(ChannelKind::Widget).assistant(assistants()[1]),
        4 => none().sender_phone("+1")?,
        5 => none().customer_phone("+2")?,
        _ => none().kinds([ChannelKind::Widget, ChannelKind::Api])?.assistants(assistants())?,
    };
    let order = if trial.random.random_bool(0.5) { Order::Ascending } else { Order::Descending };
    let size = trial.random.random_range(1..9);
    let mut request = ListRequest::new()
        .filter(filter.clone())
        .sort(Sort::LastActivity)
        .order(order)
        .page_size(size)?;
    let (mut rows, mut since) = (BTreeMap::new(), None);
    loop {
        let snapshot = shared.store.snapshot();
        let page = snapshot.list(shared.user, &request)?;
        trial.count("pages");
        let cost = page.cost();
        let bound = PageCost::bound_of_ranges(page.page_size(), cost.ranges);
        ensure(cost.entries + cost.rows <= bound, || format!("{cost:?} exceeds {bound}"))?;
        let of_page = page.changes_cursor().copied();
        let begun = *since.get_or_insert(of_page);
        ensure(begun == of_page && begun.is_some(), || "a page names another beginning")?;
        rows.extend(page.conversations().map(|row| (row.id, row.owned())));
        match (page.next_cursor(), begun) {
            (Some(next), _) => {
                // A client has only the token.
                let token = snapshot.seal_cursor(next);
                let cursor = shared.store.snapshot().open_cursor(shared.user, &token)?;
                request = ListRequest::at(cursor);
            }
            (None, Some(since)) => {
                trial.count("walks");
                return Ok(Copied { filter, rows, since });
            }
            (None, None) => return Err(Violation::new("a walk has no beginning")),
        }
    }
}

/// Applies the changes since the beginning of the walk, and compares the copy with the store.
fn check(shared: &Shared, copied: Copied, trial: &mut Trial) -> Result<(), Violation> {
    let Copied { filter, mut rows, since } = copied;
    let snapshot = shared.store.snapshot();
    // By another index.
    let request = ListRequest::new().filter(filter.clone());
    let query = ListQuery { filter, ..ListQuery::default() };
    let stored = snapshot.conversations(shared.user, &request);
    let stored = stored.map(|row| row.map(|row| (row.id, row)));
    let stored: BTreeMap<ConversationId, Conversation> = stored.collect::<Result<_, _>>()?;
    let mut since = ChangesSince::Cursor(since);
    loop {
        let part = snapshot.changes_since(shared.user, since, PageSize::MAX)?;
        for change in part.changes {
            trial.count("changes");
            match change.conversation.filter(|row| query.passes(row)) {
                Some(conversation) => rows.insert(change.id, conversation),
                // Deleted, or not of this list any more.
                None => rows.remove(&change.id),
            };
        }
        if !part.has_more {
            break;
        }
        since = ChangesSince::Cursor(part.next_cursor);
    }
    ensure(rows == stored, || {
        let missing = stored.keys().filter(|id| !rows.contains_key(id)).count();
        let foreign = rows.keys().filter(|id| !stored.contains_key(id)).count();
        format!("{request:?}: {missing} rows are missing, {foreign} too many, or a state is old")
    })
}
