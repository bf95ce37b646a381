//! Deletion of many conversations, retention and erasure: the same calls on both stores.

use convodb::{
    ChangesSince, Error, Filter, ListRequest, PageSize, Retention, RetentionDoubt, Store,
    Timestamp, UserId,
};
use convodb_postgres::{Cluster, ClusterOptions, Write};
use convodb_testkit::generators::assistants;
use convodb_testkit::harness::Harness;
use proptest::test_runner::TestRunner;

use crate::empty_schema;
use crate::writes::{compare_tables, opened, run_history};

/// Both stores after the same random writes.
async fn both(schema: &str) -> (Store, [UserId; 2], Cluster, ClusterOptions) {
    let Harness { store, users, .. } = Harness::in_memory();
    let options = empty_schema(schema).await;
    let cluster = opened(schema, &store, options.clone()).await;
    let mut runner = TestRunner::deterministic();
    run_history(&mut runner, (&store, users), &cluster, 400).await;
    (store, users, cluster, options)
}

async fn is_clean(options: &ClusterOptions) -> bool {
    Cluster::verify(options).await.unwrap().is_clean()
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_deletion_leaves_the_same_rows() {
    let schema = "erasure_filter";
    let (store, users, cluster, options) = both(schema).await;
    let phone = Filter::new().customer_phone("+14155559876").unwrap();
    let requests = [
        ListRequest::new().filter(phone),
        ListRequest::new().filter(Filter::new().assistant(assistants()[1])),
        ListRequest::new().created_to("2025-01-10".parse().unwrap()),
        ListRequest::new(),
    ];
    let mut deleted = Vec::new();
    for request in requests {
        let found = cluster.delete_all(users[0], &request).await.unwrap();
        assert_eq!(found, store.delete_all(users[0], &request).unwrap());
        assert_eq!(cluster.delete_all(users[0], &request).await.unwrap(), 0);
        compare_tables(schema, &store).await;
        assert!(is_clean(&options).await);
        deleted.push(found);
    }
    assert!(deleted[0] > 0 && deleted[1] > 0, "{deleted:?}");
}

/// More conversations than a group contains, while others are written.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn an_erasure_leaves_nothing_of_the_user() {
    let schema = "erasure_user";
    let (store, users, cluster, options) = both(schema).await;
    let at = |millis: u64| Timestamp::from_millis(1_737_800_000_000 + millis).unwrap();
    let row = |number: u128| {
        let id = convodb::ConversationId::new(uuid::Uuid::from_u128(1_000 + number));
        convodb::Conversation::new(id, assistants()[0], convodb::Channel::Widget, at(0))
    };
    let insert = |number| Write::Insert { conversation: row(number), messages: Vec::new() };
    for number in 0..700 {
        store.insert(users[0], row(number), Vec::new()).unwrap();
    }
    let written = (0..700).map(|number| cluster.write(users[0], insert(number)));
    for written in futures_util::future::join_all(written).await {
        written.unwrap();
    }
    let token = cluster.create_token(users[0], at(0), convodb::TokenOptions::default()).await;
    let token = token.unwrap().token;
    store.create_token(users[0], at(0)).unwrap();
    let groups = cluster.write_metrics().groups;
    let found = cluster.erase_user(users[0]).await.unwrap();
    assert_eq!(found, store.erase_user(users[0], at(0)).unwrap());
    let groups = cluster.write_metrics().groups - groups;
    assert!(found.conversations > 700 && groups >= found.conversations / 256, "{groups}");
    compare_tables(schema, &store).await;
    assert!(is_clean(&options).await);
    assert_eq!(cluster.authenticate(&token, at(0)).await.unwrap(), None);
    let refused = cluster.write(users[0], insert(0)).await;
    assert!(matches!(refused, Err(convodb_postgres::Error::Store(Error::UserNotFound))));
    let again = cluster.erase_user(users[0]).await;
    assert!(matches!(again, Err(convodb_postgres::Error::Store(Error::UserNotFound))));
    // The number is not reused.
    let next = cluster.create_user("next".parse().unwrap(), at(0)).await.unwrap();
    assert_eq!(next, store.create_user("next", at(0)).unwrap());
    let changes = cluster.changes_since(users[1], ChangesSince::Beginning, PageSize::MAX).await;
    assert!(!changes.unwrap().changes.is_empty(), "the other user is there");
}

/// An erasure that was interrupted after its first transaction.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn an_interrupted_erasure_continues() {
    let schema = "erasure_interrupted";
    let (store, users, cluster, _) = both(schema).await;
    crate::execute(schema, "update account set closed = true where id = 1").await;
    let found = cluster.erase_user(users[0]).await.unwrap();
    assert_eq!(found, store.erase_user(users[0], Timestamp::MIN).unwrap());
    compare_tables(schema, &store).await;
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_retention_pass_is_doubted_as_in_an_embedded_store() {
    let (store, users, cluster, _) = both("erasure_retention").await;
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let passes = [
        ("2025-01-26 12:00:00", None),
        ("2025-01-26 12:00:00", Some("2024-06-01")),
        ("2025-01-26 13:00:00", Some("2025-01-25 14:30:00")),
        ("2025-01-26 13:00:00", Some("2025-01-27")),
        ("2025-01-24 12:00:00", Some("2024-06-02")),
        ("2025-06-01", Some("2024-06-02")),
        ("2025-01-27", Some("2024-06-02")),
    ];
    let (mut leapt, mut most) = (0, 0);
    for (now, before) in passes {
        let (now, before) = (at(now), before.map(at));
        let expected = store.snapshot().doubt_retention(&users, now, before).unwrap();
        let found = cluster.doubt_retention(&users, now, before).await.unwrap();
        assert_eq!(found, expected, "{now} {before:?}");
        match found {
            Some(RetentionDoubt::ClockLeapt { .. }) => leapt += 1,
            Some(_) => most += 1,
            None => {
                store.begin_retention(now, before).unwrap();
                cluster.begin_retention(now, before).await.unwrap();
            }
        }
    }
    assert!(leapt > 0 && most > 0, "{leapt} {most}");
}

/// Passes an hour or a month apart, and with a clock that is put back.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn changes_and_idempotency_records_expire_as_in_an_embedded_store() {
    let schema = "erasure_expiry";
    let (store, users, cluster, options) = both(schema).await;
    let mut runner = TestRunner::deterministic();
    let at = |hours: u64| Timestamp::from_millis(1_737_800_000_000 + hours * 3_600_000).unwrap();
    let (mut changes, mut idempotency) = (0, 0);
    for hours in [0, 1, 2, 48, 24, 24 * 30 + 1, 24 * 31 + 2, 24 * 70] {
        let found = cluster.expire(at(hours), Retention::default()).await.unwrap();
        assert_eq!(found, store.expire(at(hours), Retention::default()).unwrap(), "{hours}");
        compare_tables(schema, &store).await;
        assert!(is_clean(&options).await);
        changes += found.changes;
        idempotency += found.idempotency;
        run_history(&mut runner, (&store, users), &cluster, 60).await;
    }
    assert!(changes > 100 && idempotency > 10, "{changes} {idempotency}");
}

/// More than one transaction removes.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn more_changes_than_a_batch_expire() {
    let schema = "erasure_batches";
    let (store, users, cluster, options) = both(schema).await;
    run_history(&mut TestRunner::deterministic(), (&store, [users[0]; 2]), &cluster, 4_000).await;
    let at = |days: u64| Timestamp::from_millis(1_737_800_000_000 + days * 86_400_000).unwrap();
    for days in [0, 40] {
        let found = cluster.expire(at(days), Retention::default()).await.unwrap();
        assert_eq!(found, store.expire(at(days), Retention::default()).unwrap());
        assert_eq!(found.changes > 1_000, days == 40, "{found:?}");
    }
    compare_tables(schema, &store).await;
    assert!(is_clean(&options).await);
}
