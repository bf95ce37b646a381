//! Reads that lose their connection: each answer is right, or the error says that it can be repeated.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use convodb::{
    AssistantId, ChangesSince, Channel, Conversation, ConversationId, Day, Filter, ListRequest,
    Message, PageSize, Role, StatsRequest, Store, Timestamp, UserId,
};
use convodb_postgres::{Cluster, ClusterOptions, Error};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::{WAITS, connect, empty_schema, url};

const CONVERSATIONS: u128 = 60;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_737_800_000_000 + millis).unwrap()
}

fn bot(number: u128) -> AssistantId {
    AssistantId::new(Uuid::from_u128(number))
}

/// The kinds of reads, with a table that only these of them wait for when it is locked.
const KINDS: [(&str, &str); 7] = [
    ("list", "conversation"),
    ("history", "message"),
    ("messages", "message"),
    ("total", "total"),
    ("stats", "total"),
    ("changes", "change"),
    ("assistants", "assistant"),
];

/// What a read of a kind returns, as text.
async fn read(cluster: &Cluster, user: UserId, kind: &str) -> Result<String, Error> {
    fn text<T: Debug>(value: T) -> String {
        format!("{value:?}")
    }
    let request = ListRequest::new().filter(Filter::new());
    let days = StatsRequest::new(Day::new(0), Day::new(u32::MAX));
    let id = ConversationId::new(Uuid::from_u128(7));
    match kind {
        "list" => {
            let (page, names) = cluster.list_with_names(user, &request).await?;
            let rows: Vec<_> = page.conversations().map(text).collect();
            Ok(text((rows, page.next_cursor().is_some(), names)))
        }
        "history" => cluster.conversation_with_messages(user, id).await.map(text),
        "messages" => cluster.messages(user, id).await.map(text),
        "total" => cluster.count(user, &request).await.map(text),
        "stats" => cluster.stats(user, &days).await.map(text),
        "changes" => {
            let part = cluster.changes_since(user, ChangesSince::Beginning, PageSize::MAX).await?;
            Ok(text((part.changes, part.has_more)))
        }
        "assistants" => cluster.assistants(user, 1, 5).await.map(text),
        other => panic!("{other} is no kind"),
    }
}

/// A store in a schema, whose sessions have its name.
async fn created(schema: &str) -> (Cluster, UserId) {
    let store = Store::in_memory().unwrap();
    let user = store.create_user("Acme", at(0)).unwrap().id;
    for number in 1..=9 {
        store.create_assistant(user, bot(number), format!("Bot {number}")).unwrap();
    }
    for number in 0..CONVERSATIONS {
        let id = ConversationId::new(Uuid::from_u128(number));
        let assistant = bot(1 + number % 9);
        let created = at(u64::try_from(number).unwrap() * 40_000_000);
        let mut row = Conversation::new(id, assistant, Channel::Widget, created);
        row.message_count = 2;
        let message = |text: &str| Message::new(Role::User, text, created).unwrap();
        store.insert(user, row, vec![message("one"), message("two")]).unwrap();
    }
    Cluster::import(&empty_schema(schema).await, &store, |_| {}).await.unwrap();
    let url = format!("{} application_name={schema}", url());
    let options = ClusterOptions::new(&url).unwrap().schema(schema).unwrap();
    (Cluster::open(&options.connections(4).unwrap()).await.unwrap(), user)
}

/// Terminates the sessions of a store that match, and returns their number.
async fn terminate(killer: &Client, schema: &str, condition: &str) -> i64 {
    let sql = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity \
         where application_name = $1 and {condition}"
    );
    killer.query_one(&sql, &[&schema]).await.unwrap().get(0)
}

/// Terminates the next session that waits for a lock, or for a worker of Citus that does.
async fn terminate_waiting(killer: &Client, schema: &str) {
    let wait = async {
        while terminate(killer, schema, WAITS).await == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("a read waits for the lock");
}

/// An error that a server reports as 503, so that clients repeat the request.
#[track_caller]
fn check_repeatable(kind: &str, error: Error) {
    let text = format!("{kind}: {error:?}");
    let error = convodb_service::Error::from(error);
    assert!(matches!(error, convodb_service::Error::Unavailable(_)), "{text}");
}

/// A read whose connection is terminated while it runs is repeated once; if it loses that one, too, it
/// fails.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_loses_its_connection_is_repeated_once() {
    const SCHEMA: &str = "reads_repeated";
    let (cluster, user) = created(SCHEMA).await;
    let (killer, blocker) = (connect().await, connect().await);
    blocker.batch_execute(&format!("set search_path = {SCHEMA}")).await.unwrap();
    for (kind, table) in KINDS {
        let expected = read(&cluster, user, kind).await.unwrap();
        for losses in [1, 2] {
            let lock = format!("begin; lock table {table} in access exclusive mode");
            blocker.batch_execute(&lock).await.unwrap();
            let before = cluster.read_metrics().repeated;
            let reading = {
                let cluster = cluster.clone();
                tokio::spawn(async move { read(&cluster, user, kind).await })
            };
            for _ in 0..losses {
                terminate_waiting(&killer, SCHEMA).await;
            }
            if losses == 1 {
                blocker.batch_execute("rollback").await.unwrap();
            }
            let waited = tokio::time::timeout(Duration::from_secs(30), reading).await;
            match waited.expect("within 30 s").unwrap() {
                Ok(found) => assert_eq!((losses, found), (1, expected.clone()), "{kind}"),
                Err(error) => {
                    assert_eq!(losses, 2, "{kind}: {error:?}");
                    check_repeatable(kind, error);
                }
            }
            let _ = blocker.batch_execute("rollback").await;
            assert_eq!(cluster.read_metrics().repeated - before, 1, "{kind}");
        }
        assert_eq!(read(&cluster, user, kind).await.unwrap(), expected, "{kind} afterwards");
    }
}

/// The same anywhere: sessions are terminated in a loop while reads of one kind run.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminated_connections_change_no_answer() {
    const SCHEMA: &str = "reads_terminated";
    const ROUNDS: usize = 25;
    let (cluster, user) = created(SCHEMA).await;
    let killer = connect().await;
    for (kind, _) in KINDS {
        let expected = Arc::new(read(&cluster, user, kind).await.unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let before = cluster.read_metrics().repeated;
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (cluster, expected, stop) = (cluster.clone(), expected.clone(), stop.clone());
                tokio::spawn(async move {
                    let mut right = 0_u32;
                    // Sessions that begin take longer than those that are terminated live.
                    while right == 0 || !stop.load(Ordering::Relaxed) {
                        match read(&cluster, user, kind).await {
                            Ok(found) => {
                                assert_eq!(found, *expected, "{kind}");
                                right += 1;
                            }
                            Err(error) => check_repeatable(kind, error),
                        }
                    }
                    right
                })
            })
            .collect();
        let mut terminated = 0;
        while terminated < ROUNDS as i64 || cluster.read_metrics().repeated == before {
            terminated += terminate(&killer, SCHEMA, "state <> 'idle'").await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(readers.iter().all(|reader| !reader.is_finished()), "{kind}: a reader failed");
        }
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            let ended = tokio::time::timeout(Duration::from_secs(60), reader).await;
            let right = ended.expect("an answer within 60 s").unwrap();
            assert!(right > 0, "{kind}: a reader had no answer");
        }
        assert_eq!(read(&cluster, user, kind).await.unwrap(), *expected, "{kind} afterwards");
    }
}
