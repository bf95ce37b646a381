//! Reads of a standby, which may lag. A second database, which never hears of the first one's writes,
//! is a standby whose lag has no end.

use std::time::Duration;

use convodb::{
    AssistantId, ChangesSince, Channel, Conversation, ConversationId, ListRequest, PageSize, Store,
    Timestamp, UserId,
};
use convodb_postgres::{Cluster, ClusterOptions, Write};
use uuid::Uuid;

use crate::{connect, empty_schema, url};

const SCHEMA: &str = "replica";

fn insert(number: u128) -> Write {
    let at = Timestamp::from_millis(1_737_800_000_000).unwrap();
    let id = ConversationId::new(Uuid::from_u128(number));
    let bot = AssistantId::new(Uuid::from_u128(1));
    let conversation = Conversation::new(id, bot, Channel::Widget, at);
    Write::Insert { conversation, messages: Vec::new() }
}

/// The number of conversations that a list, a count, and the feed have.
async fn seen(cluster: &Cluster, user: UserId) -> (usize, u64, usize) {
    let request = ListRequest::new();
    let listed = cluster.list(user, &request).await.unwrap().conversations().count();
    let counted = cluster.count(user, &request).await.unwrap().conversations;
    let changes = cluster.changes_since(user, ChangesSince::Beginning, PageSize::MAX).await;
    (listed, counted, changes.unwrap().changes.len())
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_standby_is_read_but_for_own_writes_and_the_feed() {
    let primary = empty_schema(SCHEMA).await;
    let client = connect().await;
    client.batch_execute("drop database if exists replica_standby with (force)").await.unwrap();
    client.batch_execute("create database replica_standby").await.unwrap();
    let standby = url().replace("dbname=postgres", "dbname=replica_standby");
    assert_ne!(standby, url(), "the URL of the tests names the database postgres");
    let store = Store::in_memory().unwrap();
    let at = Timestamp::from_millis(1_737_800_000_000).unwrap();
    let user = store.create_user("Acme", at).unwrap().id;
    store.create_assistant(user, AssistantId::new(Uuid::from_u128(1)), "Bot").unwrap();
    Cluster::import(&primary, &store, |_| {}).await.unwrap();
    let copy = ClusterOptions::new(&standby).unwrap().schema(SCHEMA).unwrap();
    Cluster::import(&copy, &store, |_| {}).await.unwrap();

    let options = primary.clone().read_url(&standby).unwrap();
    let (writer, reader) =
        (Cluster::open(&options).await.unwrap(), Cluster::open(&options).await.unwrap());
    writer.write(user, insert(1)).await.unwrap();
    assert_eq!(seen(&writer, user).await, (1, 1, 1), "its own write, from the primary");
    assert_eq!(seen(&reader, user).await, (0, 0, 1), "only the feed is of the primary");
    tokio::time::sleep(ClusterOptions::OWN_WRITES + Duration::from_millis(100)).await;
    assert_eq!(seen(&writer, user).await, (0, 0, 1), "a standby is expected to have it by now");

    // Without a standby, everything is of the primary.
    let alone = primary.read_url("host=127.0.0.1 port=1 user=postgres").unwrap();
    let alone = Cluster::open(&alone).await.unwrap();
    assert_eq!(seen(&alone, user).await, (1, 1, 1));
}
