//! Totals in a store with the index family `counters`: exact, and at a bounded cost, for every
//! combination of filters.

use std::collections::BTreeMap;

use convodb::{
    AssistantId, BulkOptions, Channel, ChannelKind, Contact, Conversation, ConversationId, Count,
    Error, Filter, IndexFamilies, IndexFamily, IndexState, ListRequest, Snapshot, Store,
    StoreOptions, Timestamp, UserId,
};
use convodb_testkit::generators::assistants;
use convodb_testkit::harness::copy_crashed_files;
use convodb_testkit::list_bounds::count_bound;
use convodb_testkit::oracle::ListQuery;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

const DAY: u64 = 86_400_000;
/// The days between the first and the last conversation.
const DAYS: u64 = 100;
/// A list by customer or external identifier with more conversations has counters, except for a chance
/// of 10^-13.
const SHORT: u64 = 256 + 1_000;

const COUNTERS: IndexFamilies = IndexFamilies::NONE.with(IndexFamily::Counters);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(20_000 * DAY + millis).unwrap()
}

fn id(number: u64) -> ConversationId {
    ConversationId::new(Uuid::from_u128(number.into()))
}

fn user(store: &Store) -> UserId {
    let user = store.create_user("Acme", Timestamp::MIN).unwrap().id;
    for id in assistants() {
        store.create_assistant(user, id, "Bot").unwrap();
    }
    user
}

/// A channel whose phones and identifiers are few, so that the first ones have long lists.
fn channel(random: &mut ChaCha8Rng) -> Channel {
    let mut one_of = |count: u32| {
        let rest = random.random_range(1..count);
        if random.random_bool(0.7) { 0 } else { rest }
    };
    let (sender, customer, identifier) = (one_of(3), one_of(60), one_of(20));
    let contact = |number: u32| Contact::with_phone(format!("+{number}")).unwrap();
    match random.random_range(0..10) {
        0 => Channel::Widget,
        1 => Channel::Test,
        2..5 => Channel::Api { external_identifier: format!("crm-{identifier}").parse().ok() },
        _ => Channel::Whatsapp { sender: contact(sender), customer: contact(customer) },
    }
}

fn assistant(random: &mut ChaCha8Rng) -> AssistantId {
    let all = assistants();
    all[random.random_range(0..all.len())]
}

fn row(random: &mut ChaCha8Rng, number: u64) -> Conversation {
    let at = at(random.random_range(0..DAYS * DAY));
    let (assistant, channel) = (assistant(random), channel(random));
    let ai_enabled = random.random_bool(0.8);
    Conversation { ai_enabled, ..Conversation::new(id(number), assistant, channel, at) }
}

fn load<'r>(store: &Store, user: UserId, rows: impl IntoIterator<Item = &'r Conversation>) {
    let mut load = store.bulk_load(BulkOptions::default());
    for row in rows {
        load.push(user, row, &[]).unwrap();
    }
    load.finish().unwrap();
}

/// Each combination of the five fields of a filter, with the values of a long list and with those of
/// a short one, and the combinations with an AI that is off.
fn filters() -> Vec<Filter> {
    let all = assistants();
    let mut filters = Vec::new();
    for bits in 0..64_u32 {
        for number in [0, 7] {
            let mut filter = Filter::new();
            let has = |field: u32| bits >> field & 1 != 0;
            if has(5) && bits & 0b11100 != 0 {
                continue;
            }
            if has(0) {
                let kind = if has(4) { ChannelKind::Api } else { ChannelKind::Whatsapp };
                filter = filter.kind(kind);
            }
            if has(1) {
                filter = match number {
                    0 => filter.assistant(all[0]),
                    _ => filter.assistants(all.iter().copied()).unwrap(),
                };
            }
            if has(2) {
                filter = filter.sender_phone("+0").unwrap();
            }
            if has(3) {
                filter = filter.customer_phone(format!("+{number}")).unwrap();
            }
            if has(4) {
                filter = filter.external_identifier(format!("crm-{number}")).unwrap();
            }
            filters.push(if has(5) { filter.ai_off() } else { filter });
        }
    }
    filters
}

/// Compares the counts of all filters, without bounds of time and with bounds that cut days, with
/// the rows. Lists of more than `short` conversations have counters.
#[track_caller]
fn check_counts<'r>(
    snapshot: &Snapshot,
    user: UserId,
    rows: &(impl Iterator<Item = &'r Conversation> + Clone),
    short: u64,
) {
    let (early, late) = (at(7 * DAY + 5), at(93 * DAY - 9));
    for filter in filters() {
        for (from, to) in [
            (None, None),
            (Some(early), None),
            (None, Some(late)),
            (Some(early), Some(late)),
            (Some(early), Some(at(8 * DAY - 1))),
            (Some(at(40 * DAY)), Some(at(41 * DAY))),
        ] {
            let request = ListRequest { created_from: from, created_to: to, ..ListRequest::new() };
            let request = request.filter(filter.clone());
            let query = ListQuery { filter: filter.clone(), from, to, ..ListQuery::default() };
            let list = rows.clone().filter(|row| query.passes(row));
            let expected = list.clone().count() as u64;
            let count = match snapshot.count(user, &request) {
                Err(Error::IndexAbsent { index: "ai-off" }) if filter.ai_off => continue,
                counted => counted.unwrap(),
            };
            let found = (count.conversations, count.is_exact);
            assert_eq!(found, (expected, true), "{filter:?} from {from:?} to {to:?}");
            let cut = [from, to].map(|bound| bound.map(Timestamp::day));
            let in_cut_days = list.filter(|row| cut.contains(&Some(row.created_at.day())));
            let is_long = expected > short;
            let steps = if is_long { in_cut_days.count() as u64 } else { expected };
            let assistants = filter.assistants.as_ref().map_or(1, |ids| ids.as_slice().len());
            let bound = count_bound(&filter, DAYS, assistants as u64, steps);
            assert!(count.entries_read <= bound, "{count:?} above {bound} for {filter:?}");
        }
    }
}

/// Counters of a bulk load, of a build, and of inserts one after the other.
#[test]
fn the_total_of_every_combination_is_exact_and_bounded() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let rows: Vec<Conversation> = (0..6_000).map(|number| row(&mut random, number)).collect();
    for way in ["bulk load", "build", "inserts"] {
        let store = Store::in_memory().unwrap();
        store.add_indexes(IndexFamilies::NONE.with(IndexFamily::AiOff)).unwrap();
        let user = user(&store);
        if way != "build" {
            store.add_indexes(COUNTERS).unwrap();
        }
        match way {
            "inserts" => {
                for part in rows.chunks(100) {
                    let part = part.to_vec();
                    let inserted = store.write(move |write| {
                        part.into_iter().try_for_each(|row| write.insert(user, row, Vec::new()))
                    });
                    inserted.unwrap();
                }
            }
            _ => load(&store, user, &rows),
        }
        store.add_indexes(COUNTERS).unwrap();
        let snapshot = store.snapshot();
        assert!(snapshot.verify().unwrap().is_clean(), "{way}");
        check_counts(&snapshot, user, &rows.iter(), if way == "bulk load" { 255 } else { SHORT });
    }
}

/// Lists with more conversations than are counted one by one.
#[test]
fn a_total_beyond_the_limit_of_steps_is_exact() {
    let store = Store::in_memory().unwrap();
    let user = user(&store);
    let len = Count::MAX_SCANNED + 1_000;
    let contact = || Contact::with_phone("+1").unwrap();
    let rows: Vec<Conversation> = (0..len)
        .map(|number| {
            let channel = Channel::Whatsapp { sender: contact(), customer: contact() };
            let at = at(number * DAY / 500);
            Conversation::new(id(number), assistants()[0], channel, at)
        })
        .collect();
    load(&store, user, &rows);
    let requests = [
        Filter::new().sender_phone("+1").unwrap(),
        Filter::new().sender_phone("+1").unwrap().assistant(assistants()[0]),
        Filter::new().customer_phone("+1").unwrap(),
        Filter::new().customer_phone("+1").unwrap().kind(ChannelKind::Whatsapp),
        Filter::new().customer_phone("+1").unwrap().sender_phone("+1").unwrap(),
    ]
    .map(|filter| ListRequest::new().filter(filter));
    let counts = |expected: (u64, bool)| {
        for request in &requests {
            let count = store.snapshot().count(user, request).unwrap();
            assert_eq!((count.conversations, count.is_exact), expected, "{request:?}");
            let cut = request.clone().created_from(at(DAY / 2)).created_to(at(21 * DAY + DAY / 2));
            let count = store.snapshot().count(user, &cut).unwrap();
            assert_eq!(count.is_exact, expected.1);
            assert!(!expected.1 || (count.conversations == 10_500 && count.entries_read < 520));
        }
    };
    counts((Count::MAX_SCANNED, false));
    store.add_indexes(COUNTERS).unwrap();
    counts((len, true));
    // A cursor alone has the fingerprints of its list.
    let snapshot = store.snapshot();
    let page = snapshot.list(user, &requests[3].clone().page_size(1).unwrap()).unwrap();
    let count = snapshot.count(user, &ListRequest::at(*page.next_cursor().unwrap())).unwrap();
    assert_eq!((count.conversations, count.is_exact), (len, true));
    store.drop_indexes(COUNTERS).unwrap();
    counts((Count::MAX_SCANNED, false));
}

/// A store in a directory, and the conversations that it must have.
struct Model {
    random: ChaCha8Rng,
    store: Store,
    path: std::path::PathBuf,
    user: UserId,
    rows: BTreeMap<u64, Conversation>,
    next: u64,
}

impl Model {
    fn open(path: std::path::PathBuf, seed: u64) -> Self {
        let store = open(&path);
        let user = user(&store);
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self { random, store, path, user, rows: BTreeMap::new(), next: 0 }
    }

    fn new_row(&mut self) -> Conversation {
        let row = row(&mut self.random, self.next);
        self.rows.insert(self.next, row.clone());
        self.next += 1;
        row
    }

    /// Makes one change.
    fn change(&mut self) {
        let number = self.random.random_range(0..self.next);
        match self.random.random_range(0..100) {
            0 => {
                let rows: Vec<Conversation> = (0..60).map(|_| self.new_row()).collect();
                load(&self.store, self.user, &rows);
            }
            1..50 => {
                let row = self.new_row();
                self.store.insert(self.user, row, Vec::new()).unwrap();
            }
            50..75 => {
                let deleted = self.store.delete(self.user, id(number));
                assert_eq!(deleted.is_ok(), self.rows.remove(&number).is_some());
            }
            _ => self.update(number),
        }
    }

    fn update(&mut self, number: u64) {
        let (channel, assistant) = (channel(&mut self.random), assistant(&mut self.random));
        let Some(row) = self.rows.get_mut(&number) else { return };
        if row.channel.kind() == channel.kind() {
            row.channel = channel;
        }
        row.assistant = assistant;
        row.ai_enabled = !row.ai_enabled;
        let new = row.clone();
        let change = move |row: &mut Conversation| {
            (row.channel, row.assistant, row.ai_enabled) =
                (new.channel, new.assistant, new.ai_enabled);
            Ok(())
        };
        self.store.update(self.user, id(number), Timestamp::MIN, change).unwrap();
    }

    fn check(&self) {
        let snapshot = self.store.snapshot();
        let report = snapshot.verify().unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
        if snapshot.index_state(IndexFamily::Counters) == IndexState::Ready {
            check_counts(&snapshot, self.user, &self.rows.values(), SHORT);
        }
    }
}

fn open(path: &std::path::Path) -> Store {
    let options = StoreOptions::new().memtable_bytes(1 << 20).background_checkpoints(false);
    Store::open_with(path, &options).unwrap()
}

/// Lists become long and vanish, by inserts, changes, deletes, bulk loads and crashes, while the
/// family is built and dropped.
#[test]
fn totals_stay_exact_during_random_changes() {
    for seed in 0..2 {
        let directory = tempfile::tempdir().unwrap();
        let mut model = Model::open(directory.path().join("store.convodb"), seed);
        for _ in 0..500 {
            model.new_row();
        }
        load(&model.store, model.user, model.rows.values());
        model.store.add_indexes(IndexFamilies::ALL).unwrap();
        for round in 0..7 {
            for _ in 0..90 {
                model.change();
            }
            match round {
                2 | 5 => {
                    model.path = copy_crashed_files(&model.path);
                    model.store = open(&model.path);
                }
                3 => model.store.drop_indexes(IndexFamilies::ALL).unwrap(),
                4 => model.store.add_indexes(IndexFamilies::ALL).unwrap(),
                _ => {}
            }
            model.check();
        }
        // All lists end, and with them their counters.
        let (user, left) = (model.user, std::mem::take(&mut model.rows));
        let deleted = model.store.write(move |write| {
            left.into_keys().try_for_each(|number| write.delete(user, id(number)))
        });
        deleted.unwrap();
        model.check();
    }
}

/// Each step of a build leaves a store that other writes keep exact, also after a crash.
#[test]
fn a_build_counts_each_conversation_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut model = Model::open(directory.path().join("store.convodb"), 9);
    for _ in 0..9_000 {
        model.new_row();
    }
    load(&model.store, model.user, model.rows.values());
    let store = model.store.clone();
    let mut copies = Vec::new();
    store
        .add_indexes_with_progress(COUNTERS, |_, _| {
            for _ in 0..25 {
                model.change();
            }
            model.check();
            copies.push((copy_crashed_files(&model.path), model.rows.clone(), model.next));
        })
        .unwrap();
    model.check();
    assert!(copies.len() > 2, "several steps");
    for (path, rows, next) in copies {
        (model.store, model.path, model.rows, model.next) = (open(&path), path, rows, next);
        for _ in 0..25 {
            model.change();
        }
        model.check();
        model.store.continue_indexes().unwrap();
        assert_eq!(model.store.snapshot().index_state(IndexFamily::Counters), IndexState::Ready);
        model.check();
    }
}
