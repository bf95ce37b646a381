//! A round trip: an embedded store, the database, writes, and an embedded store again.

use convodb::{
    ChangesSince, Error, PageSize, QuotaLimit, Retention, Store, Timestamp, TokenOptions, UserId,
    UserQuota,
};
use convodb_postgres::Cluster;
use convodb_testkit::harness::Harness;
use proptest::test_runner::TestRunner;

use crate::differential::compare_reads;
use crate::writes::{compare_tables, opened, run_history};
use crate::{connect, empty_schema, execute};

/// The changes of a user since a token, until the end.
async fn changes(store: &Store, user: UserId, token: &str) -> usize {
    let snapshot = store.snapshot();
    let cursor = snapshot.open_change_cursor(user, token).unwrap();
    let since = ChangesSince::Cursor(cursor);
    snapshot.changes_since(user, since, PageSize::MAX).unwrap().changes.len()
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_store_continues_in_the_database_and_back() {
    let at = |millis: u64| Timestamp::from_millis(1_737_800_000_000 + millis).unwrap();
    let schema = "export_round_trip";
    let Harness { store, users, .. } = Harness::in_memory();
    store.rotate_cursor_key().unwrap();
    store.create_user("Gone", at(0)).unwrap();
    store.erase_user(UserId::new(3), at(0)).unwrap();
    let quota = UserQuota { conversations: QuotaLimit::Unlimited, bytes: QuotaLimit::AtMost(1) };
    store.begin_retention(at(1), Some(at(0))).unwrap();
    let token = store.create_token_with(users[0], at(0), TokenOptions::default()).unwrap().token;
    let before = store.snapshot();
    let now = before.changes_since(users[0], ChangesSince::Now, PageSize::MAX).unwrap();
    let before = before.seal_change_cursor(&now.next_cursor);
    let options = empty_schema(schema).await;
    let cluster = opened(schema, &store, options.clone()).await;
    let mut runner = TestRunner::deterministic();
    run_history(&mut runner, (&store, users), &cluster, 900).await;
    // Below what the user has: what is there stays, and no more is added.
    store.set_quota(users[1], quota).unwrap();
    execute(schema, "update head set max_conversations = -1, max_bytes = 1 where owner = 2").await;
    store.expire(at(0), Retention::default()).unwrap();
    cluster.expire(at(0), Retention::default()).await.unwrap();
    let size = PageSize::new(7).unwrap();
    let part = cluster.changes_since(users[0], ChangesSince::Beginning, size).await.unwrap();
    let part = cluster.seal_change_cursor(&part.next_cursor);
    let end = cluster.changes_since(users[0], ChangesSince::Now, size).await.unwrap();
    let end = cluster.seal_change_cursor(&end.next_cursor);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new.convodb");
    let report = Cluster::export(&options, &path, |_| {}).await.unwrap();
    assert!(
        report.conversations > 30 && report.messages > 30 && report.responses > 20,
        "{report:?}"
    );
    let exported = Store::open(&path).unwrap();
    assert!(exported.snapshot().verify().unwrap().is_clean());
    assert!(Cluster::verify(&options).await.unwrap().is_clean());

    // Each row of each table, by an import of the new store.
    let rows = compare_tables(schema, &exported).await;
    let client = connect().await;
    for columns in [
        "digest, owner, name, prefix, scopes, assistant, created_ms, expires_ms, last_used_ms \
         from {}.token",
        "fingerprints, cursor_keys, last_user, retention_ms, retention_until_ms from {}.store",
    ] {
        let all = |schema: &str| format!("select {}", columns.replace("{}", schema));
        let (found, expected) = (all(&format!("{schema}_expected")), all(schema));
        let sql = format!(
            "select (select count(*) from ({expected} except {found}) a), \
                           (select count(*) from ({found} except {expected}) b), \
                           (select count(*) from ({found}) c)"
        );
        let row = client.query_one(&sql, &[]).await.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (0, 0), "{columns}");
        assert!(row.get::<_, i64>(2) > 0, "{columns}");
    }

    // Lists, tokens of their cursors, changes, statistics and messages.
    let compared = compare_reads(&exported.snapshot(), &cluster, users).await;
    println!("{report:?}, {rows} rows, {compared:?}");
    let access = exported.snapshot().authenticate(&token, at(1)).unwrap().unwrap();
    assert_eq!(access.user, users[0]);
    let all = exported.snapshot();
    let all = all.changes_since(users[0], ChangesSince::Beginning, PageSize::MAX).unwrap();
    assert!(!all.changes.is_empty());
    // Cursors of the first store and of the database continue.
    assert!(changes(&exported, users[0], &before).await > 7);
    assert!(changes(&exported, users[0], &part).await > 7);
    assert_eq!(changes(&exported, users[0], &end).await, 0);

    // Writes continue in the same way: positions, numbers, quotas and idempotency keys.
    run_history(&mut runner, (&exported, users), &cluster, 300).await;
    compare_tables(schema, &exported).await;
    let created = exported.create_user("next", at(2)).unwrap();
    assert_eq!(created.id, UserId::new(4));

    let again = Cluster::export(&options, &path, |_| {}).await;
    assert!(
        matches!(again, Err(convodb_postgres::Error::Store(Error::FileExists(_)))),
        "{again:?}"
    );
}

/// Rows that do not agree are not exported, and no file is left.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_damaged_store_is_not_exported() {
    let schema = "export_damaged";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new.convodb");
    for damage in [
        "delete from change where owner = 1 and number = (select max(number) - 1 from change \
         where owner = 1)",
        "delete from message where owner = 1",
    ] {
        let Harness { store, users, .. } = Harness::in_memory();
        let options = empty_schema(schema).await;
        let cluster = opened(schema, &store, options.clone()).await;
        run_history(&mut TestRunner::deterministic(), (&store, users), &cluster, 200).await;
        execute(schema, damage).await;
        let refused = Cluster::export(&options, &path, |_| {}).await;
        assert!(refused.is_err(), "{damage}");
        let left = std::fs::read_dir(directory.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, Vec::<std::path::PathBuf>::new());
    }
}
