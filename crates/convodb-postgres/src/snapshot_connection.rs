//! Connections of their own for long reads: one transaction that reads one committed state, until a
//! deadline.
//!
//! Not of the pool, whose connections serve pages. At the deadline the connection is closed,
//! whether or not anything is read from it: a client that reads slowly cannot hold the snapshot longer,
//! which would keep autovacuum from removing old versions.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, RowStream, Statement};

use crate::connection::{ClusterOptions, Connector, search_path};
use crate::error::{Error, Result, chain};
use crate::plan_check;

/// Opens such connections to the primary.
pub(crate) struct SnapshotConnector {
    connector: Arc<Connector>,
    schema: Arc<str>,
    timeout: Duration,
}

impl SnapshotConnector {
    pub(crate) fn new(options: &ClusterOptions, connector: Arc<Connector>) -> Self {
        let (schema, timeout) = (options.schema.clone(), options.read_timeout);
        Self { connector, schema, timeout }
    }

    /// A connection with the settings of a session and checked plans, within its transaction. The
    /// first statement determines what all of them read.
    ///
    /// # Errors
    /// [`Error::ReadTimedOut`]; [`Error::SlowPlan`]; or a fault of the database.
    pub(crate) async fn open(&self, deadline: Instant) -> Result<SnapshotConnection> {
        let opened = timeout_at(deadline.min(Instant::now() + self.timeout), async {
            let (client, connection) = self.connector.connect().await?;
            let driver = tokio::spawn(async move {
                match timeout_at(deadline, connection).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(cause = %chain(&error), "a connection to PostgreSQL failed");
                    }
                    Err(_) => tracing::warn!("a long read was ended at its deadline"),
                }
            });
            // From here on, dropping it ends the driver.
            let timeout = self.timeout;
            let opened = SnapshotConnection { client, driver, timeout, deadline };
            // If this process stops without closing its connections, the server ends the transaction.
            let left = deadline.saturating_duration_since(Instant::now()).as_millis();
            let left = i32::try_from(left).unwrap_or(i32::MAX).max(1);
            let settings = format!(
                "{}{}set idle_in_transaction_session_timeout = '{left}ms';",
                search_path(&self.schema),
                plan_check::settings()
            );
            opened.client.batch_execute(&settings).await?;
            plan_check::check(&opened.client).await?;
            let begin = "begin isolation level repeatable read, read only";
            opened.client.batch_execute(begin).await?;
            Ok(opened)
        });
        opened.await.map_err(|_| Error::ReadTimedOut)?
    }
}

/// A connection within a transaction that reads one committed state. Each call ends within the read
/// timeout, and all end at the deadline, with [`Error::ReadTimedOut`]. Dropping it ends the
/// transaction.
pub(crate) struct SnapshotConnection {
    client: Client,
    driver: JoinHandle<()>,
    timeout: Duration,
    deadline: Instant,
}

impl SnapshotConnection {
    pub(crate) async fn prepare(&self, sql: &str) -> Result<Statement> {
        self.bounded(self.client.prepare(sql)).await
    }

    pub(crate) async fn query(
        &self,
        statement: &Statement,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        self.bounded(self.client.query(statement, values)).await
    }

    /// Begins a statement whose rows are taken one by one. The server sends no more than some buffers
    /// hold, and waits.
    pub(crate) async fn stream(
        &self,
        statement: &Statement,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Pin<Box<RowStream>>> {
        let rows = self.client.query_raw(statement, values.iter().copied());
        self.bounded(rows).await.map(Box::pin)
    }

    /// The next row; `None` after the last one.
    pub(crate) async fn next_row(&self, rows: &mut Pin<Box<RowStream>>) -> Result<Option<Row>> {
        self.bounded(rows.try_next()).await
    }

    async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        let end = self.deadline.min(Instant::now() + self.timeout);
        match timeout_at(end, call).await {
            Ok(Ok(done)) => Ok(done),
            // The driver closed the connection.
            Ok(Err(_)) if Instant::now() >= self.deadline => Err(Error::ReadTimedOut),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Error::ReadTimedOut),
        }
    }
}

impl Drop for SnapshotConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
