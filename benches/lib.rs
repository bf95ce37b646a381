//! Shared parts of the benches: instruction counts, stores of a given size, the measured lists and their page starts,
//! server subprocesses, other servers, and an HTTP load generator.

pub mod callgrind;
pub mod load_generator;
pub mod measurement;
pub mod other_servers;
pub mod server_process;
pub mod write_requests;

use std::path::{Path, PathBuf};

use convodb::{
    ChannelKind, ExternalIdentifier, Filter, ListRequest, PageSize, Result, Snapshot, Sort, Store,
    UserId,
};
use convodb_bench::dataset::{self, Dataset};
use convodb_bench::lists::List;
use convodb_bench::run::SEED;
use convodb_bench::starts::{self, ListPlaces, scattered};
use mimalloc::MiMalloc;

/// That of the command, so that what is measured is what it does.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The most page starts of a list that a bench cycles through, so that it does not read one hot
/// page.
const MAX_STARTS: usize = 512;
/// The most places to choose the starts from: those where pages of the largest size meet.
const MAX_PLACES: usize = 1 << 16;

/// The number in an environment variable.
#[must_use]
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The file of the store of `rows` rows below `target/`. The first call creates it.
///
/// # Errors
/// Fails on an error of the store or of the disk.
pub fn file_of(rows: u64) -> Result<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench-stores");
    std::fs::create_dir_all(&directory)?;
    let path = directory.join(format!("{rows}.convodb"));
    if !path.exists() {
        let unfinished = directory.join(format!("{rows}.unfinished"));
        let _ = std::fs::remove_file(&unfinished);
        let store = Store::open(&unfinished)?;
        dataset::load(&store, SEED, rows, |_| {})?;
        store.close()?;
        std::fs::rename(&unfinished, &path)?;
    }
    Ok(path)
}

/// Opens the store of `rows` rows and returns it with its users, the biggest first.
///
/// # Errors
/// Fails on an error of the store or of the disk.
pub fn store_of(rows: u64) -> Result<(Store, Vec<UserId>)> {
    let store = Store::open(file_of(rows)?)?;
    let users = store.snapshot().users()?.into_iter().map(|user| user.id).collect();
    Ok((store, users))
}

/// The measured lists by name: all rows, each filter alone, type with assistant, and an empty one:
/// a customer with an assistant that has no conversation with them.
///
/// # Errors
/// Fails on an error of the store.
pub fn lists(snapshot: &Snapshot, user: UserId) -> Result<Vec<(&'static str, Filter)>> {
    let all = Filter::default;
    let external_identifier = some_external_identifier(snapshot, user)?;
    let customer = || Dataset::customer_phone(0, 0).parse().ok();
    let kind = Some(ChannelKind::Whatsapp);
    let assistant = Some(Dataset::assistant(0, 1));
    let unused = Some(Dataset::assistant(1, 0));
    Ok(vec![
        ("unfiltered", all()),
        ("type", Filter { kind, ..all() }),
        ("assistant", Filter { assistant, ..all() }),
        ("sender", Filter { sender_phone: Dataset::sender_phone(0, 1).parse().ok(), ..all() }),
        ("customer", Filter { customer_phone: customer(), ..all() }),
        ("external", Filter { external_identifier, ..all() }),
        ("type+assistant", Filter { kind, assistant, ..all() }),
        ("empty", Filter { customer_phone: customer(), assistant: unused, ..all() }),
    ])
}

/// The external identifier of a conversation inside the user's list.
fn some_external_identifier(
    snapshot: &Snapshot,
    user: UserId,
) -> Result<Option<ExternalIdentifier>> {
    let filter = Filter { kind: Some(ChannelKind::Api), ..Filter::default() };
    for row in
        snapshot.conversations(user, &ListRequest { filter, ..ListRequest::default() }).skip(50)
    {
        if let Some(text) = row?.channel.external_identifier() {
            return text.parse().map(Some);
        }
    }
    Ok(None)
}

/// Requests for pages spread over a list.
#[derive(Default)]
pub struct PageStarts {
    /// Forward pages.
    pub next: Vec<ListRequest>,
    /// Backward pages.
    pub prev: Vec<ListRequest>,
}

/// Finds up to 512 page starts spread over a list, in no order of depth. Reads the whole list.
///
/// # Errors
/// Fails on an error of the store.
pub fn page_starts(
    snapshot: &Snapshot,
    user: UserId,
    filter: &Filter,
    page_size: PageSize,
) -> anyhow::Result<PageStarts> {
    let list = List {
        name: String::new(),
        combinations: 0,
        filter: filter.clone(),
        sort: Sort::CreatedAt,
    };
    let mut starts = ListPlaces::find(snapshot, user, &list, MAX_PLACES)?.spread;
    starts.retain(|start| start.rows_before.is_multiple_of(PageSize::MAX.get() as u64));
    let every = starts.len().div_ceil(MAX_STARTS).max(1);
    let starts: Vec<_> = starts.into_iter().step_by(every).collect();
    let order = scattered(starts.len()).map(|at| &starts[at]);
    let (next, prev) = order
        .map(|start| (starts::forward(start, page_size), starts::backward(start, page_size)))
        .unzip();
    Ok(PageStarts { next, prev })
}
