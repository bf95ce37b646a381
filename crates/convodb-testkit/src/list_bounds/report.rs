//! The report: the worst pages and counts as tables.

use std::fmt;

use convodb::{Count, Order, Page, PageCost, PageSize};

/// The page of a list that read the most, of all states of the store.
#[derive(Clone, Copy, Debug)]
pub struct WorstPage {
    /// The name of the list.
    pub list: &'static str,
    /// The number of ranges that the list is a union of.
    pub ranges: usize,
    /// The size of the page.
    pub page_size: PageSize,
    /// The order of the list.
    pub order: Order,
    /// What the page read.
    pub cost: PageCost,
    /// The changes among which it read so much.
    pub pattern: &'static str,
    /// The most messages that any page read for previews.
    pub messages: usize,
    /// The number of pages that were read.
    pub pages: u64,
}

impl WorstPage {
    /// The entries and rows that the page read.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.cost.entries + self.cost.rows
    }

    /// The most entries and rows that a page of this list may read.
    #[must_use]
    pub const fn bound(&self) -> usize {
        PageCost::bound_of_ranges(self.page_size, self.ranges)
    }

    /// Records what a page of the list read, among the changes of `pattern`.
    ///
    /// # Panics
    /// The list is a union of another number of ranges.
    pub(super) fn see(&mut self, page: &Page, pattern: &'static str) {
        let cost = page.cost();
        assert_eq!(cost.ranges, self.ranges, "{}", self.list);
        self.pages += 1;
        self.messages = self.messages.max(cost.messages);
        if cost.entries + cost.rows > self.total() {
            (self.cost, self.pattern) = (cost, pattern);
        }
    }
}

/// The count of a list that came nearest to its bound, of all states of the store.
#[derive(Clone, Copy, Debug)]
pub struct WorstCount {
    /// The name of the list.
    pub list: &'static str,
    /// Whether the list has bounds of time; each then cuts a day.
    pub is_bounded: bool,
    /// What was counted.
    pub count: Count,
    /// The conversations of the days that the bounds cut, or of the list if it is counted one by one.
    pub steps: u64,
    /// The most counters and entries that the count may read.
    pub bound: u64,
    /// The changes among which it read so much.
    pub pattern: &'static str,
}

/// The worst pages and counts of all lists.
#[derive(Clone, Debug)]
pub struct Report {
    /// The worst pages: for each list one of each size and order.
    pub pages: Vec<WorstPage>,
    /// The worst counts: for each list one without and one with bounds of time.
    pub counts: Vec<WorstCount>,
    /// The worst pages of lists with previews, of a store without the index `previews`.
    pub pages_that_read_messages: Vec<WorstPage>,
}

impl Report {
    /// The number of pages that were read.
    #[must_use]
    pub fn pages_read(&self) -> u64 {
        self.pages.iter().chain(&self.pages_that_read_messages).map(|page| page.pages).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The worst of {} pages: entries, rows read\n", self.pages_read())?;
        writeln!(f, "| list | ranges | a page of | newest first | oldest first | of | among |")?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        self.pages.chunks(Order::ALL.len()).try_for_each(|orders| page_line(f, orders))?;

        writeln!(f, "\nMessages read for previews\n")?;
        writeln!(f, "| list | a page of | with the index | without it | of |")?;
        writeln!(f, "|---|---|---|---|---|")?;
        for without in self.pages_that_read_messages.iter().filter(|page| is_newest_first(page)) {
            let is_same = |page: &&WorstPage| {
                (page.list, page.page_size) == (without.list, without.page_size)
            };
            let with = self.pages.iter().filter(is_same).map(|page| page.messages).max();
            let (list, size, messages) = (without.list, without.page_size.get(), without.messages);
            let with = with.unwrap_or_default();
            writeln!(f, "| {list} | {size} | {with} | {messages} | {} |", 2 * size)?;
        }

        writeln!(f, "\nCounters and entries read by a count\n")?;
        writeln!(f, "| list | bounds of time | conversations | read | of | among |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for WorstCount { list, is_bounded, count, bound, pattern, .. } in &self.counts {
            let bounds = if *is_bounded { "cut two days" } else { "none" };
            let (conversations, read) = (count.conversations, count.entries_read);
            let percent = read * 100 / bound;
            writeln!(
                f,
                "| {list} | {bounds} | {conversations} | {read} | {percent}% of {bound} | {pattern} |"
            )?;
        }
        Ok(())
    }
}

fn is_newest_first(page: &WorstPage) -> bool {
    page.order == Order::Descending
}

/// A line of the worst pages of a list, newest first and oldest first.
fn page_line(f: &mut fmt::Formatter<'_>, orders: &[WorstPage]) -> fmt::Result {
    let Some(worst) = orders.iter().max_by_key(|page| page.total()) else { return Ok(()) };
    write!(f, "| {} | {} | {} |", worst.list, worst.ranges, worst.page_size.get())?;
    for page in orders {
        write!(f, " {}, {} |", page.cost.entries, page.cost.rows)?;
    }
    let (total, bound) = (worst.total(), worst.bound());
    writeln!(f, " {}% of {bound} | {} |", total * 100 / bound, worst.pattern)
}
