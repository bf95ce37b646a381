//! Side by side: an embedded store, one PostgreSQL server, and three nodes with strict quorum.
//!
//! All have the same rows, and are read and written by turns by the same clients in one run. The pages
//! of all are compared before any is timed.

mod pages;
mod plain_server;
mod result;
mod round_trips;
mod stores;
mod writes;

use std::time::Duration;

use convodb::Store;
use convodb_bench::dataset;
use convodb_bench::pages::Effort;
use convodb_postgres::{Cluster, ClusterOptions};
use tokio::runtime::{Builder, Runtime};

use crate::scenario::{Violation, ensure};
use crate::scenarios::cluster::compare::pages::PageStores;
use crate::scenarios::cluster::compare::plain_server::PlainServer;
pub(crate) use crate::scenarios::cluster::compare::result::Comparison;
use crate::scenarios::cluster::compare::writes::WriteStores;
use crate::scenarios::cluster::nodes::{self, Nodes};
use crate::scenarios::cluster::operator::STORE_ROLE;

/// The schema of the rows.
const SCHEMA: &str = "compared";
/// The seed of the rows.
const SEED: u64 = 7;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// The number of conversations, of a thousand users.
    rows: u64,
    /// The pages of each kind.
    pages: Effort,
    /// How often each arrangement of writers has its turn.
    write_rounds: u32,
    /// The time of a turn.
    write_turn: Duration,
}

impl Size {
    /// The number of conversations unless another one is chosen.
    pub(crate) const ROWS: u64 = 100_000;

    /// Some minutes.
    pub(crate) const fn full(rows: u64) -> Self {
        Self {
            rows,
            pages: Effort { rounds: 20, batch: 50, slice: Duration::from_millis(100) },
            write_rounds: 4,
            write_turn: Duration::from_millis(1_500),
        }
    }

    /// Some seconds: pages are compared, and everything is measured a little.
    pub(super) const QUICK: Self = Self {
        rows: 10_000,
        pages: Effort { rounds: 1, batch: 4, slice: Duration::from_millis(20) },
        write_rounds: 1,
        write_turn: Duration::from_millis(100),
    };
}

/// Starts a plain server beside the nodes, fills all three stores, and measures.
///
/// # Errors
/// A violation if a page differs, or if a store is not as what was written to it.
pub(super) fn run(nodes: &Nodes, size: &Size) -> Result<Comparison, Violation> {
    // As in a server, a request and its connection are on one thread.
    let one = Builder::new_current_thread().enable_all().build()?;
    let plain = PlainServer::start(nodes.directory())?;
    let file = tempfile::tempdir_in(nodes.directory())?;
    let store = Store::open(file.path().join("compared.convodb"))?;
    let (users, _) = dataset::load(&store, SEED, size.rows, |_| {})?;
    let urls = [plain_server::url(STORE_ROLE), nodes::url(STORE_ROLE)];
    let mut databases = Vec::new();
    for url in &urls {
        let options = ClusterOptions::new(url)?.schema(SCHEMA)?;
        one.block_on(Cluster::import(&options, &store, |_| {}))?;
        databases.push(options);
    }
    let round_trips = round_trips::measure(&one, &urls, file.path(), size.pages.rounds)?;
    let pages = PageStores::open(&store, &one, &databases)?.measure(size.pages)?;
    drop(one);

    let two: Runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut stores = WriteStores::open(store.clone(), &two, &databases, &users)?;
    let writes = stores.measure(&two, size.write_rounds, size.write_turn)?;
    let expected = stores.written().map(|written| size.rows + written);
    drop(stores);
    let embedded = store.snapshot().verify()?;
    ensure(embedded.is_clean(), || format!("the audit found {:?}", embedded.findings))?;
    let mut found = vec![embedded.conversations];
    for options in &databases {
        let report = two.block_on(Cluster::verify(options))?;
        ensure(report.is_clean(), || format!("the audit found {:?}", report.findings))?;
        found.push(report.conversations);
    }
    ensure(found == expected, || format!("{found:?} conversations of {expected:?}"))?;
    store.close()?;
    drop(plain);
    Ok(Comparison { rows: size.rows, round_trips, pages, writes })
}
