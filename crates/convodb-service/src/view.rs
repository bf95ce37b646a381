//! A view of a source: a snapshot, or a remote store with the restriction of a token.

use std::sync::Arc;
use std::time::Instant;

use convodb::{
    Access, Assistant, AssistantId, AssistantRef, ChangeCursor, ChangesSince, ConversationId,
    Count, ListRequest, Name, PageCursor, PageSize, Snapshot, Stats, StatsRequest, Timestamp,
    TokenId, UserId,
};
use convodb_json::Messages;

use crate::access::{ReadAccess, RecalledAccess};
use crate::error::Result;
use crate::remote::{
    Account, AssistantPage, ConversationHistory, Followed, ListReader, Listed, Remote,
};

/// What a request reads.
#[derive(Clone, Debug)]
pub enum View {
    /// A snapshot of an embedded store.
    Embedded(Snapshot),
    /// A remote store.
    Remote(RemoteView),
}

impl From<Snapshot> for View {
    fn from(snapshot: Snapshot) -> Self {
        Self::Embedded(snapshot)
    }
}

impl View {
    /// The snapshot, if the store is embedded.
    #[must_use]
    pub const fn snapshot(&self) -> Option<&Snapshot> {
        match self {
            Self::Embedded(snapshot) => Some(snapshot),
            Self::Remote(_) => None,
        }
    }

    /// The same view, restricted to one assistant: see [`Snapshot::restricted_to`].
    #[must_use]
    pub fn restricted_to(self, assistant: AssistantId) -> Self {
        match self {
            Self::Embedded(snapshot) => Self::Embedded(snapshot.restricted_to(assistant)),
            Self::Remote(view) => Self::Remote(view.restricted_to(assistant)),
        }
    }

    /// As [`Snapshot::authenticate`].
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn authenticate(&self, token: &str, now: Timestamp) -> Result<Option<Access>> {
        match self {
            Self::Embedded(snapshot) => Ok(snapshot.authenticate(token, now)?),
            Self::Remote(view) => view.remote.authenticate(token, now).await,
        }
    }

    /// As [`Snapshot::access`].
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn access(&self, token: TokenId, now: Timestamp) -> Result<Option<Access>> {
        match self {
            Self::Embedded(snapshot) => Ok(snapshot.access(token, now)?),
            Self::Remote(view) => view.remote.access(token, now).await,
        }
    }

    /// As [`Snapshot::resolve_assistant`].
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn resolve_assistant(
        &self,
        user: UserId,
        assistant: AssistantRef,
    ) -> Result<Option<Assistant>> {
        match self {
            Self::Embedded(snapshot) => Ok(snapshot.resolve_assistant(user, assistant)?),
            Self::Remote(view) => view.resolve_assistant(user, assistant).await,
        }
    }

    /// As [`Snapshot::seal_cursor`]. Reads nothing.
    #[must_use]
    pub fn seal_cursor(&self, cursor: &PageCursor) -> String {
        match self {
            Self::Embedded(snapshot) => snapshot.seal_cursor(cursor),
            Self::Remote(view) => view.remote.seal_cursor(cursor),
        }
    }

    /// As [`Snapshot::open_cursor`]. Reads nothing.
    ///
    /// # Errors
    /// [`convodb::Error::InvalidCursor`].
    pub fn open_cursor(&self, user: UserId, token: &str) -> convodb::Result<PageCursor> {
        match self {
            Self::Embedded(snapshot) => snapshot.open_cursor(user, token),
            Self::Remote(view) => view.remote.open_cursor(user, token),
        }
    }

    /// As [`Snapshot::seal_change_cursor`]. Reads nothing.
    #[must_use]
    pub fn seal_change_cursor(&self, cursor: &ChangeCursor) -> String {
        match self {
            Self::Embedded(snapshot) => snapshot.seal_change_cursor(cursor),
            Self::Remote(view) => view.remote.seal_change_cursor(cursor),
        }
    }

    /// As [`Snapshot::open_change_cursor`]. Reads nothing.
    ///
    /// # Errors
    /// [`convodb::Error::InvalidCursor`] or [`convodb::Error::ChangesExpired`].
    pub fn open_change_cursor(&self, user: UserId, token: &str) -> convodb::Result<ChangeCursor> {
        match self {
            Self::Embedded(snapshot) => snapshot.open_change_cursor(user, token),
            Self::Remote(view) => view.remote.open_change_cursor(user, token),
        }
    }
}

/// A view of a remote store. Each call reads what is committed then.
///
/// All methods may fail with [`Error::Unavailable`](crate::Error::Unavailable) or
/// [`Error::Fault`](crate::Error::Fault), and with
/// [`Error::AccessChanged`](crate::Error::AccessChanged) if the view checks an access token.
#[derive(Clone, Debug)]
pub struct RemoteView {
    remote: Arc<dyn Remote>,
    access: ReadAccess,
}

impl RemoteView {
    pub(crate) fn new(remote: Arc<dyn Remote>) -> Self {
        Self { remote, access: ReadAccess::default() }
    }

    fn restricted_to(mut self, assistant: AssistantId) -> Self {
        self.access.restriction = Some(assistant);
        self
    }

    /// The same view, which checks an access token beside its first read.
    #[must_use]
    pub fn checking(mut self, recalled: Arc<RecalledAccess>) -> Self {
        self.access.recalled = Some(recalled);
        self
    }

    /// What the view checks.
    #[must_use]
    pub const fn recalled(&self) -> Option<&Arc<RecalledAccess>> {
        self.access.recalled.as_ref()
    }

    /// A page of a list, with the names of the assistants of its rows.
    ///
    /// # Errors
    /// Those of misuse of [`Snapshot::list`].
    pub async fn list(&self, user: UserId, request: &ListRequest) -> Result<Listed> {
        self.remote.list(user, &self.access, request).await
    }

    /// Begins to read a whole list as of this moment: see [`Remote::export`].
    ///
    /// # Errors
    /// Those of misuse of [`Snapshot::list`].
    pub async fn export(
        &self,
        user: UserId,
        request: &ListRequest,
        messages: Messages,
        deadline: Instant,
    ) -> Result<Box<dyn ListReader>> {
        self.remote.export(user, &self.access, request, messages, deadline).await
    }

    /// As [`Snapshot::count`].
    ///
    /// # Errors
    /// Those of misuse of [`Snapshot::count`].
    pub async fn count(&self, user: UserId, request: &ListRequest) -> Result<Count> {
        self.remote.count(user, &self.access, request).await
    }

    /// A conversation with its messages and the name of its assistant.
    ///
    /// # Errors
    /// Only faults.
    pub async fn history(
        &self,
        user: UserId,
        id: ConversationId,
    ) -> Result<Option<ConversationHistory>> {
        self.remote.history(user, &self.access, id).await
    }

    /// As [`Snapshot::changes_since`], with the names of the assistants of the conversations.
    ///
    /// # Errors
    /// Those of misuse of [`Snapshot::changes_since`].
    pub async fn changes_since(
        &self,
        user: UserId,
        since: ChangesSince,
        size: PageSize,
    ) -> Result<Followed> {
        self.remote.changes_since(user, &self.access, since, size).await
    }

    /// As [`Snapshot::stats`].
    ///
    /// # Errors
    /// Those of misuse of [`Snapshot::stats`].
    pub async fn stats(&self, user: UserId, request: &StatsRequest) -> Result<Stats> {
        self.remote.stats(user, &self.access, request).await
    }

    /// As [`Snapshot::resolve_assistant`].
    ///
    /// # Errors
    /// Only faults.
    pub async fn resolve_assistant(
        &self,
        user: UserId,
        assistant: AssistantRef,
    ) -> Result<Option<Assistant>> {
        self.remote.resolve_assistant(user, &self.access, assistant).await
    }

    /// As [`Snapshot::assistants`] and [`Snapshot::assistant_count`].
    ///
    /// # Errors
    /// Only faults.
    pub async fn assistants(
        &self,
        user: UserId,
        offset: u32,
        limit: usize,
    ) -> Result<AssistantPage> {
        self.remote.assistants(user, &self.access, offset, limit).await
    }

    /// The names of those of the user's assistants `ids` that exist.
    ///
    /// # Errors
    /// Only faults.
    pub async fn assistant_names(
        &self,
        user: UserId,
        ids: Vec<AssistantId>,
    ) -> Result<Vec<(AssistantId, Name)>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.remote.assistant_names(user, &self.access, ids).await
    }

    /// The user with what the data takes and may take; `None` if there is no such user.
    ///
    /// # Errors
    /// Only faults.
    pub async fn account(&self, user: UserId) -> Result<Option<Account>> {
        self.remote.account(user, &self.access).await
    }
}
