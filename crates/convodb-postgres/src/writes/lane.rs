//! Lanes: the waiting writes of each user, which a task of that user takes in groups.
//!
//! A user's row of `head` is locked by every write, so one transaction a write would wait in a row for
//! the commits before it. A lane commits all that wait at once instead, as the writer of an embedded
//! store does. The lanes of other servers take turns by the same lock.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use convodb::UserId;
use convodb::seam::Keys;
use convodb_service::Write;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use crate::connection::{ClusterOptions, Connector};
use crate::error::{Error, Result};
use crate::writes::commit::GroupContext;
use crate::writes::connection::WriteConnections;
use crate::writes::group::WriteRules;
use crate::writes::metrics::{WriteCounters, WriteMetrics};
use crate::writes::request::{Reply, WriteRequest};

/// The most writes of a group.
const MAX_GROUP: usize = 256;
/// The most bytes of a group of several writes.
const MAX_GROUP_BYTES: usize = 1 << 20;
/// The most writes of a user that wait.
const MAX_WAITING: usize = 4 * MAX_GROUP;
/// The most bytes of writes of all users that wait or run.
const MAX_BYTES: usize = 64 << 20;
/// The number of users with a last write at which those of long ago are forgotten.
const MAX_LAST_WRITES: usize = 4096;

/// The lanes of all users.
pub(crate) struct Lanes {
    keys: Arc<Keys>,
    connections: WriteConnections,
    rules: WriteRules,
    timeout: Duration,
    /// The waiting writes of each user whose lane runs.
    queues: Mutex<HashMap<UserId, VecDeque<Waiting>>>,
    memory: Arc<Semaphore>,
    counters: WriteCounters,
    /// When users have written last, if some reads are of a standby.
    last_writes: Option<Mutex<HashMap<UserId, Instant>>>,
}

struct Waiting {
    request: WriteRequest,
    size: usize,
    deadline: Instant,
    reply: oneshot::Sender<Result<Reply>>,
    _memory: OwnedSemaphorePermit,
}

impl Lanes {
    pub(crate) fn new(
        options: &ClusterOptions,
        connector: Arc<Connector>,
        keys: Arc<Keys>,
    ) -> Self {
        let ClusterOptions { retained_changes, quota, write_timeout, .. } = *options;
        Self {
            keys,
            connections: WriteConnections::new(options, connector),
            rules: WriteRules { retained_changes, quota },
            timeout: write_timeout,
            queues: Mutex::default(),
            memory: Arc::new(Semaphore::new(MAX_BYTES)),
            counters: WriteCounters::default(),
            last_writes: options.replica.is_some().then(Mutex::default),
        }
    }

    /// Whether the user has written so lately that a standby may not know it.
    pub(crate) fn has_written_lately(&self, user: UserId) -> bool {
        let Some(last) = &self.last_writes else { return false };
        let last = last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(&user).is_some_and(|at| at.elapsed() < ClusterOptions::OWN_WRITES)
    }

    fn note_write(&self, user: UserId) {
        let Some(last) = &self.last_writes else { return };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= MAX_LAST_WRITES {
            last.retain(|_, at| at.elapsed() < ClusterOptions::OWN_WRITES);
        }
        last.insert(user, Instant::now());
    }

    pub(crate) const fn default_quota(&self) -> convodb::Quota {
        self.rules.quota
    }

    pub(crate) fn metrics(&self) -> WriteMetrics {
        self.counters.read()
    }

    /// Waits in the user's lane until the write is done. Dropping the future cancels a write that
    /// still waits.
    pub(crate) async fn write(
        self: &Arc<Self>,
        user: UserId,
        request: WriteRequest,
    ) -> Result<Reply> {
        let size = request.write.size();
        // A write beyond the maximum is accepted if no other waits or runs.
        let permits = u32::try_from(size.min(MAX_BYTES)).unwrap_or(u32::MAX);
        let memory = self.memory.clone().try_acquire_many_owned(permits);
        let memory = memory.map_err(|_| Error::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + self.timeout;
        let waiting = Waiting { request, size, deadline, reply, _memory: memory };
        match self.queues().entry(user) {
            Entry::Occupied(queue) if queue.get().len() >= MAX_WAITING => {
                return Err(Error::Overloaded);
            }
            Entry::Occupied(mut queue) => queue.get_mut().push_back(waiting),
            Entry::Vacant(queue) => {
                queue.insert(VecDeque::from([waiting]));
                tokio::spawn(self.clone().run(user));
            }
        }
        answer.await.unwrap_or(Err(Error::Abandoned))
    }

    /// Commits the groups of a user until none waits.
    async fn run(self: Arc<Self>, user: UserId) {
        let guard = LaneGuard { lanes: &self, user };
        let context = GroupContext {
            connections: &self.connections,
            keys: &self.keys,
            rules: self.rules,
            counters: &self.counters,
        };
        while let Some(group) = self.take_group(user) {
            let writes: Vec<&WriteRequest> = group.iter().map(|waiting| &waiting.request).collect();
            let deadline = group.iter().map(|waiting| waiting.deadline).min();
            let deadline = deadline.unwrap_or_else(Instant::now);
            let replies = context.commit(user, &writes, deadline).await;
            self.note_write(user);
            for (waiting, reply) in group.into_iter().zip(replies) {
                WriteCounters::add(&self.counters.writes);
                // A caller that does not wait any more gets no reply.
                let _ = waiting.reply.send(reply);
            }
        }
        // The queue is removed, and another task may have begun one.
        std::mem::forget(guard);
    }

    /// The next writes that wait; `None` ends the lane.
    fn take_group(&self, user: UserId) -> Option<Vec<Waiting>> {
        let mut queues = self.queues();
        let queue = queues.get_mut(&user)?;
        let (mut group, mut bytes) = (Vec::new(), 0);
        let now = Instant::now();
        while let Some(next) = queue.pop_front() {
            if next.reply.is_closed() {
                continue;
            }
            if next.deadline <= now {
                let _ = next.reply.send(Err(Error::TimedOut));
                continue;
            }
            let is_alone = is_alone(&next.request.write);
            let is_full = group.len() == MAX_GROUP || bytes + next.size > MAX_GROUP_BYTES;
            if !group.is_empty() && (is_full || is_alone) {
                queue.push_front(next);
                break;
            }
            bytes += next.size;
            group.push(next);
            if is_alone {
                break;
            }
        }
        if group.is_empty() {
            queues.remove(&user);
            return None;
        }
        Some(group)
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<UserId, VecDeque<Waiting>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the write depends on what is stored of other conversations.
const fn is_alone(write: &Write) -> bool {
    matches!(write, Write::DeleteAssistant { .. })
}

/// Ends a lane whose task panics: its writes are abandoned, and the next write begins another task.
struct LaneGuard<'l> {
    lanes: &'l Lanes,
    user: UserId,
}

impl Drop for LaneGuard<'_> {
    fn drop(&mut self) {
        self.lanes.queues().remove(&self.user);
    }
}
