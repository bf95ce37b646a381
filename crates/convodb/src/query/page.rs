//! Page: runs the plan of a list, reads the rows into one buffer and sets the two cursors.
//!
//! At any depth, a page costs one B-tree lookup and at most `page size + 2` steps for the list, and
//! for a filtered list its rows in addition (see [`crate::query::fetch`]). A list with several types
//! or assistants merges one range for each combination of them: `k` ranges cost `k` lookups and at
//! most `page size + 2k` steps, or `page size + k + 1` as long as the row behind the cursor is still
//! there. Until the next checkpoint, each step may pass a run of removed entries, for one entry and
//! one lookup more (see [`crate::kv::cursor`]). A page copies records into one buffer and decodes
//! conversations that borrow from it, so it needs a constant number of allocations.

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
use crate::query::list_spec::{Direction, ListSpec};
use crate::query::page_size::PageSize;
use crate::query::plan::plan;
use crate::query::recheck::Recheck;
use crate::query::request::ResolvedRequest;
use crate::query::scan::{self, ScanEdges, ScanRange};
use crate::tables::Tables;
use crate::tables::conversations::decode_row;

/// One page of a list, in the order of the list, read from one committed state.
///
/// A page owns its data, so it can outlive the snapshot and be sent to other threads. Its
/// conversations borrow from it. The `Debug` output omits them, because they contain personal data.
///
/// If the filter contradicts itself, for example an external identifier and a phone, no
/// conversation can match: the page is empty and nothing is read.
///
/// ```
/// # use convodb::*;
/// # let store = Store::in_memory()?;
/// # let at: Timestamp = "2025-01-25".parse()?;
/// # let user = store.create_user("Acme", at)?.id;
/// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
/// # store.insert(user, Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at), Vec::new())?;
/// let page = store.snapshot().list(user, &ListRequest::default())?;
/// for row in page.conversations() {
///     println!("{} of {}: {} messages", row.id, row.created_at, row.message_count);
/// }
/// assert_eq!(page.len(), 1);
/// assert!(page.next_cursor().is_none() && page.prev_cursor().is_none(), "this is the whole list");
/// # Ok::<(), convodb::Error>(())
/// ```
pub struct Page {
    rows: RowBuffer,
    page_size: PageSize,
    next: Option<PageCursor>,
    prev: Option<PageCursor>,
    cost: PageCost,
}

/// The cost of reading a page, in counts of what was read. Unlike times, counts do not depend on
/// the machine.
///
/// ```
/// # let store = convodb::Store::in_memory()?;
/// # let user = convodb::UserId::new(1);
/// use convodb::{ListRequest, PageCost};
/// let page = store.snapshot().list(user, &ListRequest::default())?;
/// let cost = page.cost();
/// assert!(cost.entries + cost.rows <= PageCost::bound(page.page_size()));
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PageCost {
    /// Number of index ranges that the list is a union of: 1, or for a filter with several types or
    /// assistants one for each combination of them; 0 if no conversation can match.
    pub ranges: usize,
    /// Index entries read, or rows if the list has no filter. Includes removed ones that were met
    /// before a checkpoint took them out of the tables.
    pub entries: usize,
    /// Rows read for index entries, including rows that were stepped over; 0 if the list has no
    /// filter.
    pub rows: usize,
}

impl PageCost {
    /// The maximum of `entries + rows` for a page of this size: `10 * (page_size + 1)`, for every
    /// combination of filters with one value each, depth, direction, distribution of data, and
    /// pattern of removals.
    ///
    /// A page of *n* visits at most *n* + 2 entries, each after at most one removed entry, and 8
    /// *n* + 1 rows, after at most one removed row.
    #[must_use]
    pub const fn bound(page_size: PageSize) -> usize {
        (fetch::MAX_STRIDE + 2) * (page_size.get() + 1)
    }

    /// The maximum of `entries + rows` for a page of a list that is a union of this number of
    /// [`ranges`](PageCost::ranges): two more entries for each range after the first, each after at
    /// most one removed entry. Without removals `entries` alone are at most
    /// `page_size + ranges + 1`: only if the row behind the cursor was removed, more than one range
    /// is looked at behind it.
    ///
    /// ```
    /// # let store = convodb::Store::in_memory()?;
    /// # let user = convodb::UserId::new(1);
    /// use convodb::{ChannelKind, Filter, ListRequest, PageCost};
    /// let filter = Filter::new().kinds([ChannelKind::Whatsapp, ChannelKind::Api])?;
    /// let page = store.snapshot().list(user, &ListRequest::new().filter(filter))?;
    /// let cost = page.cost();
    /// assert_eq!(cost.ranges, 2);
    /// assert!(cost.entries + cost.rows <= PageCost::bound_of_ranges(page.page_size(), 2));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub const fn bound_of_ranges(page_size: PageSize, ranges: usize) -> usize {
        Self::bound(page_size) + 4 * ranges.saturating_sub(1)
    }
}

impl Page {
    /// The conversations in the order of the list. They borrow from the page's buffer: iterating
    /// allocates nothing and decodes no record again.
    pub fn conversations(
        &self,
    ) -> impl DoubleEndedIterator<Item = ConversationRef<'_>> + ExactSizeIterator {
        self.rows.iter()
    }

    /// The number of conversations.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the page has no conversation.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.len() == 0
    }

    /// The maximum number of conversations of the page, as requested.
    #[must_use]
    pub const fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// The cursor of the next page; `None` if and only if the list ends with this page.
    #[must_use]
    pub const fn next_cursor(&self) -> Option<&PageCursor> {
        self.next.as_ref()
    }

    /// The cursor of the previous page; `None` if and only if the list begins with this page.
    #[must_use]
    pub const fn prev_cursor(&self) -> Option<&PageCursor> {
        self.prev.as_ref()
    }

    /// The cost of reading the page.
    #[must_use]
    pub const fn cost(&self) -> PageCost {
        self.cost
    }

    /// The positions of the rows, in the order of the list.
    pub(crate) fn positions(&self) -> impl DoubleEndedIterator<Item = Position> {
        self.rows.positions()
    }
}

/// Reads the page of a resolved request. Its [`ListSpec`] has
/// only fingerprints; `filter` has the values of the fields that the caller passed.
///
/// # Errors
/// [`Error::Corrupted`](crate::Error::Corrupted) at the first damaged record in scan order, or
/// another fault of the store.
pub(crate) fn read(
    tables: &Tables,
    fingerprinter: &Fingerprinter,
    user: UserId,
    filter: &Filter,
    resolved: &ResolvedRequest,
) -> Result<Page> {
    let ResolvedRequest { ref list, page_size, .. } = *resolved;
    let mut page = Page::empty(page_size);
    let Some(shape) = plan(list.shape(), list.kinds, &tables.families)? else {
        return Ok(page);
    };
    page.rows.reserve(page_size.get());

    let range = resolved.range();
    let (edges, ends) = if list.is_union(shape) {
        let union = Union::new(user, list, shape, filter, fingerprinter);
        page.cost.ranges = union.keys.len();
        page.fill_from_union(tables, union, &range, resolved.behind)?
    } else {
        page.cost.ranges = 1;
        let edges = match list.filter.term(shape) {
            None => page.fill_from_rows(tables, user, &range)?,
            Some((leading, term)) => {
                let key = IndexKey::of_list(user, term);
                let recheck = Recheck::new(list.filter, filter, fingerprinter);
                page.fill_from_index(tables, leading, key, &range, recheck)?
            }
        };
        (edges, Ends::default())
    };
    debug_assert!(shape != Shape::EMPTY || page.cost.rows == 0);
    page.finish(user, resolved, edges, ends);
    Ok(page)
}

impl ResolvedRequest {
    pub(crate) fn range(&self) -> ScanRange {
        ScanRange {
            span: self.list.positions(),
            gap: self.gap,
            direction: self.list.order.scan_direction(self.direction),
            look_before: !self.at_front,
        }
    }
}

/// A list that is a union of several ranges of one index.
struct Union<'a> {
    user: UserId,
    leading: Field,
    /// A key of each range.
    keys: Vec<IndexKey>,
    /// The check of the rows of each range. Even if two ranges had the same term, each row would
    /// pass one check.
    rechecks: Vec<Recheck<'a>>,
}

/// The numbers of the ranges of a union that have the first and the last row of a page.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    pub(crate) first: u8,
    pub(crate) last: u8,
}

impl<'a> Union<'a> {
    fn new(
        user: UserId,
        list: &ListSpec,
        shape: Shape,
        filter: &'a Filter,
        fingerprinter: &'a Fingerprinter,
    ) -> Self {
        let ranges = list.ranges(shape, fingerprinter);
        let mut leading = Field::Kind;
        let (mut keys, mut rechecks) = (Vec::with_capacity(ranges.len()), Vec::new());
        for range in ranges {
            if let Some((field, term)) = range.term(shape) {
                leading = field;
                keys.push(IndexKey::of_list(user, term));
                rechecks.push(Recheck::new(range, filter, fingerprinter));
            }
        }
        Self { user, leading, keys, rechecks }
    }
}

impl Page {
    /// Reads a list without filter: a range of the table of rows.
    fn fill_from_rows(
        &mut self,
        tables: &Tables,
        user: UserId,
        range: &ScanRange,
    ) -> Result<ScanEdges> {
        let list = RowKey::new(user, range.gap);
        let rows = &mut self.rows;
        let limit = self.page_size.get();
        scan::scan(&tables.conversations.rows, list, range, limit, |position, record| {
            let (row, texts) = decode_row(RowKey::new(user, position), record)?;
            rows.push(row, texts);
            Ok(true)
        })
    }

    /// Reads a filtered list: a range of an index, and the row of each entry.
    fn fill_from_index(
        &mut self,
        tables: &Tables,
        leading: Field,
        list: IndexKey,
        range: &ScanRange,
        mut recheck: Recheck<'_>,
    ) -> Result<ScanEdges> {
        let (rows, limit) = (&mut self.rows, self.page_size.get());
        let mut fetch = Fetch::new(tables, list.user, leading, range.direction);
        let index = tables.indexes.get(leading);
        let edges = scan::scan(index, list, range, limit, |position, ()| {
            fetch.matching(position, &mut recheck, rows)
        })?;
        self.cost.rows = fetch.rows_read;
        Ok(edges)
    }

    /// Reads a union of lists: several ranges of an index, merged, and the row of each entry.
    fn fill_from_union(
        &mut self,
        tables: &Tables,
        union: Union<'_>,
        range: &ScanRange,
        behind: u8,
    ) -> Result<(ScanEdges, Ends)> {
        let Union { user, leading, keys, mut rechecks } = union;
        let (rows, limit) = (&mut self.rows, self.page_size.get());
        let mut fetch = Fetch::new(tables, user, leading, range.direction);
        let index = tables.indexes.get(leading);
        let (mut first, mut last) = (None, 0);
        let edges = scan::merge(index, &keys, behind.into(), range, limit, |at, position, ()| {
            let matches = fetch.matching(position, &mut rechecks[at], rows)?;
            if matches {
                last = u8::try_from(at).unwrap_or_default();
                first = first.or(Some(last));
            }
            Ok(matches)
        })?;
        self.cost.rows = fetch.rows_read;
        Ok((edges, Ends { first: first.unwrap_or_default(), last }))
    }

    /// A page without rows, and without cursors.
    pub(crate) fn empty(page_size: PageSize) -> Self {
        let (rows, cost) = (RowBuffer::default(), PageCost::default());
        Self { rows, page_size, next: None, prev: None, cost }
    }

    /// The page of rows that another store read in scan order, from `ranges` ranges.
    pub(crate) fn of_rows(
        user: UserId,
        resolved: &ResolvedRequest,
        rows: RowBuffer,
        ranges: usize,
        (edges, ends): (ScanEdges, Ends),
    ) -> Self {
        let cost = PageCost { ranges, ..PageCost::default() };
        let mut page = Self { rows, cost, ..Self::empty(resolved.page_size) };
        page.finish(user, resolved, edges, ends);
        page
    }

    /// Brings the rows into the order of the list and sets the cursors.
    fn finish(&mut self, user: UserId, resolved: &ResolvedRequest, edges: ScanEdges, ends: Ends) {
        self.cost.entries = edges.entries;
        if resolved.direction == Direction::Prev {
            self.rows.reverse();
        }
        self.set_cursors(user, resolved, edges, ends);
    }

    /// Sets the cursors: a side has one if and only if the scan found entries of the list there.
    /// `ends` are in scan order.
    fn set_cursors(
        &mut self,
        user: UserId,
        resolved: &ResolvedRequest,
        edges: ScanEdges,
        ends: Ends,
    ) {
        let ResolvedRequest { list, direction, gap, .. } = *resolved;
        let (before, after, ends) = match direction {
            Direction::Next => (edges.before, edges.after, ends),
            Direction::Prev => {
                (edges.after, edges.before, Ends { first: ends.last, last: ends.first })
            }
        };
        let first = self.positions().next().map_or(gap, |first| list.gap_before(first));
        let last = self.positions().next_back().map_or(gap, |last| list.gap_after(last));
        let page_size = self.page_size;
        let cursor =
            |direction, gap, behind| PageCursor { user, list, page_size, direction, gap, behind };
        self.next = after.then(|| cursor(Direction::Next, last, ends.last));
        self.prev = before.then(|| cursor(Direction::Prev, first, ends.first));
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
