//! List specification: which rows belong to a list, between which positions and in which order.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::encoding::index_term::{Field, Fingerprint, Fingerprinter, Fingerprints, Shape};
use crate::error::{Error, Result};
use crate::kv::gap::ScanDirection;
use crate::model::choice::{AssistantIds, ChannelKinds};
use crate::model::position::Position;
use crate::model::timestamp::Timestamp;

/// The order of a list, by time of creation. Ascending, conversations of one millisecond are in
/// the order in which they were inserted; descending, in the reverse order.
///
/// A user has at most 4,194,304 positions in each millisecond. If the last one is taken, inserting
/// another conversation with that `created_at` fails with
/// [`Error::Invalid`](crate::Error::Invalid).
///
/// ```
/// use convodb::{ListRequest, Order};
/// let oldest_first = ListRequest { order: Some(Order::Ascending), ..ListRequest::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Order {
    /// Newest first, as in the documented API.
    #[default]
    Descending,
    /// Oldest first.
    Ascending,
}

impl Order {
    /// Both orders.
    pub const ALL: [Order; 2] = [Order::Descending, Order::Ascending];

    /// The order's name in the API: `desc` or `asc`.
    ///
    /// ```
    /// use convodb::Order;
    /// assert_eq!("asc".parse::<Order>()?, Order::Ascending);
    /// assert_eq!(Order::default().to_string(), "desc");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Order::Descending => "desc",
            Order::Ascending => "asc",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Order {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Order::ALL
            .into_iter()
            .find(|order| order.as_str() == text)
            .ok_or(Error::Invalid { field: "order", reason: "must be one of asc, desc" })
    }
}

/// The side of a cursor on which a page lies, in the order of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    Next,
    Prev,
}

impl Order {
    /// The direction of the scan that reads a page: the only function that combines order and
    /// direction.
    pub(crate) const fn scan_direction(self, direction: Direction) -> ScanDirection {
        match (self, direction) {
            (Order::Descending, Direction::Next) | (Order::Ascending, Direction::Prev) => {
                ScanDirection::Descending
            }
            (Order::Descending, Direction::Prev) | (Order::Ascending, Direction::Next) => {
                ScanDirection::Ascending
            }
        }
    }
}

/// A set of up to [`AssistantIds::MAX`] fingerprints, in ascending order.
///
/// Has its values inline, so that a cursor stays `Copy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FingerprintSet {
    /// The values; zero beyond `len`.
    values: [Fingerprint; AssistantIds::MAX],
    len: u8,
}

impl FingerprintSet {
    /// The set of these fingerprints; `None` if there are more than [`AssistantIds::MAX`].
    pub(crate) fn new(fingerprints: impl IntoIterator<Item = Fingerprint>) -> Option<Self> {
        let mut set = Self::default();
        for fingerprint in fingerprints {
            let found = set.as_slice().binary_search_by_key(&fingerprint.bits(), |f| f.bits());
            if let Err(at) = found {
                let end = usize::from(set.len);
                *set.values.get_mut(end)? = fingerprint;
                set.len += 1;
                set.values[at..=end].rotate_right(1);
            }
        }
        Some(set)
    }

    pub(crate) fn as_slice(&self) -> &[Fingerprint] {
        &self.values[..usize::from(self.len)]
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The specification of one list of a user: what a cursor continues and a page reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListSpec {
    /// The types of the list: all if it is not filtered by type, none if its filter contradicts
    /// itself. If there is one, `filter` has its fingerprint.
    pub(crate) kinds: ChannelKinds,
    /// The fields with one value.
    pub(crate) filter: Fingerprints,
    /// The assistants, if the list has several.
    pub(crate) assistants: FingerprintSet,
    pub(crate) created_from: Option<Timestamp>,
    pub(crate) created_to: Option<Timestamp>,
    pub(crate) order: Order,
}

impl ListSpec {
    /// The fields that the list is filtered by.
    pub(crate) fn shape(&self) -> Shape {
        let mut shape = self.filter.shape();
        if self.kinds != ChannelKinds::ALL {
            shape = shape.with(Field::Kind);
        }
        if !self.assistants.is_empty() { shape.with(Field::Assistant) } else { shape }
    }

    /// Whether the list of `shape` is a union of several ranges.
    pub(crate) fn is_union(&self, shape: Shape) -> bool {
        let several_kinds = shape.has(Field::Kind) && self.kinds.single().is_none();
        several_kinds || !self.assistants.is_empty()
    }

    /// The fingerprints of each range of `shape`, in an order that depends on the list alone. The
    /// ranges are disjoint.
    pub(crate) fn ranges(&self, shape: Shape, fingerprinter: &Fingerprinter) -> Vec<Fingerprints> {
        let mut ranges = vec![self.filter];
        let mut spread = |field, values: Vec<Fingerprint>| {
            let with = |mut range: Fingerprints, value| {
                range.set(field, value);
                range
            };
            ranges = ranges
                .iter()
                .flat_map(|range| values.iter().map(|value| with(*range, *value)))
                .collect();
        };
        if shape.has(Field::Kind) {
            spread(Field::Kind, self.kinds.iter().map(|kind| fingerprinter.kind(kind)).collect());
        }
        if !self.assistants.is_empty() {
            spread(Field::Assistant, self.assistants.as_slice().to_vec());
        }
        ranges
    }

    /// The positions within the bounds: from the first one of `created_from` to before the first
    /// one of `created_to`.
    pub(crate) fn positions(&self) -> Range<Position> {
        let all = Position::from_bits(0)..Position::last_at(Timestamp::MAX).next();
        let start = self.created_from.map_or(all.start, Position::first_at);
        let end = self.created_to.map_or(all.end, Position::first_at);
        start..end.max(start)
    }

    /// The gap before the first row in the order of the list.
    pub(crate) fn front(&self) -> Position {
        match self.order {
            Order::Descending => self.positions().end,
            Order::Ascending => self.positions().start,
        }
    }

    /// The gap after the last row in the order of the list.
    pub(crate) fn back(&self) -> Position {
        match self.order {
            Order::Descending => self.positions().start,
            Order::Ascending => self.positions().end,
        }
    }

    /// The gap directly before the row at `position` in the order of the list.
    pub(crate) const fn gap_before(&self, position: Position) -> Position {
        match self.order {
            Order::Descending => position.next(),
            Order::Ascending => position,
        }
    }

    /// The gap directly after the row at `position` in the order of the list.
    pub(crate) const fn gap_after(&self, position: Position) -> Position {
        match self.order {
            Order::Descending => position,
            Order::Ascending => position.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_fingerprints_is_sorted_and_has_each_once() {
        let set = |values: &[u64]| {
            FingerprintSet::new(values.iter().map(|bits| Fingerprint::from_bits(*bits)))
        };
        let bits = |set: FingerprintSet| -> Vec<u64> {
            set.as_slice().iter().map(|fingerprint| fingerprint.bits()).collect()
        };
        assert_eq!(bits(set(&[7, 2, 9, 2, 7]).unwrap()), [2, 7, 9]);
        assert!(set(&[]).unwrap().is_empty());
        assert_eq!(set(&[3, 4]), set(&[4, 3, 4]));
        let twenty: Vec<u64> = (0..20).rev().collect();
        assert_eq!(bits(set(&twenty).unwrap()), (0..20).collect::<Vec<_>>());
        let more: Vec<u64> = (0..21).collect();
        assert_eq!(set(&more), None);
    }
}
