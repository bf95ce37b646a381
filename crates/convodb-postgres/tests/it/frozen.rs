//! Servers that accept connections and do not answer: every call ends in its time.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use convodb::{
    AssistantId, ChangesSince, Channel, Conversation, ConversationId, ListRequest, PageSize,
    StatsRequest, Store, Timestamp, UserId,
};
use convodb_postgres::{Cluster, ClusterOptions, Error, Write, Written};
use uuid::Uuid;

use crate::empty_schema;
use crate::proxy::Proxy;

/// The timeout of reads and of writes in these tests, and how much later a call may end: the machine
/// is shared.
const TIMEOUT: Duration = Duration::from_millis(1500);
const LATE: Duration = Duration::from_secs(3);

fn insert(number: u128) -> Write {
    let at = Timestamp::from_millis(1_737_800_000_000).unwrap();
    let (id, bot) = (ConversationId::new(Uuid::from_u128(number)), bot());
    let conversation = Conversation::new(id, bot, Channel::Widget, at);
    Write::Insert { conversation, messages: Vec::new() }
}

fn bot() -> AssistantId {
    AssistantId::new(Uuid::from_u128(1))
}

/// A store in a schema, with a user and a conversation.
async fn created(schema: &str) -> UserId {
    let options = empty_schema(schema).await;
    let store = Store::in_memory().unwrap();
    let at = Timestamp::from_millis(1_737_800_000_000).unwrap();
    let user = store.create_user("Acme", at).unwrap().id;
    store.create_assistant(user, bot(), "Bot").unwrap();
    Cluster::import(&options, &store, |_| {}).await.unwrap();
    user
}

/// Awaits a call that must end at the timeout with an error.
async fn ends<T: std::fmt::Debug>(
    what: &str,
    call: impl Future<Output = Result<T, Error>>,
) -> Error {
    let began = Instant::now();
    let ended = tokio::time::timeout(TIMEOUT + LATE, call).await;
    let ended = ended.unwrap_or_else(|_| panic!("{what} did not end in {:?}", TIMEOUT + LATE));
    assert!(began.elapsed() > TIMEOUT / 4, "{what} did not wait: {ended:?}");
    ended.unwrap_err()
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_and_writes_of_a_frozen_server_end_in_their_time() {
    let user = created("frozen").await;
    let proxy = Arc::new(Proxy::start().await);
    let options = ClusterOptions::new(&proxy.url(false)).unwrap().schema("frozen").unwrap();
    let options = options.read_timeout(TIMEOUT).write_timeout(TIMEOUT);
    let cluster = Cluster::open(&options.connections(8).unwrap()).await.unwrap();
    cluster.write(user, insert(1)).await.unwrap();
    let (id, request) = (ConversationId::new(Uuid::from_u128(1)), ListRequest::new());
    assert!(cluster.conversation(user, id).await.unwrap().is_some());

    proxy.freeze(true);
    let now = Timestamp::now();
    let days = StatsRequest::new(now.day(), now.day());
    // Those without an idle connection wait for the server to accept them.
    let reads = tokio::join!(
        ends("list", cluster.list(user, &request)),
        ends("conversation", cluster.conversation(user, id)),
        ends("messages", cluster.conversation_with_messages(user, id)),
        ends("changes", cluster.changes_since(user, ChangesSince::Beginning, PageSize::MAX)),
        ends("stats", cluster.stats(user, &days)),
        ends("count", cluster.count(user, &request)),
        ends("authenticate", cluster.authenticate("token", now)),
    );
    let (a, b, c, d, e, f, g) = reads;
    for error in [a, b, c, d, e, f, g] {
        let is_bound = matches!(error, Error::ReadTimedOut | Error::Unavailable(_));
        assert!(is_bound, "{error:?}");
    }
    let rename = ends("rename", cluster.rename_user(user, "New".parse().unwrap())).await;
    assert!(matches!(rename, Error::Unavailable(_) | Error::InDoubt), "{rename:?}");
    let write = ends("write", cluster.write(user, insert(2))).await;
    assert!(matches!(write, Error::TimedOut | Error::InDoubt), "{write:?}");
    let opened = ends("open", Cluster::open(&options_of(&proxy))).await;
    let text = opened.to_string();
    assert!(text.contains(": no answer within 1s"), "{text}");

    // The connections of then are not used again.
    proxy.freeze(false);
    let found = cluster.list(user, &request).await.unwrap();
    assert!(found.conversations().any(|row| row.id == id));
    assert_eq!(cluster.write(user, insert(3)).await.unwrap(), Written::Inserted);
}

fn options_of(proxy: &Proxy) -> ClusterOptions {
    ClusterOptions::new(&proxy.url(false)).unwrap().schema("frozen").unwrap()
}

/// A host that accepts connections and does not answer is passed over.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_host_is_passed_over() {
    let user = created("frozen_host").await;
    let proxy = Proxy::start().await;
    let options = ClusterOptions::new(&proxy.url(true)).unwrap().schema("frozen_host").unwrap();
    let options = options.read_timeout(Duration::from_secs(8));
    let cluster = Cluster::open(&options).await.unwrap();
    cluster.write(user, insert(1)).await.unwrap();
    proxy.freeze(true);
    // The first write is in flight on a connection to the frozen host, and is done at the other.
    let written = tokio::time::timeout(Duration::from_secs(20), cluster.write(user, insert(2)));
    assert_eq!(written.await.expect("a write within 20 s").unwrap(), Written::Inserted);
    let opened = tokio::time::timeout(Duration::from_secs(10), Cluster::open(&options)).await;
    let page = opened.expect("an open within 10 s").unwrap();
    let page = page.list(user, &ListRequest::new()).await.unwrap();
    assert_eq!(page.conversations().count(), 2);
}
