//! The store on PostgreSQL that `--pg-url` names.

use anyhow::{Context, Result};
use convodb_postgres::Cluster;
use convodb_service::Source;

use crate::serve::args::Args;

/// Opens the store in the database.
pub(crate) async fn open(url: &str, args: &Args) -> Result<Source> {
    let options = args.postgres.options(url)?.quota(args.quota());
    let cluster = Cluster::open(&options).await;
    Ok(cluster.context("cannot open the store on PostgreSQL")?.into())
}
