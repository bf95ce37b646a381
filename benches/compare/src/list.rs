//! The lists that are measured, and the places in them. A list knows its positions, newest first,
//! so that a place can be told to every engine: as a position, as an offset, or as the number of
//! pages that were walked to it.

use std::sync::Arc;

use anyhow::{Context, Result};
use convodb::ChannelKind;
use convodb_testkit::dataset::Dataset;

use crate::dataset::row::Row;
use crate::dataset::{ADVERSARY, BIGGEST, MIDDLE, adverse_assistant};
use crate::filter::Wanted;
use crate::reference::Held;

/// The most places of a list that are gone round.
const PLACES: usize = 512;

/// A list of an owner's.
pub(crate) struct List {
    /// Its number among the lists of its store.
    pub(crate) number: usize,
    pub(crate) name: &'static str,
    pub(crate) owner: u32,
    pub(crate) wanted: Wanted,
    /// Newest first.
    pub(crate) positions: Arc<[u64]>,
    /// Places are multiples of so many rows: the page size that leads to them, at most 100.
    pub(crate) stride: usize,
}

/// What a page is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The first page.
    First,
    /// The page after the row at this position.
    After(u64),
    /// The page before the row at this position.
    Before(u64),
    /// The page after so many rows, by number where an engine has numbers, else after a position.
    Offset { rows: usize, after: u64 },
}

/// One page of a list.
pub(crate) struct Ask<'a> {
    pub(crate) list: &'a List,
    pub(crate) way: Way,
    /// How many strides lead to the place.
    pub(crate) strides: usize,
    pub(crate) page_size: usize,
}

/// Where pages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The first page, again and again.
    First,
    /// Up to 512 places all over the list.
    Random,
    /// 99.9% of the way down.
    End,
    /// The same places as `Random`, the page before each.
    Back,
    /// After so many rows of the longest list, or the most there are.
    Row(usize),
    /// The same place, SQL with `OFFSET`.
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

/// The lists of a store of this corpus: those of all owners that are measured, or of the biggest
/// alone.
pub(crate) fn lists(held: &Held, owners: &[u32]) -> Result<Vec<List>> {
    let mut lists = Vec::new();
    for owner in owners {
        for (name, wanted) in wanted_of(held, *owner)? {
            let positions: Arc<[u64]> = held.positions(*owner, &wanted)?.into();
            let stride = (positions.len() / PLACES).clamp(1, 100);
            let number = lists.len();
            lists.push(List { number, name, owner: *owner, wanted, positions, stride });
        }
    }
    Ok(lists)
}

fn wanted_of(held: &Held, owner: u32) -> Result<Vec<(&'static str, Wanted)>> {
    let all = Wanted::default;
    if owner == ADVERSARY {
        let assistant = Some(adverse_assistant(0));
        let kind = Some(ChannelKind::Whatsapp);
        return Ok(vec![("empty: assistant + type", Wanted { assistant, kind, ..all() })]);
    }
    let rank = owner as usize - 1;
    let kind = Some(ChannelKind::Whatsapp);
    let assistant = Some(Dataset::assistant(rank, 0).uuid());
    let sender = Some(Dataset::sender_phone(rank, 0));
    let customer = Some(Dataset::customer_phone(rank, 0));
    let external = held.most_common(owner, |row| row.external_identifier.as_deref())?;
    let external = Some(external.context("an owner without identifiers")?);
    let all_four = Wanted {
        kind,
        assistant,
        sender: sender.clone(),
        customer: customer.clone(),
        external: None,
    };
    Ok(vec![
        ("unfiltered", all()),
        ("type", Wanted { kind, ..all() }),
        ("assistant", Wanted { assistant, ..all() }),
        ("sender", Wanted { sender: sender.clone(), ..all() }),
        ("customer", Wanted { customer: customer.clone(), ..all() }),
        ("external", Wanted { external, ..all() }),
        ("type + assistant", Wanted { kind, assistant, ..all() }),
        ("type + sender", Wanted { kind, sender, ..all() }),
        ("assistant + customer", Wanted { assistant, customer, ..all() }),
        ("type + assistant + sender + customer", all_four),
    ])
}

/// The name of an owner that is measured.
pub(crate) const fn owner_name(owner: u32) -> &'static str {
    match owner {
        BIGGEST => "biggest",
        MIDDLE => "middle",
        _ => "adversary",
    }
}

impl List {
    /// The pages that are read at a depth, in no order of place; none where the list is too short
    /// for a whole page there.
    pub(crate) fn asks(&self, depth: Depth, page_size: usize) -> Vec<Ask<'_>> {
        let (rows, stride) = (self.positions.len(), self.stride);
        let ask = |way, strides| Ask { list: self, way, strides, page_size };
        let after = |strides: usize| Way::After(self.positions[strides * stride - 1]);
        // Whole pages only, so that all places cost alike.
        let deepest = rows.saturating_sub(page_size + 1) / stride;
        match depth {
            Depth::First => vec![ask(Way::First, 0)],
            Depth::Random => scattered(1, deepest).map(|at| ask(after(at), at)).collect(),
            Depth::Back => scattered(page_size / stride + 1, deepest)
                .map(|at| ask(Way::Before(self.positions[at * stride]), at))
                .collect(),
            Depth::End if rows >= 2_000 => {
                let at = (rows / 1000 * 999 / stride).min(deepest);
                vec![ask(after(at), at)]
            }
            Depth::Row(skipped) | Depth::Offset(skipped) if self.is_sounded(page_size) => {
                // Beyond the end there is one place, the deepest.
                if deepest == 0 || skipped / 10 >= deepest * stride {
                    return Vec::new();
                }
                let at = (skipped / stride).clamp(1, deepest);
                let rows = at * stride;
                let way = match depth {
                    Depth::Offset(_) => Way::Offset { rows, after: self.positions[rows - 1] },
                    _ => after(at),
                };
                vec![ask(way, at)]
            }
            Depth::End | Depth::Row(_) | Depth::Offset(_) => Vec::new(),
        }
    }

    /// Whether pages are read at given depths: of one list, the longest.
    const fn is_sounded(&self, page_size: usize) -> bool {
        self.owner == BIGGEST && self.number == 0 && page_size == 15
    }

    /// The depth as results name it.
    pub(crate) fn depth_name(&self, depth: Depth, page_size: usize) -> String {
        let rows = || self.asks(depth, page_size).first().map_or(0, |at| at.strides * self.stride);
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

/// At most [`PLACES`] numbers from `first` to `last`, evenly spread, neighbours far apart.
fn scattered(first: usize, last: usize) -> impl Iterator<Item = usize> {
    let count = (last + 1).saturating_sub(first);
    let step = count.div_ceil(PLACES).max(1);
    let length = count.div_ceil(step);
    // A jump that shares no factor with the length visits each number once.
    let jump = (length * 2 / 3 + 1..).find(|jump| gcd(*jump, length) == 1).unwrap_or(1);
    (0..length).map(move |at| first + at * jump % length * step)
}

const fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What a page is made of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// In the order of the list.
    pub(crate) rows: Vec<Row>,
    /// Whether rows lie beyond, in the direction that was read.
    pub(crate) more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_places_are_distinct_and_within() {
        for (first, last) in [(1, 0), (1, 1), (1, 17), (3, 950), (2, 9_500)] {
            let mut places: Vec<usize> = scattered(first, last).collect();
            places.sort_unstable();
            let before = places.len();
            places.dedup();
            assert_eq!(before, places.len());
            assert!(before <= PLACES);
            assert_eq!(before == 0, last < first);
            assert!(places.iter().all(|place| (first..=last).contains(place)));
        }
    }
}
