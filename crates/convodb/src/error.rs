//! The one error of the engine. Three kinds that never share a variant: what the caller asked
//! wrongly (nothing was done), what is not there, and what is wrong with the store. A message
//! names the field and the rule, never a phone number, a name, a cursor or a token.

use std::io;
use std::path::PathBuf;

use uuid::Uuid;

/// What every call of the engine can fail with.
///
/// Match on the variant to act; print it to tell a person. Messages carry no personal data.
///
/// ```
/// use convodb::{ConversationId, Error, Store, Timestamp, UserId};
/// let store = Store::in_memory()?;
/// let id = ConversationId::generate(Timestamp::MIN);
/// match store.delete(UserId::new(1), id) {
///     Ok(()) => println!("deleted"),
///     Err(Error::ConversationNotFound) => println!("there is no such conversation"),
///     Err(Error::QueueFull) => println!("try again later"),
///     Err(error) => return Err(error),
/// }
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value breaks a rule of its type; nothing was read or written.
    #[error("{field} {reason}")]
    Invalid {
        /// The field, by the name it has in the documented API, or the kind of value where the API
        /// has several of it.
        field: &'static str,
        /// What a right value looks like.
        reason: &'static str,
    },
    /// A cursor token that this store did not give to this user for this list.
    #[error("the cursor is not one that this store gave out for this list")]
    InvalidCursor,
    /// A filter, bound or order beside a cursor that is not the one the cursor continues.
    #[error("{field} differs from the list that the cursor continues")]
    CursorConflict {
        /// The field, by the name it has in the documented API.
        field: &'static str,
    },
    /// A cursor of the feed that is older than the oldest change that is kept. What was missed can
    /// be had from the list of conversations.
    #[error(
        "the changes after this cursor are forgotten; read the whole list, then go on from now"
    )]
    ChangesExpired,
    /// The idempotency key was given to another request before.
    #[error("the idempotency key belongs to another request")]
    IdempotencyConflict,
    /// The user already has a conversation with this id.
    #[error("conversation {0} already exists")]
    DuplicateConversation(Uuid),
    /// The user already has an assistant with this id.
    #[error("assistant {0} already exists")]
    DuplicateAssistant(Uuid),
    /// Another user already has this name.
    #[error("a user of this name already exists")]
    DuplicateUser,
    /// A write was asked for from inside a write, which would wait for itself.
    #[error("a write cannot be started from inside a write; use the transaction it was given")]
    NestedWrite,

    /// The user has no such conversation.
    #[error("conversation not found")]
    ConversationNotFound,
    /// The user has no such assistant.
    #[error("assistant not found")]
    AssistantNotFound,
    /// There is no such user.
    #[error("user not found")]
    UserNotFound,
    /// There is no such token.
    #[error("token not found")]
    TokenNotFound,

    /// The queue of writes is full; try again later.
    #[error("the queue of writes is full; try again later")]
    QueueFull,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// Another process holds the file.
    #[error("the file is in use by another process")]
    InUse,
    /// A file stands where one should be made; it was left as it is.
    #[error("there is a file at {}; it was left as it is", .0.display())]
    FileExists(PathBuf),
    /// The file is not a convodb store.
    #[error("the file is not a convodb store: {0}")]
    NotAStore(String),
    /// The file was written by a newer version; it was left untouched.
    #[error(
        "the file has format {found}, this version reads up to {supported}; it was left untouched"
    )]
    NewerFormat {
        /// The format that the file says it has.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// Stored bytes that are not what was written; they were not served. What does not touch them
    /// goes on.
    #[error("damaged data in table {table}: {what}")]
    Corrupted {
        /// The table, by its name on disk.
        table: &'static str,
        /// What does not hold.
        what: &'static str,
    },
    /// A fault kept this write from being written, and nothing of it is there. The store opens its
    /// files again by itself where it has to, so the write can be tried again;
    /// [`Error::io_kind`] tells a full disk.
    #[error("nothing was written, because of a fault: {why}")]
    WriteAborted {
        /// As of [`Error::io_kind`].
        kind: io::ErrorKind,
        /// The fault, in words.
        why: String,
    },
    /// The commit of this write's group failed. Whether the group will be there once the store has
    /// opened its files again is unknown; it is there whole or not at all.
    #[error("the commit failed, and with it every write of its group: {why}")]
    CommitUnknown {
        /// As of [`Error::io_kind`].
        kind: io::ErrorKind,
        /// The fault, in words.
        why: String,
    },
    /// The snapshot cannot be read any more, but for what was in memory: the store met a fault of
    /// the disk after it was taken, or was closed. One that is taken later can be read, as soon as
    /// the store has opened its files again.
    #[error("the snapshot cannot be read any more, after a fault or the end of its store")]
    SnapshotInvalidated,
    /// The disk or the file system refused an operation.
    #[error("input or output failed: {0}")]
    Io(#[from] io::Error),
    /// The storage engine reported a fault of another kind.
    #[error("storage fault: {0}")]
    Storage(String),
}

impl Error {
    /// What the system said, where it was the system: [`io::ErrorKind::StorageFull`] for a full
    /// disk. [`io::ErrorKind::Other`] for anything else.
    #[must_use]
    pub fn io_kind(&self) -> io::ErrorKind {
        match self {
            Error::Io(error) => error.kind(),
            Error::CommitUnknown { kind, .. } | Error::WriteAborted { kind, .. } => *kind,
            _ => io::ErrorKind::Other,
        }
    }
}

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<redb::Error> for Error {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Error::NotAStore(error.to_string())
            }
            redb::Error::Io(error) => Error::Io(error),
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Error::InUse,
            redb::Error::DatabaseClosed | redb::Error::PreviousIo => Error::SnapshotInvalidated,
            redb::Error::Corrupted(_) => Error::Corrupted {
                table: "redb",
                what: "a page of the file is not what was written",
            },
            redb::Error::UpgradeRequired(found) => {
                Error::NotAStore(format!("it has the file format {found} of an older redb"))
            }
            error @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_)) => Error::NotAStore(error.to_string()),
            error => Error::Storage(error.to_string()),
        }
    }
}

// One line for each error type of redb, so that `?` reads in the rooms that touch tables. They are
// no part of the promise of this crate, and so not of its documentation.
#[doc(hidden)]
impl From<redb::StorageError> for Error {
    fn from(error: redb::StorageError) -> Self {
        redb::Error::from(error).into()
    }
}
#[doc(hidden)]
impl From<redb::TableError> for Error {
    fn from(error: redb::TableError) -> Self {
        redb::Error::from(error).into()
    }
}
#[doc(hidden)]
impl From<redb::DatabaseError> for Error {
    fn from(error: redb::DatabaseError) -> Self {
        redb::Error::from(error).into()
    }
}
#[doc(hidden)]
impl From<redb::CommitError> for Error {
    fn from(error: redb::CommitError) -> Self {
        redb::Error::from(error).into()
    }
}
#[doc(hidden)]
impl From<redb::TransactionError> for Error {
    fn from(error: redb::TransactionError) -> Self {
        redb::Error::from(error).into()
    }
}
