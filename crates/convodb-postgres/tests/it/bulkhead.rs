//! Users whose writes make no progress: those of all others continue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use convodb::{AssistantId, Channel, Conversation, ConversationId, Store, Timestamp, UserId};
use convodb_postgres::{Cluster, Error, Write, Written};
use tokio::time::timeout;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::{WAITS, connect, empty_schema, new_store, url};

/// Write connections. Writes without progress hold two of them.
const CONNECTIONS: usize = 8;
/// Users whose data is locked, several times as many.
const LOCKED: usize = 40;
const OTHERS: usize = 6;

fn at() -> Timestamp {
    Timestamp::from_millis(1_737_800_000_000).unwrap()
}

fn insert(number: u128) -> Write {
    let (id, bot) = (ConversationId::new(Uuid::from_u128(number)), bot());
    let conversation = Conversation::new(id, bot, Channel::Widget, at());
    Write::Insert { conversation, messages: Vec::new() }
}

fn bot() -> AssistantId {
    AssistantId::new(Uuid::from_u128(1))
}

/// A store with users, in an empty schema.
async fn created(schema: &str, write_timeout: Duration) -> (Cluster, Vec<UserId>) {
    drop(empty_schema(schema).await);
    // The name distinguishes the sessions from those of other tests.
    let url = format!("{} application_name={schema}", url());
    let options =
        new_store(&url, schema).connections(2).unwrap().write_connections(CONNECTIONS).unwrap();
    let store = Store::in_memory().unwrap();
    let user = |number| {
        let user = store.create_user(format!("user {number}"), at()).unwrap().id;
        store.create_assistant(user, bot(), "Bot").unwrap();
        user
    };
    let users = (0..LOCKED + OTHERS).map(user).collect();
    Cluster::import(&options, &store, |_| {}).await.unwrap();
    (Cluster::open(&options.write_timeout(write_timeout)).await.unwrap(), users)
}

/// A session that holds the rows of users, as one whose transaction does not end.
async fn hold(schema: &str, users: &[UserId]) -> Client {
    let client = connect().await;
    client.batch_execute(&format!("set search_path = {schema}; begin")).await.unwrap();
    for user in users {
        let sql = format!("select from head where owner = {user} for update");
        client.batch_execute(&sql).await.unwrap();
    }
    client
}

/// The number of sessions of a store that wait for a row of a user, or for a worker of Citus that does.
async fn waiting(client: &Client, schema: &str) -> u32 {
    let sql = format!(
        "select count(*) from pg_stat_activity where {WAITS} and query like '%from head%' \
         and application_name = $1"
    );
    let count: i64 = client.query_one(&sql, &[&schema]).await.unwrap().get(0);
    u32::try_from(count).unwrap()
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_without_progress_leave_connections_to_the_others() {
    const WRITES: u64 = 100;
    let (cluster, users) = created("bulkhead", Duration::from_secs(60)).await;
    let (locked, others) = users.split_at(LOCKED);
    let blocker = hold("bulkhead", locked).await;
    let stuck: Vec<_> = locked
        .iter()
        .map(|user| {
            let (cluster, user) = (cluster.clone(), *user);
            tokio::spawn(async move { cluster.write(user, insert(1)).await })
        })
        .collect();
    // All of them have tried.
    let observer = connect().await;
    let tried = async {
        while cluster.write_metrics().stalled < (LOCKED - CONNECTIONS / 4) as u64 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), tried).await.expect("each gives its connection up");
    let longest = Arc::new(AtomicU32::new(0));
    let writers = others.iter().map(|user| {
        let (cluster, user) = (cluster.clone(), *user);
        tokio::spawn(async move {
            for number in 1..=WRITES {
                let written = cluster.write(user, insert(number.into())).await;
                assert_eq!(written.unwrap(), Written::Inserted);
            }
        })
    });
    let watch = {
        let longest = longest.clone();
        tokio::spawn(async move {
            loop {
                let waiting = waiting(&observer, "bulkhead").await;
                longest.fetch_max(waiting, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    let writers: Vec<_> = writers.collect();
    let all = async {
        for writer in writers {
            writer.await.unwrap();
        }
    };
    timeout(Duration::from_secs(30), all).await.expect("the others write all the time");
    assert!(stuck.iter().all(|write| !write.is_finished()));
    watch.abort();
    let waiting = longest.load(Ordering::Relaxed) as usize;
    assert!((1..=CONNECTIONS).contains(&waiting), "{waiting} sessions wait on the server");

    // When their data is free again, each is written once.
    blocker.batch_execute("rollback").await.unwrap();
    for write in stuck {
        let written = timeout(Duration::from_secs(60), write).await.expect("within 60 s");
        assert_eq!(written.unwrap().unwrap(), Written::Inserted);
    }
    let metrics = cluster.write_metrics();
    assert_eq!(metrics.groups, LOCKED as u64 + OTHERS as u64 * WRITES, "{metrics:?}");
    assert_eq!(metrics.doubts_unknown + metrics.doubts_landed, 0, "{metrics:?}");
}

/// The same until the time of the stuck writes ends: nothing of them is stored.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_without_progress_end_in_their_time() {
    let (cluster, users) = created("bulkhead_late", Duration::from_millis(1500)).await;
    let (locked, others) = users.split_at(LOCKED);
    let blocker = hold("bulkhead_late", locked).await;
    let stuck = locked.iter().map(|user| cluster.write(*user, insert(1)));
    let results = timeout(Duration::from_secs(30), futures_util::future::join_all(stuck)).await;
    for result in results.expect("within 30 s") {
        assert!(matches!(result, Err(Error::TimedOut)), "{result:?}");
    }
    // No session is left that waits for the lock.
    let observer = connect().await;
    let none = async {
        while waiting(&observer, "bulkhead_late").await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), none).await.expect("what was given up is cancelled");
    blocker.batch_execute("rollback").await.unwrap();
    for user in [locked[0], others[0]] {
        assert_eq!(cluster.write(user, insert(2)).await.unwrap(), Written::Inserted);
        assert!(
            cluster
                .conversation(user, ConversationId::new(Uuid::from_u128(1)))
                .await
                .unwrap()
                .is_none()
        );
    }
}
