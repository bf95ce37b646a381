//! The flags of a connection to PostgreSQL, for each command that opens a store there. `serve` has them
//! in every build, so that a settings file is valid for all.

/// `--pg-schema` and what bounds connections and calls. The URL is the command's own flag: some need
/// it, for others it is a choice.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "PostgreSQL")]
pub(crate) struct PostgresFlags {
    /// Schema of the database that contains the store
    #[arg(long, env = "CONVODB_PG_SCHEMA", value_name = "NAME", default_value = "convodb")]
    pub(crate) pg_schema: String,
    /// Standby to read lists, conversations, messages and statistics from, which may lag; a user's own
    /// writes of the last 2 s are read from the primary
    #[arg(long, env = "CONVODB_PG_READ_URL", hide_env_values = true, value_name = "URL")]
    pg_read_url: Option<String>,
    /// Connections to read with, at most; opened when they are needed
    #[arg(long, env = "CONVODB_PG_CONNECTIONS", value_name = "N", default_value = "16",
          value_parser = clap::value_parser!(u16).range(1..))]
    pg_connections: u16,
    /// Connections to write with, at most; each commits the waiting writes of one user at a time
    #[arg(long, env = "CONVODB_PG_WRITE_CONNECTIONS", value_name = "N", default_value = "16",
          value_parser = clap::value_parser!(u16).range(1..))]
    pg_write_connections: u16,
    /// Timeout for a read, in seconds
    #[arg(long, env = "CONVODB_PG_READ_TIMEOUT", value_name = "SECONDS", default_value = "10",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pg_read_timeout: u64,
    /// Timeout for a write, in seconds; within it a write is repeated after a failover
    #[arg(long, env = "CONVODB_PG_WRITE_TIMEOUT", value_name = "SECONDS", default_value = "30",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pg_write_timeout: u64,
}

#[cfg(feature = "postgres")]
impl PostgresFlags {
    /// The options of the store in the database with this URL.
    pub(crate) fn options(&self, url: &str) -> anyhow::Result<convodb_postgres::ClusterOptions> {
        use std::time::Duration;

        use convodb_postgres::ClusterOptions;

        let options = ClusterOptions::new(url)?;
        let options = match &self.pg_read_url {
            Some(url) => options.read_url(url)?,
            None => options,
        };
        Ok(options
            .schema(&self.pg_schema)?
            .connections(self.pg_connections.into())?
            .write_connections(self.pg_write_connections.into())?
            .read_timeout(Duration::from_secs(self.pg_read_timeout))
            .write_timeout(Duration::from_secs(self.pg_write_timeout)))
    }
}
