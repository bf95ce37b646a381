//! One page of a list: run the plan, read the rows into one buffer, set the two cursors.
//!
//! A page costs one descent and at most `page size + 2` steps for the list, and for a filtered
//! list its rows (see [`crate::query::fetch`]), at any depth. It owns its bytes: one buffer, in
//! which rows are decoded borrowed, so a page allocates a constant number of times.

use std::fmt;

use crate::encoding::index_term::{Field, Fingerprinter, Shape};
use crate::encoding::key::{IndexKey, RowKey};
use crate::encoding::row::RowBuffer;
use crate::error::Result;
use crate::model::conversation::ConversationRef;
use crate::model::id::UserId;
use crate::model::position::Position;
use crate::query::cursor::PageCursor;
use crate::query::fetch::{self, Fetch};
use crate::query::filter::Filter;
use crate::query::list_spec::Direction;
use crate::query::page_size::PageSize;
use crate::query::plan::plan;
use crate::query::recheck::Recheck;
use crate::query::request::ResolvedRequest;
use crate::query::scan::{self, ScanEdges, ScanRange};
use crate::tables::Tables;
use crate::tables::conversations::decode_row;

/// One page of a list, in the order of the list, read from one committed state.
///
/// It owns its bytes and can be kept and sent; its rows are borrowed from it. `Debug` shows none of
/// them: rows hold personal data.
///
/// ```
/// # use convodb::*;
/// # let store = Store::in_memory()?;
/// # let at: Timestamp = "2025-01-25".parse()?;
/// # let user = store.create_user("Acme".parse()?, at)?.id;
/// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot".parse()?)?.id;
/// # store.insert(user, Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at))?;
/// let page = store.snapshot().list(user, &ListRequest::default())?;
/// for row in page.conversations() {
///     println!("{} of {}: {} messages", row.id, row.created_at, row.message_count);
/// }
/// assert_eq!(page.len(), 1);
/// assert!(page.next_cursor().is_none() && page.prev_cursor().is_none(), "all of the list");
/// # Ok::<(), convodb::Error>(())
/// ```
pub struct Page {
    rows: RowBuffer,
    page_size: PageSize,
    next: Option<PageCursor>,
    prev: Option<PageCursor>,
    cost: PageCost,
}

/// What a page took to read: counts, which unlike times are the same on every machine.
///
/// ```
/// # let store = convodb::Store::in_memory()?;
/// # let user = convodb::UserId::new(1);
/// use convodb::{ListRequest, PageCost};
/// let page = store.snapshot().list(user, &ListRequest::default())?;
/// let work = page.cost();
/// assert!(work.entries + work.rows <= PageCost::bound(page.page_size()));
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCost {
    /// Entries of an index, or rows where the rows are the list.
    pub entries: usize,
    /// Rows read for the entries of an index, those passed on the way included.
    pub rows: usize,
    /// Those of them that were kept from pages before.
    pub cached: usize,
}

impl PageCost {
    /// The most that any page reads, of entries and rows together: ten for each row of its size
    /// and one more, for all combinations of filters, depths, directions and distributions of data.
    #[must_use]
    pub const fn bound(page_size: PageSize) -> usize {
        (fetch::MAX_STRIDE + 2) * (page_size.get() + 1)
    }
}

impl Page {
    /// The conversations, in the order of the list, borrowed from the page: slices of its
    /// buffer, nothing is decoded again.
    pub fn conversations(
        &self,
    ) -> impl DoubleEndedIterator<Item = ConversationRef<'_>> + ExactSizeIterator {
        self.rows.iter()
    }

    /// How many conversations the page has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the page has no conversation.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.len() == 0
    }

    /// The most conversations that the page could have.
    #[must_use]
    pub const fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Where the list goes on after this page; `None` if and only if it ends here.
    #[must_use]
    pub const fn next_cursor(&self) -> Option<&PageCursor> {
        self.next.as_ref()
    }

    /// Where the list stands before this page; `None` if and only if it begins here.
    #[must_use]
    pub const fn prev_cursor(&self) -> Option<&PageCursor> {
        self.prev.as_ref()
    }

    /// What the page took to read.
    #[must_use]
    pub const fn cost(&self) -> PageCost {
        self.cost
    }

    /// The positions of the rows, in the order of the list.
    pub(crate) fn positions(&self) -> impl DoubleEndedIterator<Item = Position> {
        self.rows.positions()
    }
}

/// Reads the page that a request asks for.
pub(crate) fn read(
    tables: &Tables,
    fingerprinter: &Fingerprinter,
    owner: UserId,
    filter: &Filter,
    resolved: &ResolvedRequest,
) -> Result<Page> {
    let ResolvedRequest { ref list, page_size, direction, .. } = *resolved;
    let mut page = Page {
        rows: RowBuffer::default(),
        page_size,
        next: None,
        prev: None,
        cost: PageCost::default(),
    };
    let Some(shape) = plan(list.filter.shape(), list.kind) else {
        return Ok(page);
    };
    page.rows.reserve(page_size.get());

    let found = match list.filter.term(shape) {
        None => page.fill_from_rows(tables, owner, resolved)?,
        Some((leading, term)) => {
            let range = resolved.range(IndexKey::of_list(owner, term));
            let check = Recheck::new(list.filter, filter, fingerprinter);
            page.fill_from_index(tables, leading, &range, check)?
        }
    };
    debug_assert!(shape != Shape::EMPTY || page.cost.rows == 0);
    page.cost.entries = found.entries;
    if direction == Direction::Prev {
        page.rows.reverse();
    }
    page.set_cursors(owner, resolved, found);
    Ok(page)
}

impl ResolvedRequest {
    fn range<K>(&self, any_key: K) -> ScanRange<K> {
        ScanRange {
            list: any_key,
            span: self.list.positions(),
            gap: self.gap,
            direction: self.list.order.scan_direction(self.direction),
            look_before: !self.at_front,
        }
    }
}

impl Page {
    /// The list of all conversations is the table of rows itself.
    fn fill_from_rows(
        &mut self,
        tables: &Tables,
        owner: UserId,
        resolved: &ResolvedRequest,
    ) -> Result<ScanEdges> {
        let range = resolved.range(RowKey::new(owner, resolved.gap));
        let rows = &mut self.rows;
        scan::scan(&tables.rows, &range, self.page_size.get(), |position, record| {
            let (row, texts) = decode_row(RowKey::new(owner, position), record)?;
            rows.push(row, texts);
            Ok(true)
        })
    }

    fn fill_from_index(
        &mut self,
        tables: &Tables,
        leading: Field,
        range: &ScanRange<IndexKey>,
        mut check: Recheck<'_>,
    ) -> Result<ScanEdges> {
        let owner = range.list.owner;
        let rows = &mut self.rows;
        let mut fetch = Fetch::new(tables, owner, leading, range.direction);
        let found =
            scan::scan(tables.index(leading), range, self.page_size.get(), |position, ()| {
                fetch.row(position, |row, texts| {
                    let admitted = check.may_checkpoint(&row.conversation(texts));
                    if admitted {
                        rows.push(*row, texts);
                    }
                    admitted
                })
            })?;
        (self.cost.rows, self.cost.cached) = (fetch.rows_read, fetch.rows_cached);
        Ok(found)
    }

    /// A side has a cursor if and only if the list has rows on it: the scan looked at both.
    fn set_cursors(&mut self, owner: UserId, resolved: &ResolvedRequest, found: ScanEdges) {
        let ResolvedRequest { list, direction, gap, .. } = *resolved;
        let (before, after) = match direction {
            Direction::Next => (found.before, found.after),
            Direction::Prev => (found.after, found.before),
        };
        let first = self.positions().next().map_or(gap, |first| list.gap_before(first));
        let last = self.positions().next_back().map_or(gap, |last| list.gap_after(last));
        let page_size = self.page_size;
        let cursor = |direction, gap| PageCursor { owner, list, page_size, direction, gap };
        self.next = after.then(|| cursor(Direction::Next, last));
        self.prev = before.then(|| cursor(Direction::Prev, first));
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("len", &self.len())
            .field("page_size", &self.page_size)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}
