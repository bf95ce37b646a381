//! Differential tests of writes: one random history through both stores, and every table compared.

use std::sync::Arc;

use convodb::{
    AssistantId, Channel, Conversation, ConversationId, Cost, Error, Filter, IdempotencyKey,
    Message, Name, QuotaLimit, Scope, Store, StoreOptions, Timestamp, TokenOptions, Transaction,
    UserId, UserQuota,
};
use convodb_json::Item;
use convodb_postgres::{Cluster, ClusterOptions, Idempotent, Write, WriteAuthority, Written};
use convodb_testkit::generators::{
    assistant, assistants, channel, conversation, conversation_id, message, timestamp,
};
use convodb_testkit::harness::Harness;
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use crate::differential::compare_reads;
use crate::{connect, empty_schema, execute};

/// A write with how it is done: of the first or the second user, restricted or not, with or without an
/// idempotency key.
#[derive(Clone, Debug)]
struct Call {
    user: UserId,
    only: Option<AssistantId>,
    once: Option<Idempotent>,
    write: Write,
}

/// A result that both stores give: what was written or the response, or the error.
type Outcome = Result<(Option<Written>, Option<Vec<u8>>), String>;

fn write() -> impl Strategy<Value = Write> {
    let messages = || prop::collection::vec(message(), 0..4);
    // Two assistants more, which come and go.
    let any_assistant = (1..=5_u128).prop_map(|number| AssistantId::new(Uuid::from_u128(number)));
    let name = prop::sample::select(vec!["Bot", "Support", "A much longer name", "\u{1F600}"])
        .prop_map(|name| name.parse::<Name>().unwrap());
    let of = prop_oneof![2 => assistant(), 1 => any_assistant.clone()];
    let item = (conversation(), of, prop::option::of(name.clone()), messages());
    let item = item.prop_map(|(conversation, assistant, assistant_name, messages)| {
        let conversation = Conversation { assistant, ..conversation };
        Item { conversation, assistant_name, messages }
    });
    let (changes, fails) = (prop::bool::weighted(0.9), prop::bool::weighted(0.2));
    let change = (changes, channel(), assistant(), 0..9_u32, any::<bool>(), fails);
    prop_oneof![
        8 => (conversation(), messages())
            .prop_map(|(conversation, messages)| Write::Insert { conversation, messages }),
        6 => (conversation_id(), message()).prop_map(|(id, message)| Write::Append { id, message }),
        6 => (conversation_id(), timestamp(), change).prop_map(|(id, now, change)| {
            let (changes, channel, assistant, count, ai_enabled, fails) = change;
            let change = move |row: &mut Conversation| {
                if !changes {
                    return Ok(());
                }
                // Another type of channel is refused.
                if fails || row.channel.kind() == channel.kind() {
                    row.channel = channel.clone();
                }
                row.message_count = row.message_count.max(count);
                row.total_cost = Cost::from_nanos(i64::from(count) * 7);
                (row.assistant, row.ai_enabled) = (assistant, ai_enabled);
                Ok(())
            };
            Write::Change { id, now, change: Arc::new(change) }
        }),
        3 => conversation_id().prop_map(|id| Write::Delete { id }),
        1 => (conversation_id(), assistant()).prop_map(|(id, assistant)| {
            Write::DeleteMatching { id, filter: Filter::new().assistant(assistant) }
        }),
        2 => prop::collection::vec(item, 0..6)
            .prop_map(|items| Write::Import { items: items.into() }),
        1 => (any_assistant.clone(), name.clone())
            .prop_map(|(id, name)| Write::CreateAssistant { id, name }),
        1 => (any_assistant.clone(), name)
            .prop_map(|(id, name)| Write::RenameAssistant { id, name }),
        1 => any_assistant.prop_map(|id| Write::DeleteAssistant { id }),
    ]
}

/// A key of a few with a request of two, so that keys repeat and conflict.
fn once() -> impl Strategy<Value = Idempotent> {
    (0..30_u8, 0..2_u8, timestamp()).prop_map(|(key, request, now)| Idempotent {
        key: IdempotencyKey::new(format!("key-{key}")).unwrap(),
        request: [request; 32],
        now,
        response: Arc::new(|written| format!("{written:?}").into_bytes()),
    })
}

fn call(users: [UserId; 2]) -> impl Strategy<Value = Call> {
    let user = prop::sample::select(users.to_vec());
    let only = prop::option::weighted(0.1, assistant());
    (user, only, prop::option::weighted(0.2, once()), write()).prop_map(
        |(user, only, once, write)| {
            let once = once.filter(|_| !matches!(write, Write::Import { .. }));
            Call { user, only, once, write }
        },
    )
}

/// The same write within a transaction of an embedded store, which reads more than the result of
/// another store has.
fn run(transaction: &mut Transaction<'_>, user: UserId, write: Write) -> Result<Written, Error> {
    Ok(match write.run(transaction, user)? {
        Written::Changed(conversation, _) => Written::Changed(conversation, None),
        written => written,
    })
}

fn in_embedded(store: &Store, call: Call) -> Outcome {
    let Call { user, only, once, write } = call;
    let done = store.write(move |transaction| {
        if let Some(only) = only {
            transaction.restrict_to(only);
        }
        match once {
            None => Ok((Some(run(transaction, user, write)?), None)),
            Some(Idempotent { key, request, now, response }) => {
                let work = |transaction: &mut Transaction<'_>| {
                    Ok::<_, Error>(response(&run(transaction, user, write)?))
                };
                Ok((None, Some(transaction.idempotent(user, &key, request, now, work)?)))
            }
        }
    });
    done.map_err(|error: Error| format!("{error:?}"))
}

async fn in_cluster(cluster: &Cluster, call: Call) -> Outcome {
    let Call { user, only, once, write } = call;
    let cluster = match only {
        Some(only) => cluster.clone().restricted_to(only),
        None => cluster.clone(),
    };
    let done = match once {
        None => cluster.write(user, write).await.map(|written| (Some(written), None)),
        Some(once) => cluster.write_once(user, once, write).await.map(|bytes| (None, Some(bytes))),
    };
    done.map_err(|error| match error {
        convodb_postgres::Error::Store(error) => format!("{error:?}"),
        error => panic!("{error}"),
    })
}

/// The tables that a write changes, with the columns that both stores have.
const TABLES: [(&str, &str); 9] = [
    ("change_mark", "owner, hour, number"),
    ("account", "id, name, created_ms, closed"),
    (
        "head",
        "owner, feed, trimmed, assistants, conversations, bytes, max_conversations, max_bytes",
    ),
    ("assistant", "owner, number, id, fp, name"),
    (
        "conversation",
        "owner, pos, id, kind, assistant, sender_fp, customer_fp, external_fp, message_count, \
         stored, cost, ai, updated_ms, sender_name, sender_phone, customer_name, customer_phone, \
         external, variables",
    ),
    ("message", "owner, pos, number, role, content, calls, cost, created_ms"),
    ("total", "owner, span, assistant, kind, conversations, messages, cost"),
    ("change", "owner, number, kind, id, pos, left_assistant"),
    ("answer", "owner, key, request, answer, at_ms"),
];

/// Compares each row of each table with those that an import of the embedded store creates. Returns
/// the number of rows.
pub(crate) async fn compare_tables(schema: &str, store: &Store) -> i64 {
    let imported = format!("{schema}_expected");
    let options = empty_schema(&imported).await;
    Cluster::import(&options, store, |_| {}).await.unwrap();
    let client = connect().await;
    let mut rows = 0;
    for (table, columns) in TABLES {
        let all = |schema: &str| format!("select {columns} from {schema}.{table}");
        let (found, expected) = (all(schema), all(&imported));
        let sql = format!(
            "select (select count(*) from ({found} except {expected}) a), \
             (select count(*) from ({expected} except {found}) b), \
             (select count(*) from ({found}) c)"
        );
        let row = client.query_one(&sql, &[]).await.unwrap();
        let (more, fewer): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!((more, fewer), (0, 0), "{table}");
        rows += row.get::<_, i64>(2);
    }
    rows
}

/// A cluster that was imported from the store.
pub(crate) async fn opened(schema: &str, store: &Store, options: ClusterOptions) -> Cluster {
    drop(empty_schema(schema).await);
    Cluster::import(&options, store, |_| {}).await.unwrap();
    Cluster::open(&options).await.unwrap()
}

/// Runs the same writes in both stores, those of the cluster many at a time, and compares all results.
/// Returns how many failed.
pub(crate) async fn run_history(
    runner: &mut TestRunner,
    (store, users): (&Store, [UserId; 2]),
    cluster: &Cluster,
    calls: usize,
) -> usize {
    let (mut done, mut failed) = (0, 0);
    while done < calls {
        let batch = prop_oneof![2 => 1..3_usize, 3 => 3..80_usize];
        let count = batch.new_tree(runner).unwrap().current();
        let batch = prop::collection::vec(call(users), count);
        let batch = batch.new_tree(runner).unwrap().current();
        // The first poll of each enqueues it, so the order in each lane is that of the batch.
        let found = join_all(batch.iter().map(|call| in_cluster(cluster, call.clone()))).await;
        for (call, found) in batch.into_iter().zip(found) {
            let text = format!("{call:?}");
            let expected = in_embedded(store, call);
            assert_eq!(found, expected, "write {done}: {text}");
            failed += usize::from(found.is_err());
            done += 1;
        }
    }
    failed
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_random_history_leaves_the_same_rows() {
    let mut runner = TestRunner::deterministic();
    for round in 0..3 {
        let Harness { store, users, .. } = Harness::in_memory();
        // In the second round, the second user often exceeds a quota.
        if round == 1 {
            let bytes = QuotaLimit::AtMost(9_000);
            let quota = UserQuota { conversations: QuotaLimit::AtMost(25), bytes };
            store.set_quota(users[1], quota).unwrap();
        }
        let schema = "writes_history";
        let options = empty_schema(schema).await;
        let cluster = opened(schema, &store, options.clone()).await;
        let mut rows = 0;
        let mut failed = 0;
        for _ in 0..4 {
            failed += run_history(&mut runner, (&store, users), &cluster, 300).await;
            rows += compare_tables(schema, &store).await;
        }
        let report = Cluster::verify(&options).await.unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
        let compared = compare_reads(&store.snapshot(), &cluster, users).await;
        let metrics = cluster.write_metrics();
        println!("{metrics:?}, {failed} failed, {rows} rows, {compared:?}");
        assert!(metrics.groups * 5 < metrics.writes, "{metrics:?}");
        assert!(failed > 100 && rows > 1_500, "{failed} failed, {rows} rows");
    }
}

/// Changes beyond those that are retained are trimmed at the same numbers.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn the_same_changes_are_trimmed() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions::new().retained_changes(100);
    let store = Store::open_with(directory.path().join("store.convodb"), &options).unwrap();
    let Harness { store, users, .. } = Harness::new(store);
    let schema = "writes_trimmed";
    let options = empty_schema(schema).await.retained_changes(100);
    let cluster = opened(schema, &store, options).await;
    let mut runner = TestRunner::deterministic();
    run_history(&mut runner, (&store, [users[0]; 2]), &cluster, 4_000).await;
    compare_tables(schema, &store).await;
    let client = connect().await;
    let sql = format!("select max(trimmed), max(feed) from {schema}.head");
    let row = client.query_one(&sql, &[]).await.unwrap();
    let (trimmed, feed): (i64, i64) = (row.get(0), row.get(1));
    assert!(trimmed > 0 && feed > 1_024, "{trimmed} of {feed}");
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_737_800_000_000 + millis).unwrap()
}

fn row(number: u128) -> Conversation {
    let id = ConversationId::new(Uuid::from_u128(number));
    Conversation::new(id, assistants()[0], Channel::Widget, at(0))
}

/// A position that a deletion frees is used again, also within a group.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn positions_are_those_of_the_embedded_store_within_a_group() {
    let Harness { store, users, .. } = Harness::in_memory();
    let options = empty_schema("writes_positions").await;
    let cluster = opened("writes_positions", &store, options).await;
    let insert = |number| Write::Insert { conversation: row(number), messages: Vec::new() };
    let delete = |number| Write::Delete { id: row(number).id };
    let groups = [
        vec![insert(1), insert(2), insert(3)],
        vec![delete(3), delete(2), insert(4), delete(4), insert(2), insert(5)],
        vec![delete(1), insert(1), delete(5), delete(1), delete(2), insert(6)],
    ];
    for group in groups {
        let calls =
            group.into_iter().map(|write| Call { user: users[0], only: None, once: None, write });
        let calls: Vec<Call> = calls.collect();
        let found = join_all(calls.iter().map(|call| in_cluster(&cluster, call.clone()))).await;
        for (call, found) in calls.into_iter().zip(found) {
            assert_eq!(found, in_embedded(&store, call));
        }
        compare_tables("writes_positions", &store).await;
    }
    assert_eq!(cluster.write_metrics().groups, 3);
}

/// A user that does not exist, and one that is being erased.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn writes_of_a_missing_or_closed_user_are_refused() {
    let Harness { store, users, .. } = Harness::in_memory();
    let options = empty_schema("writes_users").await;
    let cluster = opened("writes_users", &store, options).await;
    let calls = |user| {
        let message = Message::new(convodb::Role::User, "hi", at(0)).unwrap();
        let (id, bot, name) = (row(1).id, assistants()[0], "Bot".parse().unwrap());
        let writes = [
            Write::Insert { conversation: row(1), messages: Vec::new() },
            Write::Append { id, message },
            Write::CreateAssistant { id: AssistantId::new(Uuid::from_u128(9)), name },
            Write::RenameAssistant { id: bot, name: "New".parse().unwrap() },
            Write::DeleteAssistant { id: bot },
        ];
        writes.map(|write| Call { user, only: None, once: None, write })
    };
    for call in calls(UserId::new(77)) {
        let expected = in_embedded(&store, call.clone());
        assert!(expected.is_err());
        assert_eq!(in_cluster(&cluster, call).await, expected);
    }
    execute("writes_users", "update account set closed = true where id = 1").await;
    let mut refused = Vec::new();
    for call in calls(users[0]) {
        refused.push(in_cluster(&cluster, call).await.map_err(|error| error == "UserClosed"));
    }
    let closed = || Err(true);
    assert_eq!(refused[0], closed());
    assert_eq!(refused[1], Err(false), "the conversation does not exist");
    assert_eq!(refused[2..4], [closed(), closed()]);
}

/// A change that panics abandons its group, and the lane continues.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_change_that_panics_is_not_written() {
    let Harness { store, users, .. } = Harness::in_memory();
    let options = empty_schema("writes_panic").await;
    let cluster = opened("writes_panic", &store, options.clone()).await;
    let insert = |number| Write::Insert { conversation: row(number), messages: Vec::new() };
    cluster.write(users[0], insert(1)).await.unwrap();
    let change = Arc::new(|_: &mut Conversation| panic!("of the test"));
    let panics = Write::Change { id: row(1).id, now: at(0), change };
    let group = [cluster.write(users[0], insert(2)), cluster.write(users[0], panics)];
    for abandoned in join_all(group).await {
        assert!(matches!(abandoned, Err(convodb_postgres::Error::Abandoned)), "{abandoned:?}");
    }
    cluster.write(users[0], insert(3)).await.unwrap();
    let is_there =
        async |number| cluster.conversation(users[0], row(number).id).await.unwrap().is_some();
    assert!(is_there(1).await && !is_there(2).await && is_there(3).await);
    assert!(Cluster::verify(&options).await.unwrap().is_clean());
}

/// A write is bounded in what waits for it.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn more_than_a_thousand_waiting_writes_of_a_user_are_refused() {
    let Harness { store, users, .. } = Harness::in_memory();
    let options = empty_schema("writes_overload").await;
    let cluster = opened("writes_overload", &store, options).await;
    let insert = |number| Write::Insert { conversation: row(number), messages: Vec::new() };
    let all = join_all((0..1_100).map(|number| cluster.write(users[0], insert(number)))).await;
    let refused =
        |written: &Result<_, _>| matches!(written, Err(convodb_postgres::Error::Overloaded));
    assert_eq!(all.iter().filter(|written| refused(written)).count(), 1_100 - 1_024);
    assert_eq!(all.iter().filter(|written| written.is_ok()).count(), 1_024);
}

/// A write by an access token that was revoked, limited or has expired before the write is done.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_write_checks_its_token_in_its_transaction() {
    let Harness { store, users, .. } = Harness::in_memory();
    let scopes = "read,write".parse().unwrap();
    let expires_at = Some(at(1_000));
    let options = TokenOptions { scopes, expires_at, ..TokenOptions::default() };
    let token = store.create_token_with(users[0], at(0), options).unwrap().id;
    let options = empty_schema("writes_tokens").await;
    let cluster = opened("writes_tokens", &store, options).await;
    let insert = |number| Write::Insert { conversation: row(number), messages: Vec::new() };
    let write = async |scope, now, number| {
        let authorized = cluster.clone().authorized_by(WriteAuthority { token, scope, now });
        authorized.write(users[0], insert(number)).await.map_err(|error| error.to_string())
    };
    let refused = |error: convodb_postgres::Error| Err(error.to_string());
    let unknown = || refused(Error::TokenNotFound.into());
    assert_eq!(write(Scope::Write, at(999), 1).await, Ok(Written::Inserted));
    let missing = convodb_postgres::Error::ScopeMissing(Scope::Import);
    assert_eq!(write(Scope::Import, at(999), 2).await, refused(missing));
    assert_eq!(write(Scope::Write, at(1_000), 2).await, unknown());
    let foreign = WriteAuthority { token, scope: Scope::Write, now: at(0) };
    let foreign = cluster.clone().authorized_by(foreign).write(users[1], insert(2)).await;
    assert!(matches!(foreign, Err(convodb_postgres::Error::Store(Error::TokenNotFound))));
    let other = assistants()[1].uuid();
    execute("writes_tokens", &format!("update token set assistant = '{other}'")).await;
    let beyond = refused(Error::AssistantNotFound.into());
    assert_eq!(write(Scope::Write, at(0), 2).await, beyond, "the conversation is of another one");
    execute("writes_tokens", "delete from token").await;
    assert_eq!(write(Scope::Write, at(0), 2).await, unknown());
}
