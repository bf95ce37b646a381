//! Faults while groups are committed: what is acknowledged is there once, and nothing else is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use convodb::{
    AssistantId, ChangeKind, ChangesSince, Channel, Conversation, ConversationId, Filter,
    ListRequest, Message, PageSize, Role, Store, Timestamp, UserId,
};
use convodb_postgres::{Cluster, ClusterOptions, Error, Write, Written};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::{connect, empty_schema, execute, is_distributed, new_store, url};

/// The writers. Each waits for one write after the other.
const WRITERS: u128 = 16;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_737_800_000_000 + millis).unwrap()
}

fn id(number: u128) -> ConversationId {
    ConversationId::new(Uuid::from_u128(number))
}

fn bot() -> AssistantId {
    AssistantId::new(Uuid::from_u128(1))
}

fn insert(number: u128) -> Write {
    let conversation = Conversation::new(id(number), bot(), Channel::Widget, at(0));
    Write::Insert { conversation, messages: Vec::new() }
}

fn append(number: u128) -> Write {
    Write::Append { id: id(number), message: Message::new(Role::User, "hi", at(1)).unwrap() }
}

/// A store with a user and an assistant, whose connections have this name.
async fn created(schema: &str, url: &str) -> (ClusterOptions, UserId) {
    drop(empty_schema(schema).await);
    let store = Store::in_memory().unwrap();
    let user = store.create_user("Acme", at(0)).unwrap().id;
    store.create_assistant(user, bot(), "Bot").unwrap();
    let options = new_store(url, schema);
    Cluster::import(&options, &store, |_| {}).await.unwrap();
    (options, user)
}

/// What the changes of a feed say about conversations: how often each was created and updated.
#[derive(Default)]
struct Follower {
    changes: u64,
    created: BTreeMap<u128, u32>,
}

/// [`follow`] until there are twenty more changes.
async fn follow_writers(
    cluster: &Cluster,
    user: UserId,
    mut since: ChangesSince,
    follower: &mut Follower,
) -> ChangesSince {
    let enough = follower.changes + 20;
    within("the writers write again", async {
        while follower.changes < enough {
            since = follow(cluster, user, since, follower).await;
        }
        since
    })
    .await
}

/// Reads all changes after `since`, and returns where they end.
async fn follow(
    cluster: &Cluster,
    user: UserId,
    mut since: ChangesSince,
    follower: &mut Follower,
) -> ChangesSince {
    loop {
        let part = cluster.changes_since(user, since, PageSize::MAX).await;
        let part = part.unwrap();
        for change in &part.changes {
            follower.changes += 1;
            if change.kind == ChangeKind::Created {
                *follower.created.entry(change.id.uuid().as_u128()).or_default() += 1;
            }
        }
        since = ChangesSince::Cursor(part.next_cursor);
        if !part.has_more {
            return since;
        }
    }
}

/// Each writer inserts conversations and appends a message to each. Returns the numbers of those that
/// were acknowledged.
async fn write_until(
    cluster: Cluster,
    user: UserId,
    writer: u128,
    stop: Arc<AtomicBool>,
) -> Vec<u128> {
    let mut acknowledged = Vec::new();
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let number = round * WRITERS + writer;
        assert_eq!(cluster.write(user, insert(number)).await.unwrap(), Written::Inserted);
        let appended = cluster.write(user, append(number)).await.unwrap();
        assert_eq!(appended, Written::Appended(1), "twice or never");
        acknowledged.push(number);
    }
    acknowledged
}

/// Starts all writers, which [`ended`] awaits once the flag is set.
fn start_writers(cluster: &Cluster, user: UserId) -> (Arc<AtomicBool>, Vec<JoinHandle<Vec<u128>>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let start = |writer| tokio::spawn(write_until(cluster.clone(), user, writer, stop.clone()));
    let tasks = (0..WRITERS).map(start).collect();
    (stop, tasks)
}

/// All conversations of the user.
async fn all(cluster: &Cluster, user: UserId) -> Vec<u128> {
    let (mut found, mut next) = (Vec::new(), ListRequest::new().filter(Filter::new()));
    next.page_size = Some(PageSize::MAX);
    loop {
        let page = cluster.list(user, &next).await.unwrap();
        for row in page.conversations() {
            assert_eq!(row.message_count, 1, "the message is there once");
            found.push(row.id.uuid().as_u128());
        }
        match page.next_cursor() {
            Some(cursor) => next = ListRequest::at(*cursor),
            None => break,
        }
    }
    found.sort_unstable();
    found
}

/// The numbers that writers, which were stopped, had acknowledged.
async fn ended(writers: Vec<JoinHandle<Vec<u128>>>) -> Vec<u128> {
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    acknowledged.sort_unstable();
    acknowledged
}

/// Compares what was acknowledged, what a follower has read to the end, and what is stored.
async fn compare(
    options: &ClusterOptions,
    user: UserId,
    acknowledged: &[u128],
    follower: &Follower,
) {
    let reader = Cluster::open(options).await.unwrap();
    assert_eq!(all(&reader, user).await, acknowledged, "none is lost, none is more");
    let created: Vec<u128> = follower.created.keys().copied().collect();
    assert_eq!(created, acknowledged, "the follower's history is the final state");
    assert!(follower.created.values().all(|times| *times == 1));
    let report = Cluster::verify(options).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(report.changes, 2 * acknowledged.len() as u64, "no hole and no change more");
}

/// The number that a query returns.
async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// What a test waits for, which must happen within a minute.
async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    waited.unwrap_or_else(|_| panic!("after 60 s: {what}"))
}

/// Connections of 16 writers are terminated while a follower reads the feed: in the middle of a commit,
/// between the flights of a group, or anywhere.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminated_connections_lose_and_repeat_nothing() {
    const ROUNDS: usize = 120;
    let url = format!("{} application_name=faults_terminated", url());
    let (options, user) = created("faults_terminated", &url).await;
    let writers = Cluster::open(&options).await.unwrap();
    let (stop, tasks) = start_writers(&writers, user);
    let reader = ClusterOptions::new(&crate::url()).unwrap().schema("faults_terminated").unwrap();
    let reader = Cluster::open(&reader).await.unwrap();
    let (mut follower, mut since) = (Follower::default(), ChangesSince::Beginning);
    let killer = connect().await;
    for round in 0..ROUNDS {
        let state = match round % 3 {
            0 => "query = 'commit' and state = 'active'",
            // Between the two flights.
            1 => "state = 'idle in transaction'",
            _ => "state <> 'idle'",
        };
        let sql = format!(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity \
             where application_name = 'faults_terminated' and {state}"
        );
        let mut tries = 0;
        while number(&killer, &sql).await == 0 && tries < 500 {
            tries += 1;
        }
        since = follow_writers(&reader, user, since, &mut follower).await;
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged = ended(tasks).await;
    follow(&reader, user, since, &mut follower).await;

    let metrics = writers.write_metrics();
    println!("{} conversations, {metrics:?}", acknowledged.len());
    compare(&options, user, &acknowledged, &follower).await;
    let [landed, not_written] = [metrics.doubts_landed, metrics.doubts_not_written];
    assert!(landed + not_written > 0 && metrics.doubts_unknown == 0, "{metrics:?}");
}

/// The shard of a user moves between two workers of Citus, while 16 writers write and a follower reads.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_moves_loses_and_repeats_nothing() {
    const MOVES: usize = 4;
    if !is_distributed() {
        println!("skipped: CONVODB_TEST_CITUS is not set");
        return;
    }
    let (options, user) = created("faults_moved", &url()).await;
    let writers = Cluster::open(&options).await.unwrap();
    let (stop, tasks) = start_writers(&writers, user);
    let (mut follower, mut since) = (Follower::default(), ChangesSince::Beginning);
    let moves = tokio::spawn(async move {
        let operator = connect().await;
        let to_another = format!(
            "select citus_move_shard_placement(shardid, s.nodename, s.nodeport, n.nodename, \
             n.nodeport, 'force_logical') from citus_shards s join pg_dist_node n \
             on n.shouldhaveshards and n.noderole = 'primary' \
             and (n.nodename, n.nodeport) <> (s.nodename, s.nodeport) where s.shardid = \
             get_shard_id_for_distribution_column('faults_moved.head', {user}) limit 1"
        );
        for _ in 0..MOVES {
            let moved = operator.query(&to_another, &[]).await.unwrap();
            assert_eq!(moved.len(), 1, "the shard has another worker to move to");
        }
    });
    while !moves.is_finished() {
        since = follow(&writers, user, since, &mut follower).await;
    }
    moves.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let acknowledged = ended(tasks).await;
    follow(&writers, user, since, &mut follower).await;
    println!("{} conversations, {:?}", acknowledged.len(), writers.write_metrics());
    assert!(acknowledged.len() > 100, "the writers have written all the time");
    compare(&options, user, &acknowledged, &follower).await;
}

/// The connections of the coordinator to the workers of Citus are terminated in the transactions of 16
/// writers, commits among them.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminated_connections_to_workers_lose_and_repeat_nothing() {
    const ROUNDS: usize = 60;
    if !is_distributed() {
        println!("skipped: CONVODB_TEST_CITUS is not set");
        return;
    }
    let (options, user) = created("faults_workers", &url()).await;
    let writers = Cluster::open(&options).await.unwrap();
    let (stop, tasks) = start_writers(&writers, user);
    let (mut follower, mut since) = (Follower::default(), ChangesSince::Beginning);
    let (killer, mut killed) = (connect().await, 0);
    for round in 0..ROUNDS {
        let state = ["query like 'COMMIT%' and state = 'active'", "state = 'idle in transaction'"]
            [round % 2];
        let sql = format!(
            "select sum(result::integer) from run_command_on_workers($$ select \
             count(pg_terminate_backend(pid)) from pg_stat_activity where pid <> pg_backend_pid() \
             and application_name like 'citus_internal%' and {state} \
             and (query like '%faults_workers.%' or query like 'COMMIT%') $$)"
        );
        for _ in 0..20 {
            let found = number(&killer, &sql).await;
            killed += found;
            if found > 0 {
                break;
            }
        }
        since = follow_writers(&writers, user, since, &mut follower).await;
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged = ended(tasks).await;
    follow(&writers, user, since, &mut follower).await;
    let metrics = writers.write_metrics();
    println!("{} conversations, {killed} connections, {metrics:?}", acknowledged.len());
    assert!(killed > 0 && metrics.doubts_unknown == 0, "{metrics:?}");
    compare(&options, user, &acknowledged, &follower).await;
}

/// A commit that no standby confirms is cut short by an administrator: PostgreSQL reports success with
/// a warning. It is not acknowledged before it is confirmed.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_its_standby_is_not_acknowledged() {
    if is_distributed() {
        println!("skipped: a worker commits, and its settings are not those of the coordinator");
        return;
    }
    let settings = "options='-c synchronous_commit=on' application_name=faults_standby";
    let url = format!("{} {settings}", url());
    let (options, user) = created("faults_standby", &url).await;
    let options = options.write_timeout(Duration::from_secs(60));
    let cluster = Cluster::open(&options).await.unwrap();
    cluster.write(user, insert(1)).await.unwrap();
    let operator = connect().await;
    let standbys = async |names: &str| {
        let sql = format!("alter system set synchronous_standby_names = {names}");
        operator.batch_execute(&sql).await.unwrap();
        operator.batch_execute("select pg_reload_conf()").await.unwrap();
    };
    standbys("'nobody'").await;
    // The server reads its settings some time after the request. From then on, commits wait.
    let probe = connect().await;
    probe.batch_execute("set synchronous_commit = on").await.unwrap();
    let probed = probe.cancel_token();
    let commits = tokio::spawn(async move {
        loop {
            probe.execute("select pg_logical_emit_message(true, 'probe', '')", &[]).await.unwrap();
        }
    });
    let waits = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
    within("a commit waits for its standby", async {
        while number(&operator, waits).await == 0 {}
    })
    .await;
    commits.abort();
    probed.cancel_query(NoTls).await.unwrap();
    let write = {
        let cluster = cluster.clone();
        tokio::spawn(async move { cluster.write(user, insert(2)).await })
    };
    // The commit, and then the transactions that would confirm it, are cut short.
    let cancel = "select count(pg_cancel_backend(pid)) from pg_stat_activity \
                  where application_name = 'faults_standby' and wait_event = 'SyncRep'";
    within("three waits are cut short", async {
        let mut cancelled = 0;
        while cancelled < 3 {
            cancelled += number(&operator, cancel).await;
        }
    })
    .await;
    assert!(!write.is_finished(), "it is acknowledged without a standby");
    let reader = ClusterOptions::new(&crate::url()).unwrap().schema("faults_standby").unwrap();
    let reader = Cluster::open(&reader).await.unwrap();
    assert!(reader.conversation(user, id(2)).await.unwrap().is_some(), "it is committed here");
    standbys("''").await;
    assert_eq!(write.await.unwrap().unwrap(), Written::Inserted);
    let metrics = cluster.write_metrics();
    assert_eq!((metrics.doubts_landed, metrics.doubts_not_written), (1, 0), "{metrics:?}");
}

/// Without a server that answers, a write ends at its deadline: with nothing written, or in doubt.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_past_its_deadline_says_whether_it_may_be_stored() {
    let (options, user) = created("faults_deadline", &url()).await;
    let options = options.write_timeout(Duration::from_millis(1500));
    let cluster = Cluster::open(&options).await.unwrap();
    cluster.write(user, insert(1)).await.unwrap();
    // Another session holds the user's head, so the first flight waits.
    let blocker = connect().await;
    blocker.batch_execute("set search_path = faults_deadline").await.unwrap();
    blocker.batch_execute("begin; select from head where owner = 1 for update").await.unwrap();
    let late = cluster.write(user, insert(2)).await;
    assert!(matches!(late, Err(Error::TimedOut)), "{late:?}");
    blocker.batch_execute("rollback").await.unwrap();
    assert_eq!(cluster.write(user, insert(2)).await.unwrap(), Written::Inserted);
    // Another session holds the feed, so the second flight waits, and what becomes of it is unknown.
    blocker.batch_execute("begin; lock table change in access exclusive mode").await.unwrap();
    let doubt = cluster.write(user, insert(3)).await;
    assert!(matches!(doubt, Err(Error::InDoubt)), "{doubt:?}");
    blocker.batch_execute("rollback").await.unwrap();
    assert_eq!(cluster.write_metrics().doubts_unknown, 1);
    // The lane continues. Whether the write in doubt is stored does not matter, but only once.
    assert_eq!(cluster.write(user, insert(4)).await.unwrap(), Written::Inserted);
    let report = Cluster::verify(&options).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

/// What the database refuses fails the group without another attempt, and nothing is written.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_statement_that_is_refused_fails_its_group() {
    let (options, user) = created("faults_refused", &url()).await;
    let cluster = Cluster::open(&options).await.unwrap();
    execute("faults_refused", "alter table total add constraint few check (conversations < 2)")
        .await;
    cluster.write(user, insert(1)).await.unwrap();
    let refused = cluster.write(user, insert(2)).await;
    assert!(matches!(refused, Err(Error::Postgres(_))), "{refused:?}");
    assert!(cluster.conversation(user, id(2)).await.unwrap().is_none());
    execute("faults_refused", "alter table total drop constraint few").await;
    cluster.write(user, insert(2)).await.unwrap();
    assert!(Cluster::verify(&options).await.unwrap().is_clean());
    let metrics = cluster.write_metrics();
    assert_eq!((metrics.groups, metrics.conflicts, metrics.lost_connections), (2, 0, 0));
}

/// A conflict with another transaction, as engines report that check more than row locks, runs again.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_conflict_runs_again() {
    if is_distributed() {
        println!("skipped: Citus has no triggers on distributed tables");
        return;
    }
    let (options, user) = created("faults_conflict", &url()).await;
    let cluster = Cluster::open(&options).await.unwrap();
    cluster.write(user, insert(1)).await.unwrap();
    // The trigger fails twice: sequences do not roll back.
    let fail_twice = "create sequence attempts; \
        create function fail() returns trigger language plpgsql as $$ begin \
        if nextval('faults_conflict.attempts') <= 2 then \
        raise exception 'conflict' using errcode = '40001'; end if; return new; end $$; \
        create trigger fail before insert on change for each row execute function fail();";
    execute("faults_conflict", fail_twice).await;
    cluster.write(user, insert(2)).await.unwrap();
    let metrics = cluster.write_metrics();
    assert_eq!((metrics.conflicts, metrics.groups), (2, 2), "{metrics:?}");
    execute(
        "faults_conflict",
        "alter sequence attempts increment -1 restart maxvalue 1 minvalue -1000",
    )
    .await;
    let refused = cluster.write(user, insert(3)).await;
    assert!(matches!(refused, Err(Error::Postgres(_))), "{refused:?}");
    assert_eq!(cluster.write_metrics().conflicts, 2 + 5);
    execute("faults_conflict", "drop trigger fail on change").await;
    assert!(Cluster::verify(&options).await.unwrap().is_clean());
}
