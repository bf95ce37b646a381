//! The clients of the application while its leader is killed: one walks the list, one follows the feed,
//! others create conversations.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value as Json;
use uuid::Uuid;

use crate::scenario::{Violation, ensure};
use crate::scenarios::cluster::api_client::{ApiClient, id};
use crate::scenarios::cluster::nodes::await_that;
use crate::scenarios::cluster::transcript::Transcript;

/// The number of clients that create conversations.
const CREATORS: usize = 3;
/// The conversations that all of them create before the leader is killed, and again afterwards.
const CREATED: usize = 30;
/// The pause of a client between two requests.
const PAUSE: Duration = Duration::from_millis(20);
/// The time for the clients to come to the middle, and to their end once the cluster is written to.
const STAGE: Duration = Duration::from_secs(120);

/// What the clients begin with.
pub(super) struct Start<'a> {
    pub(super) connect: &'a dyn Fn() -> Result<ApiClient, Violation>,
    /// The place in the list from which it is walked.
    pub(super) cursor: &'a str,
    /// The number of conversations after it.
    pub(super) remaining: usize,
    /// The place in the feed from which it is followed.
    pub(super) feed: &'a str,
    pub(super) transcript: &'a Transcript,
}

/// What the clients know of each other.
#[derive(Default)]
struct Progress {
    created: AtomicUsize,
    walked: AtomicUsize,
    /// The walk continues beyond its middle only when the leader is killed.
    is_killed: AtomicBool,
    /// That the clients create no more.
    stop: AtomicBool,
    /// That they have stopped.
    ended: AtomicBool,
    /// That one of them has failed.
    failed: AtomicBool,
}

type Client<T> = JoinHandle<Result<T, Violation>>;

/// The running clients.
pub(super) struct ApplicationClients {
    progress: Arc<Progress>,
    creators: Vec<Client<BTreeMap<String, Uuid>>>,
    walker: Client<Vec<Uuid>>,
    follower: Client<Vec<Uuid>>,
    middle: usize,
    transcript: Transcript,
}

/// What the clients have seen.
pub(super) struct Seen {
    /// The conversation of each idempotency key.
    pub(super) created: BTreeMap<String, Uuid>,
    pub(super) walked: Vec<Uuid>,
    /// The conversations that the feed has reported as created, in its order.
    pub(super) followed: Vec<Uuid>,
}

impl ApplicationClients {
    /// Starts them.
    pub(super) fn start(start: &Start<'_>) -> Result<Self, Violation> {
        let progress: Arc<Progress> = Arc::default();
        let middle = start.remaining / 2;
        let mut creators = Vec::new();
        for creator in 0..CREATORS {
            let client = (start.connect)()?;
            creators.push(spawn(&progress, move |progress| create(client, creator, progress)));
        }
        let (client, cursor) = ((start.connect)()?, start.cursor.to_owned());
        let walker = spawn(&progress, move |progress| walk(client, cursor, middle, progress));
        let (client, feed) = ((start.connect)()?, start.feed.to_owned());
        let follower = spawn(&progress, move |progress| follow(client, feed, progress));
        let transcript = start.transcript.clone();
        Ok(Self { progress, creators, walker, follower, middle, transcript })
    }

    /// Waits until the walk is in its middle and conversations were created.
    pub(super) fn await_middle(&self) -> Result<(), Violation> {
        let progress = &self.progress;
        self.await_progress("the clients to come to the middle", || {
            progress.walked.load(Ordering::Relaxed) >= self.middle
                && progress.created.load(Ordering::Relaxed) >= CREATED
        })?;
        let (created, walked) =
            (progress.created.load(Ordering::Relaxed), progress.walked.load(Ordering::Relaxed));
        self.transcript.add(format!("{created} conversations created, {walked} rows walked"));
        Ok(())
    }

    /// Lets the walk go beyond its middle: the leader is killed.
    pub(super) fn note_kill(&self, leader: usize) {
        self.transcript
            .add(format!("kill -9 of Patroni and PostgreSQL of node{leader}, the leader"));
        self.progress.is_killed.store(true, Ordering::Relaxed);
    }

    /// Notes the new leader.
    pub(super) fn note_leader(&self, leader: usize) {
        self.transcript.add(format!("node{leader} is the leader"));
    }

    /// Waits until conversations are created again and the walk has ended, and stops the clients.
    pub(super) fn finish(self) -> Result<Seen, Violation> {
        let before = self.progress.created.load(Ordering::Relaxed);
        let waited = self.await_progress("the clients to come to their end", || {
            self.walker.is_finished()
                && self.progress.created.load(Ordering::Relaxed) >= before + CREATED
        });
        let Self { progress, creators, walker, follower, .. } = self;
        progress.stop.store(true, Ordering::Relaxed);
        let mut created = BTreeMap::new();
        for creator in creators {
            created.extend(join(creator)?);
        }
        progress.ended.store(true, Ordering::Relaxed);
        let (walked, followed) = (join(walker)?, join(follower)?);
        waited?;
        Ok(Seen { created, walked, followed })
    }

    /// Waits for a condition, or until a client fails.
    fn await_progress(&self, what: &str, reached: impl Fn() -> bool) -> Result<(), Violation> {
        let failed = &self.progress.failed;
        await_that(what, STAGE, PAUSE, || {
            (reached() || failed.load(Ordering::Relaxed)).then_some(())
        })
    }
}

/// Creates conversations, each with a key of its own, until the clients stop.
fn create(
    mut client: ApiClient,
    creator: usize,
    progress: &Progress,
) -> Result<BTreeMap<String, Uuid>, Violation> {
    let mut created = BTreeMap::new();
    for number in 0.. {
        if progress.stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("order-{creator}-{number}");
        let id = client.create(&key)?;
        created.insert(key, id);
        progress.created.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
    Ok(created)
}

/// Walks the list to its end, and waits in its middle until the leader is killed.
fn walk(
    mut client: ApiClient,
    mut cursor: String,
    middle: usize,
    progress: &Progress,
) -> Result<Vec<Uuid>, Violation> {
    let mut walked = Vec::new();
    loop {
        let page = client.page(&format!("cursor={cursor}"))?;
        walked.extend(page.ids()?);
        progress.walked.store(walked.len(), Ordering::Relaxed);
        let Some(next) = page.next else { return Ok(walked) };
        cursor = next;
        if walked.len() >= middle {
            await_that("the leader to be killed", STAGE, Duration::from_millis(1), || {
                progress.is_killed.load(Ordering::Relaxed).then_some(())
            })?;
        }
    }
}

/// Follows the feed until nothing is created any more.
fn follow(
    mut client: ApiClient,
    mut cursor: String,
    progress: &Progress,
) -> Result<Vec<Uuid>, Violation> {
    let mut followed = Vec::new();
    loop {
        let has_ended = progress.ended.load(Ordering::Relaxed);
        let wait = u8::from(!has_ended);
        let (changes, next) = client.changes(&format!("wait={wait}&cursor={cursor}"))?;
        cursor = next;
        if has_ended && changes.is_empty() {
            return Ok(followed);
        }
        for change in changes {
            let is_created = change["change"] == "created" && change["conversation"] != Json::Null;
            ensure(is_created, || format!("nobody wrote this: {change}"))?;
            followed.push(id(&change["id"])?);
        }
    }
}

/// Runs a client in a thread, and notes if it fails.
fn spawn<T: Send + 'static>(
    progress: &Arc<Progress>,
    run: impl FnOnce(&Progress) -> Result<T, Violation> + Send + 'static,
) -> Client<T> {
    let progress = Arc::clone(progress);
    thread::spawn(move || {
        let result = run(&progress);
        if result.is_err() {
            progress.failed.store(true, Ordering::Relaxed);
        }
        result
    })
}

fn join<T>(client: Client<T>) -> Result<T, Violation> {
    client.join().unwrap_or_else(|panic| resume_unwind(panic))
}
