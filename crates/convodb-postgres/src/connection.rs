//! Connections: where the database is, and what a session of it needs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use convodb::Quota;
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod,
};
use tokio_postgres::{Client, Config, NoTls};

use crate::error::{Error, Result, chain};
use crate::plan_check::{self, SETTINGS};
use crate::values::quoted;

/// Where a store on PostgreSQL is. The `Debug` output omits the password.
///
/// ```
/// use convodb_postgres::ClusterOptions;
/// let options = ClusterOptions::new("postgresql://convodb@db1,db2/convodb")?
///     .schema("tenant_7")?
///     .connections(16)?;
/// assert!(ClusterOptions::new("http://db1").is_err());
/// assert!(options.connections(0).is_err());
/// # Ok::<(), convodb_postgres::Error>(())
/// ```
#[derive(Clone)]
pub struct ClusterOptions {
    pub(crate) config: Config,
    pub(crate) schema: Arc<str>,
    connections: usize,
    pub(crate) write_connections: usize,
    pub(crate) write_timeout: Duration,
    pub(crate) retained_changes: u64,
    pub(crate) quota: Quota,
}

impl ClusterOptions {
    /// The schema if none is chosen.
    pub const DEFAULT_SCHEMA: &'static str = "convodb";
    /// The number of connections if none is chosen.
    pub const DEFAULT_CONNECTIONS: usize = 16;
    /// The time for a write if none is chosen.
    pub const DEFAULT_WRITE_TIMEOUT: Duration = Duration::from_secs(30);
    /// The number of changes that the feed of each user retains if none is chosen.
    pub const DEFAULT_RETAINED_CHANGES: u64 = 1 << 20;

    /// The database with this URL, as libpq reads it: `postgresql://user:password@host/database`, or
    /// `host=... user=... dbname=...`. Several hosts are tried in order; one that is read-only, a
    /// standby, is passed over. Connections are not encrypted.
    ///
    /// # Errors
    /// [`Error::Option`] if the text is not such a URL.
    pub fn new(url: &str) -> Result<Self> {
        let parsed = Config::from_str(url);
        let mut config = parsed.map_err(|error| Error::Option {
            field: "database URL",
            reason: format!("must be one of PostgreSQL: {}", chain(&error)),
        })?;
        config.target_session_attrs(tokio_postgres::config::TargetSessionAttrs::ReadWrite);
        if config.get_application_name().is_none() {
            config.application_name("convodb");
        }
        Ok(Self {
            config,
            schema: Self::DEFAULT_SCHEMA.into(),
            connections: Self::DEFAULT_CONNECTIONS,
            write_connections: Self::DEFAULT_CONNECTIONS,
            write_timeout: Self::DEFAULT_WRITE_TIMEOUT,
            retained_changes: Self::DEFAULT_RETAINED_CHANGES,
            quota: Quota::default(),
        })
    }

    /// Keeps the store in this schema of the database; one schema contains one store.
    ///
    /// # Errors
    /// [`Error::Option`] if the name is empty, has more than 63 bytes or contains U+0000.
    pub fn schema(self, name: &str) -> Result<Self> {
        if name.is_empty() || name.len() > 63 || name.contains('\0') {
            let reason = "must have 1 to 63 bytes, without U+0000".to_owned();
            return Err(Error::Option { field: "schema", reason });
        }
        Ok(Self { schema: name.into(), ..self })
    }

    /// Opens at most this number of connections for reading, at least 1.
    ///
    /// # Errors
    /// [`Error::Option`] for 0.
    pub fn connections(self, connections: usize) -> Result<Self> {
        Ok(Self { connections: at_least_one("connections", connections)?, ..self })
    }

    /// Opens at most this number of connections for writing, at least 1: each commits the waiting
    /// writes of one user at a time.
    ///
    /// # Errors
    /// [`Error::Option`] for 0.
    pub fn write_connections(self, connections: usize) -> Result<Self> {
        let write_connections = at_least_one("write connections", connections)?;
        Ok(Self { write_connections, ..self })
    }

    /// The time for a write, from the call to the commit. Within it a write is repeated after a
    /// failover; after it the write fails with [`Error::TimedOut`] or [`Error::InDoubt`].
    #[must_use]
    pub fn write_timeout(self, write_timeout: Duration) -> Self {
        Self { write_timeout, ..self }
    }

    /// As [`convodb::StoreOptions::retained_changes`].
    #[must_use]
    pub fn retained_changes(self, retained_changes: u64) -> Self {
        Self { retained_changes: retained_changes.max(1), ..self }
    }

    /// As [`convodb::StoreOptions::quota`].
    #[must_use]
    pub fn quota(self, quota: Quota) -> Self {
        Self { quota, ..self }
    }

    pub(crate) fn schema_name(&self) -> &str {
        &self.schema
    }

    /// A connection of its own, for maintenance. Its plans are not checked.
    pub(crate) async fn connect(&self) -> Result<Client> {
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(cause = %chain(&error), "a connection to PostgreSQL failed");
            }
        });
        client.batch_execute(&search_path(&self.schema)).await?;
        Ok(client)
    }

    /// A pool whose connections have the settings of a session, and plans that are checked.
    pub(crate) fn pool(&self) -> Result<Pool> {
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(self.config.clone(), NoTls, manager);
        let schema = self.schema.clone();
        let prepare = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let schema = schema.clone();
            Box::pin(async move {
                let prepared = prepare(client, &schema).await;
                prepared.map_err(|error| HookError::message(error.to_string()))
            })
        });
        let pool = Pool::builder(manager).max_size(self.connections).post_create(prepare);
        pool.build().map_err(|error| Error::Unavailable(error.to_string()))
    }
}

impl fmt::Debug for ClusterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterOptions")
            .field("hosts", &self.config.get_hosts())
            .field("database", &self.config.get_dbname())
            .field("schema", &self.schema)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::PostCreateHook(HookError::Message(reason)) => {
                Error::Unavailable(reason.into_owned())
            }
            error => Error::Unavailable(error.to_string()),
        }
    }
}

fn at_least_one(field: &'static str, number: usize) -> Result<usize> {
    let reason = || "must be at least 1".to_owned();
    (number > 0).then_some(number).ok_or_else(|| Error::Option { field, reason: reason() })
}

/// Prepares a session for pages, and checks their plans.
async fn prepare(client: &Client, schema: &str) -> Result<()> {
    client.batch_execute(&format!("{}{SETTINGS}", search_path(schema))).await?;
    plan_check::check(client).await
}

pub(crate) fn search_path(schema: &str) -> String {
    format!("set search_path = {};", quoted(schema))
}
