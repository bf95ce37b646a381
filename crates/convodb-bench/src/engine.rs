//! Engines: what reads the measured pages, and convodb as one of them.

use std::hint::black_box;

use anyhow::Result;
use convodb::{ListRequest, Page, PageCost, PageSize, Store, UserId};

use crate::lists::List;
use crate::row::Row;
use crate::starts::{self, PageStart};

/// One page of a list.
#[derive(Clone, Copy, Debug)]
pub struct PageQuery<'a> {
    /// The user.
    pub user: UserId,
    /// The list.
    pub list: &'a List,
    /// Where the page is.
    pub place: Place<'a>,
    /// The most rows of the page.
    pub page_size: PageSize,
}

/// Where a page is in its list.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// At the beginning.
    First,
    /// After a place.
    After(&'a PageStart),
    /// Before a place: a page that is read backward.
    Before(&'a PageStart),
}

impl PageQuery<'_> {
    /// The request for convodb.
    #[must_use]
    pub fn request(&self) -> ListRequest {
        match self.place {
            Place::First => ListRequest { page_size: Some(self.page_size), ..self.list.request() },
            Place::After(start) => starts::forward(start, self.page_size),
            Place::Before(start) => starts::backward(start, self.page_size),
        }
    }
}

/// A page as every engine returns it, to compare them.
#[derive(Debug, PartialEq, Eq)]
pub struct FoundPage {
    /// The rows in the order of the list.
    pub rows: Vec<Row>,
    /// Whether the list continues in the direction of the read.
    pub more: bool,
}

impl FoundPage {
    /// A page of convodb.
    #[must_use]
    pub fn of(page: &Page, place: Place<'_>) -> Self {
        let beyond = match place {
            Place::First | Place::After(_) => page.next_cursor(),
            Place::Before(_) => page.prev_cursor(),
        };
        let rows = page.conversations().map(|row| Row::from(&row)).collect();
        Self { rows, more: beyond.is_some() }
    }
}

/// What was read for a page.
#[derive(Clone, Copy, Debug, Default)]
pub struct Visit {
    /// The number of rows of the page.
    pub rows: usize,
    /// What convodb counted; `None` for other engines.
    pub cost: Option<PageCost>,
}

impl Visit {
    /// Looks at each field of each row of a page of convodb.
    #[must_use]
    pub fn of(page: &Page) -> Self {
        let rows = page.conversations().map(black_box).count();
        Self { rows, cost: Some(page.cost()) }
    }
}

/// Where pages are in their list, for a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// The first page.
    First,
    /// The page after this many rows: 100, 1,000 and so on.
    Row(u64),
    /// Pages all over the list.
    Deep,
    /// The deepest full page.
    Last,
    /// Pages all over the list, read backward.
    Backward,
}

/// An engine with an opened store. Each page is read in a read transaction of its own.
pub trait Engine {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// Whether it reads pages of this depth.
    fn reads(&self, depth: Depth) -> bool;

    /// Prepares what a caller would have before its query. Called before the first read of a page.
    ///
    /// # Errors
    /// An error of the engine.
    fn prepare(&mut self, query: &PageQuery<'_>) -> Result<()> {
        let _ = query;
        Ok(())
    }

    /// Reads a page and each field of each row. This is what is timed.
    ///
    /// # Errors
    /// An error of the engine.
    fn visit(&mut self, query: &PageQuery<'_>) -> Result<Visit>;

    /// Reads a page into rows with owned texts.
    ///
    /// # Errors
    /// An error of the engine.
    fn page(&mut self, query: &PageQuery<'_>) -> Result<FoundPage>;
}

/// convodb: a snapshot and a page for each read.
pub struct Convodb(Store);

impl Convodb {
    /// Reads from this store.
    #[must_use]
    pub const fn new(store: Store) -> Self {
        Self(store)
    }

    fn read(&self, query: &PageQuery<'_>) -> Result<Page> {
        Ok(self.0.snapshot().list(query.user, &query.request())?)
    }
}

impl Engine for Convodb {
    fn name(&self) -> &'static str {
        "convodb"
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
