//! Plan guard: a page reads page size + 2 entries whatever PostgreSQL believes about the data.

use convodb::{
    AssistantId, BulkOptions, Channel, ChannelKind, Conversation, ConversationId, Filter,
    ListRequest, Order, Store, Timestamp, UserId,
};
use convodb_postgres::{Cluster, Error};
use uuid::Uuid;

use crate::{execute, imported};

const BASE: u64 = 1_737_800_000_000;

/// A store with 9,000 conversations: one assistant has almost all, one customer has a third, and the
/// last assistant has three that are far apart.
fn skewed() -> (Store, UserId, [AssistantId; 3]) {
    let at = |number: u64| Timestamp::from_millis(BASE + number * 1_000).unwrap();
    let store = Store::in_memory().unwrap();
    let user = store.create_user("Acme", at(0)).unwrap().id;
    let bots = [1, 2, 3].map(|number| AssistantId::new(Uuid::from_u128(number)));
    for bot in bots {
        store.create_assistant(user, bot, "Bot").unwrap();
    }
    let mut loader = store.bulk_load(BulkOptions::default());
    for number in 0..9_000_u64 {
        let bot = match number {
            10 | 4_500 | 8_990 => bots[2],
            number if number % 500 == 0 => bots[1],
            _ => bots[0],
        };
        let customer = if number % 3 == 0 { 0 } else { number };
        let channel = match number % 20 {
            0 => Channel::Widget,
            1 => Channel::api(format!("crm-{}", number % 40)).unwrap(),
            _ => Channel::whatsapp(format!("+1{}", number % 2), format!("+2{customer}")).unwrap(),
        };
        let id = ConversationId::new(Uuid::from_u128(u128::from(number)));
        loader.push(user, &Conversation::new(id, bot, channel, at(number)), &[]).unwrap();
    }
    loader.finish().unwrap();
    (store, user, bots)
}

fn filters(bots: [AssistantId; 3]) -> Vec<Filter> {
    let mut filters = Vec::new();
    for bits in 0..32_u32 {
        let has = |bit: u32| bits & (1 << bit) != 0;
        for bot in bots {
            filters.push(Filter {
                kind: has(0).then_some(ChannelKind::Whatsapp),
                assistant: has(1).then_some(bot),
                sender_phone: has(2).then(|| "+10".parse().unwrap()),
                customer_phone: has(3).then(|| "+20".parse().unwrap()),
                external_identifier: has(4).then(|| "crm-1".parse().unwrap()),
                ..Filter::default()
            });
        }
    }
    filters
}

/// The most entries that a page of any list read, from the front, the middle and back; and the number
/// of pages.
async fn most_entries(cluster: &Cluster, user: UserId, filters: &[Filter]) -> (u64, usize) {
    let (mut most, mut pages) = (0, 0);
    for filter in filters {
        for order in Order::ALL {
            let middle = Timestamp::from_millis(BASE + 4_500_000).unwrap();
            let first = ListRequest::new().filter(filter.clone()).order(order);
            let mut requests = vec![first.clone(), first.clone().created_from(middle)];
            let page = cluster.list(user, &first).await.unwrap();
            if let Some(next) = page.next_cursor() {
                requests.push(ListRequest::at(*next));
                let second = cluster.list(user, &ListRequest::at(*next)).await.unwrap();
                requests.extend(second.prev_cursor().map(|prev| ListRequest::at(*prev)));
            }
            for request in requests {
                let read = cluster.explain(user, &request).await.unwrap();
                assert!(read.ranges <= 1);
                most = most.max(read.entries);
                pages += 1;
            }
        }
    }
    (most, pages)
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_page_reads_its_entries_with_right_and_with_wrong_statistics() {
    let (store, user, bots) = skewed();
    let (options, cluster) = imported("plans", &store).await;
    let filters = filters(bots);
    let bound = 15 + 2;
    let (most, pages) = most_entries(&cluster, user, &filters).await;
    println!("{pages} pages, at most {most} entries");
    assert!(pages > 200 && most <= bound, "{most} entries in {pages} pages");
    drop(cluster);

    // A table that is believed to be empty, and one of a billion rows in which no value repeats.
    for (rows, pages) in [(0, 0), (1_000_000_000, 10)] {
        execute(
            "plans",
            &format!(
                "delete from pg_statistic where starelid = 'conversation'::regclass; \
                 update pg_class set reltuples = {rows}, relpages = {pages} \
                 where relnamespace = 'plans'::regnamespace and relname like 'conversation%'"
            ),
        )
        .await;
        let cluster = Cluster::open(&options).await.unwrap();
        let (most, pages) = most_entries(&cluster, user, &filters).await;
        println!("{pages} pages, at most {most} entries with {rows} rows in the statistics");
        assert!(most <= bound, "{most} entries in {pages} pages");
    }
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_union_reads_a_page_of_each_range() {
    let (store, user, bots) = skewed();
    let (_, cluster) = imported("plans_union", &store).await;
    let snapshot = store.snapshot();
    let kinds = [ChannelKind::Widget, ChannelKind::Whatsapp];
    let filter = Filter::new().kinds(kinds).unwrap().assistants(bots).unwrap();
    let first = ListRequest::new().filter(filter);
    let next = snapshot.list(user, &first).unwrap().next_cursor().copied().unwrap();
    for request in [first, ListRequest::at(next)] {
        let read = cluster.explain(user, &request).await.unwrap();
        assert_eq!(read.ranges, 6);
        assert!(read.entries <= 6 * (15 + 2), "{} entries", read.entries);
    }
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_database_without_an_index_is_refused() {
    let (store, ..) = skewed();
    let (options, cluster) = imported("plans_refused", &store).await;
    drop(cluster);
    execute("plans_refused", "drop index conversation_ca").await;
    let refused = Cluster::open(&options).await.map(|_| ());
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("conversation_ca"), "{message}");
    assert!(!matches!(Cluster::verify(&options).await, Err(Error::NoStore(_))));
}
