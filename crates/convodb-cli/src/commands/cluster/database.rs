//! The flags that name a database, and how its store is opened.

use anyhow::{Context, Result};
use convodb::{Name, UserId};
use convodb_postgres::{Cluster, ClusterOptions};

/// `--pg-url` and `--pg-schema`: a store in a database.
#[derive(Debug, clap::Args)]
pub(crate) struct DatabaseFlags {
    /// Database, as libpq names it: postgresql://USER:PASSWORD@HOST/DATABASE
    ///
    /// Several hosts are tried in order. The connection is not encrypted. In the environment variable
    /// the password is not visible to other users of the machine.
    #[arg(long, env = "CONVODB_PG_URL", hide_env_values = true, value_name = "URL")]
    pg_url: String,
    /// Schema of the database that contains the store
    #[arg(
        long,
        env = "CONVODB_PG_SCHEMA",
        value_name = "NAME",
        default_value = ClusterOptions::DEFAULT_SCHEMA
    )]
    pub(super) pg_schema: String,
}

impl DatabaseFlags {
    pub(super) fn options(&self) -> Result<ClusterOptions> {
        Ok(ClusterOptions::new(&self.pg_url)?.schema(&self.pg_schema)?.connections(1)?)
    }

    /// The store, opened for reading and writing.
    pub(super) async fn open(&self) -> Result<Cluster> {
        Ok(Cluster::open(&self.options()?.write_connections(1)?).await?)
    }
}

/// The user with this name, or else with this number.
pub(super) async fn find_user(cluster: &Cluster, named: &Name) -> Result<UserId> {
    cluster.find_user(named).await.with_context(|| format!("cannot find the user {named}"))
}
