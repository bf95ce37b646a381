//! Change feed as a stream: parts of a user's changes, and a wait for new ones at the end.
//!
//! A part is read from a snapshot on a blocking thread. At the end of the feed the stream waits for
//! a commit, without a thread and without a snapshot.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use convodb::{Changes, ChangesSince, PageSize, Result, Snapshot, StoreState, UserId};
use futures_core::Stream;

use crate::commits::Commits;
use crate::run_blocking::run_blocking;
use crate::store::AsyncStore;

impl AsyncStore {
    /// The changes of a user's conversations since a position in the change feed. The stream waits
    /// for new changes at the end of the feed. [`ChangesSince::Now`] is the time of this call.
    ///
    /// Each commit that changes the user's conversations wakes a waiting stream for one read on a
    /// blocking thread; commits during a read cost one more read together. [`ChangeFeed`] describes delivery, coalescing and
    /// expiry.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at).await?.id;
    /// # let bot = AssistantId::generate(at);
    /// # store.create_assistant(user, bot, "Bot").await?;
    /// let mut changes = store.changes(user, ChangesSince::Now);
    /// let id = ConversationId::generate(at);
    /// store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new()).await?;
    ///
    /// let part = changes.next().await.expect("the store is open")?;
    /// assert_eq!((part.changes[0].kind, part.changes[0].id), (ChangeKind::Created, id));
    /// // Stored after each part, this token resumes the feed in another process.
    /// let token = store.snapshot().seal_change_cursor(&part.next_cursor);
    /// # assert!(!token.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn changes(&self, user: UserId, since: ChangesSince) -> ChangeFeed {
        ChangeFeed::new(self.clone(), user, since)
    }
}

/// The changes of a user's conversations, as they are committed. Created by
/// [`AsyncStore::changes`](crate::AsyncStore::changes).
///
/// A [`Stream`] of `Result<Changes>`. Each part contains 1 to 100 changes; at the end of the feed
/// the stream waits for the next commit. It ends after the store was closed by
/// [`AsyncStore::close`](crate::AsyncStore::close), and after an error.
///
/// - **Delivery.** No change is skipped or repeated. [`Changes::next_cursor`] of the last part that
///   was processed resumes the feed, in another process as well.
/// - **Coalescing.** Changes of one conversation within a part are reported once, with the
///   conversation's current state. A conversation that was created and deleted before the part was
///   read is reported as deleted only. A follower puts or removes the conversation, whatever the
///   kind says: an id that was deleted and created again can appear as updated first.
/// - **Expiry.** If the retention of the feed passes the position of the stream, the next item is
///   [`Error::ChangesExpired`](convodb::Error::ChangesExpired), and the stream ends. Read the
///   list again, then follow from [`ChangesSince::Now`]. A stream that is polled regularly stays
///   ahead of any retention.
/// - **Closing.** Changes that the stream has not read when the store is closed are not lost: a
///   stream from the last cursor returns them after the store was opened again.
/// - **Cancellation.** Dropping the future of the next item loses nothing; dropping the stream ends
///   the feed.
///
/// While it waits, it keeps the store open but holds no snapshot.
pub struct ChangeFeed {
    user: UserId,
    state: State,
}

enum State {
    Idle(Follower),
    Reading(Pin<Box<Reading>>),
    Ended,
}

/// The read of a part; returns the follower for the next one. `None` after the store was closed.
type Reading = dyn Future<Output = Option<Result<(Changes, Follower)>>> + Send;

impl ChangeFeed {
    pub(crate) fn new(store: AsyncStore, user: UserId, since: ChangesSince) -> Self {
        // Subscribe before the snapshot is taken, so that every later commit wakes the stream.
        let commits = store.commits_of(user);
        let start = Some(store.snapshot());
        let follower = Follower { store, commits, user, since, start };
        Self { user, state: State::Idle(follower) }
    }

    /// The next part; waits at the end of the feed. `None` after the store was closed or after an
    /// error. Equal to the next item of the stream, without a trait to import. Cancel-safe.
    ///
    /// # Errors
    /// As [`Snapshot::changes_since`]; the stream then ends.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub async fn next(&mut self) -> Option<Result<Changes>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for ChangeFeed {
    type Item = Result<Changes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match std::mem::replace(&mut this.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Idle(follower) => this.state = State::Reading(Box::pin(follower.read())),
                State::Reading(mut reading) => {
                    let Poll::Ready(read) = reading.as_mut().poll(context) else {
                        this.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    return Poll::Ready(read.map(|read| {
                        read.map(|(part, follower)| {
                            this.state = State::Idle(follower);
                            part
                        })
                    }));
                }
            }
        }
    }
}

/// A position in a user's feed, and the means to read on from it.
struct Follower {
    store: AsyncStore,
    commits: Commits,
    user: UserId,
    since: ChangesSince,
    /// The snapshot of the first read, so that [`ChangesSince::Now`] is the time of the call.
    start: Option<Snapshot>,
}

impl Follower {
    /// Reads until there are changes. `None` if the store was closed.
    async fn read(mut self) -> Option<Result<(Changes, Self)>> {
        loop {
            let snapshot = self.start.take().unwrap_or_else(|| self.store.snapshot());
            let (user, since) = (self.user, self.since);
            let read = move || snapshot.changes_since(user, since, PageSize::MAX);
            let part = match run_blocking(read).await {
                Ok(part) => part,
                // A snapshot of a closed store has lost what was not in memory.
                Err(_) if self.store.store().state() == StoreState::Closed => return None,
                Err(error) => return Some(Err(error)),
            };
            self.since = ChangesSince::Cursor(part.next_cursor);
            if !part.changes.is_empty() {
                return Some(Ok((part, self)));
            }
            // All changes of a part may be reported later, where their conversation was deleted.
            if !part.has_more && self.commits.changed().await.is_err() {
                return None;
            }
        }
    }
}

impl fmt::Debug for ChangeFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeFeed").field("user", &self.user).finish_non_exhaustive()
    }
}
