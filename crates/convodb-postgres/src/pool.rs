//! Sessions: a bounded number of connections to read with, each with its plans checked.
//!
//! Every statement ends at the deadline of its session, whatever the server does. A session that is
//! dropped while a statement runs closes its connection, so no later call meets what it left behind.
//!
//! The first statement of a read checks the access token beside, if it is to be checked: both are sent
//! at once. The token is read last, so a read that succeeds saw nothing that was written after the
//! token was revoked.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, IsolationLevel, Row, Statement, ToStatement, Transaction};

use crate::connection::{ClusterOptions, Connector, drive, search_path};
use crate::error::{Error, Result};
use crate::known_tokens::{Guard, access_sql};
use crate::plan_check;
use crate::read_metrics::{ReadCounters, ReadMetrics};

/// The parameters of a statement.
type Values<'v> = [&'v (dyn ToSql + Sync)];

/// The connections of a store for all but the writes in lanes.
pub(crate) struct SessionPool {
    connector: Arc<Connector>,
    schema: Arc<str>,
    timeout: Duration,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
    counters: Arc<ReadCounters>,
}

struct Connection {
    client: Client,
    statements: Prepared,
    driver: JoinHandle<()>,
}

/// The prepared statements of a connection, by their text.
#[derive(Default)]
struct Prepared(Mutex<HashMap<String, Statement>>);

impl Prepared {
    /// The statement with this text; the first time, `prepare` prepares it.
    async fn get(
        &self,
        sql: &str,
        prepare: impl AsyncFnOnce() -> Result<Statement>,
    ) -> Result<Statement> {
        let statements = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = statements().get(sql).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let prepared = prepare().await?;
        statements().insert(sql.to_owned(), prepared.clone());
        Ok(prepared)
    }
}

impl SessionPool {
    /// The pool of a store, whose connections are all of one connector.
    pub(crate) fn new(
        options: &ClusterOptions,
        connector: Arc<Connector>,
        counters: Arc<ReadCounters>,
    ) -> Self {
        let permits = Semaphore::new(options.connections.min(Semaphore::MAX_PERMITS));
        let (schema, timeout) = (options.schema.clone(), options.read_timeout);
        Self { connector, schema, timeout, permits, idle: Mutex::default(), counters }
    }

    /// What was read with the counters of the pool.
    pub(crate) fn metrics(&self) -> ReadMetrics {
        self.counters.read()
    }

    /// A session, whose deadline is the read timeout from now.
    ///
    /// # Errors
    /// [`Error::ReadTimedOut`] if none is free or the server does not answer; [`Error::SlowPlan`]; or
    /// a fault of the database.
    pub(crate) async fn get(&self) -> Result<Session<'_>> {
        self.get_until(Instant::now() + self.timeout, None).await
    }

    async fn get_until<'p>(
        &'p self,
        deadline: Instant,
        guard: Option<Guard<'p>>,
    ) -> Result<Session<'p>> {
        let connected = timeout_at(deadline, async {
            let permit = self.permits.acquire().await;
            let permit = permit.map_err(|error| Error::Unavailable(error.to_string()))?;
            Ok::<_, Error>((self.connection().await?, permit))
        });
        let (connection, permit) = match connected.await {
            Ok(connected) => connected?,
            Err(_) => return Err(Error::ReadTimedOut),
        };
        let in_flight = AtomicUsize::new(0);
        let connection = Some(connection);
        Ok(Session { pool: self, connection, deadline, in_flight, guard, _permit: permit })
    }

    /// [`Self::read_by`] without a token to check.
    pub(crate) async fn read<'p, T, F: Future<Output = Result<T>>>(
        &'p self,
        call: impl Fn(Session<'p>) -> F,
    ) -> Result<T> {
        self.read_by(None, call).await
    }

    /// Runs what reads, and once more on another connection if its connection fails. Both within one
    /// read timeout. Whatever was read, the token of the guard is checked if this succeeds.
    pub(crate) async fn read_by<'p, T, F: Future<Output = Result<T>>>(
        &'p self,
        guard: Option<Guard<'p>>,
        call: impl Fn(Session<'p>) -> F,
    ) -> Result<T> {
        let deadline = Instant::now() + self.timeout;
        let guard = guard.filter(|guard| guard.recalled.needs_check());
        let read = async || {
            let done = call(self.get_until(deadline, guard).await?).await?;
            if guard.is_some_and(|guard| guard.recalled.needs_check()) {
                self.get_until(deadline, guard).await?.check().await?;
            }
            Ok::<T, Error>(done)
        };
        match read().await {
            Err(error) if error.is_of_connection() => {
                tracing::warn!(%error, "a read lost its connection");
                ReadCounters::add(&self.counters.repeated);
                self.discard_idle();
                read().await
            }
            done => done,
        }
    }

    /// An idle connection, or a new one with the settings of a session and checked plans.
    async fn connection(&self) -> Result<Connection> {
        while let Some(idle) = self.take_idle() {
            if !idle.client.is_closed() {
                return Ok(idle);
            }
        }
        let (client, connection) = self.connector.connect().await?;
        // From here on, dropping it ends the driver.
        let driver = drive(connection);
        let connection = Connection { client, statements: Prepared::default(), driver };
        let settings = format!("{}{}", search_path(&self.schema), plan_check::settings());
        connection.client.batch_execute(&settings).await?;
        plan_check::check(&connection.client).await?;
        Ok(connection)
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle().pop()
    }

    /// Closes the idle connections: one failed, and the others may be to the same server.
    fn discard_idle(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A statement that is prepared once for a connection: on a session, or in its transaction.
pub(crate) trait Statements {
    /// Runs a statement, and returns its rows.
    async fn rows(&self, sql: &str, values: &Values<'_>) -> Result<Vec<Row>>;
}

/// The connections that a user's data is read with: of a standby, or of the primary.
pub(crate) struct Readers<'p> {
    /// Tried first.
    pub(crate) replica: Option<&'p SessionPool>,
    pub(crate) primary: &'p SessionPool,
    /// The token that is checked beside, always on the primary.
    pub(crate) guard: Option<Guard<'p>>,
}

impl<'p> Readers<'p> {
    /// [`SessionPool::read_by`] on the standby, or else on the primary. A read of the standby does not
    /// wait for the check of the token on the primary, but for its result.
    pub(crate) async fn read<T, F: Future<Output = Result<T>>>(
        &self,
        call: impl Fn(Session<'p>) -> F,
    ) -> Result<T> {
        let Some(replica) = self.replica else {
            return self.primary.read_by(self.guard, &call).await;
        };
        match self.guard.filter(|guard| guard.recalled.needs_check()) {
            None => self.read_replica(replica, &call).await,
            Some(guard) => {
                let (read, checked) = tokio::join!(
                    self.read_replica(replica, &call),
                    self.primary
                        .read_by(Some(guard), |session| async move { session.check().await }),
                );
                checked.and(read)
            }
        }
    }

    async fn read_replica<T, F: Future<Output = Result<T>>>(
        &self,
        replica: &'p SessionPool,
        call: impl Fn(Session<'p>) -> F,
    ) -> Result<T> {
        match replica.read(&call).await {
            Err(error) if is_of_replica(&error) => {
                tracing::warn!(%error, "a standby failed a read; the primary is read");
                ReadCounters::add(&replica.counters.standby_failures);
                self.primary.read(&call).await
            }
            done => {
                ReadCounters::add(&replica.counters.of_standby);
                done
            }
        }
    }
}

impl Statements for Readers<'_> {
    async fn rows(&self, sql: &str, values: &Values<'_>) -> Result<Vec<Row>> {
        self.read(|session| async move { session.rows(sql, values).await }).await
    }
}

/// Whether the primary may succeed where a standby fails: it is gone, or cancelled the statement
/// because it conflicts with what it replays.
fn is_of_replica(error: &Error) -> bool {
    matches!(error, Error::Unavailable(_) | Error::Postgres(_) | Error::SlowPlan { .. })
}

impl Statements for SessionPool {
    async fn rows(&self, sql: &str, values: &Values<'_>) -> Result<Vec<Row>> {
        self.read(|session| async move { session.rows(sql, values).await }).await
    }
}

/// A connection in use. Every call may fail with [`Error::ReadTimedOut`] at the deadline.
pub(crate) struct Session<'p> {
    pool: &'p SessionPool,
    /// Only dropping takes it.
    connection: Option<Connection>,
    deadline: Instant,
    /// The number of calls without an answer.
    in_flight: AtomicUsize,
    /// The token that is checked beside the first statement.
    guard: Option<Guard<'p>>,
    _permit: SemaphorePermit<'p>,
}

impl Session<'_> {
    /// Sets the deadline to the read timeout from now, for another piece of a long work.
    pub(crate) fn renew(&mut self) {
        self.deadline = Instant::now() + self.pool.timeout;
    }

    /// Runs a call of the client until the deadline.
    pub(crate) async fn run<'s, T, E: Into<Error>, F>(
        &'s self,
        call: impl FnOnce(&'s Client) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.calls().bounded(call(&self.connection().client)).await
    }

    pub(crate) async fn prepare(&self, sql: &str) -> Result<Statement> {
        let Connection { client, statements, .. } = self.connection();
        statements.get(sql, async || self.calls().bounded(client.prepare(sql)).await).await
    }

    pub(crate) async fn query<T: ?Sized + ToStatement + Sync>(
        &self,
        statement: &T,
        values: &Values<'_>,
    ) -> Result<Vec<Row>> {
        let client = &self.connection().client;
        self.calls().bounded(client.query(statement, values)).await
    }

    pub(crate) async fn query_one(&self, sql: &str, values: &Values<'_>) -> Result<Row> {
        let client = &self.connection().client;
        self.calls().bounded(client.query_one(sql, values)).await
    }

    pub(crate) async fn query_opt<T: ?Sized + ToStatement + Sync>(
        &self,
        statement: &T,
        values: &Values<'_>,
    ) -> Result<Option<Row>> {
        let client = &self.connection().client;
        self.calls().bounded(client.query_opt(statement, values)).await
    }

    pub(crate) async fn execute<T: ?Sized + ToStatement + Sync>(
        &self,
        statement: &T,
        values: &Values<'_>,
    ) -> Result<u64> {
        let client = &self.connection().client;
        self.calls().bounded(client.execute(statement, values)).await
    }

    pub(crate) async fn batch_execute(&self, sql: &str) -> Result<()> {
        let client = &self.connection().client;
        self.calls().bounded(client.batch_execute(sql)).await
    }

    /// Begins a transaction, which dropping rolls back.
    pub(crate) async fn transaction(&mut self) -> Result<SessionTransaction<'_>> {
        self.begin(IsolationLevel::ReadCommitted, false).await
    }

    /// Begins a transaction that reads one committed state.
    pub(crate) async fn read_only_transaction(&mut self) -> Result<SessionTransaction<'_>> {
        self.begin(IsolationLevel::RepeatableRead, true).await
    }

    /// Reads the token that is to be checked, if it was not checked yet, and compares it.
    ///
    /// # Errors
    /// [`Error::AccessChanged`].
    pub(crate) async fn check(&self) -> Result<()> {
        let Some(guard) = self.guard.filter(|guard| guard.recalled.needs_check()) else {
            return Ok(());
        };
        let prepared = self.prepare(&access_sql()).await?;
        let found = self.query(&prepared, &[&guard.recalled.digest().as_slice()]).await?;
        guard.compare(&found)
    }

    /// Closes the connection, which may be within a transaction.
    pub(crate) fn discard(mut self) {
        drop(self.connection.take());
    }

    async fn begin(
        &mut self,
        isolation: IsolationLevel,
        read_only: bool,
    ) -> Result<SessionTransaction<'_>> {
        let Self { pool, deadline, in_flight, guard, connection, .. } = self;
        let calls = Calls { counters: &pool.counters, deadline: *deadline, in_flight };
        let connection = connection.as_mut().unwrap_or_else(|| unreachable!("it is taken"));
        let Connection { client, statements, .. } = connection;
        let begun = client.build_transaction().isolation_level(isolation).read_only(read_only);
        let transaction = calls.bounded(begun.start()).await?;
        Ok(SessionTransaction { transaction, statements, calls, guard: *guard })
    }

    fn calls(&self) -> Calls<'_> {
        let Self { pool, deadline, in_flight, .. } = self;
        Calls { counters: &pool.counters, deadline: *deadline, in_flight }
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().unwrap_or_else(|| unreachable!("only dropping takes it"))
    }
}

impl Statements for Session<'_> {
    async fn rows(&self, sql: &str, values: &Values<'_>) -> Result<Vec<Row>> {
        let prepared = self.prepare(sql).await?;
        let (rows, checked) = tokio::join!(biased; self.query(&prepared, values), self.check());
        let rows = rows?;
        checked.map(|()| rows)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if *self.in_flight.get_mut() == 0 && !connection.client.is_closed() {
            self.pool.idle().push(connection);
        } else {
            // A server that did not answer may be gone.
            self.pool.discard_idle();
        }
    }
}

/// A transaction of a [`Session`], with its deadline. Dropping it rolls back.
pub(crate) struct SessionTransaction<'s> {
    transaction: Transaction<'s>,
    statements: &'s Prepared,
    calls: Calls<'s>,
    /// The token that is checked beside the first statement, in the same state.
    guard: Option<Guard<'s>>,
}

impl SessionTransaction<'_> {
    pub(crate) async fn query(&self, sql: &str, values: &Values<'_>) -> Result<Vec<Row>> {
        self.calls.bounded(self.transaction.query(sql, values)).await
    }

    pub(crate) async fn query_one(&self, sql: &str, values: &Values<'_>) -> Result<Row> {
        self.calls.bounded(self.transaction.query_one(sql, values)).await
    }

    pub(crate) async fn query_opt(&self, sql: &str, values: &Values<'_>) -> Result<Option<Row>> {
        self.calls.bounded(self.transaction.query_opt(sql, values)).await
    }

    pub(crate) async fn execute(&self, sql: &str, values: &Values<'_>) -> Result<u64> {
        self.calls.bounded(self.transaction.execute(sql, values)).await
    }

    pub(crate) async fn commit(self) -> Result<()> {
        self.calls.bounded(self.transaction.commit()).await
    }
}

impl SessionTransaction<'_> {
    async fn prepare(&self, sql: &str) -> Result<Statement> {
        let prepare = async || self.calls.bounded(self.transaction.prepare(sql)).await;
        self.statements.get(sql, prepare).await
    }

    /// [`Session::check`] within the transaction.
    async fn check(&self) -> Result<()> {
        let Some(guard) = self.guard.filter(|guard| guard.recalled.needs_check()) else {
            return Ok(());
        };
        let prepared = self.prepare(&access_sql()).await?;
        let digest = guard.recalled.digest().as_slice();
        let found = self.calls.bounded(self.transaction.query(&prepared, &[&digest])).await?;
        guard.compare(&found)
    }
}

impl Statements for SessionTransaction<'_> {
    async fn rows(&self, sql: &str, values: &Values<'_>) -> Result<Vec<Row>> {
        let prepared = self.prepare(sql).await?;
        let rows = self.calls.bounded(self.transaction.query(&prepared, values));
        let (rows, checked) = tokio::join!(biased; rows, self.check());
        let rows = rows?;
        checked.map(|()| rows)
    }
}

/// The calls of a session: each ends at its deadline, and is counted.
#[derive(Clone, Copy)]
struct Calls<'s> {
    counters: &'s ReadCounters,
    deadline: Instant,
    in_flight: &'s AtomicUsize,
}

impl Calls<'_> {
    /// Awaits an answer until the deadline. Without one, the call stays in flight.
    async fn bounded<T, E: Into<Error>>(
        self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T> {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) == 0 {
            ReadCounters::add(&self.counters.round_trips);
        }
        ReadCounters::add(&self.counters.statements);
        let answer = timeout_at(self.deadline, call).await.map_err(|_| Error::ReadTimedOut)?;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        answer.map_err(Into::into)
    }
}
