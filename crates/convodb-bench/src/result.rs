//! The result of a benchmark, as JSON documented in `docs/benchmarks.md`.
//!
//! It contains nothing of a store but counts: no name, phone, identifier or path.

use convodb::PageCost;
use serde::Serialize;

use crate::engine::Depth;
use crate::latency::Latency;

/// The version of the JSON. It changes when a field is removed or changes its meaning.
pub const VERSION: u32 = 1;

/// All figures of one run.
#[derive(Clone, Debug, Serialize)]
pub struct BenchResult {
    /// Always `convodb-bench`.
    pub format: &'static str,
    /// [`VERSION`].
    pub version: u32,
    /// The version of convodb.
    pub convodb: &'static str,
    /// When the run began, RFC 3339, UTC.
    pub started_at: String,
    /// The machine.
    pub machine: Machine,
    /// The store.
    pub store: StoreFigures,
    /// The measured users, the biggest first.
    pub users: Vec<UserFigures>,
    /// The compared engines and their versions; empty if convodb was measured alone.
    pub against: Vec<EngineFigures>,
    /// Latencies of pages, warm.
    pub pages: Vec<PageFigures>,
    /// What pages read: each combination of filters of the biggest user.
    pub reads: Vec<ReadFigures>,
    /// Latencies of cold pages of the biggest user; empty if not measured.
    pub cold: Vec<ColdFigures>,
    /// Reader threads; empty if not measured.
    pub readers: Vec<ReaderFigures>,
    /// Durable writes, if measured.
    pub writes: Option<WriteFigures>,
    /// Memory of the process, if measured; empty where the system does not report it.
    pub memory: Option<Vec<MemoryFigures>>,
}

/// What the result says about the machine.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Processors that the process may use.
    pub processors: usize,
    /// The operating system, as in `linux`.
    pub os: &'static str,
    /// The architecture, as in `x86_64`.
    pub arch: &'static str,
    /// Whether the program was compiled with optimization: without, its times mean nothing.
    pub optimized: bool,
}

/// The measured store.
#[derive(Clone, Debug, Serialize)]
pub struct StoreFigures {
    /// Whether the store was generated.
    pub generated: bool,
    /// The number of conversations.
    pub rows: u64,
    /// The number of users with conversations.
    pub users: usize,
    /// The size of its file.
    pub file_bytes: u64,
    /// The duration of the load, if the store was generated.
    pub load_seconds: Option<f64>,
}

/// A measured user.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UserFigures {
    /// The user's number in the store.
    pub user: u32,
    /// The number of conversations.
    pub rows: u64,
    /// The number of assistants.
    pub assistants: u32,
}

/// An engine that convodb is compared with.
#[derive(Clone, Debug, Serialize)]
pub struct EngineFigures {
    /// Its name in [`PageFigures::engine`].
    pub engine: &'static str,
    /// Its version.
    pub version: String,
    /// The size of its file.
    pub file_bytes: u64,
    /// Pages that were compared with convodb's and found equal.
    pub compared_pages: u64,
}

/// The latency of one kind of page.
#[derive(Clone, Debug, Serialize)]
pub struct PageFigures {
    /// `convodb`, or an engine of [`BenchResult::against`].
    pub engine: &'static str,
    /// The user's number.
    pub user: u32,
    /// The fields that are filtered by.
    pub list: String,
    /// How many of the 32 combinations of filters read the same range.
    pub combinations: u32,
    /// The rows of the list.
    pub rows_in_list: u64,
    /// The most rows of the page.
    pub page_size: usize,
    /// `first`, `row` (the page after `rows_before` rows), `deep` (pages all over the list),
    /// `last` (the deepest full page) or `backward` (pages all over the list, read backward).
    pub depth: &'static str,
    /// The rows before the page, if it is one.
    pub rows_before: Option<u64>,
    /// The latency.
    #[serde(flatten)]
    pub latency: Latency,
    /// Index entries read for the page that read the most; `None` for other engines.
    pub entries: Option<usize>,
    /// Rows read for it.
    pub rows_read: Option<usize>,
    /// The bound of both together.
    pub bound: usize,
}

/// The most that a page of a list reads.
#[derive(Clone, Debug, Serialize)]
pub struct ReadFigures {
    /// The fields that are filtered by.
    pub filters: String,
    /// The rows of the list.
    pub rows: u64,
    /// The most rows of a page.
    pub page_size: usize,
    /// The pages read: all of the list, forward and backward.
    pub pages: u64,
    /// Index entries read for the page that read the most.
    pub entries: usize,
    /// Rows read for it, including rows that were stepped over.
    pub rows_read: usize,
    /// The bound of both together.
    pub bound: usize,
}

/// Cold pages of a list.
#[derive(Clone, Debug, Serialize)]
pub struct ColdFigures {
    /// The fields that are filtered by.
    pub list: String,
    /// The most rows of a page.
    pub page_size: usize,
    /// Opening the store.
    pub open: Latency,
    /// The first page after opening.
    pub page: Latency,
    /// The same pages, warm.
    pub warm: Option<Latency>,
    /// Bytes read from the disk for opening and the page, on average.
    pub disk_bytes: Option<u64>,
    /// Whether the system was asked to evict the file.
    pub evicted: bool,
}

/// What a number of reader threads read.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ReaderFigures {
    /// The number of threads.
    pub threads: usize,
    /// The most rows of a page.
    pub page_size: usize,
    /// Pages of all threads in a second.
    pub pages_per_second: f64,
    /// The latency of a page.
    #[serde(flatten)]
    pub latency: Latency,
}

/// Durable writes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct WriteFigures {
    /// One insert.
    pub insert: Latency,
    /// A change of an indexed field.
    pub update: Latency,
    /// One deletion.
    pub delete: Latency,
    /// A transaction of 100 inserts.
    pub group_of_100: Latency,
    /// Inserts per second by 64 threads at once.
    pub inserts_per_second_by_64_threads: f64,
}

/// The memory of the process at a moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MemoryFigures {
    /// The moment.
    pub after: &'static str,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// The most resident memory so far.
    pub peak_bytes: u64,
}

impl Depth {
    /// The word of the JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Depth::First => "first",
            Depth::Row(_) => "row",
            Depth::Deep => "deep",
            Depth::Last => "last",
            Depth::Backward => "backward",
        }
    }
}

impl BenchResult {
    /// The latency of one kind of page of the biggest user.
    #[must_use]
    pub fn page(
        &self,
        engine: &str,
        list: &str,
        depth: &str,
        page_size: usize,
    ) -> Option<&PageFigures> {
        let user = self.users.first()?.user;
        self.pages.iter().find(|found| {
            (found.engine, found.list.as_str(), found.depth) == (engine, list, depth)
                && (found.user, found.page_size) == (user, page_size)
        })
    }

    /// The names of the measured lists of the biggest user, in order.
    #[must_use]
    pub fn lists(&self) -> Vec<&str> {
        let Some(user) = self.users.first() else { return Vec::new() };
        let mut names: Vec<&str> = Vec::new();
        for found in self.pages.iter().filter(|found| found.user == user.user) {
            if !names.contains(&found.list.as_str()) {
                names.push(&found.list);
            }
        }
        names
    }

    /// The most that a page read, as a share of the bound; 0 if nothing was read.
    #[must_use]
    pub fn worst_share_of_bound(&self) -> f64 {
        let pages = self.pages.iter().filter_map(|page| {
            Some((page.entries?.saturating_add(page.rows_read?), page.page_size))
        });
        let reads = self.reads.iter().map(|read| (read.entries + read.rows_read, read.page_size));
        pages.chain(reads).fold(0.0, |worst, (read, page_size)| {
            let bound = convodb::PageSize::new(page_size as u64).map_or(0, PageCost::bound);
            f64::max(worst, read as f64 / bound.max(1) as f64)
        })
    }
}
