//! Lists to measure and the queries for their pages.
//!
//! A list has the sort keys of its rows, newest first, so that a query can name a page start in the
//! form that each engine needs: a key, an offset, or the number of pages before it.

use std::sync::Arc;

use anyhow::{Context, Result};
use convodb::{ChannelKind, Sort};
use convodb_bench::dataset::Dataset;
pub(crate) use convodb_bench::engine::FoundPage as Page;
use convodb_bench::filter::ListFilter;
use convodb_bench::sql::{Key, Start};
use convodb_bench::starts;

use crate::dataset::{ADVERSARY, BIGGEST, MIDDLE, adversary_assistant};
use crate::reference::Reference;

/// The most page starts of one list.
const MAX_STARTS: usize = 512;

/// A list of conversations of one user.
pub(crate) struct List {
    /// Its index among the lists of the store.
    pub(crate) number: usize,
    pub(crate) name: &'static str,
    pub(crate) user: u32,
    pub(crate) filter: ListFilter,
    pub(crate) sort: Sort,
    /// The sort keys of its rows, newest first.
    pub(crate) keys: Arc<[Key]>,
    /// The distance between two page starts in rows, 1 to 100.
    pub(crate) stride: usize,
}

/// Where a page starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageStart {
    /// The first page.
    First,
    /// The page after the row with this key.
    After(Key),
    /// The page before the row with this key.
    Before(Key),
    /// The page after this many rows: by `OFFSET` in SQL, else after the key.
    Offset { rows: usize, after: Key },
}

impl PageStart {
    /// The start in SQL.
    pub(crate) const fn in_sql(self) -> Start {
        match self {
            PageStart::First => Start::First,
            PageStart::After(key) => Start::After(key),
            PageStart::Before(key) => Start::Before(key),
            PageStart::Offset { rows, .. } => Start::Offset(rows as u64),
        }
    }
}

/// A query for one page of a list.
pub(crate) struct PageQuery<'a> {
    pub(crate) list: &'a List,
    pub(crate) start: PageStart,
    /// The number of strides before the page start.
    pub(crate) strides: usize,
    pub(crate) page_size: usize,
}

/// The part of a list whose pages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The first page only.
    First,
    /// Up to 512 page starts spread over the list.
    Random,
    /// One page after 99.9% of the rows.
    End,
    /// Backward: the pages before the page starts of `Random`.
    Back,
    /// The page after this many rows of the longest list, or its last page if it is shorter.
    Row(usize),
    /// The same page, in SQL by `OFFSET`.
    Offset(usize),
}

impl Depth {
    pub(crate) const ALL: [Depth; 12] = [
        Depth::First,
        Depth::Random,
        Depth::End,
        Depth::Back,
        Depth::Row(100),
        Depth::Row(1_000),
        Depth::Row(10_000),
        Depth::Row(100_000),
        Depth::Offset(100),
        Depth::Offset(1_000),
        Depth::Offset(10_000),
        Depth::Offset(100_000),
    ];
}

/// The lists of these users.
pub(crate) fn lists(reference: &Reference, users: &[u32]) -> Result<Vec<List>> {
    let mut lists = Vec::new();
    for user in users {
        for (name, filter, sort) in lists_of(reference, *user)? {
            let found = reference.list(*user, &filter, sort)?;
            let keys: Arc<[Key]> = found.into_iter().map(|(key, _)| key).collect();
            let stride = (keys.len() / MAX_STARTS).clamp(1, 100);
            let number = lists.len();
            lists.push(List { number, name, user: *user, filter, sort, keys, stride });
        }
    }
    Ok(lists)
}

fn lists_of(reference: &Reference, user: u32) -> Result<Vec<(&'static str, ListFilter, Sort)>> {
    let all = ListFilter::default;
    if user == ADVERSARY {
        let assistant = Some(adversary_assistant(0));
        let kind = Some(ChannelKind::Whatsapp);
        let filter = ListFilter { assistant, kind, ..all() };
        return Ok(vec![("empty: assistant + type", filter, Sort::CreatedAt)]);
    }
    let rank = user as usize - 1;
    let kind = Some(ChannelKind::Whatsapp);
    let assistant = Some(Dataset::assistant(rank, 0).uuid());
    let sender = Some(Dataset::sender_phone(rank, 0));
    let customer = Some(Dataset::customer_phone(rank, 0));
    let external = reference.most_common(user, |row| row.external_identifier.as_deref())?;
    let external = Some(external.context("the user has no external identifier")?);
    let all_four =
        ListFilter { kind, assistant, sender: sender.clone(), customer: customer.clone(), ..all() };
    let of_kind = ListFilter { kind, ..all() };
    let of_assistant = ListFilter { assistant, ..all() };
    let of_sender = ListFilter { sender: sender.clone(), ..all() };
    let of_customer = ListFilter { customer: customer.clone(), ..all() };
    let of_both = ListFilter { kind, assistant, ..all() };
    let by_activity = [
        ("unfiltered, by last activity", all()),
        ("type, by last activity", of_kind.clone()),
        ("assistant, by last activity", of_assistant.clone()),
        ("sender, by last activity", of_sender.clone()),
        ("customer, by last activity", of_customer.clone()),
        ("type + assistant, by last activity", of_both.clone()),
    ];
    let kinds = vec![ChannelKind::Whatsapp, ChannelKind::Api];
    let assistants = (0..5).map(|number| Dataset::assistant(rank, number).uuid()).collect();
    let extended = [
        ("AI off", ListFilter { ai_off: true, ..all() }),
        ("AI off + type", ListFilter { ai_off: true, kind, ..all() }),
        ("AI off + assistant", ListFilter { ai_off: true, assistant, ..all() }),
        ("two types", ListFilter { kinds, ..all() }),
        ("five assistants", ListFilter { assistants, ..all() }),
    ];
    let by_creation = [
        ("unfiltered", all()),
        ("type", of_kind),
        ("assistant", of_assistant),
        ("sender", of_sender),
        ("customer", of_customer),
        ("external", ListFilter { external, ..all() }),
        ("type + assistant", of_both),
        ("type + sender", ListFilter { kind, sender, ..all() }),
        ("assistant + customer", ListFilter { assistant, customer, ..all() }),
        ("type + assistant + sender + customer", all_four),
    ];
    let by_creation = by_creation.into_iter().chain(extended);
    let by_creation = by_creation.map(|(name, filter)| (name, filter, Sort::CreatedAt));
    let by_activity = by_activity.map(|(name, filter)| (name, filter, Sort::LastActivity));
    Ok(by_creation.chain(by_activity).collect())
}

/// The name of a measured user in result files.
pub(crate) const fn user_name(user: u32) -> &'static str {
    match user {
        BIGGEST => "biggest",
        MIDDLE => "middle",
        _ => "adversary",
    }
}

impl List {
    /// The queries for the pages at a depth, in no particular order. Empty if the list is too short
    /// for a full page there.
    pub(crate) fn queries(&self, depth: Depth, page_size: usize) -> Vec<PageQuery<'_>> {
        let (rows, stride) = (self.keys.len(), self.stride);
        let query = |start, strides| PageQuery { list: self, start, strides, page_size };
        let after = |strides: usize| PageStart::After(self.keys[strides * stride - 1]);
        // Full pages only, so that all starts cost the same.
        let deepest = rows.saturating_sub(page_size + 1) / stride;
        match depth {
            Depth::First => vec![query(PageStart::First, 0)],
            Depth::Random => scattered(1, deepest).map(|at| query(after(at), at)).collect(),
            Depth::Back => scattered(page_size / stride + 1, deepest)
                .map(|at| query(PageStart::Before(self.keys[at * stride]), at))
                .collect(),
            Depth::End if rows >= 2_000 => {
                let at = (rows / 1000 * 999 / stride).min(deepest);
                vec![query(after(at), at)]
            }
            Depth::Row(skipped) | Depth::Offset(skipped) if self.has_fixed_depths(page_size) => {
                // Depths beyond the end use the deepest start, once.
                if deepest == 0 || skipped / 10 >= deepest * stride {
                    return Vec::new();
                }
                let at = (skipped / stride).clamp(1, deepest);
                let rows = at * stride;
                let start = match depth {
                    Depth::Offset(_) => PageStart::Offset { rows, after: self.keys[rows - 1] },
                    _ => after(at),
                };
                vec![query(start, at)]
            }
            Depth::End | Depth::Row(_) | Depth::Offset(_) => Vec::new(),
        }
    }

    /// Whether `Depth::Row` and `Depth::Offset` apply: to the longest list only.
    const fn has_fixed_depths(&self, page_size: usize) -> bool {
        self.user == BIGGEST && self.number == 0 && page_size == 15
    }

    /// The name of the depth in result files.
    pub(crate) fn depth_name(&self, depth: Depth, page_size: usize) -> String {
        let rows =
            || self.queries(depth, page_size).first().map_or(0, |at| at.strides * self.stride);
        match depth {
            Depth::First => "first".to_owned(),
            Depth::Random => "random".to_owned(),
            Depth::End => "end".to_owned(),
            Depth::Back => "back".to_owned(),
            Depth::Row(_) => format!("row {}", rows()),
            Depth::Offset(_) => format!("offset {}", rows()),
        }
    }
}

/// At most [`MAX_STARTS`] numbers from `first` to `last`, evenly spread, neighbours far apart.
fn scattered(first: usize, last: usize) -> impl Iterator<Item = usize> {
    let count = (last + 1).saturating_sub(first);
    let step = count.div_ceil(MAX_STARTS).max(1);
    starts::scattered(count.div_ceil(step)).map(move |at| first + at * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_starts_are_distinct_and_in_range() {
        for (first, last) in [(1, 0), (1, 1), (1, 17), (3, 950), (2, 9_500)] {
            let mut starts: Vec<usize> = scattered(first, last).collect();
            starts.sort_unstable();
            let before = starts.len();
            starts.dedup();
            assert_eq!(before, starts.len());
            assert!(before <= MAX_STARTS);
            assert_eq!(before == 0, last < first);
            assert!(starts.iter().all(|start| (first..=last).contains(start)));
        }
    }
}
