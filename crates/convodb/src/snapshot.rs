//! One consistent view of the store.

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::model::account::{Assistant, User};
use crate::model::conversation::Conversation;
use crate::model::id::{AssistantId, ConversationId, UserId};
use crate::model::message::Message;
use crate::model::text::Name;
use crate::query::changes::{self, ChangeCursor, Changes, ChangesSince};
use crate::query::cursor::PageCursor;
use crate::query::list_spec::Direction;
use crate::query::page::{self, Page};
use crate::query::page_size::PageSize;
use crate::query::request::ListRequest;
use crate::query::row_iter::RowIter;
use crate::query::stats::{self, Stats, StatsRequest};
use crate::tables::state::CommittedState;
use crate::tables::{accounts, conversations, messages};

/// The store as one commit left it, for as long as it is held. Cheap to make and to clone: all
/// snapshots of one commit share it.
///
/// Whatever is written meanwhile, a snapshot answers the same. Holding one keeps the space of
/// replaced rows from being used again, so hold it for a walk, not for ever.
///
/// ```
/// # let store = convodb::Store::in_memory()?;
/// let before = store.snapshot();
/// store.create_user("Acme".parse()?, "2025-01-25".parse()?)?;
/// assert_eq!((before.users()?.len(), store.snapshot().users()?.len()), (0, 1));
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone)]
pub struct Snapshot {
    state: Arc<CommittedState>,
}

impl Snapshot {
    pub(crate) const fn new(state: Arc<CommittedState>) -> Self {
        Self { state }
    }

    pub(crate) fn state(&self) -> &CommittedState {
        &self.state
    }

    // ---- lists ---------------------------------------------------------------------------------

    /// One page of the user's conversations, by any combination of filters, at any depth, for the
    /// same cost: see [`PageCost::bound`](crate::PageCost::bound).
    ///
    /// ```
    /// use convodb::{ChannelKind, Filter, ListRequest, PageSize, Store};
    /// # use convodb::{AssistantId, Channel, Conversation, ConversationId, Timestamp};
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme".parse()?, at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot".parse()?)?.id;
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
    /// let next = *first.next_cursor().expect("there is one more");
    /// let second = snapshot.list(user, &ListRequest::at(next))?;
    /// assert_eq!(second.len(), 1);
    /// assert!(second.next_cursor().is_none());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::CursorConflict`](crate::Error::CursorConflict) when a filter, bound or order
    /// beside a cursor is not the cursor's,
    /// [`Error::InvalidCursor`](crate::Error::InvalidCursor) when the cursor is another user's,
    /// or a fault of the store.
    pub fn list(&self, user: UserId, request: &ListRequest) -> Result<Page> {
        let fingerprinter = self.state.fingerprinter();
        let resolved = request.resolve(user, fingerprinter)?;
        page::read(&self.state.tables, fingerprinter, user, &request.filter, &resolved)
    }

    /// All conversations of a list, from either end: the request's filter, bounds and order count,
    /// its page size and cursor do not.
    ///
    /// Each end reads pages of 100 as it is asked for more.
    ///
    /// Each item is a conversation, or a fault of the store, after which the iterator ends.
    ///
    /// ```
    /// # use convodb::*;
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme".parse()?, at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot".parse()?)?.id;
    /// # store.insert(user, Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at), Vec::new())?;
    /// let snapshot = store.snapshot();
    /// let newest = snapshot.conversations(user, &ListRequest::default()).next().expect("there is one")?;
    /// let oldest = snapshot.conversations(user, &ListRequest::default()).next_back().expect("the same")?;
    /// assert_eq!(newest, oldest);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    pub fn conversations(
        &self,
        user: UserId,
        request: &ListRequest,
    ) -> impl DoubleEndedIterator<Item = Result<Conversation>> + use<> {
        let list = request.list(self.state.fingerprinter());
        Rows { snapshot: self.clone(), iter: RowIter::new(user, request.filter.clone(), list) }
    }

    /// The pages of a list from where the request begins, one after the other. [`ListRequest`] shows
    /// it.
    ///
    /// Each item is a page or the error that ended the walk, as of [`Snapshot::list`].
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

    /// The cursor as a token for a client: at most 98 characters of `[A-Za-z0-9_-]`, from which
    /// nothing can be read and in which nothing can be changed. About 0.3 us. [`PageCursor`] shows it.
    #[must_use]
    pub fn seal_cursor(&self, cursor: &PageCursor) -> String {
        cursor.seal(self.state.sealer())
    }

    /// The cursor of a token that [`Snapshot::seal_cursor`] made for the same user.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`](crate::Error::InvalidCursor) for any other text, without a read.
    pub fn open_cursor(&self, user: UserId, token: &str) -> Result<PageCursor> {
        PageCursor::open(token, user, self.state.sealer(), self.state.fingerprinter())
    }

    // ---- single conversations and reports ------------------------------------------------------

    /// The user's conversation `id`. Two descents.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn conversation(&self, user: UserId, id: ConversationId) -> Result<Option<Conversation>> {
        let found = conversations::get(&self.state.tables.rows, &self.state.tables.ids, user, id)?;
        Ok(found.map(|(_, conversation)| conversation))
    }

    /// The messages of the user's conversation `id`, in order; `None` where the user has no such
    /// conversation. Three descents, then a step for each message; all of them are in memory at once.
    ///
    /// ```
    /// # use convodb::*;
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme".parse()?, at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot".parse()?)?.id;
    /// # let id = ConversationId::generate(at);
    /// # store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new())?;
    /// store.append_message(user, id, Message::new(Role::User, "Hello!".to_owned(), at)?)?;
    /// let history = store.snapshot().messages(user, id)?.expect("it was inserted");
    /// assert_eq!(history[0].content(), "Hello!");
    /// assert!(store.snapshot().messages(UserId::new(9), id)?.is_none(), "another user's");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store.
    pub fn messages(&self, user: UserId, id: ConversationId) -> Result<Option<Vec<Message>>> {
        let tables = &self.state.tables;
        let Some((row, ())) = conversations::read(&tables.rows, &tables.ids, user, id, |_| ())?
        else {
            return Ok(None);
        };
        messages::history(&tables.messages, row)?.collect::<Result<_>>().map(Some)
    }

    /// Volumes and costs of the user's conversations by their day of creation, from counters: a step
    /// for each day, assistant and type that has any. [`StatsRequest`] shows it.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn stats(&self, user: UserId, request: &StatsRequest) -> Result<Stats> {
        stats::read(&self.state.tables, user, request)
    }

    // ---- the feed of changes -------------------------------------------------------------------

    /// What happened to the user's conversations since a place in their feed, in the order in which
    /// it was committed: at most `size` changes, those of one conversation told as one. There is no
    /// hole and no repeat, whatever is written meanwhile: what this snapshot does not see comes after
    /// [`Changes::next`]. One descent, a step for each change, and a descent for each conversation.
    ///
    /// ```
    /// use convodb::{ChangeKind, ChangesSince, PageSize, Store};
    /// # use convodb::{AssistantId, Channel, Conversation, ConversationId, Timestamp};
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme".parse()?, at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot".parse()?)?.id;
    /// # let conversation = Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at);
    /// # let id = conversation.id;
    /// let size = PageSize::default();
    /// let start = store.snapshot().changes_since(user, ChangesSince::Now, size)?.next_cursor;
    /// store.insert(user, conversation, Vec::new())?;
    /// let part = store.snapshot().changes_since(user, ChangesSince::Cursor(start), size)?;
    /// assert_eq!((part.changes[0].kind, part.changes[0].id), (ChangeKind::Created, id));
    /// // Ask again from `part.next_cursor`, now or later.
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ChangesExpired`](crate::Error::ChangesExpired) when changes after that place are
    /// no longer kept, [`Error::InvalidCursor`](crate::Error::InvalidCursor) when the cursor is
    /// another user's or lies ahead of this snapshot, or a fault of the store.
    pub fn changes_since(
        &self,
        user: UserId,
        since: ChangesSince,
        size: PageSize,
    ) -> Result<Changes> {
        changes::read(&self.state.tables, user, since, size)
    }

    /// The cursor as a token for a client: at most 40 characters of `[A-Za-z0-9_-]`. About 0.3 us.
    #[must_use]
    pub fn seal_change_cursor(&self, cursor: &ChangeCursor) -> String {
        cursor.seal(self.state.sealer())
    }

    /// The cursor of a token that [`Snapshot::seal_change_cursor`] made for the same user.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`](crate::Error::InvalidCursor) for any other text, without a read.
    pub fn open_change_cursor(&self, user: UserId, token: &str) -> Result<ChangeCursor> {
        ChangeCursor::open(token, user, self.state.sealer())
    }

    // ---- accounts ------------------------------------------------------------------------------

    /// The user that an access token acts for; `None` for any text that is no valid token. One
    /// descent.
    ///
    /// ```
    /// # let store = convodb::Store::in_memory()?;
    /// # let at = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme".parse()?, at)?.id;
    /// let token = store.create_token(user, at)?;
    /// assert_eq!(store.snapshot().authenticate(&token)?, Some(user));
    /// assert_eq!(store.snapshot().authenticate("cvdb_guess")?, None);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store.
    pub fn authenticate(&self, token: &str) -> Result<Option<UserId>> {
        accounts::user_of_token(&self.state.tables.tokens, token)
    }

    /// The user of this number. One descent.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn user(&self, id: UserId) -> Result<Option<User>> {
        accounts::user(&self.state.tables.users, id)
    }

    /// The user of this name. Two descents.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn user_by_name(&self, name: &Name) -> Result<Option<UserId>> {
        accounts::user_of_name(&self.state.tables.users, &self.state.tables.user_names, name)
    }

    /// All users, by number, in memory at once.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn users(&self) -> Result<Vec<User>> {
        accounts::users(&self.state.tables.users)
    }

    /// The user's assistant of this id. One descent.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistant(&self, user: UserId, id: AssistantId) -> Result<Option<Assistant>> {
        accounts::assistant(&self.state.tables.assistants, user, id)
    }

    /// Appends the present name of the user's assistant to `out`, and tells whether the user has
    /// that assistant. One descent, the first time after an assistant changed; nothing is allocated
    /// later but what `out` grows by.
    ///
    /// ```
    /// # use convodb::{AssistantId, Store, Timestamp};
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme".parse()?, at)?.id;
    /// let bot = store.create_assistant(user, AssistantId::generate(at), "Bot".parse()?)?.id;
    /// let mut names = String::new();
    /// assert!(store.snapshot().assistant_name(user, bot, &mut names)?);
    /// assert_eq!(names, "Bot");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistant_name(&self, user: UserId, id: AssistantId, out: &mut String) -> Result<bool> {
        accounts::assistant_name(&self.state.tables, user, id, out)
    }

    /// The user's assistant of this number in the assistants list. Two descents.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistant_by_number(&self, user: UserId, number: u32) -> Result<Option<AssistantId>> {
        let tables = &self.state.tables;
        let found = accounts::assistant_of_number(
            &tables.assistants,
            &tables.assistant_numbers,
            user,
            number,
        )?;
        Ok(found.map(|assistant| assistant.id))
    }

    /// How many assistants the user has. They are numbered from 1 without a gap, so this is also
    /// the number of the newest. One descent.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistant_count(&self, user: UserId) -> Result<u32> {
        accounts::assistant_count(&self.state.tables.assistant_numbers, user)
    }

    /// The user's assistants with a number above `after`, by number, at most `limit`. A step and a
    /// descent for each.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistants(&self, user: UserId, after: u32, limit: usize) -> Result<Vec<Assistant>> {
        let tables = &self.state.tables;
        accounts::assistants_after(
            &tables.assistants,
            &tables.assistant_numbers,
            user,
            after,
            limit,
        )
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// What [`Snapshot::conversations`] gives.
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
