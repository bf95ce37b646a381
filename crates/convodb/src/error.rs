//! The engine's error type: misuse, missing things and faults of the store, never mixed.
//!
//! A variant is something that a caller can act on. Messages name the field and the rule, and never
//! contain a phone number, a name, a cursor or a token.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

/// The error of every call of the engine.
///
/// Match on the variant to act; print it for a person. [`Error::is_retryable`] separates what may
/// succeed later from what will not. Errors are cheap to clone and keep the system's error as their
/// [source](std::error::Error::source).
///
/// ```
/// use convodb::{ConversationId, Error, Store, Timestamp, UserId};
/// let store = Store::in_memory()?;
/// let id = ConversationId::generate(Timestamp::MIN);
/// match store.delete(UserId::new(1), id) {
///     Ok(()) => println!("deleted"),
///     Err(Error::ConversationNotFound) => println!("no such conversation"),
///     Err(error) if error.is_retryable() => println!("try again later: {error}"),
///     Err(error) => return Err(error),
/// }
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value breaks a rule of its type or of its operation. Nothing was read or written.
    #[error("{field} {reason}")]
    Invalid {
        /// The field, by its name in the documented API, or the kind of value where the API has
        /// several fields of that kind.
        field: &'static str,
        /// The rule: what a valid value looks like.
        reason: &'static str,
    },
    /// The text is not a cursor that this store issued to this user for this list.
    #[error("cursor was not issued by this store for this list")]
    InvalidCursor,
    /// A filter, bound or order passed beside a cursor differs from the list that the cursor
    /// continues.
    #[error("{field} differs from the list that the cursor continues")]
    CursorConflict {
        /// The field, by its name in the documented API.
        field: &'static str,
    },
    /// The change cursor is older than the oldest retained change, or was issued by another history
    /// of the store, as after a restore. Read the list of conversations again and continue from now.
    #[error("changes after this cursor are not retained; read the list again, continue from now")]
    ChangesExpired,
    /// The idempotency key was used for a different request before.
    #[error("idempotency key was used for a different request")]
    IdempotencyConflict,
    /// The user already has a conversation with this id.
    #[error("conversation {0} already exists")]
    DuplicateConversation(Uuid),
    /// The user already has an assistant with this id.
    #[error("assistant {0} already exists")]
    DuplicateAssistant(Uuid),
    /// Another user already has this name.
    #[error("a user with this name already exists")]
    DuplicateUser,
    /// The assistant cannot be deleted: it has conversations.
    #[error("assistant {0} has conversations; delete or reassign them first")]
    AssistantInUse(Uuid),
    /// The write would take the user's data beyond its quota. Nothing of it was written. Deletions
    /// always succeed; so do changes by which nothing grows. Delete conversations, or raise the
    /// quota: [`Store::set_quota`](crate::Store::set_quota).
    #[error(
        "quota of {limit} {what} exceeded: {used} are used, and this adds {added}; delete \
         conversations or raise the quota"
    )]
    QuotaExceeded {
        /// What the quota counts: `conversations` or `bytes`.
        what: &'static str,
        /// The quota.
        limit: u64,
        /// How much of it was used before.
        used: u64,
        /// How much the write would add.
        added: u64,
    },
    /// The list needs an optional index that this store does not have, or that is being dropped.
    /// Add it: [`Store::add_indexes`](crate::Store::add_indexes).
    #[error(
        "index {index} does not exist in this store; add it with `convodb indexes add {index}` or \
         `convodb serve --indexes {index}`"
    )]
    IndexAbsent {
        /// The name of its [`IndexFamily`](crate::IndexFamily).
        index: &'static str,
    },
    /// The list needs an optional index that is being built. Retry when it is ready.
    #[error("index {index} is being built; retry when it is ready")]
    IndexBuilding {
        /// The name of its [`IndexFamily`](crate::IndexFamily).
        index: &'static str,
    },
    /// A write was started from inside a write, which would deadlock.
    #[error("write started inside a write; use the transaction that the closure received")]
    NestedWrite,

    /// The user has no such conversation.
    #[error("conversation not found")]
    ConversationNotFound,
    /// The user has no such assistant.
    #[error("assistant not found")]
    AssistantNotFound,
    /// The user does not exist.
    #[error("user not found")]
    UserNotFound,
    /// The user is being erased, and accepts no write any more.
    #[error("user is being erased")]
    UserClosed,
    /// The token does not exist, or has expired.
    #[error("token not found")]
    TokenNotFound,

    /// The write queue is full. Retry later.
    #[error("write queue is full; retry later")]
    QueueFull,
    /// The store is closed.
    #[error("store is closed")]
    Closed,
    /// The store was opened with [`StoreOptions::read_only`](crate::StoreOptions::read_only).
    /// Nothing was written.
    #[error("store was opened for reading only")]
    ReadOnly,
    /// The file is open already: a store can be opened once at a time. Clone the
    /// [`Store`](crate::Store) to share it within a process.
    #[error(
        "store {} is already open in {} process{}", .path.display(),
        if *.this_process { "this" } else { "another" },
        if *.this_process { "; clone the handle to share it" } else { "" }
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// Whether this process has it open.
        this_process: bool,
    },
    /// A file exists where a new one was to be created. It was not touched.
    #[error("file {} already exists", .0.display())]
    FileExists(PathBuf),
    /// The file is not a convodb store.
    #[error("not a convodb store: {0}")]
    NotAStore(String),
    /// The file was written by a newer version. It was not touched.
    #[error("file format {found} is newer than the supported format {supported}")]
    NewerFormat {
        /// The format of the file.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// The file was written by an older version, and a store that is opened for reading only is not
    /// upgraded. The file was not touched. Open it for writing once.
    #[error(
        "file format {found} is older than {supported}, and opening for reading only does not \
         upgrade it; open the store for writing once, for example with `convodb verify`"
    )]
    OlderFormat {
        /// The format of the file.
        found: u32,
        /// The format after the upgrade.
        supported: u32,
    },
    /// A newer version gave the store an optional index that this one does not know, and would not
    /// keep up. The file was not touched.
    #[error("the store has the index {index}, which this version does not know; use a newer one")]
    UnknownIndex {
        /// The name of the index.
        index: String,
    },
    /// The WAL beside the file is not the one that the file needs: it is missing, cut short, or that
    /// of another store or of another copy of this store. Without it, acknowledged writes would be
    /// lost, so the store was not opened, and no file was touched. Put the right log files back, or
    /// give up what they contain with
    /// [`StoreOptions::without_wal`](crate::StoreOptions::without_wal).
    #[error(
        "the write-ahead log ({}-log.*) of the store {what}; acknowledged writes would be lost, so \
         the store was not opened; put its log files back beside it, or give up their writes by \
         opening it without the log",
        .path.display()
    )]
    WalMismatch {
        /// The file.
        path: PathBuf,
        /// What is wrong with its log.
        what: &'static str,
    },
    /// Stored bytes fail a check. They were not returned; other data stays readable.
    #[error("corrupted data in {table}: {what}")]
    Corrupted {
        /// The table by its name on disk, or `wal`, `backup`, `redb`.
        table: &'static str,
        /// The check that failed.
        what: &'static str,
    },
    /// The write was not executed or was rolled back, because of a fault of the store. Nothing of
    /// it is or will be stored. The store reopens its files by itself where it has to: retry.
    #[error("write aborted: {source}")]
    WriteAborted {
        /// The fault.
        source: Arc<io::Error>,
    },
    /// The commit failed in a way that leaves its outcome unknown: after the store has reopened its
    /// files, the whole group of writes is stored, or none of it.
    #[error("commit outcome unknown: {source}")]
    CommitUnknown {
        /// The fault.
        source: Arc<io::Error>,
    },
    /// The snapshot cannot be read from disk any more: the store met a fault or was closed after
    /// the snapshot was taken. Take a new snapshot.
    #[error("snapshot invalidated by a fault or by closing the store; take a new one")]
    SnapshotInvalidated,
    /// The operating system refused an operation, as reading a page of the file. A read that fails
    /// with this leaves the store open: other data stays readable.
    #[error("i/o failed: {0}")]
    Io(#[source] Arc<io::Error>),
    /// redb reported an error of another kind.
    #[error("storage engine failed: {0}")]
    Storage(String),
}

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The kind of the system's error, or [`io::ErrorKind::Other`] where the system is not the
    /// cause.
    #[must_use]
    pub fn io_kind(&self) -> io::ErrorKind {
        match self {
            Error::Io(source)
            | Error::WriteAborted { source }
            | Error::CommitUnknown { source } => source.kind(),
            _ => io::ErrorKind::Other,
        }
    }

    /// Whether the disk or the quota of its user is full, or the file has the largest size that the
    /// system allows.
    ///
    /// ```
    /// let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    /// assert!(convodb::Error::from(full).is_storage_full());
    /// ```
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        is_storage_full(self.io_kind())
    }

    /// Whether the same call may succeed later without anybody changing it: a full queue, a fault
    /// that the store recovers from by itself, an invalidated snapshot (take a new one), an index that
    /// is being built. False for
    /// [`Error::CommitUnknown`]: a retry could execute the write twice, unless it is
    /// [idempotent](crate::Transaction::idempotent).
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Error::QueueFull
                | Error::WriteAborted { .. }
                | Error::SnapshotInvalidated
                | Error::IndexBuilding { .. }
        )
    }

    /// The error as the source of [`Error::WriteAborted`] or [`Error::CommitUnknown`].
    pub(crate) fn into_io(self) -> Arc<io::Error> {
        match self {
            Error::Io(source)
            | Error::WriteAborted { source }
            | Error::CommitUnknown { source } => source,
            error => Arc::new(io::Error::other(error)),
        }
    }

    /// The error of a write that failed before it started: nothing of it is stored.
    pub(crate) fn before_start(self) -> Self {
        match self {
            Error::CommitUnknown { source } => Error::WriteAborted { source },
            error => error,
        }
    }

    /// [`Error::CommitUnknown`] with a fault that no other error describes.
    pub(crate) fn commit_unknown(why: &'static str) -> Self {
        Error::CommitUnknown { source: Arc::new(io::Error::other(why)) }
    }
}

/// Whether a kind of error means that the disk or the quota of its user is full, or that the file
/// has the largest size that the system allows.
pub(crate) const fn is_storage_full(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(kind, StorageFull | QuotaExceeded | FileTooLarge)
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::Io(Arc::new(error))
    }
}

/// Converts an error of redb: `.map_err(from_redb)`. There is no `From`, because redb's types are
/// not part of this crate's API.
pub(crate) fn from_redb(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            Error::NotAStore(error.to_string())
        }
        redb::Error::Io(error) => error.into(),
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            Error::InUse { path: PathBuf::new(), this_process: false }
        }
        redb::Error::DatabaseClosed | redb::Error::PreviousIo => Error::SnapshotInvalidated,
        redb::Error::Corrupted(_) => {
            Error::Corrupted { table: "redb", what: "a page fails its checks" }
        }
        redb::Error::UpgradeRequired(found) => {
            Error::NotAStore(format!("file format {found} of an older redb"))
        }
        error @ (redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableDoesNotExist(_)) => Error::NotAStore(error.to_string()),
        error => Error::Storage(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn the_system_error_stays_the_source() {
        let full = Error::from(io::Error::from(io::ErrorKind::StorageFull));
        let aborted = Error::WriteAborted { source: full.into_io() };
        assert!(aborted.is_storage_full() && aborted.is_retryable());
        assert!(aborted.source().is_some());
        let corrupted = Error::Corrupted { table: "messages.v1", what: "checksum mismatch" };
        let unknown = Error::CommitUnknown { source: corrupted.into_io() };
        assert!(!unknown.is_retryable() && !unknown.is_storage_full());
        let shown = unknown.to_string();
        assert_eq!(
            shown,
            "commit outcome unknown: corrupted data in messages.v1: checksum mismatch"
        );
    }
}
