//! Snapshot: the read API, over one committed state.

mod accounts;

use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::encoding::key::RowKey;
use crate::encoding::row::StoredMessages;
use crate::error::Result;
use crate::model::conversation::Conversation;
use crate::model::id::{AssistantId, ConversationId, UserId};
use crate::model::message::Message;
use crate::model::version::StoreVersion;
use crate::query::changes::{self, ChangeCursor, Changes, ChangesSince};
use crate::query::count::{self, Count};
use crate::query::cursor::{PageCursor, Walk};
use crate::query::list_spec::{Direction, Sort};
use crate::query::message_iter::MessageIter;
use crate::query::page::{self, Page};
use crate::query::page_size::PageSize;
use crate::query::plan::plan;
use crate::query::request::ListRequest;
use crate::query::row_iter::RowIter;
use crate::query::stats::{self, Stats, StatsProgress, StatsRequest};
use crate::tables::state::CommittedState;

/// The store as of one commit: an immutable, consistent view for reading.
///
/// Later writes do not change what a snapshot returns. Creating and cloning one is cheap, because
/// all snapshots of a commit share its state. While a snapshot exists, the store cannot reuse the
/// disk space of what was replaced or deleted since. So keep it for the duration of a task, not
/// forever.
///
/// All reads fail with a *fault of the store* if the disk returns an error
/// ([`Error::Io`](crate::Error::Io)), if stored bytes fail a check
/// ([`Error::Corrupted`](crate::Error::Corrupted)), or if the store has reopened its files after a
/// fault or was closed ([`Error::SnapshotInvalidated`](crate::Error::SnapshotInvalidated)).
///
/// ```
/// # let store = convodb::Store::in_memory()?;
/// let before = store.snapshot();
/// store.create_user("Acme", "2025-01-25".parse()?)?;
/// assert_eq!((before.users()?.len(), store.snapshot().users()?.len()), (0, 1));
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone)]
pub struct Snapshot {
    state: Arc<CommittedState>,
    /// The only assistant that reads reach.
    restriction: Option<AssistantId>,
}

impl Snapshot {
    pub(crate) const fn new(state: Arc<CommittedState>) -> Self {
        Self { state, restriction: None }
    }

    /// The same snapshot, restricted to one assistant: every read of conversations, messages,
    /// changes, statistics and assistants of a user returns what it would return if the user had
    /// no other assistant. A request for another one is answered with nothing. Cursors of an
    /// unrestricted list are refused; those of a restricted one are cursors of the list with this
    /// assistant as its filter.
    ///
    /// Of the tokens of a user, those that reach nothing else are listed. Users, backups,
    /// verification and metrics are not affected.
    ///
    /// ```
    /// # use convodb::*;
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// let one = store.create_assistant(user, AssistantId::generate(at), "One")?.id;
    /// let two = store.create_assistant(user, AssistantId::generate(at), "Two")?.id;
    /// let id = ConversationId::generate(at);
    /// store.insert(user, Conversation::new(id, two, Channel::Widget, at), Vec::new())?;
    /// let restricted = store.snapshot().restricted_to(one);
    /// assert!(restricted.list(user, &ListRequest::default())?.is_empty());
    /// assert!(restricted.conversation(user, id)?.is_none());
    /// assert_eq!(restricted.assistant_count(user)?, 1);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn restricted_to(self, assistant: AssistantId) -> Self {
        Self { restriction: Some(assistant), ..self }
    }

    /// Whether reads reach the assistant and its conversations.
    fn reaches(&self, assistant: AssistantId) -> bool {
        self.restriction.is_none_or(|only| only == assistant)
    }

    /// The request with the restriction added to its filter; one that nothing matches if the filter
    /// contradicts the restriction.
    fn restrict<'r>(&self, request: &'r ListRequest) -> Cow<'r, ListRequest> {
        let Some(only) = self.restriction else { return Cow::Borrowed(request) };
        Cow::Owned(request.restricted_to(only))
    }

    pub(crate) fn state(&self) -> &CommittedState {
        &self.state
    }

    // ---- history -------------------------------------------------------------------------------

    /// The version of the store that this snapshot shows. Reads nothing from the store.
    #[must_use]
    pub fn version(&self) -> StoreVersion {
        self.state.version()
    }

    /// The version in which what belongs to the user last changed, as far as is known: reads of the
    /// user return the same from all snapshots that return the same version here, and from the
    /// snapshot of that version. So it serves to recognize results that are still right. Reads
    /// nothing from the store.
    ///
    /// Equal data can have several versions: opening the store, a bulk load of any user and the
    /// rotation of the cursor key count as changes of all users. Changes of access tokens do not
    /// count.
    ///
    /// ```
    /// # use convodb::*;
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// let one = store.create_user("One", at)?.id;
    /// let two = store.create_user("Two", at)?.id;
    /// let before = store.snapshot();
    /// store.create_assistant(one, AssistantId::generate(at), "Bot")?;
    /// let after = store.snapshot();
    /// assert_ne!(before.version_of(one), after.version_of(one));
    /// assert_eq!(before.version_of(two), after.version_of(two));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn version_of(&self, user: UserId) -> StoreVersion {
        self.state.user_version(user)
    }

    /// Whether the history that led to this snapshot contains `version`: whether `version` is of
    /// this store, in its past, and was not undone by restoring a backup or an older copy of the
    /// file. See [`StoreVersion`] for an example. Reads nothing from the store.
    ///
    /// A store knows the last 512 of its epochs. A version of an earlier one counts as foreign, as
    /// does everything from before format 3.
    #[must_use]
    pub fn contains(&self, version: StoreVersion) -> bool {
        self.state.contains(version)
    }

    // ---- lists ---------------------------------------------------------------------------------

    /// One page of the user's conversations: any combination of filters, and forward or backward
    /// from any cursor. The cost does not depend on the depth of the page or the size of the list:
    /// see [`PageCost::bound`](crate::PageCost::bound).
    ///
    /// ```
    /// use convodb::{ChannelKind, Filter, ListRequest, PageSize, Store};
    /// # use convodb::{AssistantId, Channel, Conversation, ConversationId, Timestamp};
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// # for _ in 0..3 {
    /// #     let id = ConversationId::generate(at);
    /// #     store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new())?;
    /// # }
    /// let snapshot = store.snapshot();
    /// let request = ListRequest {
    ///     filter: Filter { kind: Some(ChannelKind::Widget), ..Filter::default() },
    ///     page_size: Some(PageSize::new(2)?),
    ///     ..ListRequest::default()
    /// };
    /// let first = snapshot.list(user, &request)?;
    /// assert_eq!(first.len(), 2);
    /// let next = *first.next_cursor().expect("a second page");
    /// let second = snapshot.list(user, &ListRequest::at(next))?;
    /// assert_eq!(second.len(), 1);
    /// assert!(second.next_cursor().is_none());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// In this order: [`Error::InvalidCursor`](crate::Error::InvalidCursor) if the cursor belongs
    /// to another user; [`Error::Invalid`](crate::Error::Invalid) if the request has a bound of a time
    /// that does not sort the list; [`Error::CursorConflict`](crate::Error::CursorConflict) if a
    /// filter, sort, bound or order in the request differs from that of its cursor;
    /// [`Error::Invalid`](crate::Error::Invalid) if the list by last activity has no index for the
    /// filter (see [`Sort`]); [`Error::IndexAbsent`](crate::Error::IndexAbsent) or
    /// [`Error::IndexBuilding`](crate::Error::IndexBuilding) if the store lacks the index; or a fault of the store.
    pub fn list(&self, user: UserId, request: &ListRequest) -> Result<Page> {
        let fingerprinter = self.state.fingerprinter();
        let request = self.restrict(request);
        let mut resolved = request.resolve(user, fingerprinter)?;
        if resolved.list.sort == Sort::LastActivity && resolved.walk.is_none() {
            let changes = ChangeCursor::now(&self.state, user)?;
            resolved.walk = Some(Walk { changes, ceiling: None });
        }
        page::read(&self.state.tables, fingerprinter, user, &request.filter, &resolved)
    }

    /// Checks a request as [`Snapshot::list`] does, without reading from the store. For callers of
    /// [`Snapshot::conversations`] that have to answer an invalid request before its first
    /// conversation.
    ///
    /// ```
    /// # use convodb::*;
    /// # let store = Store::in_memory()?;
    /// # let user = UserId::new(1);
    /// let by_identifier = Filter::new().external_identifier("crm-1")?;
    /// let request = ListRequest::new().filter(by_identifier).sort(Sort::LastActivity);
    /// let refused = store.snapshot().check_request(user, &request);
    /// assert!(matches!(refused, Err(Error::Invalid { field: "sort", .. })));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Snapshot::list`], except faults of the store.
    pub fn check_request(&self, user: UserId, request: &ListRequest) -> Result<()> {
        let list = self.restrict(request).resolve(user, self.state.fingerprinter())?.list;
        plan(&list, &self.state.tables.families).map(|_| ())
    }

    /// The number of conversations of a list. Ignores the page size and order of the request, and the
    /// place of its cursor: the list that a cursor continues is counted whole.
    ///
    /// Lists that are filtered by type and assistant alone are counted by counters of days and
    /// months; only in the days that the bounds cut, conversations are counted one by one. So are
    /// all other lists in a store with [`IndexFamily::Counters`](crate::IndexFamily::Counters), unless
    /// they are by customer or external identifier and short. Otherwise all conversations of the list
    /// are counted one by one. After [`Count::MAX_SCANNED`] of them the counting ends, and the
    /// result is a lower bound ([`Count::is_exact`]). A list by last activity is counted like the list
    /// by creation with the same filter; with bounds of time, one by one.
    ///
    /// Costs at most that many steps, each after at most one removed entry, and two for each index
    /// range of the list, in each of the days that the bounds cut. Counters: at most four for each day
    /// with conversations, or, with assistants, six for each of them and each month with conversations
    /// and each day of the months that the bounds cut; of other lists, two lookups for each range and a
    /// record for each month with conversations. A list is short with fewer than 256 conversations; with
    /// 1,000, it is counted one by one with a probability of 10^-10.
    ///
    /// ```
    /// # use convodb::*;
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// # store.insert(user, Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at), Vec::new())?;
    /// let request = ListRequest::new().filter(Filter::new().kind(ChannelKind::Widget));
    /// let count = store.snapshot().count(user, &request)?;
    /// assert_eq!((count.conversations, count.is_exact), (1, true));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Snapshot::list`].
    pub fn count(&self, user: UserId, request: &ListRequest) -> Result<Count> {
        let fingerprinter = self.state.fingerprinter();
        let request = self.restrict(request);
        let list = request.resolve(user, fingerprinter)?.list;
        count::read(&self.state.tables, fingerprinter, user, &request.filter, &list)
    }

    /// All conversations of a list, from either end. Ignores the page size and cursor of the
    /// request. Reads pages of 100 on demand.
    ///
    /// An item is a conversation, or an error of [`Snapshot::list`], after which the iterator ends.
    ///
    /// ```
    /// # use convodb::*;
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// # store.insert(user, Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at), Vec::new())?;
    /// let snapshot = store.snapshot();
    /// let newest = snapshot.conversations(user, &ListRequest::default()).next().expect("one conversation")?;
    /// let oldest = snapshot.conversations(user, &ListRequest::default()).next_back().expect("one conversation")?;
    /// assert_eq!(newest, oldest);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    pub fn conversations(
        &self,
        user: UserId,
        request: &ListRequest,
    ) -> impl DoubleEndedIterator<Item = Result<Conversation>> + use<> {
        let request = self.restrict(request);
        let rows = request.list(self.state.fingerprinter()).map(|list| Rows {
            snapshot: self.clone(),
            iter: RowIter::new(user, request.filter.clone(), list),
        });
        let (error, rows) = match rows {
            Ok(rows) => (None, Some(rows)),
            Err(error) => (Some(Err(error)), None),
        };
        error.into_iter().chain(rows.into_iter().flatten())
    }

    /// The pages of a list, from the request's cursor or the start to the end. [`ListRequest`] has
    /// an example.
    ///
    /// An item is a page or an error of [`Snapshot::list`], after which the iterator ends.
    pub fn pages(
        &self,
        user: UserId,
        request: ListRequest,
    ) -> impl Iterator<Item = Result<Page>> + use<> {
        let snapshot = self.clone();
        let mut upcoming = Some(request);
        std::iter::from_fn(move || {
            let request = upcoming.take()?;
            let page = snapshot.list(user, &request);
            if let Ok(page) = &page {
                upcoming =
                    page.next_cursor().map(|next| ListRequest { cursor: Some(*next), ..request });
            }
            Some(page)
        })
    }

    /// Seals a cursor into a token for a client: at most 98 characters of `[A-Za-z0-9_-]`,
    /// or 304 of a list with several types or assistants, and 48 more of a list by last activity,
    /// encrypted and authenticated. It never expires. About 0.3 us. [`PageCursor`] has an example.
    #[must_use]
    pub fn seal_cursor(&self, cursor: &PageCursor) -> String {
        cursor.seal(self.state.sealer())
    }

    /// Opens a token of [`Snapshot::seal_cursor`]. Reads nothing from the store.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`](crate::Error::InvalidCursor) if the text is not a token that this
    /// store sealed for this user.
    pub fn open_cursor(&self, user: UserId, token: &str) -> Result<PageCursor> {
        PageCursor::open(token, user, self.state.sealer(), self.state.fingerprinter())
    }

    // ---- conversations and statistics ----------------------------------------------------------

    /// The user's conversation `id`. Two B-tree lookups.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn conversation(&self, user: UserId, id: ConversationId) -> Result<Option<Conversation>> {
        let found = self.state.tables.conversations.get(user, id)?;
        let found = found.map(|(_, conversation)| conversation);
        Ok(found.filter(|conversation| self.reaches(conversation.assistant)))
    }

    /// The messages of the user's conversation `id`, in order; `None` if the user has no such
    /// conversation. Three B-tree lookups, then a step for each message. Loads all messages into
    /// memory; [`Snapshot::message_iter`] does not.
    ///
    /// ```
    /// # use convodb::*;
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// # let id = ConversationId::generate(at);
    /// # store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new())?;
    /// store.append_message(user, id, Message::new(Role::User, "Hello!".to_owned(), at)?)?;
    /// let messages = store.snapshot().messages(user, id)?.expect("it was inserted");
    /// assert_eq!(messages[0].content(), "Hello!");
    /// assert!(store.snapshot().messages(UserId::new(9), id)?.is_none(), "another user");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store: among others [`Error::Corrupted`](crate::Error::Corrupted) if fewer or
    /// more messages are found than were stored. (A conversation that counts messages that were
    /// never stored, as one that was imported without them, is not damaged.)
    pub fn messages(&self, user: UserId, id: ConversationId) -> Result<Option<Vec<Message>>> {
        let Some((row, stored)) = self.row_of(user, id)? else { return Ok(None) };
        let messages = &self.state.tables.messages;
        messages.of_row(row, stored)?.collect::<Result<_>>().map(Some)
    }

    /// The messages of the user's conversation `id`, in order and in bounded memory, from any
    /// message on; `None` if the user has no such conversation. Three B-tree lookups, then those of
    /// [`MessageIter`](crate::MessageIter).
    ///
    /// ```
    /// # use convodb::*;
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// # let id = ConversationId::generate(at);
    /// # store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new())?;
    /// for text in ["Hello!", "Hi.", "Bye."] {
    ///     store.append_message(user, id, Message::new(Role::User, text, at)?)?;
    /// }
    /// let messages = store.snapshot().message_iter(user, id)?.expect("it was inserted");
    /// assert_eq!(messages.stored(), 3);
    /// let last_two: Vec<Message> = messages.from(1).collect::<Result<_>>()?;
    /// assert_eq!(last_two[0].content(), "Hi.");
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store.
    pub fn message_iter(&self, user: UserId, id: ConversationId) -> Result<Option<MessageIter>> {
        let Some((row, stored)) = self.row_of(user, id)? else { return Ok(None) };
        MessageIter::new(self.state.clone(), row, stored).map(Some)
    }

    /// The key of the user's conversation `id`, and how many of its messages are stored; `None` if
    /// reads do not reach it.
    fn row_of(&self, user: UserId, id: ConversationId) -> Result<Option<(RowKey, StoredMessages)>> {
        let found = self.state.tables.conversations.read(user, id, |stored| {
            let is_reached = self.reaches(stored.conversation().assistant);
            is_reached.then(|| stored.stored_messages())
        })?;
        Ok(found.and_then(|(row, stored)| Some((row, stored?))))
    }

    /// Volumes and costs of the user's conversations by their day of creation. Reads counters, not
    /// conversations: a step for each day, assistant and type that has conversations.
    /// [`StatsRequest`] has an example.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn stats(&self, user: UserId, request: &StatsRequest) -> Result<Stats> {
        match self.stats_with_progress(user, request, |_| ControlFlow::Continue(()))? {
            Some(stats) => Ok(stats),
            None => unreachable!("only a callback stops the reading"),
        }
    }

    /// [`Snapshot::stats`], which calls `proceed` for every 256 counters that it reads. `proceed`
    /// may stop the reading, which then returns `None`: because there are too many groups, or
    /// because nobody waits for the result any more.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// # use convodb::{StatsRequest, Store, UserId};
    /// # let store = Store::in_memory()?;
    /// # let (user, year) = (UserId::new(1), StatsRequest::new("2025-01-01".parse()?, "2026-01-01".parse()?));
    /// let stats = store.snapshot().stats_with_progress(user, &year, |progress| {
    ///     if progress.groups > 1000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    /// })?;
    /// assert!(stats.is_some_and(|stats| stats.rows.len() <= 1000));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store.
    pub fn stats_with_progress(
        &self,
        user: UserId,
        request: &StatsRequest,
        proceed: impl FnMut(StatsProgress) -> ControlFlow<()>,
    ) -> Result<Option<Stats>> {
        let Some(only) = self.restriction else {
            return stats::read(&self.state.tables, user, request, proceed);
        };
        stats::read(&self.state.tables, user, &request.restricted_to(only), proceed)
    }

    // ---- change feed ---------------------------------------------------------------------------

    /// A part of the user's change feed: the changes of conversations since a cursor, in the order
    /// of their commits. Reads at most `size` change records and coalesces those of one
    /// conversation into one change. Parts have no gap and no repetition, regardless of concurrent
    /// writes: a change that this snapshot does not contain follows [`Changes::next_cursor`].
    ///
    /// A follower that copies conversations must apply each change by
    /// [`Change::conversation`](crate::Change::conversation): insert or replace its copy if the
    /// conversation is present, and delete it otherwise, whatever the kind of the change is. For
    /// example, a part can report the creation of a conversation that the follower has already.
    ///
    /// A bulk load appends the changes of its conversations in the order of the list, oldest first,
    /// not in the order in which they were pushed.
    ///
    /// Three B-tree lookups, a step for each record, and one to three lookups for each
    /// conversation.
    ///
    /// ```
    /// use convodb::{ChangeKind, ChangesSince, PageSize, Store};
    /// # use convodb::{AssistantId, Channel, Conversation, ConversationId, Timestamp};
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// # let conversation = Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at);
    /// # let id = conversation.id;
    /// let size = PageSize::default();
    /// let start = store.snapshot().changes_since(user, ChangesSince::Now, size)?.next_cursor;
    /// store.insert(user, conversation, Vec::new())?;
    /// let part = store.snapshot().changes_since(user, ChangesSince::Cursor(start), size)?;
    /// assert_eq!((part.changes[0].kind, part.changes[0].id), (ChangeKind::Created, id));
    /// // Continue from `part.next_cursor`, now or later.
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidCursor`](crate::Error::InvalidCursor) if the cursor belongs to another user;
    /// [`Error::ChangesExpired`](crate::Error::ChangesExpired) if changes after the cursor are no
    /// longer retained, or if this snapshot does not [contain](Self::contains) the version in which
    /// the cursor was issued (the snapshot is older than the cursor, or the store was restored from
    /// a backup); or a fault of the store.
    pub fn changes_since(
        &self,
        user: UserId,
        since: ChangesSince,
        size: PageSize,
    ) -> Result<Changes> {
        changes::read(&self.state, user, since, size, self.restriction)
    }

    /// Seals a cursor into a token for a client: 56 characters of `[A-Za-z0-9_-]`,
    /// encrypted and authenticated. About 0.3 us.
    #[must_use]
    pub fn seal_change_cursor(&self, cursor: &ChangeCursor) -> String {
        cursor.seal(self.state.sealer())
    }

    /// Opens a token of [`Snapshot::seal_change_cursor`]. Reads nothing from the store.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`](crate::Error::InvalidCursor) if the text is not a token that this
    /// store sealed for this user; [`Error::ChangesExpired`](crate::Error::ChangesExpired) if it was
    /// sealed before the store had format 3.
    pub fn open_change_cursor(&self, user: UserId, token: &str) -> Result<ChangeCursor> {
        ChangeCursor::open(token, user, self.state.sealer())
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// The iterator of [`Snapshot::conversations`].
struct Rows {
    snapshot: Snapshot,
    iter: RowIter,
}

impl Rows {
    fn step(&mut self, direction: Direction) -> Option<Result<Conversation>> {
        let state = &*self.snapshot.state;
        self.iter.next(&state.tables, state.fingerprinter(), direction)
    }
}

impl Iterator for Rows {
    type Item = Result<Conversation>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(Direction::Next)
    }
}

impl DoubleEndedIterator for Rows {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(Direction::Prev)
    }
}
