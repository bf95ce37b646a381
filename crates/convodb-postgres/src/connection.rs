//! Connections: where the database is, and what a session of it needs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use convodb::Quota;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres::{CancelToken, Client, Config, Socket};

use crate::error::{Error, Result, chain, is_of_connection};
use crate::tls::{Encryption, MakeTls, TlsStream, make_tls, split_url};
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
    database: Database,
    /// Where standbys are, for reads that may lag.
    pub(crate) replica: Option<Database>,
    pub(crate) schema: Arc<str>,
    /// Whether a store that is created is distributed over the workers of Citus.
    pub(crate) is_distributed: bool,
    pub(crate) connections: usize,
    pub(crate) write_connections: usize,
    pub(crate) read_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) retained_changes: u64,
    pub(crate) quota: Quota,
}

/// A database by its URL.
#[derive(Clone)]
pub(crate) struct Database {
    config: Config,
    encryption: Encryption,
}

impl Database {
    fn new(field: &'static str, url: &str) -> Result<Self> {
        let (rest, encryption) = split_url(url)?;
        let parsed = Config::from_str(&rest);
        let mut config = parsed.map_err(|error| {
            let reason = format!("must be one of PostgreSQL: {}", chain(&error));
            Error::Option { field, reason }
        })?;
        if config.get_application_name().is_none() {
            config.application_name("convodb");
        }
        // Reports what the connector cannot use before anything connects.
        make_tls(&encryption)?;
        Ok(Self { config, encryption })
    }
}

impl ClusterOptions {
    /// The schema if none is chosen.
    pub const DEFAULT_SCHEMA: &'static str = "convodb";
    /// The number of connections if none is chosen.
    pub const DEFAULT_CONNECTIONS: usize = 16;
    /// The time for each host to accept a connection, unless the URL has a `connect_timeout`.
    pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
    /// How long after a write of a user the primary is read instead of a standby.
    pub const OWN_WRITES: Duration = Duration::from_secs(2);
    /// The time for a read if none is chosen.
    pub const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(10);
    /// The time for a write if none is chosen.
    pub const DEFAULT_WRITE_TIMEOUT: Duration = Duration::from_secs(30);
    /// The number of changes that the feed of each user retains if none is chosen.
    pub const DEFAULT_RETAINED_CHANGES: u64 = 1 << 20;

    /// The database with this URL, as libpq reads it: `postgresql://user:password@host/database`, or
    /// `host=... user=... dbname=...`. Several hosts are tried in order, from the last that was
    /// connected to; one that is read-only, a standby, is passed over, and one that does not answer
    /// within `connect_timeout` seconds, or [`Self::DEFAULT_CONNECT_TIMEOUT`].
    ///
    /// `sslmode` is `disable`, `prefer`, `require`, which accepts any certificate, or `verify-full`
    /// with the certificates of the file `sslrootcert` (PEM). The last two need the feature `tls`,
    /// and without it `prefer`, the default, does not encrypt.
    ///
    /// # Errors
    /// [`Error::Option`] if the text is not such a URL, or an option is not valid.
    pub fn new(url: &str) -> Result<Self> {
        let mut database = Database::new("database URL", url)?;
        database.config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(Self {
            database,
            replica: None,
            schema: Self::DEFAULT_SCHEMA.into(),
            is_distributed: false,
            connections: Self::DEFAULT_CONNECTIONS,
            write_connections: Self::DEFAULT_CONNECTIONS,
            read_timeout: Self::DEFAULT_READ_TIMEOUT,
            write_timeout: Self::DEFAULT_WRITE_TIMEOUT,
            retained_changes: Self::DEFAULT_RETAINED_CHANGES,
            quota: Quota::default(),
        })
    }

    /// Reads lists, conversations, messages and statistics from this database, a standby of the other:
    /// they may lag behind. For [`Self::OWN_WRITES`] after a write of a user by this store, and while
    /// the standby is not available, those of the user are read from the primary. Access tokens and
    /// the change feed are always read from the primary.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn read_url(self, url: &str) -> Result<Self> {
        Ok(Self { replica: Some(Database::new("read URL", url)?), ..self })
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

    /// Distributes the tables of a store that [`Cluster::create`](crate::Cluster::create) or
    /// [`Cluster::import`](crate::Cluster::import) makes over the workers of Citus, by user: the data of
    /// a user is on one node. The database needs the extension `citus`. It sets the planner settings of
    /// a session for the role in the database, so that workers have them, too. Opening needs no option.
    #[must_use]
    pub fn distributed(self) -> Self {
        Self { is_distributed: true, ..self }
    }

    /// Opens at most this number of connections for reading, at least 1.
    ///
    /// # Errors
    /// [`Error::Option`] for 0.
    pub fn connections(self, connections: usize) -> Result<Self> {
        Ok(Self { connections: at_least_one("connections", connections)?, ..self })
    }

    /// Opens at most this number of connections for writing, at least 1: each commits the waiting
    /// writes of one user at a time. Writes that make no progress, as of a user whose data is locked,
    /// hold at most a quarter of them, at least 1; with a single connection, they hold up all others.
    ///
    /// # Errors
    /// [`Error::Option`] for 0.
    pub fn write_connections(self, connections: usize) -> Result<Self> {
        let write_connections = at_least_one("write connections", connections)?;
        Ok(Self { write_connections, ..self })
    }

    /// The time for a read, the wait for a connection included. A server that does not answer within
    /// it fails the read with [`Error::ReadTimedOut`].
    #[must_use]
    pub fn read_timeout(self, read_timeout: Duration) -> Self {
        Self { read_timeout, ..self }
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

    /// Connects to the database. The connections of a store share one of these.
    pub(crate) fn connector(&self) -> Result<Arc<Connector>> {
        Connector::new(&self.database)
    }

    /// A connection of its own, for maintenance. Its plans are not checked, and its statements take as
    /// long as they take.
    pub(crate) async fn connect(&self) -> Result<Client> {
        let (client, connection) = self.connector()?.connect().await?;
        drop(drive(connection));
        client.batch_execute(&search_path(&self.schema)).await?;
        Ok(client)
    }
}

impl fmt::Debug for ClusterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterOptions")
            .field("hosts", &self.database.config.get_hosts())
            .field("database", &self.database.config.get_dbname())
            .field("schema", &self.schema)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// The driver's half of a connection.
pub(crate) type Driver = tokio_postgres::Connection<Socket, TlsStream>;

/// The hosts of a database. One of them accepts writes.
pub(crate) struct Connector {
    hosts: Vec<SingleHost>,
    /// The time for each host: to accept the connection, to authenticate and to say what it is.
    timeout: Duration,
    tls: MakeTls,
    /// The number of the host that was connected to last, which is tried first.
    preferred: AtomicUsize,
}

struct SingleHost {
    name: String,
    config: Config,
}

impl Connector {
    pub(crate) fn new(database: &Database) -> Result<Arc<Self>> {
        let Database { config, encryption } = database;
        let timeout = config.get_connect_timeout().copied();
        let timeout = timeout.unwrap_or(ClusterOptions::DEFAULT_CONNECT_TIMEOUT);
        let (hosts, tls) = (single_hosts(config), make_tls(encryption)?);
        Ok(Arc::new(Self { hosts, timeout, tls, preferred: AtomicUsize::new(0) }))
    }

    /// Connects to the first host that accepts writes. A host that accepts a connection and does not
    /// answer, as a frozen one, is passed over as one that refuses.
    ///
    /// # Errors
    /// [`Error::Postgres`] if a host refuses the user or the database; [`Error::Unavailable`] with the
    /// fault of each host.
    pub(crate) async fn connect(&self) -> Result<(Client, Driver)> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut faults = Vec::new();
        for offset in 0..self.hosts.len() {
            let number = (first + offset) % self.hosts.len();
            let SingleHost { name, config } = &self.hosts[number];
            match timeout(self.timeout, config.connect(MakeTls::clone(&self.tls))).await {
                Ok(Ok(connected)) => {
                    self.preferred.store(number, Ordering::Relaxed);
                    return Ok(connected);
                }
                Ok(Err(error)) => match error.code() {
                    Some(code) if !is_of_connection(code) => return Err(error.into()),
                    _ => faults.push(format!("{name}: {}", chain(&error))),
                },
                Err(_) => {
                    faults.push(format!("{name}: no answer within {:?}", self.timeout));
                }
            }
        }
        Err(Error::Unavailable(faults.join("; ")))
    }
}

impl Connector {
    /// Asks a server to cancel what one of its sessions does. Whether it did is not known.
    pub(crate) async fn cancel(&self, session: &CancelToken) {
        let cancelled = session.cancel_query(MakeTls::clone(&self.tls));
        if let Ok(Err(error)) = timeout(self.timeout, cancelled).await {
            tracing::debug!(cause = %chain(&error), "a statement could not be cancelled");
        }
    }
}

/// Drives a connection until it ends.
pub(crate) fn drive(connection: Driver) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(cause = %chain(&error), "a connection to PostgreSQL failed");
        }
    })
}

/// A configuration for each host of one with several.
fn single_hosts(config: &Config) -> Vec<SingleHost> {
    let (hosts, addresses, ports) =
        (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let single = |number: usize| {
        let mut single = without_hosts(config);
        let port = ports.get(number).or(ports.first()).copied().unwrap_or(5432);
        single.port(port);
        let mut name = String::new();
        if let Some(address) = addresses.get(number) {
            single.hostaddr(*address);
            name = address.to_string();
        }
        match hosts.get(number) {
            Some(Host::Tcp(host)) => {
                single.host(host.clone());
                name.clone_from(host);
            }
            #[cfg(unix)]
            Some(Host::Unix(path)) => {
                single.host_path(path);
                name = path.display().to_string();
            }
            None => {}
        }
        SingleHost { name: format!("{name}:{port}"), config: single }
    };
    // Without a host the driver says that it is missing.
    (0..hosts.len().max(addresses.len()).max(1)).map(single).collect()
}

fn without_hosts(config: &Config) -> Config {
    let mut copy = Config::new();
    copy.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding());
    if let Some(user) = config.get_user() {
        copy.user(user);
    }
    if let Some(password) = config.get_password() {
        copy.password(password);
    }
    if let Some(database) = config.get_dbname() {
        copy.dbname(database);
    }
    if let Some(options) = config.get_options() {
        copy.options(options);
    }
    if let Some(name) = config.get_application_name() {
        copy.application_name(name);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        copy.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        copy.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        copy.keepalives_retries(retries);
    }
    copy
}

fn at_least_one(field: &'static str, number: usize) -> Result<usize> {
    let reason = || "must be at least 1".to_owned();
    (number > 0).then_some(number).ok_or_else(|| Error::Option { field, reason: reason() })
}

pub(crate) fn search_path(schema: &str) -> String {
    format!("set search_path = {};", quoted(schema))
}
