//! Counts of lists: exact up to a limit, at a bounded cost.
//!
//! Every page walk of the test kit compares the count of its list with the oracle, too.

use convodb::{
    AssistantId, BulkOptions, ChannelKind, Contact, Conversation, Count, Filter, ListRequest,
    Snapshot, Store, Timestamp, UserId,
};
use convodb_testkit::dataset::{self, Dataset};

use crate::TestUser;

const DAY: u64 = 86_400_000;
const BASE: u64 = 20_000 * DAY;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(BASE + millis).unwrap()
}

/// A store with `rows` WhatsApp conversations of one phone on one day, and three on the next day.
fn crowded(rows: u64) -> (Store, UserId) {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let mut loader = store.bulk_load(BulkOptions::default());
    for number in 0..rows + 3 {
        let at = if number < rows { at(number) } else { at(DAY + number) };
        let sender = Contact::with_phone("+1").unwrap();
        let channel = convodb::Channel::Whatsapp { sender, customer: Contact::default() };
        let row = Conversation { channel, created_at: at, updated_at: at, ..acme.conversation() };
        loader.push(acme.user, &row, &[]).unwrap();
    }
    loader.finish().unwrap();
    (store, acme.user)
}

fn counted(snapshot: &Snapshot, user: UserId, request: &ListRequest) -> (u64, bool) {
    let Count { conversations, is_exact, .. } = snapshot.count(user, request).unwrap();
    (conversations, is_exact)
}

#[test]
fn conversations_without_counters_are_counted_up_to_the_limit() {
    let limit = Count::MAX_SCANNED;
    for (rows, expected) in [
        (limit - 4, (limit - 1, true)),
        (limit - 3, (limit, true)),
        (limit - 2, (limit, false)),
        (limit + 500, (limit, false)),
    ] {
        let (store, user) = crowded(rows);
        let snapshot = store.snapshot();
        let sender = ListRequest::new().filter(Filter::new().sender_phone("+1").unwrap());
        assert_eq!(counted(&snapshot, user, &sender), expected, "{rows} rows");
        let cost = snapshot.count(user, &sender).unwrap().entries_read;
        assert!(cost <= limit + 2, "{cost} entries");
        // Counters have no limit.
        let whatsapp = ListRequest::new().filter(Filter::new().kind(ChannelKind::Whatsapp));
        for request in [ListRequest::new(), whatsapp] {
            assert_eq!(counted(&snapshot, user, &request), (rows + 3, true));
        }
    }
}

#[test]
fn bounds_scan_only_the_days_that_they_cut() {
    let limit = Count::MAX_SCANNED;
    let (store, user) = crowded(limit + 500);
    let snapshot = store.snapshot();
    let all = ListRequest::new();
    for (request, expected) in [
        (all.clone().created_from(at(0)), (limit + 503, true)),
        (all.clone().created_from(at(1)), (limit + 3, false)),
        (all.clone().created_from(at(600)), (limit - 100 + 3, true)),
        (all.clone().created_from(at(DAY)), (3, true)),
        (all.clone().created_to(at(DAY)), (limit + 500, true)),
        (all.clone().created_to(at(700)), (700, true)),
        (all.clone().created_from(at(5)).created_to(at(17)), (12, true)),
        (all.clone().created_from(at(5)).created_to(at(limit + 400)), (limit, false)),
        (all.clone().created_from(at(17)).created_to(at(5)), (0, true)),
        (all.clone().created_to(at(DAY + limit + 501)), (limit + 501, true)),
    ] {
        let count = snapshot.count(user, &request).unwrap();
        assert_eq!((count.conversations, count.is_exact), expected, "{request:?}");
        assert!(count.entries_read <= limit + 2 * 2 + 2 * 4 + 3, "{count:?}");
    }
}

/// The bound that the documentation of `Snapshot::count` states, for filters of every shape.
#[test]
fn a_count_reads_a_bounded_number_of_entries() {
    let store = Store::in_memory().unwrap();
    let (users, _) = dataset::load(&store, 1, 20_000, |_| {}).unwrap();
    let snapshot = store.snapshot();
    let ids = |count| (0..count).map(|number| Dataset::assistant(0, number));
    let filters: Vec<(Filter, u64)> = vec![
        (Filter::new(), 0),
        (Filter::new().kind(ChannelKind::Api), 0),
        (Filter::new().kinds([ChannelKind::Api, ChannelKind::Test]).unwrap(), 0),
        (Filter::new().assistant(Dataset::assistant(0, 0)), 1),
        (Filter::new().assistants(ids(5)).unwrap(), 5),
        (Filter::new().assistants(ids(20)).unwrap().kind(ChannelKind::Widget), 20),
    ];
    let user = users[0];
    let rows: Vec<Conversation> =
        snapshot.conversations(user, &ListRequest::new()).map(Result::unwrap).collect();
    let mut days: Vec<u32> = rows.iter().map(|row| row.created_at.day().get()).collect();
    days.dedup();
    let mut months: Vec<_> = rows.iter().map(|row| row.created_at.day().month_start()).collect();
    months.dedup();
    let (days, months) = (days.len() as u64, months.len() as u64);
    let middle = rows[rows.len() / 2].created_at;
    for (filter, assistants) in filters {
        let all = ListRequest::new().filter(filter.clone());
        for request in [all.clone(), all.clone().created_from(middle), all.created_to(middle)] {
            let expected = snapshot.conversations(user, &request).count() as u64;
            let count = snapshot.count(user, &request).unwrap();
            assert_eq!((count.conversations, count.is_exact), (expected, true), "{filter:?}");
            let day = middle.day();
            let cut = rows.iter().filter(|row| row.created_at.day() == day).count() as u64;
            let counters = match assistants {
                0 => 4 * days,
                _ => 6 * assistants * (months + 2 * 31) + months + 2 * 31,
            };
            let bound = cut + 2 * 60 + counters + 3;
            assert!(count.entries_read <= bound, "{count:?} above {bound} for {filter:?}");
        }
    }
}

/// A page that is reached by its cursor alone is of a list whose assistants are known by their
/// fingerprints.
#[test]
fn a_cursor_alone_is_counted_by_counters() {
    let store = Store::in_memory().unwrap();
    let (users, _) = dataset::load(&store, 1, 20_000, |_| {}).unwrap();
    let (snapshot, user) = (store.snapshot(), users[0]);
    let unused = AssistantId::new(uuid::Uuid::from_u128(7));
    let one = Dataset::assistant(0, 0);
    for filter in [
        Filter::new().assistant(one),
        Filter::new().assistants([one, unused, Dataset::assistant(0, 1)]).unwrap(),
    ] {
        let request = ListRequest::new().filter(filter).page_size(1).unwrap();
        let page = snapshot.list(user, &request).unwrap();
        let token = snapshot.seal_cursor(page.next_cursor().unwrap());
        let cursor = snapshot.open_cursor(user, &token).unwrap();
        let expected = snapshot.count(user, &request).unwrap();
        let count = snapshot.count(user, &ListRequest::at(cursor)).unwrap();
        assert!(expected.is_exact && expected.conversations > 1);
        assert_eq!((count.conversations, count.is_exact), (expected.conversations, true));
    }
}

#[test]
fn a_restricted_snapshot_counts_its_assistant() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let other = AssistantId::new(uuid::Uuid::from_u128(7));
    store.create_assistant(acme.user, other, "Other").unwrap();
    for assistant in [acme.assistant, other, other] {
        let row = Conversation { assistant, ..acme.conversation() };
        store.insert(acme.user, row, Vec::new()).unwrap();
    }
    let snapshot = store.snapshot().restricted_to(other);
    let of = |ids: &[AssistantId]| {
        ListRequest::new().filter(Filter::new().assistants(ids.iter().copied()).unwrap())
    };
    for (request, expected) in
        [(ListRequest::new(), 2), (of(&[acme.assistant, other]), 2), (of(&[acme.assistant]), 0)]
    {
        assert_eq!(counted(&snapshot, acme.user, &request), (expected, true));
    }
    let foreign = TestUser::of_name(&store, "Foreign").user;
    assert_eq!(counted(&store.snapshot(), foreign, &ListRequest::new()), (0, true));
}
