//! Writes to all three stores by turns: conversations with a message, each acknowledged when it is as
//! durable as its store promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use convodb::{
    AssistantId, Channel, Conversation, ConversationId, Message, Role, Store, Timestamp, UserId,
};
use convodb_bench::dataset::Dataset;
use convodb_bench::latency::{Latencies, Latency};
use convodb_postgres::{Cluster, ClusterOptions, Write};
use convodb_tokio::AsyncStore;
use serde::Serialize;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::scenario::Violation;
use crate::scenarios::cluster::compare::stores::{STORES, of_bench};

/// The number of tasks that write, and of users whose conversations they create.
const ARRANGEMENTS: [(usize, usize); 3] = [(1, 1), (64, 1), (64, 16)];
/// The first part of the ids of created conversations.
const IDS: u64 = 0xC0_FFEE;
/// The untimed part of a measurement, in which connections are opened, by turns.
const WARM_UP: u32 = 4;

/// What an arrangement of writers costs in each store.
#[derive(Clone, Debug, Serialize)]
pub(super) struct WriteTimes {
    pub(super) writers: usize,
    pub(super) users: usize,
    pub(super) stores: Vec<StoreWrites>,
}

/// What writers measured in a store.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct StoreWrites {
    pub(super) per_second: f64,
    pub(super) latency: Latency,
}

/// The opened stores.
pub(super) struct WriteStores {
    stores: Vec<Target>,
    /// The users with the most conversations, each with their first assistant.
    users: Arc<[(UserId, AssistantId)]>,
}

struct Target {
    store: AnyStore,
    written: Arc<AtomicU64>,
}

#[derive(Clone)]
enum AnyStore {
    Embedded(AsyncStore),
    Database(Cluster),
}

/// What was measured in the turns of a store.
struct Turns {
    latencies: Latencies,
    elapsed: Duration,
}

impl WriteStores {
    /// Opens all stores.
    pub(super) fn open(
        store: Store,
        runtime: &Runtime,
        databases: &[ClusterOptions],
        users: &[UserId],
    ) -> Result<Self, Violation> {
        let mut stores = vec![AnyStore::Embedded(store.into())];
        for options in databases {
            stores.push(AnyStore::Database(runtime.block_on(Cluster::open(options))?));
        }
        let target = |store| Target { store, written: Arc::default() };
        let with_assistant =
            |(number, user): (usize, &UserId)| (*user, Dataset::assistant(number, 0));
        Ok(Self {
            stores: stores.into_iter().map(target).collect(),
            users: users.iter().enumerate().map(with_assistant).collect(),
        })
    }

    /// The conversations that were created in each store.
    pub(super) fn written(&self) -> [u64; STORES.len()] {
        std::array::from_fn(|store| self.stores[store].written.load(Ordering::Relaxed))
    }

    /// Writes in each arrangement to each store, by turns, for this time a turn.
    pub(super) fn measure(
        &mut self,
        runtime: &Runtime,
        rounds: u32,
        turn: Duration,
    ) -> Result<Vec<WriteTimes>, Violation> {
        let mut times = Vec::new();
        for (writers, users) in ARRANGEMENTS {
            let mut turns = Vec::new();
            for target in &self.stores {
                runtime.block_on(self.turn(target, writers, users, turn / WARM_UP))?;
                turns.push(Turns {
                    latencies: of_bench(Latencies::new())?,
                    elapsed: Duration::ZERO,
                });
            }
            for _ in 0..rounds {
                for (target, turns) in self.stores.iter().zip(&mut turns) {
                    let (latencies, elapsed) =
                        runtime.block_on(self.turn(target, writers, users, turn))?;
                    of_bench(turns.latencies.add(&latencies))?;
                    turns.elapsed += elapsed;
                }
            }
            let stores = turns.iter().map(Turns::summary).collect();
            times.push(WriteTimes { writers, users, stores });
        }
        Ok(times)
    }

    /// Writes to a store for a time.
    async fn turn(
        &self,
        target: &Target,
        writers: usize,
        users: usize,
        time: Duration,
    ) -> Result<(Latencies, Duration), Violation> {
        let began = Instant::now();
        let tasks: Vec<_> = (0..writers)
            .map(|writer| {
                let (user, assistant) = self.users[writer % users];
                let (store, written) = (target.store.clone(), Arc::clone(&target.written));
                tokio::spawn(async move {
                    let mut latencies = of_bench(Latencies::new())?;
                    while began.elapsed() < time {
                        let number = written.fetch_add(1, Ordering::Relaxed);
                        let (conversation, message) = conversation(number, assistant)?;
                        let sent = Instant::now();
                        store.insert(user, conversation, message).await?;
                        of_bench(latencies.record(sent.elapsed()))?;
                    }
                    Ok::<_, Violation>(latencies)
                })
            })
            .collect();
        let mut latencies = of_bench(Latencies::new())?;
        for task in tasks {
            of_bench(latencies.add(&task.await??))?;
        }
        Ok((latencies, began.elapsed()))
    }
}

impl AnyStore {
    async fn insert(
        &self,
        user: UserId,
        conversation: Conversation,
        message: Message,
    ) -> Result<(), Violation> {
        let messages = vec![message];
        match self {
            Self::Embedded(store) => store.insert(user, conversation, messages).await?,
            Self::Database(cluster) => {
                cluster.write(user, Write::Insert { conversation, messages }).await?;
            }
        }
        Ok(())
    }
}

impl Turns {
    fn summary(&self) -> StoreWrites {
        let latency = self.latencies.summary();
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let per_second = latency.samples as f64 / self.elapsed.as_secs_f64();
        StoreWrites { per_second, latency }
    }
}

/// A conversation with a message, as a chat begins.
fn conversation(
    number: u64,
    assistant: AssistantId,
) -> Result<(Conversation, Message), convodb::Error> {
    let at = Timestamp::now();
    let id = ConversationId::new(Uuid::from_u64_pair(IDS, number));
    let channel = Channel::whatsapp("+15551234567", format!("+49151{number:08}"))?;
    let mut conversation = Conversation::new(id, assistant, channel, at);
    conversation.message_count = 1;
    Ok((conversation, Message::new(Role::User, "Hello! Where is my order?", at)?))
}
