//! The operator of a database: statements of a superuser.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

use crate::scenario::Violation;

/// The role that owns the store, without the rights of a superuser.
pub(super) const STORE_ROLE: &str = "convodb";
/// The superuser.
pub(super) const SUPERUSER: &str = "postgres";
/// The time for a statement.
const STATEMENT: Duration = Duration::from_secs(30);

/// A connection of the superuser to the server that accepts writes.
pub(super) struct Operator {
    runtime: Runtime,
    client: Client,
}

impl Operator {
    /// Connects. The URL is that of the superuser.
    pub(super) fn connect(url: &str) -> Result<Self, Violation> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let leader = format!("{url}?target_session_attrs=read-write&connect_timeout=2");
        let client = runtime.block_on(async {
            let connected = timeout(STATEMENT, tokio_postgres::connect(&leader, NoTls)).await;
            let (client, connection) =
                connected.map_err(|_| Violation::new("the leader accepts no connection"))??;
            tokio::spawn(connection);
            Ok::<_, Violation>(client)
        })?;
        Ok(Self { runtime, client })
    }

    /// Creates [`STORE_ROLE`], with the rights that `docs/postgres.md` names.
    pub(super) fn create_store_role(&self) -> Result<(), Violation> {
        self.run(&format!(
            "create role {STORE_ROLE} login; grant create on database postgres to {STORE_ROLE}; \
             grant pg_monitor to {STORE_ROLE}"
        ))
    }

    /// Runs statements.
    pub(super) fn run(&self, sql: &str) -> Result<(), Violation> {
        Ok(self.within(sql, self.client.batch_execute(sql))??)
    }

    /// Runs a statement that another transaction may conflict with; false if it was rolled back.
    pub(super) fn try_run(&self, sql: &str) -> Result<bool, Violation> {
        let done = self.within(sql, self.client.batch_execute(sql))?;
        match done {
            Ok(()) => Ok(true),
            Err(error) if error.code().is_some() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Runs a statement that returns a number.
    pub(super) fn number(&self, sql: &str) -> Result<i64, Violation> {
        Ok(self.within(sql, self.client.query_one(sql, &[]))??.get(0))
    }

    fn within<T>(&self, sql: &str, step: impl Future<Output = T>) -> Result<T, Violation> {
        let done = self.runtime.block_on(async { timeout(STATEMENT, step).await });
        done.map_err(|_| {
            let seconds = STATEMENT.as_secs();
            Violation::new(format!("no answer within {seconds} s: {sql}"))
        })
    }
}
