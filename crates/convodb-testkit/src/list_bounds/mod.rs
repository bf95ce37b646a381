//! List bounds: the worst page and the worst count of each list of the optional indexes, among
//! conversations that are deleted, changed and moved.
//!
//! Each pattern of changes begins with a store whose rows are all in the tables. Its lists are read
//! from the first page to the last and back, in both orders, of snapshots in which the changes are
//! all in the memtables, all in the tables, and half in each; and at cursors that a snapshot before
//! the changes returned. Snapshots from before a checkpoint are read again after it.
//!
//! All results are counts, so they are the same on every machine, except for a few entries at the ends
//! of ranges, whose neighbours depend on the store's key. A page or a count that is wrong panics.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod changes;
mod lists;
mod report;

use convodb::{
    Count, Filter, IndexFamilies, IndexFamily, ListRequest, Order, Page, PageCost, PageCursor,
    PageSize, Snapshot, Sort, Timestamp, UserId,
};

use changes::{Change, MeasuredStore, PATTERNS, at};
use lists::MeasuredList;
pub use report::{Report, WorstCount, WorstPage};

/// A list with more conversations has counters, except for a chance of 10^-13.
const SHORT: u64 = 256 + 1_000;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Scale {
    /// The conversations of each store.
    pub rows: u64,
    /// The sizes of the pages, 1 to 100.
    pub page_sizes: Vec<u64>,
    /// The most pages of a walk in each direction.
    pub max_pages: usize,
}

/// Measures all lists.
///
/// # Panics
/// A page or a count is wrong, or an old snapshot reads more than before.
#[must_use]
pub fn measure(scale: &Scale) -> Report {
    let without_previews = IndexFamilies::ALL
        .iter()
        .filter(|family| *family != IndexFamily::Previews)
        .collect::<IndexFamilies>();
    let mut all = Measurement::new(scale, lists::of_pages(), lists::of_counts());
    let previews = lists::of_pages().into_iter().filter(|list| list.previews).collect();
    let mut read = Measurement::new(scale, previews, Vec::new());
    for pattern in &PATTERNS {
        for in_halves in [false, true] {
            all.run(IndexFamilies::ALL, pattern, in_halves);
            read.run(without_previews, pattern, in_halves);
        }
    }
    Report { pages: all.pages, counts: all.counts, pages_that_read_messages: read.pages }
}

struct Measurement<'a> {
    scale: &'a Scale,
    lists: Vec<MeasuredList>,
    counted: Vec<MeasuredList>,
    /// The worst pages, for each list one of each size and order.
    pages: Vec<WorstPage>,
    /// The worst counts, for each counted list one without and one with bounds of time.
    counts: Vec<WorstCount>,
}

/// The cursors and the costs of the pages of all lists, in one state.
#[derive(Default, PartialEq, Debug)]
struct Walked {
    cursors: Vec<Vec<PageCursor>>,
    costs: Vec<PageCost>,
}

impl<'a> Measurement<'a> {
    fn new(scale: &'a Scale, lists: Vec<MeasuredList>, counted: Vec<MeasuredList>) -> Self {
        let mut pages = Vec::new();
        for MeasuredList { name, ranges, .. } in &lists {
            for size in &scale.page_sizes {
                pages.extend(Order::ALL.map(|order| WorstPage {
                    list: name,
                    ranges: *ranges,
                    page_size: PageSize::new(*size).unwrap(),
                    order,
                    cost: PageCost::default(),
                    pattern: "none",
                    messages: 0,
                    pages: 0,
                }));
            }
        }
        let none = |list: &MeasuredList, is_bounded| WorstCount {
            list: list.name,
            is_bounded,
            count: Count::default(),
            steps: 0,
            bound: u64::MAX,
            pattern: "none",
        };
        let counts = counted.iter().flat_map(|list| [none(list, false), none(list, true)]);
        Self { scale, counts: counts.collect(), lists, counted, pages }
    }

    /// Makes the changes of a pattern in a new store, at once or in two halves with a checkpoint
    /// between them, and measures each state.
    fn run(&mut self, indexes: IndexFamilies, pattern: &changes::Pattern, in_halves: bool) {
        let name = pattern.name;
        let mut store = MeasuredStore::new(indexes, self.scale.rows);
        let user = store.user;
        let before = store.store.snapshot();
        let walked_before = self.walk(&before, user, name);
        let all = (pattern.changes)(self.scale.rows);
        if in_halves {
            let (first, second) = all.into_iter().partition(|change: &Change| change.is_of_half());
            store.change(first);
            store.checkpoint();
            let halves = store.change(second);
            self.walk(&halves, user, name);
            self.read_at(&walked_before, &halves, user, name);
            self.count(&halves, &store, name);
            return;
        }
        let changed = store.change(all);
        let walked = self.walk(&changed, user, name);
        self.read_at(&walked_before, &changed, user, name);
        self.count(&changed, &store, name);
        store.checkpoint();
        let flushed = store.store.snapshot();
        self.walk(&flushed, user, name);
        self.read_at(&walked_before, &flushed, user, name);
        self.count(&flushed, &store, name);
        assert_eq!(self.walk(&before, user, name), walked_before, "{name}: before");
        assert_eq!(self.walk(&changed, user, name), walked, "{name}: before the checkpoint");
    }

    /// Reads all lists from their first page on and back.
    fn walk(&mut self, snapshot: &Snapshot, user: UserId, pattern: &'static str) -> Walked {
        let mut walked = Walked::default();
        let mut lists = self.lists.iter().flat_map(|list| {
            let sizes = self.scale.page_sizes.iter();
            sizes.flat_map(move |_| Order::ALL.map(|_| list))
        });
        for worst in &mut self.pages {
            let request = lists.next().unwrap().request().order(worst.order);
            let request = ListRequest { page_size: Some(worst.page_size), ..request };
            let (mut forward, mut backward) = (Vec::new(), Vec::new());
            let mut cursors = Vec::new();
            let mut page = snapshot.list(user, &request).unwrap();
            let mut see = |page: &Page, ids: &mut Vec<_>| {
                worst.see(page, pattern);
                walked.costs.push(page.cost());
                ids.push(page.conversations().map(|row| row.id).collect::<Vec<_>>());
                cursors.extend(page.next_cursor().copied());
                cursors.extend(page.prev_cursor().copied());
            };
            let at = |cursor| ListRequest { previews: request.previews, ..ListRequest::at(cursor) };
            see(&page, &mut forward);
            for _ in 1..self.scale.max_pages {
                let Some(next) = page.next_cursor() else { break };
                page = snapshot.list(user, &at(*next)).unwrap();
                see(&page, &mut forward);
            }
            backward.extend(forward.last().cloned());
            while let Some(prev) = page.prev_cursor() {
                page = snapshot.list(user, &at(*prev)).unwrap();
                see(&page, &mut backward);
            }
            backward.reverse();
            assert_eq!(forward, backward, "{}: the way back shows other pages", worst.list);
            walked.cursors.push(cursors);
        }
        walked
    }

    /// Reads the pages at the cursors of another snapshot.
    fn read_at(&mut self, from: &Walked, snapshot: &Snapshot, user: UserId, pattern: &'static str) {
        for (worst, cursors) in self.pages.iter_mut().zip(&from.cursors) {
            for cursor in cursors {
                worst.see(&snapshot.list(user, &ListRequest::at(*cursor)).unwrap(), pattern);
            }
        }
    }

    /// Counts all lists, without bounds of time and with bounds that cut days.
    fn count(&mut self, snapshot: &Snapshot, store: &MeasuredStore, pattern: &'static str) {
        let rows = self.scale.rows;
        let after = |at: Timestamp, millis: u64| Timestamp::from_millis(at.millis() + millis);
        let (from, to) = (after(at(rows / 5), 5).unwrap(), after(at(rows * 4 / 5), 9).unwrap());
        let lists = self.counted.iter().flat_map(|list| [list, list]);
        for (worst, list) in self.counts.iter_mut().zip(lists) {
            let request = list.request();
            let request = match (worst.is_bounded, list.sort) {
                (false, _) => request,
                (true, Sort::CreatedAt) => request.created_from(from).created_to(to),
                (true, Sort::LastActivity) => request.active_from(from).active_to(to),
            };
            let count = snapshot.count(store.user, &request).unwrap();
            let cut = [from, to].map(Timestamp::day);
            let (mut expected, mut in_cut_days) = (0, 0);
            for row in snapshot.conversations(store.user, &request) {
                expected += 1;
                in_cut_days += u64::from(cut.contains(&row.unwrap().created_at.day()));
            }
            let found = (count.conversations, count.is_exact);
            assert_eq!(found, (expected, true), "{} among {pattern}", list.name);
            let one_by_one = worst.is_bounded && list.sort == Sort::LastActivity;
            let steps = match worst.is_bounded {
                _ if one_by_one || may_be_short(&list.filter) && expected <= SHORT => expected,
                true => in_cut_days,
                false => 0,
            };
            let bound = count_bound(&list.filter, store.days(), list.ranges as u64, steps);
            let is_worse = |other: &WorstCount| {
                // a / b > c / d, of numbers without division.
                u128::from(count.entries_read) * u128::from(other.bound)
                    > u128::from(other.count.entries_read) * u128::from(bound)
            };
            if worst.pattern == "none" || is_worse(worst) {
                *worst = WorstCount { count, steps, bound, pattern, ..*worst };
            }
        }
    }
}

/// Whether a list has counters only if it is long.
const fn may_be_short(filter: &Filter) -> bool {
    filter.customer_phone.is_some() || filter.external_identifier.is_some()
}

/// The most counters and entries that a count of a list by creation reads in a store with all
/// optional indexes. `days` is the number of days with conversations, `ranges` the number of ranges
/// of the list, and `steps` the number of its conversations on the days that its bounds of time cut;
/// of all its conversations if they are counted one by one.
#[must_use]
pub fn count_bound(filter: &Filter, days: u64, ranges: u64, steps: u64) -> u64 {
    let assistants = filter.assistants.as_ref().map_or(1, |ids| ids.as_slice().len() as u64);
    let months = days / 28 + 2;
    // Each step, and the end of each scan, may meet a run of removed entries.
    let scanned = 2 * steps + 2 * 2 * ranges;
    let has_contact = filter.sender_phone.is_some() || may_be_short(filter);
    if has_contact || filter.ai_off {
        return assistants * (2 + months) + scanned;
    }
    // Counters by type and assistant: those of a day without assistant; weeks and months with it.
    scanned
        + match filter.assistant.is_some() || filter.assistants.is_some() {
            false => 2 + days,
            true => assistants * 6 * (months + 2 * 6) + months + 2 * 6,
        }
}
