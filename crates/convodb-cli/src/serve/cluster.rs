//! The store on PostgreSQL that `--pg-url` names.

use anyhow::{Context, Result};
use convodb_postgres::Cluster;
use convodb_service::Source;

use crate::serve::args::Args;

/// Opens the store in the database, and logs what an operator should change there.
pub(crate) async fn open(url: &str, args: &Args) -> Result<Source> {
    let options = args.postgres.options(url)?.quota(args.quota());
    let cluster = Cluster::open(&options).await.context("cannot open the store on PostgreSQL")?;
    match cluster.health().await {
        Ok(health) => {
            for warning in health.warnings() {
                tracing::warn!("the database: {warning}");
            }
        }
        Err(error) => tracing::warn!(cause = %error, "the health of the database is not known"),
    }
    Ok(cluster.into())
}
