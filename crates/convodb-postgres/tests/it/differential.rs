//! Differential tests: one history in both stores, and every read compared.

use convodb::{
    AssistantId, ChangesSince, Channel, ChannelKind, Contact, Conversation, ConversationId, Count,
    Day, Error, Filter, ListRequest, Message, Order, Page, PageSize, Period, Role, Scopes,
    Snapshot, Sort, StatsRequest, Store, Timestamp, TokenOptions, UserId,
};
use convodb_postgres::Cluster;
use convodb_testkit::generators::{assistants, list_query};
use convodb_testkit::operations::{OperationRunner, operation};
use convodb_testkit::page_walk::{first_page_request, page_conversations};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::imported;

/// The store of a random history, and its users.
fn history(operations: usize) -> (Store, [UserId; 2]) {
    continued(&mut TestRunner::deterministic(), operations)
}

/// The store of the next random history, and its users.
fn continued(runner: &mut TestRunner, operations: usize) -> (Store, [UserId; 2]) {
    let mut history = OperationRunner::in_memory();
    for _ in 0..operations {
        history.run(operation().new_tree(runner).unwrap().current());
    }
    (history.harness.store.clone(), history.harness.users)
}

/// A sealed page: its conversations and the tokens of its cursors.
fn sealed(
    page: &Page,
    seal: impl Fn(&convodb::PageCursor) -> String,
) -> (Vec<Conversation>, [Option<String>; 2]) {
    let tokens = [page.next_cursor(), page.prev_cursor()].map(|cursor| cursor.map(&seal));
    (page_conversations(page), tokens)
}

/// What was compared.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    pages: usize,
    rows: usize,
    tokens: usize,
    counts: usize,
}

/// Reads a list from both stores to its end and back, each page by the token of the other store's
/// page, and compares all pages.
async fn walk(
    snapshot: &Snapshot,
    cluster: &Cluster,
    user: UserId,
    mut request: ListRequest,
    compared: &mut Compared,
) {
    let (mut forward, mut pages) = (true, 0);
    loop {
        // Of the list as it was requested, and as a cursor describes it.
        if pages < 2 {
            let expected = snapshot.count(user, &request).unwrap();
            let found = cluster.count(user, &request).await.unwrap();
            let number = |count: Count| (count.conversations, count.is_exact);
            assert_eq!(number(found), number(expected), "{request:?}");
            compared.counts += 1;
        }
        pages += 1;
        let here = snapshot.list(user, &request).unwrap();
        let there = cluster.list(user, &request).await.unwrap();
        let (expected, tokens) = sealed(&here, |cursor| snapshot.seal_cursor(cursor));
        let found = sealed(&there, |cursor| cluster.seal_cursor(cursor));
        assert_eq!(found, (expected, tokens.clone()), "{request:?}");
        compared.pages += 1;
        compared.rows += here.len();
        compared.tokens += tokens.iter().flatten().count();
        let [next, prev] = tokens;
        if next.is_none() {
            forward = false;
        }
        let Some(token) = (if forward { next } else { prev }) else { return };
        // The token of one store, opened by the other.
        let opened = cluster.open_cursor(user, &token).unwrap();
        assert_eq!(opened, snapshot.open_cursor(user, &token).unwrap());
        request = ListRequest::at(opened);
    }
}

/// Every combination of filters, with values that the generated conversations have.
fn combinations() -> Vec<Filter> {
    let phone = "+14155559876";
    (0..32_u32)
        .flat_map(|bits| {
            let has = move |bit: u32| bits & (1 << bit) != 0;
            ChannelKind::ALL.into_iter().take(if has(0) { 4 } else { 1 }).map(move |kind| Filter {
                kind: has(0).then_some(kind),
                assistant: has(1).then(|| assistants()[1]),
                sender_phone: has(2).then(|| phone.parse().unwrap()),
                customer_phone: has(3).then(|| phone.parse().unwrap()),
                external_identifier: has(4).then(|| "crm-1".parse().unwrap()),
                ..Filter::default()
            })
        })
        .collect()
}

/// Compares all reads of two stores that were written in the same way: each list in both orders, the
/// change feed in parts, statistics, and each conversation with its messages.
pub(crate) async fn compare_reads(
    snapshot: &Snapshot,
    cluster: &Cluster,
    users: [UserId; 2],
) -> Compared {
    let mut compared = Compared::default();
    for user in users {
        for (filter, order) in
            combinations().into_iter().flat_map(|f| Order::ALL.map(|o| (f.clone(), o)))
        {
            let request = ListRequest::new().filter(filter).order(order).page_size(4).unwrap();
            walk(snapshot, cluster, user, request, &mut compared).await;
        }
        let (mut expected, mut found) = (ChangesSince::Beginning, ChangesSince::Beginning);
        loop {
            let size = PageSize::new(20).unwrap();
            let here = snapshot.changes_since(user, expected, size).unwrap();
            let there = cluster.changes_since(user, found, size).await.unwrap();
            assert_eq!((&there.changes, there.has_more), (&here.changes, here.has_more));
            expected = ChangesSince::Cursor(here.next_cursor);
            found = ChangesSince::Cursor(there.next_cursor);
            if !here.has_more {
                break;
            }
        }
        for period in [None, Some(Period::Day), Some(Period::Week), Some(Period::Month)] {
            let days = StatsRequest::new(Day::new(0), Day::new(u32::MAX));
            let request = StatsRequest { by_kind: true, by_assistant: true, period, ..days };
            let expected = snapshot.stats(user, &request).unwrap();
            assert_eq!(cluster.stats(user, &request).await.unwrap(), expected);
        }
        for number in 0..60 {
            let id = ConversationId::new(uuid::Uuid::from_u128(number));
            let messages = snapshot.messages(user, id).unwrap();
            let expected = snapshot.conversation(user, id).unwrap().zip(messages);
            assert_eq!(cluster.conversation_with_messages(user, id).await.unwrap(), expected);
        }
    }
    compared
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn every_list_has_the_same_pages_and_tokens() {
    let (mut runner, mut compared) = (TestRunner::deterministic(), Compared::default());
    for _ in 0..3 {
        let (store, users) = continued(&mut runner, 400);
        let (_, cluster) = imported("differential_lists", &store).await;
        let snapshot = store.snapshot();
        for (filter, user) in combinations().into_iter().flat_map(|f| users.map(|u| (f.clone(), u)))
        {
            for (order, size) in Order::ALL.into_iter().flat_map(|o| [1, 2, 7, 15].map(|s| (o, s)))
            {
                let request = ListRequest::new().filter(filter.clone()).order(order);
                let request = request.page_size(size).unwrap();
                walk(&snapshot, &cluster, user, request, &mut compared).await;
            }
        }
        // Lists with several types and assistants, and with bounds.
        for _ in 0..400 {
            let strategy = (list_query(), 1..9_usize, prop::sample::select(users.to_vec()));
            let (query, size, user) = strategy.new_tree(&mut runner).unwrap().current();
            let request = first_page_request(&query, size);
            // Lists of optional indexes, which the database does not have.
            if request.sort.is_some_and(|sort| sort != Sort::CreatedAt) || request.filter.ai_off {
                let refused = cluster.list(user, &request).await;
                let needs_index = |error: &Error| {
                    matches!(
                        error,
                        Error::Invalid { field: "sort", .. } | Error::IndexAbsent { .. }
                    )
                };
                assert!(
                    matches!(&refused, Err(convodb_postgres::Error::Store(e)) if needs_index(e)),
                    "{refused:?}"
                );
                continue;
            }
            walk(&snapshot, &cluster, user, request, &mut compared).await;
        }
        let only = assistants()[0];
        let (snapshot, cluster) = (snapshot.restricted_to(only), cluster.restricted_to(only));
        for filter in combinations() {
            let request = ListRequest::new().filter(filter);
            walk(&snapshot, &cluster, users[0], request, &mut compared).await;
        }
    }
    println!("{compared:?}");
    assert!(compared.pages > 9_000 && compared.rows > 12_000, "{compared:?}");
    assert!(compared.counts > 4_000, "{compared:?}");
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn conversations_and_messages_are_the_same() {
    let (store, users) = history(200);
    let (_, cluster) = imported("differential_rows", &store).await;
    let snapshot = store.snapshot();
    let only = assistants()[0];
    let (restricted, reached) =
        (snapshot.clone().restricted_to(only), cluster.clone().restricted_to(only));
    let mut messages = 0;
    for user in users {
        for number in 0..60 {
            let id = ConversationId::new(uuid::Uuid::from_u128(number));
            let expected = snapshot.conversation(user, id).unwrap();
            assert_eq!(cluster.conversation(user, id).await.unwrap(), expected);
            let expected = snapshot.messages(user, id).unwrap();
            messages += expected.iter().flatten().count();
            assert_eq!(cluster.messages(user, id).await.unwrap(), expected);
            let both = snapshot.conversation(user, id).unwrap().zip(expected);
            assert_eq!(cluster.conversation_with_messages(user, id).await.unwrap(), both);
            let expected = restricted.messages(user, id).unwrap();
            assert_eq!(reached.messages(user, id).await.unwrap(), expected);
            let expected = restricted.conversation(user, id).unwrap();
            assert_eq!(reached.conversation(user, id).await.unwrap(), expected);
        }
    }
    assert!(messages > 20, "{messages}");
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn statistics_are_the_same() {
    let (store, users) = history(300);
    let (_, cluster) = imported("differential_stats", &store).await;
    let snapshot = store.snapshot();
    let days = [(0, u32::MAX), (20_080, 20_114), (19_900, 20_114), (20_114, 20_115)];
    let periods = [None, Some(Period::Day), Some(Period::Week), Some(Period::Month)];
    for ((from, to), period) in days.into_iter().flat_map(|days| periods.map(|p| (days, p))) {
        for bits in 0..16_u32 {
            let has = |bit: u32| bits & (1 << bit) != 0;
            let request = StatsRequest {
                kind: has(0).then_some(ChannelKind::Whatsapp),
                assistant: has(1).then(|| assistants()[2]),
                by_kind: has(2),
                by_assistant: has(3),
                period,
                ..StatsRequest::new(Day::new(from), Day::new(to))
            };
            let expected = snapshot.stats(users[0], &request).unwrap();
            assert_eq!(cluster.stats(users[0], &request).await.unwrap(), expected, "{request:?}");
            let only = assistants()[1];
            let expected = snapshot.clone().restricted_to(only).stats(users[0], &request).unwrap();
            let restricted = cluster.clone().restricted_to(only);
            assert_eq!(restricted.stats(users[0], &request).await.unwrap(), expected);
        }
    }
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn the_change_feed_is_the_same_from_every_place() {
    let (store, users) = history(300);
    let (_, cluster) = imported("differential_changes", &store).await;
    let snapshot = store.snapshot();
    let size = PageSize::new(3).unwrap();
    for user in users {
        let mut since = ChangesSince::Beginning;
        let mut parts = 0;
        loop {
            let expected = snapshot.changes_since(user, since, size).unwrap();
            let found = cluster.changes_since(user, since, size).await.unwrap();
            assert_eq!((&found.changes, found.has_more), (&expected.changes, expected.has_more));
            parts += 1;
            // A token of the embedded store continues in the cluster.
            let token = snapshot.seal_change_cursor(&expected.next_cursor);
            since = ChangesSince::Cursor(cluster.open_change_cursor(user, &token).unwrap());
            if !expected.has_more {
                break;
            }
        }
        assert!(parts > 5, "{parts}");
        // And one of the cluster does.
        let end = cluster.changes_since(user, ChangesSince::Now, size).await.unwrap().next_cursor;
        let token = cluster.seal_change_cursor(&end);
        let end = ChangesSince::Cursor(cluster.open_change_cursor(user, &token).unwrap());
        let part = cluster.changes_since(user, end, size).await.unwrap();
        assert!(part.changes.is_empty() && !part.has_more);
        let foreign = cluster.changes_since(users[usize::from(user == users[0])], end, size).await;
        assert!(matches!(foreign, Err(convodb_postgres::Error::Store(Error::InvalidCursor))));
    }
}

/// Lists that are longer than conversations are counted one by one.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_long_list_is_counted_up_to_the_same_limit() {
    let at = |millis| Timestamp::from_millis(1_737_763_200_000 + millis).unwrap();
    let store = Store::in_memory().unwrap();
    let user = store.create_user("Acme", at(0)).unwrap().id;
    let bots = assistants();
    for id in &bots {
        store.create_assistant(user, *id, "Bot").unwrap();
    }
    let phone = "+14155559876";
    let long = Count::MAX_SCANNED + 5;
    let of = bots.clone();
    store
        .write(move |transaction| {
            for number in 0..long {
                let id = ConversationId::new(uuid::Uuid::from_u128(number.into()));
                let customer = Contact { phone: Some(phone.parse()?), ..Contact::default() };
                let channel = Channel::Whatsapp { sender: Contact::default(), customer };
                let bot = of[usize::from(number % 3 == 0)];
                let row = Conversation::new(id, bot, channel, at(1 + number));
                transaction.insert(user, row, Vec::new())?;
            }
            Ok::<_, Error>(())
        })
        .unwrap();
    let (_, cluster) = imported("differential_counts", &store).await;
    let snapshot = store.snapshot();
    let by_phone = Filter::new().customer_phone(phone).unwrap();
    let both = by_phone.clone().assistants(bots[..2].iter().copied()).unwrap();
    let of_bot = Filter::new().assistant(bots[0]);
    let all = ListRequest::new();
    let requests = [
        (all.clone(), Some(long)),
        (all.clone().filter(of_bot), Some(long - long.div_ceil(3))),
        (all.clone().filter(by_phone.clone()), None),
        (all.clone().filter(both), None),
        (all.clone().filter(by_phone).created_from(at(6)), Some(long - 5)),
        // A day that the bounds cut has no counters.
        (all.clone().created_from(at(1)), None),
        (all.clone().created_from(at(6)), Some(long - 5)),
        (all.created_to(at(5)), Some(4)),
    ];
    for (request, exact) in requests {
        let expected = snapshot.count(user, &request).unwrap();
        let found = cluster.count(user, &request).await.unwrap();
        let is_expected = (expected.conversations, expected.is_exact);
        assert_eq!((found.conversations, found.is_exact), is_expected, "{request:?}");
        let number = exact.map_or((Count::MAX_SCANNED, false), |number| (number, true));
        assert_eq!(is_expected, number, "{request:?}");
    }
}

/// The embedded store continues after the import: what it issues then is of another history.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_change_cursor_from_after_the_import_is_refused() {
    let at = Timestamp::from_millis(1_737_800_000_000).unwrap();
    let store = Store::in_memory().unwrap();
    let user = store.create_user("Acme", at).unwrap().id;
    let bot = store.create_assistant(user, AssistantId::generate(at), "Bot").unwrap().id;
    let row = |number| {
        let id = ConversationId::new(uuid::Uuid::from_u128(number));
        Conversation::new(id, bot, Channel::Widget, at)
    };
    store.insert(user, row(1), Vec::new()).unwrap();
    let (_, cluster) = imported("differential_after", &store).await;
    let size = PageSize::default();
    let cursor = |store: &Store| {
        let snapshot = store.snapshot();
        let now = snapshot.changes_since(user, ChangesSince::Now, size).unwrap().next_cursor;
        snapshot.seal_change_cursor(&now)
    };
    let before = cluster.open_change_cursor(user, &cursor(&store)).unwrap();
    let part = cluster.changes_since(user, ChangesSince::Cursor(before), size).await.unwrap();
    assert!(part.changes.is_empty());
    let message = Message::new(Role::User, "hi", at).unwrap();
    store.append_message(user, row(1).id, message).unwrap();
    let after = cluster.open_change_cursor(user, &cursor(&store)).unwrap();
    let refused = cluster.changes_since(user, ChangesSince::Cursor(after), size).await;
    assert!(matches!(refused, Err(convodb_postgres::Error::Store(Error::ChangesExpired))));
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_token_allows_the_same() {
    let at = |millis| Timestamp::from_millis(millis).unwrap();
    let store = Store::in_memory().unwrap();
    let user = store.create_user("Acme", at(0)).unwrap().id;
    let bot = store.create_assistant(user, assistants()[0], "Bot").unwrap().id;
    let everything = TokenOptions { scopes: Scopes::ALL, ..TokenOptions::default() };
    let limited = TokenOptions {
        scopes: "read,stats".parse().unwrap(),
        assistant: Some(bot),
        expires_at: Some(at(2_000)),
        ..TokenOptions::default()
    };
    let create = |options| store.create_token_with(user, at(1_000), options).unwrap();
    let tokens = [create(everything), create(limited)];
    let (_, cluster) = imported("differential_tokens", &store).await;
    let snapshot = store.snapshot();
    let texts = tokens.iter().map(|token| token.token.as_str());
    for text in texts.chain(["cvdb_unknown", ""]) {
        for now in [at(1_000), at(1_999), at(2_000)] {
            let expected = snapshot.authenticate(text, now).unwrap();
            assert_eq!(cluster.authenticate(text, now).await.unwrap(), expected);
        }
    }
    let found = cluster.authenticate(&tokens[1].token, at(1_999)).await.unwrap().unwrap();
    assert_eq!((found.user, found.token, found.assistant), (user, tokens[1].id, Some(bot)));
    assert_eq!(cluster.authenticate(&tokens[1].token, at(2_000)).await.unwrap(), None);
}
