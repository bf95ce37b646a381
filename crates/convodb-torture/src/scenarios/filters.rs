//! Cost of pages with adverse combinations of filters.
//!
//! A trial fills a store with a dataset and with a user whose lists are the worst case of engines
//! that join lists: large lists that alternate and have no row or one row in common. Pages of these
//! and of unfiltered lists are read alternately.

use std::time::Instant;

use convodb::{
    AssistantId, BulkOptions, Channel, ChannelKind, Contact, Conversation, ConversationId, Filter,
    ListRequest, Order, PageCost, PageSize, Snapshot, Store, StoreOptions, Timestamp, UserId,
};
use convodb_testkit::dataset::{self, Dataset};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use uuid::Uuid;

use crate::scenario::{Parallelism, Scale, Scenario, Trial, Trials, Violation, ensure};

pub(super) const FILTERS: Scenario = Scenario {
    name: "filters",
    row: 15,
    promise: "With any filters a page reads no more than its bound, and its p99 is at most ten \
              times that of a page without filters.",
    trial: "20,000, 1M or 10M rows; 20,000 pages of each kind",
    trials: Trials { smoke: 1, ci: 1, release: 3 },
    parallelism: Parallelism::Single,
    run,
};

const MAX_RATIO: f64 = 10.0;
/// The number of measurements; the best one counts, because the machine may do other work.
const ROUNDS: usize = 3;

struct Fixture {
    store: Store,
    /// The largest user of the dataset.
    user: UserId,
    /// The user whose lists hardly intersect.
    adversary: UserId,
    rows: u64,
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let (rows, pages) = match trial.scale {
        Scale::Smoke => (20_000, 500),
        Scale::Ci => (1_000_000, 20_000),
        Scale::Release => (10_000_000, 20_000),
    };
    let directory = tempfile::tempdir()?;
    let fixture = Fixture::new(&directory.path().join("store.convodb"), trial.seed, rows)?;
    let snapshot = fixture.store.snapshot();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (mut plain, mut adverse) = (Vec::new(), Vec::new());
        for _ in 0..pages {
            plain.push(time(&snapshot, fixture.user, &fixture.plain(&mut trial.random)?)?);
            let (user, request) = fixture.adverse(&mut trial.random)?;
            adverse.push(time(&snapshot, user, &request)?);
        }
        let [plain, adverse] = [plain, adverse].map(p99_micros);
        let ratio = adverse / plain;
        if ratio < best {
            best = ratio;
            trial.figure("plain p99 us", plain);
            trial.figure("adverse p99 us", adverse);
            trial.figure("ratio", ratio);
        }
        trial.add("pages", 2 * pages);
    }
    trial.add("rows", fixture.rows);
    ensure(best <= MAX_RATIO, || format!("adverse filters take {best:.1} times as long as none"))
}

fn p99_micros(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

/// Measures a page in microseconds, and checks that it reads no more than its bound.
fn time(snapshot: &Snapshot, user: UserId, request: &ListRequest) -> Result<f64, Violation> {
    let began = Instant::now();
    let page = snapshot.list(user, request)?;
    let took = began.elapsed().as_secs_f64() * 1e6;
    let PageCost { entries, rows, .. } = page.cost();
    let bound = PageCost::bound(page.page_size());
    ensure(entries + rows <= bound, || {
        format!("{entries} entries and {rows} rows exceed the bound of {bound}: {request:?}")
    })?;
    Ok(took)
}

impl Fixture {
    fn new(path: &std::path::Path, seed: u64, rows: u64) -> Result<Self, Violation> {
        let store = Store::open_with(path, &StoreOptions::default())?;
        let (users, _) = dataset::load(&store, seed, rows, |_| {})?;
        let adversary = store.create_user("adversary", Timestamp::MIN)?.id;
        for number in 0..2 {
            store.create_assistant(adversary, assistant(number), "Bot")?;
        }
        let mut loader = store.bulk_load(BulkOptions::default());
        for number in 0..rows / 5 {
            loader.push(adversary, &alternating(number, rows / 5)?, &[])?;
        }
        loader.finish()?;
        Ok(Self { store, user: users[0], adversary, rows: rows + rows / 5 })
    }

    /// A page without filters, at a random position and in a random order.
    fn plain(&self, random: &mut ChaCha8Rng) -> Result<ListRequest, Violation> {
        let span = 730 * 86_400_000_u64;
        let at = Timestamp::from_millis(1_672_531_200_000 + random.random_range(0..span))?;
        let ascending = random.random_bool(0.5);
        Ok(ListRequest {
            created_from: ascending.then_some(at),
            created_to: (!ascending).then_some(at),
            order: Some(if ascending { Order::Ascending } else { Order::Descending }),
            page_size: Some(PageSize::new(15)?),
            ..ListRequest::default()
        })
    }

    /// A page with one to five filters, of one of the two users.
    fn adverse(&self, random: &mut ChaCha8Rng) -> Result<(UserId, ListRequest), Violation> {
        let plain = self.plain(random)?;
        if random.random_bool(0.5) {
            let filter = disjoint_lists(random)?;
            let bounded = random.random_bool(0.5);
            let anywhere = if bounded { plain } else { ListRequest::default() };
            return Ok((self.adversary, ListRequest { filter, ..anywhere }));
        }
        let bits: u32 = random.random_range(1..32);
        let has = |bit: u32| bits & 1 << bit != 0;
        let few = |random: &mut ChaCha8Rng, below: usize| {
            if random.random_bool(0.5) { 0 } else { random.random_range(0..below) }
        };
        let kind = ChannelKind::ALL[random.random_range(0..4)];
        let filter = Filter {
            kind: has(0).then_some(kind),
            assistant: has(1).then(|| Dataset::assistant(0, few(random, 50))),
            sender_phone: match has(2) {
                true => Some(Dataset::sender_phone(0, few(random, 20)).parse()?),
                false => None,
            },
            customer_phone: match has(3) {
                true => Some(Dataset::customer_phone(0, few(random, 1_000)).parse()?),
                false => None,
            },
            external_identifier: match has(4) {
                true => Some(Dataset::external_identifier(few(random, 1_000)).parse()?),
                false => None,
            },
            ..Filter::default()
        };
        Ok((self.user, ListRequest { filter, ..plain }))
    }
}

fn assistant(number: u64) -> AssistantId {
    AssistantId::new(Uuid::from_u128(0xAD << 64 | u128::from(number)))
}

/// Rows alternate: assistant 0 has the widget conversations and assistant 1 the test conversations;
/// sender 0 has customer 0 and sender 1 has customer 1. One row in the middle breaks each rule.
fn alternating(number: u64, rows: u64) -> Result<Conversation, Violation> {
    let contact = |kind: &str, number: u64| -> Result<Contact, Violation> {
        Ok(Contact { name: None, phone: Some(format!("+{kind}{number}").parse()?) })
    };
    let odd = number % 2;
    let exception = number / 4 == rows / 8;
    let channel = match number / 2 % 2 {
        0 if (odd == 0) != exception => Channel::Widget,
        0 => Channel::Test,
        _ => Channel::Whatsapp {
            sender: contact("1", odd)?,
            customer: contact("2", if exception { 1 - odd } else { odd })?,
        },
    };
    let span = 730 * 86_400_000_u64;
    let at = Timestamp::from_millis(1_672_531_200_000 + span / rows.max(1) * number)?;
    let id = ConversationId::new(Uuid::from_u128(u128::from(number)));
    Ok(Conversation::new(id, assistant(odd), channel, at))
}

/// A filter of two large lists that have no row or one row in common.
fn disjoint_lists(random: &mut ChaCha8Rng) -> Result<Filter, Violation> {
    Ok(match random.random_range(0..4) {
        0 => Filter {
            kind: Some(ChannelKind::Test),
            assistant: Some(assistant(0)),
            ..Filter::default()
        },
        1 => Filter {
            kind: Some(ChannelKind::Widget),
            assistant: Some(assistant(1)),
            ..Filter::default()
        },
        2 => Filter {
            sender_phone: Some("+10".parse()?),
            customer_phone: Some("+21".parse()?),
            ..Filter::default()
        },
        _ => Filter {
            kind: Some(ChannelKind::Whatsapp),
            assistant: Some(assistant(1)),
            sender_phone: Some("+11".parse()?),
            customer_phone: Some("+20".parse()?),
            ..Filter::default()
        },
    })
}
