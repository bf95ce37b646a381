//! The flags that name a database, and how its store is opened.

use anyhow::{Context, Result};
use convodb::{Name, UserId};
use convodb_postgres::{Cluster, ClusterOptions};

use crate::postgres_flags::PostgresFlags;

/// `--pg-url` and the flags of the connection: a store in a database.
#[derive(Debug, clap::Args)]
pub(crate) struct DatabaseFlags {
    /// Database, as libpq names it: postgresql://USER:PASSWORD@HOST1,HOST2/DATABASE
    ///
    /// Several hosts are tried in order, and the one that accepts writes is used. connect_timeout is
    /// the time for each host in seconds, 2 if it is not set. sslmode is disable, prefer, require or
    /// verify-full with the certificates of the file sslrootcert. In the environment variable the
    /// password is not visible to other users of the machine.
    #[arg(
        long,
        env = "CONVODB_PG_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "PostgreSQL"
    )]
    pg_url: String,
    #[command(flatten)]
    pub(super) connection: PostgresFlags,
}

impl DatabaseFlags {
    pub(super) fn options(&self) -> Result<ClusterOptions> {
        self.connection.options(&self.pg_url)
    }

    /// The store, opened for reading and writing.
    pub(super) async fn open(&self) -> Result<Cluster> {
        Ok(Cluster::open(&self.options()?).await?)
    }
}

/// The user with this name, or else with this number.
pub(super) async fn find_user(cluster: &Cluster, named: &Name) -> Result<UserId> {
    cluster.find_user(named).await.with_context(|| format!("cannot find the user {named}"))
}
