//! convodb engine: each page from a new snapshot, with owned or with borrowed rows.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use convodb::{
    BulkOptions, IndexFamilies, IndexFamily, ListRequest, PageCursor, PageSize, Store,
    StoreOptions, Timestamp, UserId,
};
use convodb_bench::row::Row;

use crate::dataset::{ADVERSARY, all_rows, assistants};
use crate::engines::Engine;
use crate::list::{List, Page, PageQuery, PageStart};

/// How the rows of a page are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Each row is copied into owned texts.
    Owned,
    /// Each row is borrowed from the page.
    Borrowed,
}

/// A convodb store and its prepared requests, which forks share.
#[derive(Clone)]
pub(crate) struct Convodb {
    store: Store,
    rows: Rows,
    lists: Arc<[Requests]>,
}

/// The request for the first page of a list, and the cursors of the pages after and before each page
/// start.
struct Requests {
    first: ListRequest,
    next: Vec<PageCursor>,
    prev: Vec<PageCursor>,
}

/// Opens a store with this page cache.
pub(crate) fn open(path: &Path, cache_bytes: usize) -> Result<Store> {
    Ok(Store::open_with(path, &StoreOptions::new().cache_bytes(cache_bytes))?)
}

/// Creates the users and their assistants, numbered as in the dataset.
pub(crate) fn create_users(store: &Store) -> Result<()> {
    let numbers = store.write(|transaction| {
        let mut numbers = Vec::new();
        for number in 1..=ADVERSARY {
            let name = format!("user-{number}");
            let user = transaction.create_user(name, Timestamp::MIN)?.id;
            for (rank, id) in assistants(number).into_iter().enumerate() {
                transaction.create_assistant(user, id, format!("Assistant {rank}"))?;
            }
            numbers.push(user.get());
        }
        Ok::<_, convodb::Error>(numbers)
    })?;
    ensure!(numbers.into_iter().eq(1..=ADVERSARY), "users are not numbered from 1");
    Ok(())
}

/// Loads the dataset into an empty store.
pub(crate) fn load(path: &Path, rows: u64) -> Result<()> {
    let indexes = IndexFamilies::NONE.with(IndexFamily::LastActivity).with(IndexFamily::AiOff);
    let store = Store::open_with(path, &StoreOptions::new().indexes(indexes))?;
    create_users(&store)?;
    let mut loader = store.bulk_load(BulkOptions::default());
    for placed in all_rows(rows) {
        loader.push(UserId::new(placed.user), &placed.conversation, &[])?;
    }
    loader.finish()?;
    Ok(store.close()?)
}

/// Adds the counters that make the totals of all lists exact; only the suite `counts` needs them.
pub(crate) fn add_counters(path: &Path) -> Result<()> {
    let store = Store::open(path)?;
    store.add_indexes(IndexFamilies::NONE.with(IndexFamily::Counters))?;
    Ok(store.close()?)
}

impl Convodb {
    pub(crate) fn new(store: Store, rows: Rows) -> Self {
        Self { store, rows, lists: Arc::default() }
    }

    /// Reads a list once and collects the cursors at its page starts.
    fn requests(&self, list: &List) -> Result<Requests> {
        let size = PageSize::new(list.stride as u64)?;
        let first = ListRequest {
            filter: list.filter.to_convodb()?,
            sort: Some(list.sort),
            page_size: Some(size),
            ..ListRequest::default()
        };
        let (mut next, mut prev) = (Vec::new(), Vec::new());
        let pages = self.store.snapshot().pages(UserId::new(list.user), first.clone());
        for page in pages {
            let page = page?;
            next.extend(page.next_cursor().copied());
            prev.extend(page.prev_cursor().copied());
        }
        Ok(Requests { first, next, prev })
    }

    fn read(&self, query: &PageQuery<'_>) -> Result<convodb::Page> {
        let requests = self.lists.get(query.list.number).context("list not prepared")?;
        let cursor = |cursors: &[PageCursor]| cursors.get(query.strides - 1).copied();
        let request = match query.start {
            PageStart::First => Some(requests.first.clone()),
            PageStart::After(_) | PageStart::Offset { .. } => {
                cursor(&requests.next).map(ListRequest::at)
            }
            PageStart::Before(_) => cursor(&requests.prev).map(ListRequest::at),
        };
        let request = ListRequest {
            page_size: Some(PageSize::new(query.page_size as u64)?),
            ..request.context("no cursor at this page start")?
        };
        Ok(self.store.snapshot().list(UserId::new(query.list.user), &request)?)
    }
}

impl Engine for Convodb {
    fn prepare(&mut self, lists: &[List]) -> Result<()> {
        self.lists = lists.iter().map(|list| self.requests(list)).collect::<Result<_>>()?;
        Ok(())
    }

    fn page(&mut self, query: &PageQuery<'_>) -> Result<Page> {
        let page = self.read(query)?;
        let beyond = match query.start {
            PageStart::Before(_) => page.prev_cursor(),
            PageStart::First | PageStart::After(_) | PageStart::Offset { .. } => page.next_cursor(),
        };
        let more = beyond.is_some();
        Ok(Page { rows: page.conversations().map(|row| Row::from(&row)).collect(), more })
    }

    fn count(&mut self, list: &List, created: Option<(u64, u64)>) -> Result<u64> {
        let first = &self.lists.get(list.number).context("list not prepared")?.first;
        let mut request = first.clone();
        if let Some((from, to)) = created {
            request.created_from = Some(Timestamp::from_millis(from)?);
            request.created_to = Some(Timestamp::from_millis(to)?);
        }
        let count = self.store.snapshot().count(UserId::new(list.user), &request)?;
        ensure!(count.is_exact, "the count of {} is not exact", list.name);
        Ok(count.conversations)
    }

    fn fork(&self) -> Option<Box<dyn Engine + Send>> {
        Some(Box::new(self.clone()))
    }

    fn visit(&mut self, query: &PageQuery<'_>) -> Result<usize> {
        match self.rows {
            Rows::Owned => Ok(black_box(self.page(query)?).rows.len()),
            Rows::Borrowed => {
                let page = self.read(query)?;
                let rows = page.conversations().map(black_box).count();
                black_box(&page);
                Ok(rows)
            }
        }
    }
}
