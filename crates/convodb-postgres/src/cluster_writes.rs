//! Writing to a store on PostgreSQL.

use convodb::UserId;
use convodb_service::{Idempotent, Write, WriteAuthority, Written};

use crate::cluster::Cluster;
use crate::error::Result;
use crate::writes::metrics::WriteMetrics;
use crate::writes::request::{Reply, WriteRequest};

/// Writing. A write waits in the lane of its user, whose task commits all that wait, up to 256, in
/// one transaction of two round trips: so call these from many tasks. The calls need a Tokio runtime.
///
/// Both may fail with the errors of the write; [`Error::TimedOut`](crate::Error::TimedOut),
/// [`Error::Overloaded`](crate::Error::Overloaded), [`Error::Abandoned`](crate::Error::Abandoned) or
/// [`Error::Postgres`](crate::Error::Postgres) if nothing was written; and
/// [`Error::InDoubt`](crate::Error::InDoubt).
impl Cluster {
    /// Does a write of the user's data, and returns when it is committed.
    ///
    /// # Errors
    /// Those of the method of [`convodb::Transaction`] that does the same, and of a fault. By an
    /// [authority](Self::authorized_by): [`convodb::Error::TokenNotFound`] and
    /// [`Error::ScopeMissing`](crate::Error::ScopeMissing).
    pub async fn write(&self, user: UserId, write: Write) -> Result<Written> {
        match self.submit(user, write, None).await? {
            Reply::Written(written) => Ok(written),
            Reply::Response(_) => unreachable!("only a write with a key has a response"),
        }
    }

    /// Does a write once for an idempotency key, as [`convodb::Transaction::idempotent`]: a retry
    /// returns the response of the first run.
    ///
    /// # Errors
    /// Those of [`Cluster::write`]; [`convodb::Error::IdempotencyConflict`] if the key was used for
    /// a different request; [`convodb::Error::QuotaExceeded`] if the record is beyond the quota.
    pub async fn write_once(
        &self,
        user: UserId,
        once: Idempotent,
        write: Write,
    ) -> Result<Vec<u8>> {
        match self.submit(user, write, Some(once)).await? {
            Reply::Response(response) => Ok(response),
            Reply::Written(_) => unreachable!("a write with a key has a response"),
        }
    }

    /// The same store, whose writes are by an access token: each is refused if the token is revoked,
    /// has expired or lacks the scope when the write is done, and reaches no more than the token
    /// does then.
    #[must_use]
    pub fn authorized_by(mut self, authority: WriteAuthority) -> Self {
        self.authority = Some(authority);
        self
    }

    /// What the writes of this store and its clones have met since it was opened.
    #[must_use]
    pub fn write_metrics(&self) -> WriteMetrics {
        self.lanes.metrics()
    }

    async fn submit(&self, user: UserId, write: Write, once: Option<Idempotent>) -> Result<Reply> {
        let Self { restriction, authority, .. } = *self;
        let request = WriteRequest { write, idempotent: once, restriction, authority };
        self.lanes.write(user, request).await
    }
}
