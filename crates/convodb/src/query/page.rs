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

use crate::encoding::index_term::{Fingerprinter, Fingerprints, Shape};
use crate::encoding::key::{ActivityKey, IndexKey, RowKey};
use crate::encoding::row::RowBuffer;
use crate::error::Result;
use crate::kv::table::Table;
use crate::model::conversation::ConversationRef;
use crate::model::id::UserId;
use crate::model::position::SortKey;
use crate::model::preview::PreviewRef;
use crate::model::timestamp::Timestamp;
use crate::query::changes::ChangeCursor;
use crate::query::cursor::{PageCursor, Walk};
use crate::query::fetch::{self, Fetch};
use crate::query::filter::Filter;
use crate::query::list_spec::{Direction, ListSpec, Order, Sort};
use crate::query::page_buffer::PageBuffer;
use crate::query::page_size::PageSize;
use crate::query::plan::plan;
use crate::query::recheck::Recheck;
use crate::query::request::ResolvedRequest;
use crate::query::scan::{self, ListKey, ScanEdges, ScanRange};
use crate::tables::Tables;
use crate::tables::conversations::StoredRow;

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
    list: ListSpec,
    walk: Option<Walk>,
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
    /// Messages read for previews, at most two for each conversation of the page; 0 without previews,
    /// or with the index `previews`. They are not part of the bounds.
    pub messages: usize,
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

    /// The previews of the conversations, in the same order, `None` for one without stored messages.
    /// No items at all unless [`ListRequest::previews`](crate::ListRequest::previews) asks for them.
    pub fn previews(
        &self,
    ) -> impl DoubleEndedIterator<Item = Option<PreviewRef<'_>>> + ExactSizeIterator {
        self.rows.previews()
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

    /// Where the user's change feed was when the walk of this page began; `None` if and only if the
    /// list is sorted by the time of creation.
    ///
    /// A list by last activity reorders while it is read. A conversation that is active after its
    /// walk began may be missing from the pages or be on two of them, but it is in the changes after
    /// this cursor. So collect the pages by id, one conversation for each, then apply the changes from
    /// here on, in order, with [`Snapshot::changes_since`](crate::Snapshot::changes_since). The
    /// result has each conversation once, in its last state. The changes are those of all conversations of the user:
    /// with a filter, drop those that do not pass it.
    ///
    /// All pages of a walk return the same cursor, which their own cursors carry.
    ///
    /// ```
    /// # use convodb::*;
    /// # use std::collections::BTreeMap;
    /// # let store = Store::in_memory()?;
    /// # store.add_indexes(IndexFamilies::ALL)?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// # for _ in 0..3 {
    /// #     let id = ConversationId::generate(at);
    /// #     store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new())?;
    /// # }
    /// let mut copy = BTreeMap::new();
    /// let mut request = ListRequest::new().sort(Sort::LastActivity).page_size(2)?;
    /// let since = loop {
    ///     let page = store.snapshot().list(user, &request)?;
    ///     copy.extend(page.conversations().map(|row| (row.id, row.owned())));
    ///     match page.next_cursor() {
    ///         Some(next) => request = ListRequest::at(*next),
    ///         None => break *page.changes_cursor().expect("the list is by last activity"),
    ///     }
    /// };
    /// let size = PageSize::MAX;
    /// let changes = store.snapshot().changes_since(user, ChangesSince::Cursor(since), size)?;
    /// for change in changes.changes {
    ///     match change.conversation {
    ///         Some(conversation) => copy.insert(change.id, conversation),
    ///         None => copy.remove(&change.id),
    ///     };
    /// }
    /// assert_eq!(copy.len(), 3);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn changes_cursor(&self) -> Option<&ChangeCursor> {
        self.walk.as_ref().map(|walk| &walk.changes)
    }

    /// The cost of reading the page.
    #[must_use]
    pub const fn cost(&self) -> PageCost {
        self.cost
    }

    /// The sort keys of the rows, in the order of the list.
    pub(crate) fn sort_keys(&self) -> impl DoubleEndedIterator<Item = SortKey> {
        let rows = self.rows.times_and_positions();
        rows.map(|(updated_at, position)| self.list.sort_key(updated_at, position))
    }
}

/// Reads the page of a resolved request. Its [`ListSpec`] has
/// only fingerprints; `filter` has the values of the fields that the caller passed.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) if the list has no index that is sorted as it is;
/// [`Error::Corrupted`](crate::Error::Corrupted) at the first damaged record in scan order, or
/// another fault of the store.
pub(crate) fn read(
    tables: &Tables,
    fingerprinter: &Fingerprinter,
    user: UserId,
    filter: &Filter,
    resolved: &ResolvedRequest,
) -> Result<Page> {
    let ResolvedRequest { list, page_size, .. } = *resolved;
    let mut page = Page::empty(resolved);
    let Some(shape) = plan(&list, &tables.families)? else {
        return Ok(page);
    };
    let mut buffer = PageBuffer::new(tables, page_size.get(), resolved.previews);

    let source = Source { resolved, shape, filter, fingerprinter };
    let direction = list.order.scan_direction(resolved.direction);
    let found = match (list.sort, shape.leading()) {
        (Sort::CreatedAt, None) => {
            page.cost.ranges = 1;
            let limit = page_size.get();
            Found::of(fill_from_rows(tables, user, &resolved.range(), limit, &mut buffer)?)
        }
        (Sort::CreatedAt, Some(leading)) => {
            let fetch = Fetch::new(tables, user, leading, direction);
            let key = |range: &Fingerprints| IndexKey::of_list(user, range.list_term(shape));
            let index = tables.indexes.get(leading);
            page.fill_from_index(index, fetch, key, source, &mut buffer)?
        }
        (Sort::LastActivity, _) => {
            let fetch = Fetch::by_activity(tables, user, direction);
            let key = |range: &Fingerprints| ActivityKey::of_list(user, range.list_term(shape));
            let index = &tables.activity.table;
            page.fill_from_index(index, fetch, key, source, &mut buffer)?
        }
    };
    debug_assert!(shape != Shape::EMPTY || list.sort != Sort::CreatedAt || page.cost.rows == 0);
    page.cost.messages = buffer.messages_read;
    page.rows = buffer.rows;
    page.finish(user, resolved, found);
    Ok(page)
}

/// Reads a list without filter: a range of the table of rows.
fn fill_from_rows(
    tables: &Tables,
    user: UserId,
    range: &ScanRange,
    limit: usize,
    rows: &mut PageBuffer<'_>,
) -> Result<ScanEdges> {
    let list = RowKey::new(user, range.gap.position());
    scan::scan(&tables.conversations.rows, list, range, limit, |key, record| {
        rows.push(&StoredRow::decode(RowKey::new(user, key.position()), record)?)?;
        Ok(true)
    })
}

impl ResolvedRequest {
    pub(crate) fn range(&self) -> ScanRange {
        let mut span = self.list.sort_keys();
        if let Some(ceiling) = self.walk.and_then(|walk| walk.ceiling) {
            span.end = span.end.min(self.list.end_of(ceiling)).max(span.start);
        }
        ScanRange {
            span,
            gap: self.gap,
            direction: self.list.order.scan_direction(self.direction),
            look_before: !self.at_front,
        }
    }
}

/// What determines the ranges of a list in an index, and the checks of their rows.
#[derive(Clone, Copy)]
struct Source<'a> {
    resolved: &'a ResolvedRequest,
    shape: Shape,
    filter: &'a Filter,
    fingerprinter: &'a Fingerprinter,
}

/// Ranges of an index, each with the check of its rows.
struct Ranges<'r, 'f, K> {
    keys: &'r [K],
    rechecks: &'r mut [Recheck<'f>],
}

/// What lies around the rows of a page, in scan order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) edges: ScanEdges,
    /// The numbers of the ranges that have the first and the last row.
    pub(crate) first: u8,
    pub(crate) last: u8,
}

impl Found {
    /// What a scan of one range found.
    const fn of(edges: ScanEdges) -> Self {
        Self { edges, first: 0, last: 0 }
    }
}

impl Page {
    /// Reads a list from an index: its only range, or several, merged. `key` is a key of a range.
    fn fill_from_index<K: ListKey>(
        &mut self,
        index: &Table<K, ()>,
        fetch: Fetch<'_>,
        key: impl Fn(&Fingerprints) -> K,
        source: Source<'_>,
        rows: &mut PageBuffer<'_>,
    ) -> Result<Found> {
        let Source { resolved, shape, filter, fingerprinter } = source;
        let list = &resolved.list;
        let recheck = |range: &Fingerprints| Recheck::new(*range, filter, fingerprinter);
        if list.is_union(shape) {
            let ranges = list.ranges(shape, fingerprinter);
            let keys: Vec<K> = ranges.iter().map(key).collect();
            // Even if two ranges had the same term, each row would pass one check.
            let mut rechecks: Vec<Recheck<'_>> = ranges.iter().map(recheck).collect();
            let ranges = Ranges { keys: &keys, rechecks: &mut rechecks };
            self.fill_from_ranges(index, fetch, ranges, resolved, rows)
        } else {
            let mut rechecks = [recheck(&list.filter)];
            let ranges = Ranges { keys: &[key(&list.filter)], rechecks: &mut rechecks };
            self.fill_from_ranges(index, fetch, ranges, resolved, rows)
        }
    }

    /// Reads ranges of an index, and the row of each entry.
    fn fill_from_ranges<K: ListKey>(
        &mut self,
        index: &Table<K, ()>,
        mut fetch: Fetch<'_>,
        ranges: Ranges<'_, '_, K>,
        resolved: &ResolvedRequest,
        rows: &mut PageBuffer<'_>,
    ) -> Result<Found> {
        let Ranges { keys, rechecks } = ranges;
        let read = self.set_ceiling(index, keys, resolved)?;
        let (limit, range) = (self.page_size.get(), resolved.range());
        let mut found = if let ([list], [recheck]) = (keys, &mut *rechecks) {
            Found::of(scan::scan(index, *list, &range, limit, |key, ()| {
                fetch.matching(key, recheck, rows)
            })?)
        } else {
            let (mut first, mut last) = (None, 0);
            let behind = usize::from(resolved.behind);
            let edges = scan::merge(index, keys, behind, &range, limit, |at, key, ()| {
                let matches = fetch.matching(key, &mut rechecks[at], rows)?;
                if matches {
                    last = u8::try_from(at).unwrap_or_default();
                    first = first.or(Some(last));
                }
                Ok(matches)
            })?;
            Found { edges, first: first.unwrap_or_default(), last }
        };
        found.edges.entries += read;
        self.cost.ranges = keys.len();
        self.cost.rows = fetch.rows_read;
        Ok(found)
    }

    /// Sets the ceiling of a walk that begins with this page, if it goes up, and returns the number
    /// of entries read. One B-tree lookup for each range.
    fn set_ceiling<K: ListKey>(
        &mut self,
        index: &Table<K, ()>,
        lists: &[K],
        resolved: &ResolvedRequest,
    ) -> Result<usize> {
        let Some(walk) = &mut self.walk else { return Ok(0) };
        if !resolved.at_front || resolved.list.order != Order::Ascending {
            return Ok(0);
        }
        let (span, mut read, mut newest) = (resolved.list.sort_keys(), 0, None);
        for list in lists {
            let (last, entries) = scan::last(index, *list, &span)?;
            newest = newest.max(last);
            read += entries;
        }
        walk.ceiling =
            newest.map(|key| Timestamp::from_millis(key.activity()).unwrap_or(Timestamp::MAX));
        Ok(read)
    }

    /// A page without rows, and without cursors.
    pub(crate) fn empty(resolved: &ResolvedRequest) -> Self {
        let ResolvedRequest { list, page_size, walk, .. } = *resolved;
        let (rows, cost) = (RowBuffer::default(), PageCost::default());
        Self { rows, page_size, next: None, prev: None, list, walk, cost }
    }

    /// The page of rows that another store read in scan order, from `ranges` ranges.
    pub(crate) fn of_rows(
        user: UserId,
        resolved: &ResolvedRequest,
        rows: RowBuffer,
        ranges: usize,
        found: Found,
    ) -> Self {
        let cost = PageCost { ranges, ..PageCost::default() };
        let mut page = Self { rows, cost, ..Self::empty(resolved) };
        page.finish(user, resolved, found);
        page
    }

    /// Brings the rows into the order of the list and sets the cursors.
    fn finish(&mut self, user: UserId, resolved: &ResolvedRequest, found: Found) {
        self.cost.entries = found.edges.entries;
        if resolved.direction == Direction::Prev {
            self.rows.reverse();
        }
        self.set_cursors(user, resolved, found);
    }

    /// Sets the cursors: a side has one if and only if the scan found entries of the list there.
    fn set_cursors(&mut self, user: UserId, resolved: &ResolvedRequest, found: Found) {
        let ResolvedRequest { list, direction, gap, .. } = *resolved;
        let Found { edges, .. } = found;
        let (before, after, first_range, last_range) = match direction {
            Direction::Next => (edges.before, edges.after, found.first, found.last),
            Direction::Prev => (edges.after, edges.before, found.last, found.first),
        };
        let first = self.sort_keys().next().map_or(gap, |first| list.gap_before(first));
        let last = self.sort_keys().next_back().map_or(gap, |last| list.gap_after(last));
        let (page_size, walk) = (self.page_size, self.walk);
        let cursor = |direction, gap, behind| PageCursor {
            user,
            list,
            page_size,
            direction,
            gap,
            behind,
            walk,
        };
        self.next = after.then(|| cursor(Direction::Next, last, last_range));
        self.prev = before.then(|| cursor(Direction::Prev, first, first_range));
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
