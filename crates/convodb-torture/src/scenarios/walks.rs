//! Row 11: walks while others write, by real threads: lines 11 to 13 of the contract of pagination.
//!
//! Rows are of three kinds. *Steady* ones match throughout, whatever else of them changes. *Moving*
//! ones go back and forth between two lists. *Passing* ones come, late or early, and are deleted, most
//! of all the one at which a walk has stopped. No id is used twice.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use convodb::{
    Channel, ChannelKind, Contact, Conversation, ConversationId, Filter, ListRequest, Message,
    Order, Page, PageCursor, PageSize, Role, Snapshot, Store, Timestamp, UserId,
};
use convodb_testkit::generators::assistants;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};

pub(super) const WALKS: Scenario = Scenario {
    name: "walks",
    row: 11,
    promise: "A walk among writers shows no row twice and each row that matches throughout once; a \
              moved row is in one list, a batch is seen whole.",
    trial: "walks forward and back beside two writers of 150 writes each",
    trials: Trials { smoke: 5, ci: 200, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run,
};

const WRITERS: usize = 2;
const WRITES: u64 = 150;
const STEADY: u64 = 40;
const MOVING: u64 = 10;
const BATCH: u64 = 10;
/// Writers' own ids begin at multiples of this.
const ID_SPACE: u64 = 1 << 20;
const BASE_MILLIS: u64 = 1_737_800_000_000;

/// What walkers and writers share.
struct Stage {
    store: Store,
    user: UserId,
    /// The number of the row at which a walk has last stopped.
    anchor: AtomicU64,
    done: AtomicBool,
}

fn id(number: u64) -> ConversationId {
    ConversationId::new(Uuid::from_u128(u128::from(number)))
}

fn phone(text: &str) -> Contact {
    Contact { name: None, phone: text.parse().ok() }
}

/// The channel of what matches throughout, for each kind of list.
fn steady_channel() -> Channel {
    Channel::Whatsapp { sender: phone("+1"), customer: phone("+2") }
}

fn row(number: u64, channel: Channel, millis: u64) -> Result<Conversation, Violation> {
    let at = Timestamp::from_millis(millis)?;
    Ok(Conversation::new(id(number), assistants()[0], channel, at))
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let store = Store::in_memory()?;
    let user = store.create_user("one".parse()?, Timestamp::MIN)?.id;
    for bot in assistants() {
        store.create_assistant(user, bot, "Bot".parse()?)?;
    }
    for number in 0..STEADY {
        // Half of them share milliseconds with others.
        store.insert(user, row(number, steady_channel(), BASE_MILLIS + number / 2 * 1_000)?)?;
    }
    for number in STEADY..STEADY + MOVING {
        store.insert(user, row(number, Channel::Widget, BASE_MILLIS + number * 500)?)?;
    }
    let (anchor, done) = (AtomicU64::new(u64::MAX), AtomicBool::new(false));
    let stage = Stage { store, user, anchor, done };
    let seeds: [u64; WRITERS] = trial.random.random();
    thread::scope(|scope| {
        let writers: Vec<_> = (1..)
            .zip(seeds)
            .map(|(number, seed)| {
                let stage = &stage;
                scope.spawn(move || write(stage, number, ChaCha8Rng::seed_from_u64(seed)))
            })
            .collect();
        let mut walked = Ok(());
        let mut last = false;
        while walked.is_ok() && !last {
            last = writers.iter().all(thread::ScopedJoinHandle::is_finished);
            walked = walk(&stage, trial);
        }
        stage.done.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        walked
    })
}

/// One writer's writes. It knows its own rows, so each write succeeds.
fn write(stage: &Stage, number: u64, mut random: ChaCha8Rng) -> Result<(), Violation> {
    let Stage { store, user, anchor, done } = stage;
    let (user, mut fresh) = (*user, number * ID_SPACE);
    let mut passing: Vec<u64> = Vec::new();
    for _ in 0..WRITES {
        if done.load(Ordering::Relaxed) {
            break;
        }
        match random.random_range(0..10) {
            0..4 => {
                fresh += 1;
                passing.push(fresh);
                // Anywhere in the list: of the same millisecond as another, long ago, far ahead.
                let millis = BASE_MILLIS + random.random_range(0..STEADY) * 500 - 1_000;
                store.insert(user, row(fresh, steady_channel(), millis)?)?;
            }
            4..6 if !passing.is_empty() => {
                let stopped_at = anchor.load(Ordering::Relaxed);
                let found = passing.iter().position(|own| *own == stopped_at);
                let place = found.unwrap_or(random.random_range(0..passing.len()));
                store.delete(user, id(passing.swap_remove(place)))?;
            }
            6 => {
                fresh += BATCH;
                insert_batch(store, user, fresh)?;
            }
            7 => {
                let steady = id(random.random_range(0..STEADY));
                let at = Timestamp::from_millis(BASE_MILLIS)?;
                store.append_message(user, steady, Message::new(Role::User, "hi".into(), at)?)?;
                store.update(user, steady, |row| row.ai_enabled = !row.ai_enabled)?;
            }
            _ => {
                store.update(user, id(random.random_range(STEADY..STEADY + MOVING)), |row| {
                    row.channel = match row.channel {
                        Channel::Widget => Channel::Test,
                        _ => Channel::Widget,
                    };
                })?;
            }
        }
    }
    Ok(())
}

/// The last [`BATCH`] numbers up to `last`, in one write.
fn insert_batch(store: &Store, user: UserId, last: u64) -> Result<(), Violation> {
    let identifier = "batch".parse()?;
    let channel = Channel::Api { external_identifier: Some(identifier) };
    let rows = (last - BATCH + 1..=last)
        .map(|number| row(number, channel.clone(), BASE_MILLIS + last % 7 * 1_000))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(store.write(move |transaction| {
        rows.iter().try_for_each(|row| transaction.insert(user, row, &[]))
    })?)
}

/// One walk to an end of a list and back.
fn walk(stage: &Stage, trial: &mut Trial) -> Result<(), Violation> {
    let text = |text: &str| text.parse().ok();
    let filter = match trial.random.random_range(0..5) {
        0 => Filter::default(),
        1 => Filter { kind: Some(ChannelKind::Whatsapp), ..Filter::default() },
        2 => Filter { customer_phone: text("+2"), ..Filter::default() },
        3 => Filter { assistant: Some(assistants()[0]), ..Filter::default() },
        _ => Filter {
            kind: Some(ChannelKind::Whatsapp),
            sender_phone: text("+1"),
            customer_phone: text("+2"),
            ..Filter::default()
        },
    };
    let order = if trial.random.random_bool(0.5) { Order::Ascending } else { Order::Descending };
    let page_size = Some(PageSize::new(trial.random.random_range(1..9))?);
    let first = ListRequest { filter, order: Some(order), page_size, ..ListRequest::default() };
    let end = follow(stage, trial, first, BTreeSet::new(), |page| page.next().copied())?;
    if let Some((cursor, rows)) = end {
        // What the last page does not show lies before it.
        follow(stage, trial, ListRequest::at(cursor), rows, |page| page.prev().copied())?;
    }
    trial.count("walks");
    Ok(())
}

/// Reads page after page, each from a snapshot of its own, beside the rows that were seen before.
/// Gives the cursor that leads back from the last of them, and its rows.
fn follow(
    stage: &Stage,
    trial: &mut Trial,
    mut request: ListRequest,
    mut seen: BTreeSet<ConversationId>,
    onward: impl Fn(&Page) -> Option<PageCursor>,
) -> Result<Option<(PageCursor, BTreeSet<ConversationId>)>, Violation> {
    loop {
        let snapshot = stage.store.snapshot();
        let page = snapshot.list(stage.user, &request)?;
        trial.count("pages");
        for row in page.rows() {
            ensure(seen.insert(row.id), || format!("row {} is shown twice in a walk", row.id))?;
        }
        check_lists(&snapshot, stage.user)?;
        let Some(cursor) = onward(&page) else {
            for number in 0..STEADY {
                ensure(seen.contains(&id(number)), || {
                    format!("row {number} matched throughout and was passed over: {request:?}")
                })?;
            }
            let rows = page.rows().map(|row| row.id).collect();
            return Ok(page.prev().copied().map(|cursor| (cursor, rows)));
        };
        if let Some(last) = page.rows().next_back() {
            let number = u64::try_from(last.id.uuid().as_u128())?;
            stage.anchor.store(number, Ordering::Relaxed);
        }
        // The token is what a client has.
        let token = snapshot.seal_cursor(&cursor);
        request = ListRequest::at(stage.store.snapshot().open_cursor(stage.user, &token)?);
    }
}

/// Each moving row is in one of the two lists, and batches are whole.
fn check_lists(snapshot: &Snapshot, user: UserId) -> Result<(), Violation> {
    let ids = |filter: Filter| -> Result<Vec<ConversationId>, Violation> {
        let request = ListRequest { filter, ..ListRequest::default() };
        let rows = snapshot.rows(user, &request);
        rows.map(|row| Ok(row?.id)).collect()
    };
    let of_kind = |kind| ids(Filter { kind: Some(kind), ..Filter::default() });
    let mut moving = of_kind(ChannelKind::Widget)?;
    moving.extend(of_kind(ChannelKind::Test)?);
    moving.sort_unstable();
    let expected: Vec<ConversationId> = (STEADY..STEADY + MOVING).map(id).collect();
    ensure(moving == expected, || format!("the two lists together hold {moving:?}"))?;
    let batch = Filter { external_identifier: "batch".parse().ok(), ..Filter::default() };
    let batched = ids(batch)?.len() as u64;
    ensure(batched.is_multiple_of(BATCH), || format!("{batched} rows of batches of {BATCH}"))
}
