//! The error of a store on PostgreSQL: those of every store, and those of the database.

use std::error::Error as _;
use std::sync::Arc;

use tokio_postgres::error::SqlState;

/// What a method of a [`Cluster`](crate::Cluster) fails with.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error that an embedded store returns for the same request: misuse, a missing thing, or
    /// stored data that no store has written.
    #[error(transparent)]
    Store(#[from] convodb::Error),
    /// The database refused a statement, or the connection failed.
    #[error("PostgreSQL failed: {}", chain(.0))]
    Postgres(Arc<tokio_postgres::Error>),
    /// No connection was available.
    #[error("no connection to PostgreSQL: {0}")]
    Unavailable(String),
    /// An option is not valid.
    #[error("{field} {reason}")]
    Option {
        /// The option.
        field: &'static str,
        /// What would be right.
        reason: String,
    },
    /// The schema contains no store.
    #[error("schema {0} contains no store; create one with `convodb cluster init` or `import`")]
    NoStore(String),
    /// The schema contains a store or other tables of these names already.
    #[error("schema {0} is not empty; a store is created in an empty schema")]
    NotEmpty(String),
    /// The store has a format that this version does not know.
    #[error("store format {found} is newer than the supported format {supported}")]
    NewerFormat {
        /// The format of the store.
        found: i32,
        /// The newest format that this version knows.
        supported: i32,
    },
    /// The database would not answer a list by one index range. Such a connection is not used,
    /// because its pages would cost more with each conversation.
    #[error("PostgreSQL does not read {list} by index {index}: {found}")]
    SlowPlan {
        /// The fields of the list.
        list: String,
        /// The index that answers it.
        index: String,
        /// The step of the plan that reads something else.
        found: String,
    },
    /// The access token of a write does not have the scope.
    #[error("the access token does not have the scope {0}")]
    ScopeMissing(convodb::Scope),
    /// The access token that a read checks was revoked or has changed: see
    /// [`convodb_service::RecalledAccess`].
    #[error("the access token has changed since it was read")]
    AccessChanged,
    /// The database did not answer a read in time: see
    /// [`ClusterOptions::read_timeout`](crate::ClusterOptions::read_timeout). It can be repeated.
    #[error("PostgreSQL did not answer in time; repeat the read later")]
    ReadTimedOut,
    /// A write was not done in time. Nothing was written, so it can be repeated.
    #[error("the write was not done in time; nothing was written")]
    TimedOut,
    /// The connection failed while a write was committed, and it was not known in time whether it is. A
    /// write with an idempotency key can be repeated; of another one, read first what is stored.
    #[error("the connection failed during the commit; the write may be stored or not")]
    InDoubt,
    /// Too many writes are waiting. Nothing was written.
    #[error("too many writes are waiting; repeat the write later")]
    Overloaded,
    /// A change of a conversation panicked in the same group of writes. Nothing was written.
    #[error("the write was abandoned, because a change in its group panicked")]
    Abandoned,
    /// The embedded store to import has messages of a conversation that is not inserted yet.
    #[error("the store has unfinished inserts; open it for writing once, which removes them")]
    UnfinishedInserts,
    /// The rows to export do not agree with each other: `convodb cluster verify` reports more.
    #[error("the rows in the database do not agree: {0}")]
    Inconsistent(String),
    /// The embedded store has a number that the tables cannot contain.
    #[error("{0} must be at most 2147483647 to be imported")]
    TooLarge(&'static str),
}

/// The result of a method of a [`Cluster`](crate::Cluster).
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the connection failed, or the server does not do and another may.
    pub(crate) fn is_of_connection(&self) -> bool {
        match self {
            Self::Postgres(error) => {
                error.code().map_or(error.is_closed() || is_io(error), is_of_connection)
            }
            _ => false,
        }
    }
}

/// Whether an error of the driver is one of its connection.
fn is_io(error: &tokio_postgres::Error) -> bool {
    error.source().is_some_and(|cause| cause.is::<std::io::Error>())
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Error::Postgres(Arc::new(error))
    }
}

/// The message of an error with those of its causes: the driver's own message names no cause.
pub(crate) fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Whether the code says that this connection or this server does not do, but another may.
pub(crate) fn is_of_connection(code: &SqlState) -> bool {
    code.code().starts_with("08")
        || [
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        ]
        .contains(code)
}

/// [`convodb::Error::Corrupted`] for a row of a table.
pub(crate) const fn corrupted(table: &'static str, what: &'static str) -> Error {
    Error::Store(convodb::seam::corrupted(table, what))
}
