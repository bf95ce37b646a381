//! The trait of a store on another database.

use std::fmt;
use std::pin::Pin;
use std::time::Instant;

use convodb::{
    Access, Assistant, AssistantId, AssistantRef, ChangeCursor, Changes, ChangesSince,
    Conversation, ConversationId, Count, ListRequest, Message, Name, Page, PageCursor, PageSize,
    Quota, Stats, StatsRequest, StorageUsage, Timestamp, TokenId, User, UserId,
};
use convodb_json::Messages;
use tokio::sync::watch;

use crate::access::{ReadAccess, RecalledAccess};
use crate::error::Result;
use crate::write::{Idempotent, Write, WriteAuthority, Written};

/// A boxed future of a [`Result`].
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A page with the names of the assistants of its rows.
#[derive(Debug)]
pub struct Listed {
    /// The page.
    pub page: Page,
    /// The current name of each assistant of a row, each once.
    pub names: Vec<(AssistantId, Name)>,
}

/// A piece of an export, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportItem {
    /// The next conversation of the list, and the name of its assistant.
    Conversation(Box<Conversation>, Name),
    /// The next message of that conversation, if messages are exported.
    Message(Message),
}

/// Reads a whole list as of one moment, piece by piece. Dropping it ends the export.
pub trait ListReader: fmt::Debug + Send {
    /// The next items, at least one; `None` at the end. They are bounded in number and bytes, however
    /// long the list and its conversations are. After an error, or if the future is dropped, nothing
    /// more can be read.
    fn next(&mut self) -> BoxFuture<'_, Option<Vec<ExportItem>>>;
}

/// A conversation with its messages and the name of its assistant, all as of one moment.
#[derive(Debug)]
pub struct ConversationHistory {
    /// The conversation.
    pub conversation: Conversation,
    /// The current name of its assistant.
    pub assistant_name: Name,
    /// All of its messages, in order.
    pub messages: Vec<Message>,
}

/// A part of the change feed, with the names of the assistants of its conversations.
#[derive(Debug)]
pub struct Followed {
    /// The part.
    pub changes: Changes,
    /// The current name of each assistant of a conversation, each once.
    pub names: Vec<(AssistantId, Name)>,
}

/// Some of a user's assistants, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssistantPage {
    /// The number of all that are reached.
    pub total: u32,
    /// Those of the page, by number.
    pub assistants: Vec<Assistant>,
}

/// A user with what the user's data takes and may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: User,
    /// What the user's data takes.
    pub usage: StorageUsage,
    /// What it may take, the defaults of the store included.
    pub quota: Quota,
}

/// A counter of a remote store, for the metrics of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteCounter {
    /// The name, in lower case with underscores, without a unit and a prefix.
    pub name: &'static str,
    /// One sentence without a full stop.
    pub help: &'static str,
    /// The count since the store was opened.
    pub count: u64,
}

/// A store on another database, as a server needs it.
///
/// The methods have the meaning of those of [`Snapshot`](convodb::Snapshot) and
/// [`Transaction`](convodb::Transaction) that have the same names, and fail with the same errors of
/// misuse. A read reaches what its [`ReadAccess`] does, and may fail with
/// [`Error::AccessChanged`](crate::Error::AccessChanged) if that has to be checked. A read is one
/// committed state; two reads may be two. A future that is dropped may leave its work done or not done, and nothing else.
pub trait Remote: fmt::Debug + Send + Sync + 'static {
    /// Seals the cursor of a page. Reads nothing.
    fn seal_cursor(&self, cursor: &PageCursor) -> String;

    /// Opens the token of a page cursor. Reads nothing.
    ///
    /// # Errors
    /// [`convodb::Error::InvalidCursor`].
    fn open_cursor(&self, user: UserId, token: &str) -> convodb::Result<PageCursor>;

    /// Seals a cursor of the change feed. Reads nothing.
    fn seal_change_cursor(&self, cursor: &ChangeCursor) -> String;

    /// Opens the token of a cursor of the change feed. Reads nothing.
    ///
    /// # Errors
    /// [`convodb::Error::InvalidCursor`] or [`convodb::Error::ChangesExpired`].
    fn open_change_cursor(&self, user: UserId, token: &str) -> convodb::Result<ChangeCursor>;

    /// What an access token allows; `None` if it does not exist or has expired.
    fn authenticate<'a>(&'a self, token: &'a str, now: Timestamp) -> BoxFuture<'a, Option<Access>>;

    /// What the access token with this id allows, in the same way.
    fn access(&self, token: TokenId, now: Timestamp) -> BoxFuture<'_, Option<Access>>;

    /// What an access token allowed when it was read last; `None` if that is not known, or if the token
    /// has expired since. Reads nothing, so it may be wrong: reads check it, by their [`ReadAccess`].
    fn recall(&self, token: &str, now: Timestamp) -> Option<RecalledAccess>;

    /// Checks what was recalled, where no read does.
    fn check<'a>(&'a self, recalled: &'a RecalledAccess) -> BoxFuture<'a, ()>;

    /// A page of a list, with the names of the assistants of its rows.
    fn list<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        request: &'a ListRequest,
    ) -> BoxFuture<'a, Listed>;

    /// Begins to read a whole list, all as of the moment of this call, with its messages or without
    /// them. The page size and the cursor of the request are ignored; without an order it is
    /// descending. What the export holds in the database is released at `deadline`, whether or not it
    /// is read to its end.
    fn export<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        request: &'a ListRequest,
        messages: Messages,
        deadline: Instant,
    ) -> BoxFuture<'a, Box<dyn ListReader>>;

    /// The number of conversations of a list.
    fn count<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        request: &'a ListRequest,
    ) -> BoxFuture<'a, Count>;

    /// A conversation with its messages and the name of its assistant.
    fn history<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        id: ConversationId,
    ) -> BoxFuture<'a, Option<ConversationHistory>>;

    /// A part of the change feed, with the names of the assistants of its conversations.
    fn changes_since<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        since: ChangesSince,
        size: PageSize,
    ) -> BoxFuture<'a, Followed>;

    /// Volumes and costs.
    fn stats<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        request: &'a StatsRequest,
    ) -> BoxFuture<'a, Stats>;

    /// The assistant with this id or number; `None` if the user has none, or it is not reached.
    fn resolve_assistant<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        assistant: AssistantRef,
    ) -> BoxFuture<'a, Option<Assistant>>;

    /// The assistants that are reached by number, without the first `offset`, at most `limit`; and how
    /// many there are.
    fn assistants<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        offset: u32,
        limit: usize,
    ) -> BoxFuture<'a, AssistantPage>;

    /// The names of those of the user's assistants `ids` that exist, whatever is reached.
    fn assistant_names<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        ids: Vec<AssistantId>,
    ) -> BoxFuture<'a, Vec<(AssistantId, Name)>>;

    /// The user with what the data takes and may take; `None` if there is no such user.
    fn account<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
    ) -> BoxFuture<'a, Option<Account>>;

    /// Does a write by the authority of an access token, and returns when it is committed.
    fn write(&self, user: UserId, by: WriteAuthority, write: Write) -> BoxFuture<'_, Written>;

    /// Does a write once for an idempotency key, and returns the response of the first run.
    fn write_once(
        &self,
        user: UserId,
        by: WriteAuthority,
        once: Idempotent,
        write: Write,
    ) -> BoxFuture<'_, Vec<u8>>;

    /// The number of the user's last change, as often as it is seen to grow from now on. The first
    /// value may be lower.
    fn news_of(&self, user: UserId) -> watch::Receiver<u64>;

    /// Checks that the store can be read and written, in a second or two.
    fn ready(&self) -> BoxFuture<'_, ()>;

    /// What the store counted since it was opened. Reads nothing.
    fn counters(&self) -> Vec<RemoteCounter>;
}
