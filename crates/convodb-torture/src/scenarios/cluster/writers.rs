//! Writers of one user through two handles, as of two servers, and a follower of the user's feed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use convodb::{
    AssistantId, ChangeKind, ChangesSince, Channel, Conversation, ConversationId, ListRequest,
    Message, PageSize, Role, Timestamp, UserId,
};
use convodb_postgres::{Cluster, ClusterOptions, Error, Write};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::scenario::{Violation, ensure};

/// The number of writers.
const WRITERS: u128 = 16;
/// The pause of a writer between two writes, which bounds the data of a run.
const PAUSE: Duration = Duration::from_millis(25);
/// The time for each step of the end: the last writes, which have 60 s, the audit, the lists.
const ENDING: Duration = Duration::from_secs(120);
/// The time for the follower to reach the end of the feed.
const CATCHING_UP: Duration = Duration::from_secs(60);

/// What a writer knows of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Acknowledged,
    /// The error promises that nothing is written.
    NotWritten,
    /// [`Error::InDoubt`].
    InDoubt,
}

/// What became of a conversation: its insert, and the message that was appended then.
type Fates = BTreeMap<u128, (Fate, Option<Fate>)>;

/// When writes were acknowledged and reads answered.
#[derive(Default)]
struct Times {
    writes: Vec<Instant>,
    reads: Vec<Instant>,
}

/// The running writers with their follower.
pub(super) struct Writers {
    user: UserId,
    handles: Vec<Cluster>,
    stop: Arc<AtomicBool>,
    /// That no writer writes any more.
    ended: Arc<AtomicBool>,
    times: Arc<Mutex<Times>>,
    writers: Vec<JoinHandle<Result<Fates, Violation>>>,
    follower: JoinHandle<Result<BTreeMap<u128, Followed>, Violation>>,
}

/// A conversation as a follower knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Followed {
    created: u32,
    messages: u32,
}

/// What the stopped writers have seen, all of it checked.
pub(super) struct Seen {
    pub(super) acknowledged: u64,
    pub(super) in_doubt: u64,
    pub(super) not_written: u64,
    pub(super) conversations: u64,
    pub(super) changes: u64,
}

impl Writers {
    /// Writes and follows until [`Writers::stop_and_check`].
    pub(super) fn start(
        runtime: &Runtime,
        options: &ClusterOptions,
        user: UserId,
        bot: AssistantId,
    ) -> Result<Self, Violation> {
        let (stop, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let times: Arc<Mutex<Times>> = Arc::default();
        let mut handles = Vec::new();
        for _ in 0..2 {
            handles.push(runtime.block_on(Cluster::open(options))?);
        }
        let writers = (0..WRITERS).map(|writer| {
            let cluster = handles[usize::from(writer % 2 == 0)].clone();
            let task = Writer { cluster, user, bot, stop: stop.clone(), times: Arc::clone(&times) };
            runtime.spawn(task.write(writer))
        });
        let writers = writers.collect();
        let cluster = runtime.block_on(Cluster::open(options))?;
        let follower = Follower { cluster, user, ended: ended.clone(), times: Arc::clone(&times) };
        let follower = runtime.spawn(follower.follow());
        Ok(Self { user, handles, stop, ended, times, writers, follower })
    }

    /// The number of acknowledged writes so far.
    pub(super) fn acknowledged(&self) -> usize {
        lock(&self.times).writes.len()
    }

    /// The longest time without an acknowledged write since `from`, and without a read.
    pub(super) fn longest_gaps(&self, from: Instant) -> (Duration, Duration) {
        let times = lock(&self.times);
        (longest_gap(&times.writes, from), longest_gap(&times.reads, from))
    }

    /// The counters of both handles: doubts that landed, that were not written, lost connections.
    pub(super) fn doubts(&self) -> [u64; 3] {
        let mut sums = [0; 3];
        for metrics in self.handles.iter().map(Cluster::write_metrics) {
            sums[0] += metrics.doubts_landed;
            sums[1] += metrics.doubts_not_written;
            sums[2] += metrics.lost_connections;
        }
        sums
    }

    /// How often transactions of both handles ran again because of another one.
    pub(super) fn conflicts(&self) -> u64 {
        self.handles.iter().map(|cluster| cluster.write_metrics().conflicts).sum()
    }

    /// Stops, and compares what was acknowledged, what the follower read and what is stored.
    pub(super) fn stop_and_check(
        self,
        runtime: &Runtime,
        options: &ClusterOptions,
    ) -> Result<Seen, Violation> {
        let mut fates = Fates::new();
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            fates.extend(within(runtime, "the last writes", writer)???);
        }
        self.ended.store(true, Ordering::Relaxed);
        let followed = within(runtime, "the follower", self.follower)???;
        let report = within(runtime, "the audit", Cluster::verify(options))??;
        ensure(report.is_clean(), || format!("the audit found {:?}", report.findings))?;
        let cluster = &self.handles[0];
        let stored = within(runtime, "the lists", stored(cluster, self.user))??;
        for (id, (insert, append)) in &fates {
            let found = stored.get(id).copied();
            let is_stored = found.map(|_| 1);
            ensure(agrees(is_stored, *insert), || {
                format!("an insert is {insert:?}, stored: {found:?}")
            })?;
            let messages = found.unwrap_or_default();
            let append = append.unwrap_or(Fate::NotWritten);
            let is_stored = Some(messages).filter(|messages| *messages > 0);
            ensure(agrees(is_stored, append), || {
                format!("an append is {append:?}, stored messages: {messages}")
            })?;
        }
        let unknown = stored.keys().find(|id| !fates.contains_key(id));
        ensure(unknown.is_none(), || format!("conversation {unknown:?} was never written"))?;
        let twice = followed.iter().find(|(_, followed)| followed.created != 1);
        ensure(twice.is_none(), || format!("the feed created a conversation: {twice:?}"))?;
        let of_feed: BTreeMap<u128, u32> =
            followed.iter().map(|(id, followed)| (*id, followed.messages)).collect();
        ensure(of_feed == stored, || "the follower's state is not the stored one")?;
        let messages: u64 = stored.values().copied().map(u64::from).sum();
        let changes = stored.len() as u64 + messages;
        ensure(report.changes == changes, || {
            format!("{} changes of {changes} writes", report.changes)
        })?;
        let of = |wanted: Fate| {
            let all = fates.values().flat_map(|(insert, append)| [Some(*insert), *append]);
            all.filter(|fate| *fate == Some(wanted)).count() as u64
        };
        Ok(Seen {
            acknowledged: of(Fate::Acknowledged),
            in_doubt: of(Fate::InDoubt),
            not_written: of(Fate::NotWritten),
            conversations: stored.len() as u64,
            changes,
        })
    }
}

/// Awaits one step of a trial.
///
/// # Errors
/// A violation that names the step, after two minutes.
pub(super) fn within<T>(
    runtime: &Runtime,
    what: &str,
    step: impl Future<Output = T>,
) -> Result<T, Violation> {
    let ended = runtime.block_on(async { tokio::time::timeout(ENDING, step).await });
    ended.map_err(|_| Violation::new(format!("waited {} s in vain for {what}", ENDING.as_secs())))
}

/// Whether what is stored of a write, at most once, agrees with what its writer knows.
fn agrees(stored: Option<u32>, fate: Fate) -> bool {
    match fate {
        Fate::Acknowledged => stored == Some(1),
        Fate::NotWritten => stored.is_none(),
        Fate::InDoubt => stored.is_none_or(|times| times == 1),
    }
}

/// The longest time between two instants from `from` to now, both ends included.
fn longest_gap(times: &[Instant], from: Instant) -> Duration {
    let (mut last, mut longest) = (from, Duration::ZERO);
    let after = times.iter().copied().filter(|at| *at > from);
    for at in after.chain([Instant::now()]) {
        longest = longest.max(at.saturating_duration_since(last));
        last = at;
    }
    longest
}

struct Writer {
    cluster: Cluster,
    user: UserId,
    bot: AssistantId,
    stop: Arc<AtomicBool>,
    times: Arc<Mutex<Times>>,
}

impl Writer {
    /// Inserts conversations and appends a message to each that is inserted.
    async fn write(self, writer: u128) -> Result<Fates, Violation> {
        let mut fates = Fates::new();
        for round in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let number = round * WRITERS + writer;
            let id = ConversationId::new(Uuid::from_u128(number));
            let at = Timestamp::now();
            let conversation = Conversation::new(id, self.bot, Channel::Widget, at);
            let insert = Write::Insert { conversation, messages: Vec::new() };
            let insert = self.fate(insert).await?;
            let mut append = None;
            if insert == Fate::Acknowledged {
                let message = Message::new(Role::User, "Hello! Where is my order?", at)?;
                append = Some(self.fate(Write::Append { id, message }).await?);
            }
            fates.insert(number, (insert, append));
        }
        Ok(fates)
    }

    async fn fate(&self, write: Write) -> Result<Fate, Violation> {
        tokio::time::sleep(PAUSE).await;
        match self.cluster.write(self.user, write).await {
            Ok(_) => {
                lock(&self.times).writes.push(Instant::now());
                Ok(Fate::Acknowledged)
            }
            Err(Error::InDoubt) => Ok(Fate::InDoubt),
            // A rule that refuses: the write is there already, or what it needs is gone.
            Err(Error::Store(error)) => Err(Violation::new(format!("a write failed: {error}"))),
            Err(_) => Ok(Fate::NotWritten),
        }
    }
}

struct Follower {
    cluster: Cluster,
    user: UserId,
    ended: Arc<AtomicBool>,
    times: Arc<Mutex<Times>>,
}

impl Follower {
    /// Reads the feed to its end, again and again, until the writers have stopped.
    async fn follow(self) -> Result<BTreeMap<u128, Followed>, Violation> {
        let mut followed: BTreeMap<u128, Followed> = BTreeMap::new();
        let mut since = ChangesSince::Beginning;
        let mut ended_at: Option<Instant> = None;
        loop {
            let has_ended = self.ended.load(Ordering::Relaxed);
            if has_ended {
                let late = ended_at.get_or_insert_with(Instant::now).elapsed() > CATCHING_UP;
                ensure(!late, || "waited 60 s in vain for the follower to reach the end")?;
            }
            // A hole in the numbers is an error of the store.
            let part = match self.cluster.changes_since(self.user, since, PageSize::MAX).await {
                Ok(part) => part,
                Err(Error::Store(error)) => {
                    return Err(Violation::new(format!("the feed cannot be read: {error}")));
                }
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            lock(&self.times).reads.push(Instant::now());
            for change in &part.changes {
                let entry = followed.entry(change.id.uuid().as_u128()).or_default();
                entry.created += u32::from(change.kind == ChangeKind::Created);
                let conversation = change.conversation.as_ref();
                let gone = || Violation::new("a conversation of the feed is gone");
                entry.messages = conversation.ok_or_else(gone)?.message_count;
            }
            since = ChangesSince::Cursor(part.next_cursor);
            if !part.has_more {
                // Nothing was written while this part was read.
                if has_ended && part.changes.is_empty() {
                    return Ok(followed);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// All conversations, each with its number of messages, by pages.
async fn stored(cluster: &Cluster, user: UserId) -> Result<BTreeMap<u128, u32>, Violation> {
    let mut stored = BTreeMap::new();
    let mut next = ListRequest { page_size: Some(PageSize::MAX), ..ListRequest::new() };
    loop {
        let page = cluster.list(user, &next).await?;
        for row in page.conversations() {
            let before = stored.insert(row.id.uuid().as_u128(), row.message_count);
            ensure(before.is_none(), || "a conversation is listed twice")?;
        }
        let Some(cursor) = page.next_cursor() else { return Ok(stored) };
        next = ListRequest::at(*cursor);
    }
}

fn lock(times: &Mutex<Times>) -> MutexGuard<'_, Times> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}
