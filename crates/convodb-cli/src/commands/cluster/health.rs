//! `convodb cluster health`: what the database promises of an acknowledged write, and its standbys.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use convodb_postgres::{ClusterDurability, ClusterHealth};
use serde::Serialize;

use crate::args::JsonFlag;
use crate::commands::cluster::database::DatabaseFlags;
use crate::console::grouped;

/// Show where an acknowledged write is, how far the standbys are, and whether plans are right
///
/// The exit status is 1 if anything should be changed: no strict quorum, no synchronous standby, or
/// a plan that does not read a list by its index.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: convodb cluster health --pg-url postgresql://convodb@db1,db2/convodb"
)]
pub(crate) struct Args {
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    json: JsonFlag,
}

/// The health, as JSON.
#[derive(Serialize)]
struct HealthLine<'h> {
    durability: &'static str,
    standbys: Vec<StandbyLine<'h>>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct StandbyLine<'h> {
    name: &'h str,
    synchronous: bool,
    lag_bytes: Option<u64>,
}

/// Prints the health.
pub(crate) async fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let health = args.database.open().await?.health().await?;
    let warnings = health.warnings();
    let status = if warnings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if args.json.json {
        let standbys = health.standbys.iter().map(|standby| StandbyLine {
            name: &standby.name,
            synchronous: standby.is_synchronous,
            lag_bytes: standby.lag_bytes,
        });
        let standbys = standbys.collect();
        let line = HealthLine { durability: durability(&health), standbys, warnings };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
        return Ok(status);
    }
    writeln!(out, "durability: {}", durability(&health))?;
    for standby in &health.standbys {
        let kind = if standby.is_synchronous { "synchronous" } else { "asynchronous" };
        let lag = match standby.lag_bytes {
            Some(bytes) => format!("{} bytes behind", grouped(bytes)),
            None => "lag unknown: grant the role pg_monitor".to_owned(),
        };
        writeln!(out, "standby: {}, {kind}, {lag}", standby.name)?;
    }
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(status)
}

/// Where an acknowledged write is.
fn durability(health: &ClusterHealth) -> &'static str {
    match health.durability {
        ClusterDurability::Quorum => "quorum",
        ClusterDurability::Primary => "primary",
        _ => "memory",
    }
}
