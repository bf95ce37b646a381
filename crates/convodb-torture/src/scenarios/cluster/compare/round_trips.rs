//! What a round trip to each database costs, and a sync of the disk that all of them are on.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use convodb_bench::latency::{Latencies, Latency};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio_postgres::NoTls;

use crate::scenario::Violation;
use crate::scenarios::cluster::compare::stores::of_bench;

/// The round trips and syncs of a round.
const BATCH: usize = 50;
/// The bytes of a synced write.
const BLOCK: [u8; 4096] = [7; 4096];

/// The costs that a store on a database cannot go below.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RoundTrips {
    /// `select 1` in each database.
    pub(super) select_1: Vec<Latency>,
    /// A write of 4 KiB over those that a file has, with `fdatasync`.
    pub(super) sync: Latency,
}

/// Measures them by turns.
pub(super) fn measure(
    runtime: &Runtime,
    urls: &[String],
    directory: &Path,
    rounds: usize,
) -> Result<RoundTrips, Violation> {
    runtime.block_on(async {
        let mut clients = Vec::new();
        for url in urls {
            let leader = format!("{url}?target_session_attrs=read-write");
            let (client, connection) = tokio_postgres::connect(&leader, NoTls).await?;
            tokio::spawn(connection);
            let statement = client.prepare("select 1").await?;
            clients.push((client, statement, of_bench(Latencies::new())?));
        }
        let file = File::create(directory.join("sync"))?;
        file.write_all_at(&BLOCK, 0)?;
        file.sync_all()?;
        let mut syncs = of_bench(Latencies::new())?;
        for _ in 0..rounds {
            for (client, statement, latencies) in &mut clients {
                for _ in 0..BATCH {
                    let began = Instant::now();
                    client.query_one(&*statement, &[]).await?;
                    of_bench(latencies.record(began.elapsed()))?;
                }
            }
            for _ in 0..BATCH {
                let began = Instant::now();
                file.write_all_at(&BLOCK, 0)?;
                file.sync_data()?;
                of_bench(syncs.record(began.elapsed()))?;
            }
        }
        let select_1 = clients.iter().map(|(.., latencies)| latencies.summary()).collect();
        Ok(RoundTrips { select_1, sync: syncs.summary() })
    })
}
