//! Page starts: places in a list from which pages are read, found by one walk over the list.

use std::collections::VecDeque;

use anyhow::Result;
use convodb::{ConversationId, ListRequest, PageCursor, PageSize, Snapshot, UserId};

use crate::lists::List;

/// Rows between two places that the walk visits.
const STEP: u64 = 20;
/// Places near the end that are kept in addition: enough for the last page of 100.
const AT_END: usize = 8;

/// A place between two rows of a list.
#[derive(Clone, Debug)]
pub struct PageStart {
    /// The number of rows before it.
    pub rows_before: u64,
    /// Continues the list after this place.
    pub forward: PageCursor,
    /// Continues the list before this place, backward.
    pub backward: PageCursor,
    /// The row before it.
    pub row_before: ConversationId,
    /// The row after it.
    pub row_after: ConversationId,
}

/// What a walk over a list found.
#[derive(Clone, Debug, Default)]
pub struct ListPlaces {
    /// The number of rows.
    pub rows: u64,
    /// Places spread evenly over the list, in its order.
    pub spread: Vec<PageStart>,
    /// The places after 100, 1,000, 10,000 rows and so on.
    pub decades: Vec<PageStart>,
    /// The last places, in the order of the list.
    pub at_end: Vec<PageStart>,
}

impl ListPlaces {
    /// Walks over a list of a user and collects its places, at most `max_spread` that are spread over
    /// it. Memory does not depend on its length.
    ///
    /// # Errors
    /// An error of the store.
    pub fn find(snapshot: &Snapshot, user: UserId, list: &List, max_spread: usize) -> Result<Self> {
        let mut places = Self::default();
        let (mut spread, mut stride) = (Vec::new(), STEP);
        let mut at_end = VecDeque::new();
        let mut next_decade = 100;
        let mut before: Option<(ConversationId, PageCursor)> = None;
        for page in snapshot.pages(user, list.request().page_size(STEP)?) {
            let page = page?;
            let mut rows = page.conversations();
            let (first, last) = (rows.next().map(|row| row.id), rows.next_back().map(|row| row.id));
            if let (Some((row_before, forward)), Some(row_after), Some(backward)) =
                (before.take(), first, page.prev_cursor())
            {
                let rows_before = places.rows;
                let backward = *backward;
                let start = PageStart { rows_before, forward, backward, row_before, row_after };
                if rows_before == next_decade {
                    places.decades.push(start.clone());
                    next_decade *= 10;
                }
                if rows_before.is_multiple_of(stride) {
                    spread.push(start.clone());
                }
                if spread.len() > 2 * max_spread {
                    stride *= 2;
                    spread.retain(|start: &PageStart| start.rows_before.is_multiple_of(stride));
                }
                at_end.push_back(start);
                if at_end.len() > AT_END {
                    at_end.pop_front();
                }
            }
            places.rows += page.len() as u64;
            before = last.or(first).zip(page.next_cursor().copied());
        }
        let every = spread.len().div_ceil(max_spread.max(1)).max(1);
        places.spread = spread.into_iter().step_by(every).collect();
        places.at_end = at_end.into();
        Ok(places)
    }

    /// The place with at least `rows` rows after it that is the deepest.
    #[must_use]
    pub fn last_before(&self, rows: u64) -> Option<&PageStart> {
        self.at_end.iter().rev().find(|start| start.rows_before + rows <= self.rows)
    }
}

/// The request for the page of this size that follows a place.
#[must_use]
pub fn forward(start: &PageStart, page_size: PageSize) -> ListRequest {
    ListRequest { page_size: Some(page_size), ..ListRequest::at(start.forward) }
}

/// The request for the page of this size that ends at a place.
#[must_use]
pub fn backward(start: &PageStart, page_size: PageSize) -> ListRequest {
    ListRequest { page_size: Some(page_size), ..ListRequest::at(start.backward) }
}

/// The numbers below `count`, each once, neighbours far apart: so that one page does not find the
/// rows of the next one in a cache.
pub fn scattered(count: usize) -> impl Iterator<Item = usize> + Clone {
    // A stride that is coprime to the length visits each number once.
    let stride = (count * 2 / 3 + 1..).find(|stride| gcd(*stride, count) == 1).unwrap_or(1);
    (0..count).map(move |at| at * stride % count)
}

const fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset;
    use crate::lists::{lists, users_by_size};
    use convodb::Store;

    #[test]
    fn pages_meet_at_each_place() -> Result<()> {
        let store = Store::in_memory()?;
        dataset::load(&store, 7, 12_000, |_| {})?;
        let snapshot = store.snapshot();
        let user = users_by_size(&snapshot)?[0];
        let all = &lists(&snapshot, user.user)?[0];
        let ids: Vec<ConversationId> = snapshot
            .conversations(user.user, &ListRequest::default())
            .map(|row| row.map(|row| row.id))
            .collect::<convodb::Result<_>>()?;
        let places = ListPlaces::find(&snapshot, user.user, all, 16)?;
        assert_eq!(places.rows, user.rows);
        let decades: Vec<u64> = places.decades.iter().map(|start| start.rows_before).collect();
        assert_eq!(decades, [100, 1_000]);
        assert!((8..=16).contains(&places.spread.len()), "{}", places.spread.len());
        let far = places.spread.iter().any(|start| start.rows_before > places.rows * 3 / 4);
        assert!(far, "the places reach to the end");
        let last = places.last_before(100).expect("a place near the end");
        assert!((100..120).contains(&(places.rows - last.rows_before)));
        for start in places.spread.iter().chain(&places.decades).chain(&places.at_end) {
            let at = usize::try_from(start.rows_before)?;
            assert_eq!((ids[at - 1], ids[at]), (start.row_before, start.row_after));
            let size = PageSize::new(15)?;
            let after = snapshot.list(user.user, &forward(start, size))?;
            let before = snapshot.list(user.user, &backward(start, size))?;
            assert_eq!(after.conversations().next().map(|row| row.id), Some(ids[at]));
            assert_eq!(before.conversations().next_back().map(|row| row.id), Some(ids[at - 1]));
        }
        Ok(())
    }

    #[test]
    fn scattered_numbers_are_all_numbers_once() {
        for count in [0, 1, 2, 17, 512, 950] {
            let mut numbers: Vec<usize> = scattered(count).collect();
            if count > 10 {
                let far = numbers.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) > 2).count();
                assert!(far > count / 2, "{count}: {far}");
            }
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..count));
        }
    }
}
