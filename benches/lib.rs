//! What the benches share: stores of a size, made once and kept, the lists that are measured, and
//! servers to be asked for them.

pub mod load_generator;
pub mod measurement;
pub mod server_process;

use std::path::{Path, PathBuf};

use convodb::{
    ChannelKind, ExternalIdentifier, Filter, ListRequest, PageCursor, PageSize, Result, Snapshot,
    Store, UserId,
};
use convodb_testkit::dataset::{self, Dataset};

/// The seed of all stores.
const SEED: u64 = 20_260_101;
/// How many places of a list a bench goes round, so that it does not read one hot page.
const PLACES: usize = 512;

/// The file of the store of `rows` rows, made at the first call and kept below `target/`.
///
/// # Errors
/// A fault of the store or of the disk.
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

/// Opens the store of `rows` rows, and gives its users, biggest first.
///
/// # Errors
/// A fault of the store or of the disk.
pub fn store_of(rows: u64) -> Result<(Store, Vec<UserId>)> {
    let store = Store::open(file_of(rows)?)?;
    let owners = store.snapshot().users()?.into_iter().map(|user| user.id).collect();
    Ok((store, owners))
}

/// The lists that are measured, by name: all rows, each filter alone, type and assistant, and an
/// assistant's customer who never wrote to it.
///
/// # Errors
/// A fault of the store.
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

/// An identifier that a conversation from the middle of the user's list has.
fn some_external_identifier(
    snapshot: &Snapshot,
    user: UserId,
) -> Result<Option<ExternalIdentifier>> {
    let filter = Filter { kind: Some(ChannelKind::Api), ..Filter::default() };
    for row in snapshot.rows(user, &ListRequest { filter, ..ListRequest::default() }).skip(50) {
        if let Some(text) = row?.channel.external_identifier() {
            return text.parse().map(Some);
        }
    }
    Ok(None)
}

/// Places all over a list: requests for the page after and the page before each.
#[derive(Default)]
pub struct Places {
    /// Pages forward, from the first on.
    pub next: Vec<ListRequest>,
    /// Pages backward.
    pub prev: Vec<ListRequest>,
}

/// Finds up to 512 places all over a list, in no order of depth.
///
/// # Errors
/// A fault of the store.
pub fn places(
    snapshot: &Snapshot,
    user: UserId,
    filter: &Filter,
    page_size: PageSize,
) -> Result<Places> {
    let request = ListRequest {
        filter: filter.clone(),
        page_size: Some(PageSize::MAX),
        ..ListRequest::default()
    };
    let (mut next, mut prev) = (Vec::new(), Vec::new());
    for page in snapshot.pages(user, request) {
        let page = page?;
        next.extend(page.next().copied());
        prev.extend(page.prev().copied());
    }
    let spread = |cursors: Vec<PageCursor>| -> Vec<ListRequest> {
        let step = cursors.len().div_ceil(PLACES).max(1);
        let mut chosen: Vec<ListRequest> = cursors
            .into_iter()
            .step_by(step)
            .map(|cursor| ListRequest { page_size: Some(page_size), ..ListRequest::at(cursor) })
            .collect();
        // A stride that shares no factor with the length visits each once, far from the one before.
        let length = chosen.len().max(1);
        let stride = (length * 2 / 3 + 1..).find(|stride| gcd(*stride, length) == 1).unwrap_or(1);
        let order: Vec<usize> = (0..chosen.len()).map(|at| at * stride % length).collect();
        chosen = order.into_iter().map(|at| chosen[at].clone()).collect();
        chosen
    };
    Ok(Places { next: spread(next), prev: spread(prev) })
}

const fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
