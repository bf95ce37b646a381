//! The error of a source: those of every store, and those of a database beyond it.

use convodb::Scope;

/// What a read or a write of a [`Source`](crate::Source) fails with.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error that an embedded store returns for the same request.
    #[error(transparent)]
    Store(#[from] convodb::Error),
    /// The access token of a write does not have the scope.
    #[error("the access token does not have the scope {0}")]
    ScopeMissing(Scope),
    /// The access token does not allow what it allowed when it was read last: see
    /// [`RecalledAccess`](crate::RecalledAccess). Authenticate again.
    #[error("the access token has changed since it was read")]
    AccessChanged,
    /// A write may be stored or not, and it was not known in time which.
    #[error("the write may be stored or not")]
    InDoubt,
    /// The database cannot be reached or accepts no further request now. Nothing was written.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database refused what no request should cause.
    #[error("the database failed: {0}")]
    Fault(String),
}

/// The result of a read or a write of a [`Source`](crate::Source).
pub type Result<T, E = Error> = std::result::Result<T, E>;
