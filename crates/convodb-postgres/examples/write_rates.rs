//! Rates and latencies of writes to PostgreSQL: in lanes, and one transaction a write; then of pages.
//!
//! Inserts conversations with one message each for a few seconds in each arrangement, all in one run,
//! and reads the pages of one user one after the other.
//! Run it with a database that may be written to:
//!
//! ```text
//! CONVODB_PG_URL=postgresql://... cargo run --release -p convodb-postgres --example write_rates
//! ```
//!
//! With `CONVODB_TEST_CITUS=1` the tables are distributed over the workers of Citus.

#![expect(clippy::print_stdout, reason = "the output of an example")]

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use convodb::{
    AssistantId, Channel, Conversation, ConversationId, ListRequest, Message, Role, Store,
    Timestamp, UserId,
};
use convodb_postgres::{Cluster, ClusterOptions, Write};
use uuid::Uuid;

/// The time of each arrangement.
const SECONDS: Duration = Duration::from_secs(5);
const USERS: usize = 16;

/// Who writes: this number of tasks, each to one of the users, through one of the handles.
struct Arrangement {
    name: &'static str,
    writers: usize,
    users: usize,
    /// Each handle has lanes of its own, as each server has.
    handles: usize,
}

const ARRANGEMENTS: [Arrangement; 6] = [
    Arrangement { name: "lane, 1 writer", writers: 1, users: 1, handles: 1 },
    Arrangement { name: "lane, 64 writers, 1 user", writers: 64, users: 1, handles: 1 },
    Arrangement { name: "8 servers, 64 writers, 1 user", writers: 64, users: 1, handles: 8 },
    Arrangement { name: "16 lanes, 256 writers, 16 users", writers: 256, users: 16, handles: 1 },
    Arrangement {
        name: "one a transaction, 64 writers, 1 user",
        writers: 64,
        users: 1,
        handles: 64,
    },
    Arrangement {
        name: "one a transaction, 64 writers, 16 users",
        writers: 64,
        users: 16,
        handles: 64,
    },
];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("CONVODB_PG_URL")?;
    let schema = format!("write_rates_{}", std::process::id());
    let mut options = ClusterOptions::new(&url)?.schema(&schema)?.connections(1)?;
    if std::env::var_os("CONVODB_TEST_CITUS").is_some() {
        options = options.distributed();
    }
    let at: Timestamp = "2025-01-25".parse()?;
    let store = Store::in_memory()?;
    let bot = AssistantId::new(Uuid::from_u128(1));
    let mut users = Vec::new();
    for number in 0..USERS {
        let user = store.create_user(format!("user-{number}"), at)?.id;
        store.create_assistant(user, bot, "Bot")?;
        users.push(user);
    }
    Cluster::import(&options, &store, |_| {}).await?;
    println!("{:<42} {:>9} {:>9} {:>9} {:>9}", "", "writes/s", "p50 ms", "p99 ms", "a group");
    for arrangement in ARRANGEMENTS {
        measure(&options, &users, &arrangement).await?;
    }
    read_pages(&options, users[0]).await?;
    let report = Cluster::verify(&options).await?;
    println!("{} conversations, {} findings", report.conversations, report.findings.len());
    Ok(())
}

async fn measure(
    options: &ClusterOptions,
    users: &[UserId],
    arrangement: &Arrangement,
) -> Result<(), Box<dyn Error>> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut handles = Vec::new();
    for _ in 0..arrangement.handles {
        handles.push(Cluster::open(options).await?);
    }
    let began = Instant::now();
    let tasks: Vec<_> = (0..arrangement.writers)
        .map(|writer| {
            let cluster = handles[writer % arrangement.handles].clone();
            let user = users[writer % arrangement.users];
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while began.elapsed() < SECONDS {
                    let write = insert(NEXT.fetch_add(1, Ordering::Relaxed))?;
                    let sent = Instant::now();
                    cluster.write(user, write).await?;
                    latencies.push(sent.elapsed());
                }
                Ok::<_, convodb_postgres::Error>(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let seconds = began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let percentile = |of: usize| latencies[latencies.len() * of / 100].as_secs_f64() * 1e3;
    let groups: u64 = handles.iter().map(|cluster| cluster.write_metrics().groups).sum();
    #[expect(clippy::cast_precision_loss, reason = "rates")]
    let (rate, size) = (latencies.len() as f64 / seconds, latencies.len() as f64 / groups as f64);
    let (p50, p99) = (percentile(50), percentile(99));
    println!("{:<42} {rate:>9.0} {p50:>9.1} {p99:>9.1} {size:>9.1}", arrangement.name);
    Ok(())
}

/// Reads the user's list page by page, over and over, without another request beside.
async fn read_pages(options: &ClusterOptions, user: UserId) -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::open(options).await?;
    let (mut latencies, mut next) = (Vec::new(), ListRequest::new());
    let began = Instant::now();
    while began.elapsed() < SECONDS {
        let sent = Instant::now();
        let page = cluster.list(user, &next).await?;
        latencies.push(sent.elapsed());
        next = page.next_cursor().map_or_else(ListRequest::new, |cursor| ListRequest::at(*cursor));
    }
    latencies.sort_unstable();
    let percentile = |of: usize| latencies[latencies.len() * of / 100].as_secs_f64() * 1e3;
    println!(
        "{} pages, p50 {:.2} ms, p99 {:.2} ms",
        latencies.len(),
        percentile(50),
        percentile(99)
    );
    Ok(())
}

/// A conversation with a message, as a chat begins.
fn insert(number: u64) -> Result<Write, convodb::Error> {
    let at = Timestamp::from_millis(1_737_800_000_000 + number)?;
    let id = ConversationId::new(Uuid::from_u128(u128::from(number)));
    let channel = Channel::whatsapp("+15551234567", format!("+49151{number:08}"))?;
    let bot = AssistantId::new(Uuid::from_u128(1));
    let mut conversation = Conversation::new(id, bot, channel, at);
    conversation.message_count = 1;
    let messages = vec![Message::new(Role::User, "Hello! Where is my order?", at)?];
    Ok(Write::Insert { conversation, messages })
}
