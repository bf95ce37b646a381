//! Pages of all three stores: compared, then timed by turns.

use anyhow::Result;
use convodb::{Page, PageSize, Snapshot, Store};
use convodb_bench::engine::{Convodb, Depth, Engine, FoundPage, PageQuery, Visit};
use convodb_bench::latency::Latency;
use convodb_bench::lists::{lists, users_by_size};
use convodb_bench::pages::{self, Effort, MeasuredList, PageKind};
use convodb_bench::starts::ListPlaces;
use convodb_postgres::{Cluster, ClusterOptions};
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::scenario::{Violation, ensure};
use crate::scenarios::cluster::compare::stores::{STORES, of_bench};

/// The lists that are read, of the user with the most conversations.
const LISTS: [&str; 3] = ["no filter", "type", "assistant + customer"];
/// The rows of a page.
const PAGE_SIZE: u64 = 15;
/// The places of a list at which pages are read.
const PLACES: usize = 256;

/// What reading costs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PageTimes {
    /// The number of pages that were compared and are equal in all stores.
    pub(super) compared: u64,
    pub(super) page_size: u64,
    pub(super) kinds: Vec<KindTimes>,
}

/// What a kind of page costs in each store.
#[derive(Clone, Debug, Serialize)]
pub(super) struct KindTimes {
    pub(super) list: String,
    /// The number of conversations in the list.
    pub(super) rows: u64,
    /// Whether the pages are at random depth; else it is the first one.
    pub(super) is_deep: bool,
    pub(super) stores: Vec<Latency>,
}

/// The opened stores.
pub(super) struct PageStores<'r> {
    snapshot: Snapshot,
    engines: Vec<Box<dyn Engine + 'r>>,
}

impl<'r> PageStores<'r> {
    /// Opens all stores.
    pub(super) fn open(
        store: &Store,
        runtime: &'r Runtime,
        databases: &[ClusterOptions],
    ) -> Result<Self, Violation> {
        let mut engines: Vec<Box<dyn Engine + 'r>> = vec![Box::new(Convodb::new(store.clone()))];
        for (options, name) in databases.iter().zip(&STORES[1..]) {
            let cluster = runtime.block_on(Cluster::open(options))?;
            engines.push(Box::new(Database { name, cluster, runtime }));
        }
        Ok(Self { snapshot: store.snapshot(), engines })
    }

    /// Compares the pages of all stores, and then times them.
    pub(super) fn measure(mut self, effort: Effort) -> Result<PageTimes, Violation> {
        let page_size = PageSize::new(PAGE_SIZE)?;
        let lists = of_bench(self.lists())?;
        let kinds = lists.iter().flat_map(|list| PageKind::of(list, page_size));
        let kinds: Vec<PageKind<'_>> =
            kinds.filter(|kind| matches!(kind.depth, Depth::First | Depth::Deep)).collect();
        // Few rows have a combination with pages at few depths, or at none.
        let first = kinds.iter().filter(|kind| kind.depth == Depth::First).count();
        ensure(first == LISTS.len(), || format!("only {first} lists"))?;
        let compared = of_bench(pages::compare(&mut self.engines, &kinds, |_| {}))?;
        let times = of_bench(pages::measure(&mut self.engines, &kinds, effort, |_, _| {}))?;
        let kind_times = kinds.iter().enumerate().map(|(number, kind)| {
            let of_kind = times.iter().filter(|times| times.kind == number);
            KindTimes {
                list: kind.list.list.name.clone(),
                rows: kind.list.places.rows,
                is_deep: kind.depth == Depth::Deep,
                stores: of_kind.map(|times| times.latencies.summary()).collect(),
            }
        });
        Ok(PageTimes { compared, page_size: PAGE_SIZE, kinds: kind_times.collect() })
    }

    fn lists(&self) -> Result<Vec<MeasuredList>> {
        let users = users_by_size(&self.snapshot)?;
        let user = users.first().ok_or_else(|| anyhow::anyhow!("there are no users"))?.user;
        let mut measured = Vec::new();
        for list in lists(&self.snapshot, user)? {
            if LISTS.contains(&list.name.as_str()) {
                let places = ListPlaces::find(&self.snapshot, user, &list, PLACES)?;
                measured.push(MeasuredList { user, list, places });
            }
        }
        Ok(measured)
    }
}

/// A store on PostgreSQL.
struct Database<'r> {
    name: &'static str,
    cluster: Cluster,
    runtime: &'r Runtime,
}

impl Database<'_> {
    fn read(&self, query: &PageQuery<'_>) -> Result<Page> {
        Ok(self.runtime.block_on(self.cluster.list(query.user, &query.request()))?)
    }
}

impl Engine for Database<'_> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn reads(&self, _: Depth) -> bool {
        true
    }

    fn visit(&mut self, query: &PageQuery<'_>) -> Result<Visit> {
        Ok(Visit::of(&self.read(query)?))
    }

    fn page(&mut self, query: &PageQuery<'_>) -> Result<FoundPage> {
        Ok(FoundPage::of(&self.read(query)?, query.place))
    }
}
