//! convodb itself: each page from a fresh snapshot, its rows owned, or borrowed from the page.

use std::hint::black_box;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use convodb::{BulkOptions, ListRequest, PageSize, Store, StoreOptions, Timestamp, UserId};

use crate::dataset::row::Row;
use crate::dataset::{ADVERSARY, assistants, corpus};
use crate::engines::Engine;
use crate::list::{Ask, List, Page, Way};

/// How rows are taken from a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Each copied into a row with its own texts.
    Owned,
    /// Each looked at in the page.
    Borrowed,
}

/// A store of convodb's.
pub(crate) struct Convodb {
    store: Store,
    rows: Rows,
    lists: Vec<Requests>,
}

/// The requests of one list: the first page, and those after and before each stride.
struct Requests {
    first: ListRequest,
    next: Vec<ListRequest>,
    prev: Vec<ListRequest>,
}

/// Opens a store with this much memory for its pages, and the usual for rows that are read again.
pub(crate) fn open(path: &Path, cache_bytes: usize) -> Result<Store> {
    Ok(Store::open_with(path, &StoreOptions { cache_bytes, ..StoreOptions::default() })?)
}

/// The same, without memory for rows: each is looked up in the tables, every time.
pub(crate) fn open_uncached(path: &Path, cache_bytes: usize) -> Result<Store> {
    let options = StoreOptions { cache_bytes, row_cache_bytes: 0, ..StoreOptions::default() };
    Ok(Store::open_with(path, &options)?)
}

/// Makes the owners and their assistants; their numbers are those of the corpus.
pub(crate) fn make_owners(store: &Store) -> Result<()> {
    let numbers = store.write(|transaction| {
        let mut numbers = Vec::new();
        for owner in 1..=ADVERSARY {
            let name = format!("owner-{owner}").parse()?;
            let user = transaction.create_user(name, Timestamp::MIN)?.id;
            for (number, id) in assistants(owner).into_iter().enumerate() {
                transaction.create_assistant(user, id, format!("Assistant {number}").parse()?)?;
            }
            numbers.push(user.get());
        }
        Ok(numbers)
    })?;
    ensure!(numbers.into_iter().eq(1..=ADVERSARY), "owners are not numbered from 1 on");
    Ok(())
}

/// Loads a corpus into an empty store.
pub(crate) fn load(path: &Path, rows: u64) -> Result<()> {
    let store = Store::open(path)?;
    make_owners(&store)?;
    let mut loader = store.bulk_load(BulkOptions::default());
    for placed in corpus(rows) {
        loader.push(UserId::new(placed.owner), &placed.conversation, &[])?;
    }
    loader.finish(|_, _| {})?;
    Ok(store.close()?)
}

impl Convodb {
    pub(crate) const fn new(store: Store, rows: Rows) -> Self {
        Self { store, rows, lists: Vec::new() }
    }

    /// Walks a list once, for the cursors at its places.
    fn requests(&self, list: &List) -> Result<Requests> {
        let size = PageSize::new(list.stride as u64)?;
        let first = ListRequest {
            filter: list.wanted.filter()?,
            page_size: Some(size),
            ..ListRequest::default()
        };
        let (mut next, mut prev) = (Vec::new(), Vec::new());
        let pages = self.store.snapshot().pages(UserId::new(list.owner), first.clone());
        for page in pages {
            let page = page?;
            next.extend(page.next().copied().map(ListRequest::at));
            prev.extend(page.prev().copied().map(ListRequest::at));
        }
        Ok(Requests { first, next, prev })
    }

    fn read(&mut self, ask: &Ask<'_>) -> Result<convodb::Page> {
        let requests =
            self.lists.get_mut(ask.list.number).context("a list that was not prepared")?;
        let request = match ask.way {
            Way::First => Some(&mut requests.first),
            Way::After(_) | Way::Offset { .. } => requests.next.get_mut(ask.strides - 1),
            Way::Before(_) => requests.prev.get_mut(ask.strides - 1),
        };
        let request = request.context("a place that was not walked to")?;
        request.page_size = Some(PageSize::new(ask.page_size as u64)?);
        Ok(self.store.snapshot().list(UserId::new(ask.list.owner), request)?)
    }
}

impl Engine for Convodb {
    fn prepare(&mut self, lists: &[List]) -> Result<()> {
        self.lists = lists.iter().map(|list| self.requests(list)).collect::<Result<_>>()?;
        Ok(())
    }

    fn page(&mut self, ask: &Ask<'_>) -> Result<Page> {
        let page = self.read(ask)?;
        let beyond = match ask.way {
            Way::Before(_) => page.prev(),
            Way::First | Way::After(_) | Way::Offset { .. } => page.next(),
        };
        let more = beyond.is_some();
        Ok(Page { rows: page.rows().map(|row| Row::from(&row)).collect(), more })
    }

    fn visit(&mut self, ask: &Ask<'_>) -> Result<usize> {
        match self.rows {
            Rows::Owned => Ok(black_box(self.page(ask)?).rows.len()),
            Rows::Borrowed => {
                let page = self.read(ask)?;
                let rows = page.rows().map(black_box).count();
                black_box(&page);
                Ok(rows)
            }
        }
    }
}
