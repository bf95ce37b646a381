//! Connections for writes: a bounded number, each with the statements of a group prepared.
//!
//! Unlike those for reads, each observes the warnings of its server: PostgreSQL reports a commit that
//! no standby has confirmed as a success with a warning. A connection is used again only after a
//! transaction that ended well; else it is closed, and the server rolls back.
//!
//! Of users whose data waits for something, as for a lock or for the shard of a cluster that is down,
//! the writes of all could take every connection. So writes that make no progress hold at most a
//! quarter of them: one that is not answered within [`STALL`] takes one of these places or gives up its
//! connection, and then waits for such a place. The others are left to the writes of all other users.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::Severity;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Row, Statement};

use crate::connection::{ClusterOptions, Connector, search_path};
use crate::error::{Error, Result, chain};
use crate::plan_check;
use crate::writes::statements::{Command, Sql};

/// A server that lost its client between two flights gives the lock up after this time.
const ABANDONED: &str = "set idle_in_transaction_session_timeout = '10s';";

/// A write that waits for an answer longer makes no progress. The longest waits of a server that works
/// are shorter, but for the pauses of a checkpoint, which all users share.
pub(crate) const STALL: Duration = Duration::from_millis(100);

/// The results of statements that were sent at once.
pub(crate) type Answers = Vec<Result<Vec<Row>, tokio_postgres::Error>>;

/// The connections for writes.
pub(crate) struct WriteConnections {
    connector: Arc<Connector>,
    schema: Arc<str>,
    permits: Semaphore,
    /// The places of writes that make no progress; none if there is only one connection.
    stalled: Option<Semaphore>,
    idle: Mutex<Vec<WriteConnection>>,
}

impl WriteConnections {
    pub(crate) fn new(options: &ClusterOptions, connector: Arc<Connector>) -> Self {
        let connections = options.write_connections.min(Semaphore::MAX_PERMITS);
        Self {
            connector,
            schema: options.schema.clone(),
            permits: Semaphore::new(connections),
            stalled: (connections > 1).then(|| Semaphore::new((connections / 4).max(1))),
            idle: Mutex::default(),
        }
    }

    /// A place among those that use a connection, when fewer than the maximum are taken. One that has
    /// made no progress before, `is_suspect`, waits for a place of these, too.
    pub(crate) async fn place(&self, is_suspect: bool) -> Result<Place<'_>> {
        let closed = |error: AcquireError| Error::Unavailable(error.to_string());
        let stalled = OnceLock::new();
        if let Some(places) = self.stalled.as_ref().filter(|_| is_suspect) {
            let _ = stalled.set(places.acquire().await.map_err(closed)?);
        }
        let permit = self.permits.acquire().await.map_err(closed)?;
        let since = Instant::now();
        Ok(Place { connections: self, since, stalled, _permit: permit })
    }

    /// Closes the idle connections: one failed, and the others may be to the same server.
    pub(crate) fn discard_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The right to use a connection.
pub(crate) struct Place<'p> {
    connections: &'p WriteConnections,
    /// Since when it is taken.
    since: Instant,
    /// The place among those that make no progress.
    stalled: OnceLock<SemaphorePermit<'p>>,
    _permit: SemaphorePermit<'p>,
}

impl<'p> Place<'p> {
    /// Since when the place is taken.
    pub(crate) const fn since(&self) -> Instant {
        self.since
    }

    /// An idle connection or a new one.
    pub(crate) async fn connect(self) -> Result<Lease<'p>> {
        let Self { connections, .. } = self;
        let idle = || connections.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = idle();
        while connection.as_ref().is_some_and(WriteConnection::is_closed) {
            connection = idle();
        }
        let connection = match connection {
            Some(connection) => connection,
            None => WriteConnection::open(&connections.connector, &connections.schema).await?,
        };
        Ok(Lease { connection, place: self })
    }

    /// Whether the place is among those that make no progress. It becomes one if there is room.
    fn may_stall(&self) -> bool {
        let Some(places) = &self.connections.stalled else { return true };
        if self.stalled.get().is_none()
            && let Ok(permit) = places.try_acquire()
        {
            let _ = self.stalled.set(permit);
        }
        self.stalled.get().is_some()
    }
}

/// What becomes of statements that are not answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnStall {
    /// They write nothing, so they are given up, and cancelled.
    Abandon,
    /// They may commit, so they are waited for.
    Wait,
}

/// A connection in use. Dropping it closes the connection.
pub(crate) struct Lease<'p> {
    connection: WriteConnection,
    place: Place<'p>,
}

/// There is no answer.
pub(crate) enum Unanswered {
    /// The end is reached.
    TimedOut,
    /// Too many others make no progress, either.
    Stalled,
}

impl Lease<'_> {
    /// Returns a connection whose transaction has ended.
    pub(crate) fn give_back(self) {
        let idle = &self.place.connections.idle;
        idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.connection);
    }

    /// Sends statements at once, and returns the result of each.
    pub(crate) async fn flight(&self, commands: &[Command]) -> Answers {
        self.connection.flight(commands).await
    }

    /// [`Lease::flight`] that is answered before `end`. Without an answer, the connection must not be
    /// used again.
    pub(crate) async fn flight_until(
        &self,
        end: Instant,
        commands: &[Command],
        on_stall: OnStall,
    ) -> Result<Answers, Unanswered> {
        let mut flight = pin!(self.connection.flight(commands));
        let stall = Instant::now() + STALL;
        if stall < end {
            if let Ok(answers) = timeout_at(stall, &mut flight).await {
                return Ok(answers);
            }
            if !self.place.may_stall() && on_stall == OnStall::Abandon {
                self.cancel();
                return Err(Unanswered::Stalled);
            }
        }
        timeout_at(end, &mut flight).await.map_err(|_| {
            if on_stall == OnStall::Abandon {
                self.cancel();
            }
            Unanswered::TimedOut
        })
    }

    /// Asks the server to end what it does: it does not notice that nobody waits for it any more.
    fn cancel(&self) {
        let (connector, cancel) =
            (self.place.connections.connector.clone(), self.connection.cancel.clone());
        drop(tokio::spawn(async move { connector.cancel(&cancel).await }));
    }

    /// Whether the server has warned of anything since the last call.
    pub(crate) fn take_warning(&self) -> bool {
        self.connection.is_warned.swap(false, Ordering::AcqRel)
    }
}

struct WriteConnection {
    client: Client,
    /// By the number of each [`Sql`].
    statements: Vec<Statement>,
    is_warned: Arc<AtomicBool>,
    cancel: CancelToken,
    driver: JoinHandle<()>,
}

impl WriteConnection {
    async fn open(connector: &Connector, schema: &str) -> Result<Self> {
        let (client, mut connection) = connector.connect().await?;
        let is_warned = Arc::new(AtomicBool::new(false));
        let warned = is_warned.clone();
        let driver = tokio::spawn(async move {
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                match message {
                    Ok(AsyncMessage::Notice(notice)) => {
                        if notice.parsed_severity() == Some(Severity::Warning) {
                            tracing::warn!(%notice, "PostgreSQL warned during writes");
                            warned.store(true, Ordering::Release);
                        }
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(cause = %chain(&error), "a connection for writes failed");
                        return;
                    }
                }
            }
        });
        // From here on, dropping it ends the driver.
        let cancel = client.cancel_token();
        let mut opened = Self { client, statements: Vec::new(), is_warned, cancel, driver };
        let settings = format!("{}{}{ABANDONED}", search_path(schema), plan_check::settings());
        opened.client.batch_execute(&settings).await?;
        let texts: Vec<String> = Sql::all().map(|(_, text)| text).collect();
        let prepared = texts.iter().map(|text| opened.client.prepare(text));
        opened.statements = try_join_all(prepared).await?;
        Ok(opened)
    }

    fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    async fn flight(&self, commands: &[Command]) -> Answers {
        // Each is sent when it is first polled, so in this order and without waiting.
        join_all(commands.iter().map(|Command { sql, values }| async move {
            let values: Vec<&(dyn ToSql + Sync)> =
                values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
            self.client.query(&self.statements[*sql as usize], &values).await
        }))
        .await
    }
}

impl Drop for WriteConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
