//! Citus: tables that are distributed over workers, by user.
//!
//! All tables of users' data have the same shards, by `owner`, so the data of a user is on one node,
//! and each statement names the owner, so it is one task there. What belongs to no user or is read
//! before the user is known is a reference table: each node has all of its rows.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Transaction};

use crate::error::{Error, Result};
use crate::plan_check::PLANNER_SETTINGS;
use crate::rows::Columns;

/// Distributes the empty tables, in the transaction that has created them. Each table is copied,
/// indexed and altered on one connection to each node afterwards: a transaction cannot do both that
/// and parallel work on the same tables.
const DISTRIBUTE: &str = "
set local citus.multi_shard_modify_mode = 'sequential';
select create_reference_table('store');
select create_reference_table('account');
select create_reference_table('token');
select create_distributed_table('head', 'owner', colocate_with => 'none');
select create_distributed_table('assistant', 'owner', colocate_with => 'head');
select create_distributed_table('conversation', 'owner', colocate_with => 'head');
select create_distributed_table('message', 'owner', colocate_with => 'head');
select create_distributed_table('total', 'owner', colocate_with => 'head');
select create_distributed_table('change', 'owner', colocate_with => 'head');
select create_distributed_table('change_mark', 'owner', colocate_with => 'head');
select create_distributed_table('answer', 'owner', colocate_with => 'head');
";

/// The advisory lock of what alters a role: "convodb" in hexadecimal.
const ROLE_LOCK: i64 = 0x63_6f6e_766f_6462;

/// One snapshot for each node, for what reads many shards in a transaction: with more connections to a
/// node, each would have its own. Also valid where there is no Citus.
pub(crate) const ONE_SNAPSHOT: &str = "set citus.max_adaptive_executor_pool_size = 1";

/// Distributes the tables of a store over the workers.
///
/// # Errors
/// [`Error::Option`] if the database has no Citus; or a fault of the database.
pub(crate) async fn distribute(transaction: &Transaction<'_>) -> Result<()> {
    let distributed = transaction.batch_execute(DISTRIBUTE).await;
    distributed.map_err(|error| match error.code() {
        Some(&SqlState::UNDEFINED_FUNCTION) => {
            let reason = "needs the extension citus in the database".to_owned();
            Error::Option { field: "citus", reason }
        }
        _ => error.into(),
    })
}

/// Sets what the planner needs for the role in the database, which Citus propagates: the settings of a
/// session do not reach the workers, which plan each statement, too. One transaction at a time, because
/// two that alter a role fail.
///
/// # Errors
/// A fault of the database.
pub(crate) async fn set_role(client: &mut Client) -> Result<()> {
    let transaction = client.transaction().await?;
    let lock = format!("select pg_advisory_xact_lock({ROLE_LOCK})");
    transaction.batch_execute(&lock).await?;
    let sql =
        "select format('alter role %I in database %I set ', current_user, current_database())";
    let row = transaction.query_one(sql, &[]).await?;
    let alter: String = Columns::new(&row, 0, "settings").next()?;
    for setting in PLANNER_SETTINGS.split_terminator(';') {
        let setting = setting.trim().trim_start_matches("set ");
        transaction.batch_execute(&format!("{alter}{setting}")).await?;
    }
    Ok(transaction.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::TABLES;

    #[test]
    fn every_table_is_distributed() {
        let tables = TABLES.split("create table ").skip(1);
        for table in tables.filter_map(|text| text.split_once(' ').map(|(name, _)| name)) {
            assert_eq!(DISTRIBUTE.matches(&format!("_table('{table}'")).count(), 1, "{table}");
        }
    }
}
