//! Sessions: a bounded number of connections to read with, each with its plans checked.
//!
//! Every statement ends at the deadline of its session, whatever the server does. A session that is
//! dropped while a statement runs closes its connection, so no later call meets what it left behind.

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
use crate::plan_check::{self, SETTINGS};

/// The parameters of a statement.
type Values<'v> = [&'v (dyn ToSql + Sync)];

/// The connections of a store for all but the writes in lanes.
pub(crate) struct SessionPool {
    connector: Arc<Connector>,
    schema: Arc<str>,
    timeout: Duration,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

struct Connection {
    client: Client,
    /// Prepared statements, by their text.
    statements: Mutex<HashMap<String, Statement>>,
    driver: JoinHandle<()>,
}

impl SessionPool {
    /// The pool of a store, whose connections are all of one connector.
    pub(crate) fn new(options: &ClusterOptions, connector: Arc<Connector>) -> Self {
        let permits = Semaphore::new(options.connections.min(Semaphore::MAX_PERMITS));
        let (schema, timeout) = (options.schema.clone(), options.read_timeout);
        Self { connector, schema, timeout, permits, idle: Mutex::default() }
    }

    /// A session, whose deadline is the read timeout from now.
    ///
    /// # Errors
    /// [`Error::ReadTimedOut`] if none is free or the server does not answer; [`Error::SlowPlan`]; or
    /// a fault of the database.
    pub(crate) async fn get(&self) -> Result<Session<'_>> {
        self.get_until(Instant::now() + self.timeout).await
    }

    async fn get_until(&self, deadline: Instant) -> Result<Session<'_>> {
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
        Ok(Session {
            pool: self,
            connection: Some(connection),
            deadline,
            in_flight,
            _permit: permit,
        })
    }

    /// Runs what reads, and once more on another connection if its connection fails. Both within one
    /// read timeout.
    pub(crate) async fn read<'p, T, F: Future<Output = Result<T>>>(
        &'p self,
        call: impl Fn(Session<'p>) -> F,
    ) -> Result<T> {
        let deadline = Instant::now() + self.timeout;
        match call(self.get_until(deadline).await?).await {
            Err(error) if error.is_of_connection() => {
                tracing::warn!(%error, "a read lost its connection");
                self.discard_idle();
                call(self.get_until(deadline).await?).await
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
        let connection = Connection { client, statements: Mutex::default(), driver };
        let settings = format!("{}{SETTINGS}", search_path(&self.schema));
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

impl Connection {
    async fn prepare(&self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        let statements = || self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        let known = statements().get(sql).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let prepared = self.client.prepare(sql).await?;
        statements().insert(sql.to_owned(), prepared.clone());
        Ok(prepared)
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
}

impl<'p> Readers<'p> {
    /// [`SessionPool::read`] on the standby, or else on the primary.
    pub(crate) async fn read<T, F: Future<Output = Result<T>>>(
        &self,
        call: impl Fn(Session<'p>) -> F,
    ) -> Result<T> {
        if let Some(replica) = self.replica {
            match replica.read(&call).await {
                Err(error) if is_of_replica(&error) => warn_of_replica(&error),
                done => return done,
            }
        }
        self.primary.read(&call).await
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

fn warn_of_replica(error: &Error) {
    tracing::warn!(%error, "a standby failed a read; the primary is read");
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
        bounded(&self.in_flight, self.deadline, call(&self.connection().client)).await
    }

    pub(crate) async fn prepare(&self, sql: &str) -> Result<Statement> {
        bounded(&self.in_flight, self.deadline, self.connection().prepare(sql)).await
    }

    pub(crate) async fn query<T: ?Sized + ToStatement + Sync>(
        &self,
        statement: &T,
        values: &Values<'_>,
    ) -> Result<Vec<Row>> {
        let client = &self.connection().client;
        bounded(&self.in_flight, self.deadline, client.query(statement, values)).await
    }

    pub(crate) async fn query_one(&self, sql: &str, values: &Values<'_>) -> Result<Row> {
        let client = &self.connection().client;
        bounded(&self.in_flight, self.deadline, client.query_one(sql, values)).await
    }

    pub(crate) async fn query_opt<T: ?Sized + ToStatement + Sync>(
        &self,
        statement: &T,
        values: &Values<'_>,
    ) -> Result<Option<Row>> {
        let client = &self.connection().client;
        bounded(&self.in_flight, self.deadline, client.query_opt(statement, values)).await
    }

    pub(crate) async fn execute<T: ?Sized + ToStatement + Sync>(
        &self,
        statement: &T,
        values: &Values<'_>,
    ) -> Result<u64> {
        let client = &self.connection().client;
        bounded(&self.in_flight, self.deadline, client.execute(statement, values)).await
    }

    pub(crate) async fn batch_execute(&self, sql: &str) -> Result<()> {
        let client = &self.connection().client;
        bounded(&self.in_flight, self.deadline, client.batch_execute(sql)).await
    }

    /// Begins a transaction, which dropping rolls back.
    pub(crate) async fn transaction(&mut self) -> Result<SessionTransaction<'_>> {
        self.begin(IsolationLevel::ReadCommitted, false).await
    }

    /// Begins a transaction that reads one committed state.
    pub(crate) async fn read_only_transaction(&mut self) -> Result<SessionTransaction<'_>> {
        self.begin(IsolationLevel::RepeatableRead, true).await
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
        let (deadline, in_flight) = (self.deadline, &self.in_flight);
        let connection = self.connection.as_mut().unwrap_or_else(|| unreachable!("it is taken"));
        let Connection { client, statements, .. } = connection;
        let begun = client.build_transaction().isolation_level(isolation).read_only(read_only);
        let transaction = bounded(in_flight, deadline, begun.start()).await?;
        Ok(SessionTransaction { transaction, statements, deadline, in_flight })
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().unwrap_or_else(|| unreachable!("only dropping takes it"))
    }
}

impl Statements for Session<'_> {
    async fn rows(&self, sql: &str, values: &Values<'_>) -> Result<Vec<Row>> {
        let prepared = self.prepare(sql).await?;
        self.query(&prepared, values).await
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
    statements: &'s Mutex<HashMap<String, Statement>>,
    deadline: Instant,
    in_flight: &'s AtomicUsize,
}

impl SessionTransaction<'_> {
    pub(crate) async fn query(&self, sql: &str, values: &Values<'_>) -> Result<Vec<Row>> {
        bounded(self.in_flight, self.deadline, self.transaction.query(sql, values)).await
    }

    pub(crate) async fn query_one(&self, sql: &str, values: &Values<'_>) -> Result<Row> {
        bounded(self.in_flight, self.deadline, self.transaction.query_one(sql, values)).await
    }

    pub(crate) async fn query_opt(&self, sql: &str, values: &Values<'_>) -> Result<Option<Row>> {
        bounded(self.in_flight, self.deadline, self.transaction.query_opt(sql, values)).await
    }

    pub(crate) async fn execute(&self, sql: &str, values: &Values<'_>) -> Result<u64> {
        bounded(self.in_flight, self.deadline, self.transaction.execute(sql, values)).await
    }

    pub(crate) async fn commit(self) -> Result<()> {
        bounded(self.in_flight, self.deadline, self.transaction.commit()).await
    }
}

impl Statements for SessionTransaction<'_> {
    async fn rows(&self, sql: &str, values: &Values<'_>) -> Result<Vec<Row>> {
        let statements = || self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        let known = statements().get(sql).cloned();
        let prepared = match known {
            Some(known) => known,
            None => {
                let prepared = self.transaction.prepare(sql);
                let prepared = bounded(self.in_flight, self.deadline, prepared).await?;
                statements().insert(sql.to_owned(), prepared.clone());
                prepared
            }
        };
        bounded(self.in_flight, self.deadline, self.transaction.query(&prepared, values)).await
    }
}

/// Awaits an answer until the deadline. Without one, the call stays in flight.
async fn bounded<T, E: Into<Error>>(
    in_flight: &AtomicUsize,
    deadline: Instant,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T> {
    in_flight.fetch_add(1, Ordering::Relaxed);
    let answer = timeout_at(deadline, call).await.map_err(|_| Error::ReadTimedOut)?;
    in_flight.fetch_sub(1, Ordering::Relaxed);
    answer.map_err(Into::into)
}
