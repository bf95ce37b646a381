//! Connections for writes: a bounded number, each with the statements of a group prepared.
//!
//! Unlike those for reads, each observes the warnings of its server: PostgreSQL reports a commit that
//! no standby has confirmed as a success with a warning. A connection is used again only after a
//! transaction that ended well; else it is closed, and the server rolls back.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{join_all, try_join_all};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio_postgres::error::Severity;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Row, Statement};

use crate::connection::{ClusterOptions, Connector, search_path};
use crate::error::{Error, Result, chain};
use crate::plan_check::SETTINGS;
use crate::writes::statements::{Command, Sql};

/// A server that lost its client between two flights gives the lock up after this time.
const ABANDONED: &str = "set idle_in_transaction_session_timeout = '10s';";

/// The connections for writes.
pub(crate) struct WriteConnections {
    connector: Arc<Connector>,
    schema: Arc<str>,
    permits: Semaphore,
    idle: Mutex<Vec<WriteConnection>>,
}

impl WriteConnections {
    pub(crate) fn new(options: &ClusterOptions, connector: Arc<Connector>) -> Self {
        let permits = Semaphore::new(options.write_connections.min(Semaphore::MAX_PERMITS));
        Self { connector, schema: options.schema.clone(), permits, idle: Mutex::default() }
    }

    /// An idle connection or a new one, when fewer than the maximum are in use.
    pub(crate) async fn acquire(&self) -> Result<Lease<'_>> {
        let permit = self.permits.acquire().await;
        let permit = permit.map_err(|error| Error::Unavailable(error.to_string()))?;
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = idle();
        while connection.as_ref().is_some_and(WriteConnection::is_closed) {
            connection = idle();
        }
        let connection = match connection {
            Some(connection) => connection,
            None => WriteConnection::open(&self.connector, &self.schema).await?,
        };
        Ok(Lease { connections: self, connection, _permit: permit })
    }

    /// Closes the idle connections: one failed, and the others may be to the same server.
    pub(crate) fn discard_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A connection in use. Dropping it closes the connection.
pub(crate) struct Lease<'p> {
    connections: &'p WriteConnections,
    connection: WriteConnection,
    _permit: SemaphorePermit<'p>,
}

impl Lease<'_> {
    /// Returns a connection whose transaction has ended.
    pub(crate) fn give_back(self) {
        let idle = &self.connections.idle;
        idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.connection);
    }

    /// Sends statements at once, and returns the result of each.
    pub(crate) async fn flight(
        &self,
        commands: &[Command],
    ) -> Vec<Result<Vec<Row>, tokio_postgres::Error>> {
        self.connection.flight(commands).await
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
        let mut opened = Self { client, statements: Vec::new(), is_warned, driver };
        let settings = format!("{}{SETTINGS}{ABANDONED}", search_path(schema));
        opened.client.batch_execute(&settings).await?;
        let texts: Vec<String> = Sql::all().map(|(_, text)| text).collect();
        let prepared = texts.iter().map(|text| opened.client.prepare(text));
        opened.statements = try_join_all(prepared).await?;
        Ok(opened)
    }

    fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    async fn flight(&self, commands: &[Command]) -> Vec<Result<Vec<Row>, tokio_postgres::Error>> {
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
