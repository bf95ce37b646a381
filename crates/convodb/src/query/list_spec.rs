//! List specification: which rows belong to a list, between which bounds and in which order.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::encoding::index_term::{Field, Fingerprint, Fingerprinter, Fingerprints, Shape};
use crate::error::{Error, Result};
use crate::kv::gap::ScanDirection;
use crate::model::choice::{AssistantIds, ChannelKinds};
use crate::model::position::{Position, SortKey};
use crate::model::timestamp::Timestamp;

/// The order of a list, by the time that [`Sort`] names. Ascending, conversations of one
/// millisecond are in the order in which they were created and inserted; descending, in the reverse
/// order.
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

/// The time that sorts a list.
///
/// The time of creation never changes, so a list that is sorted by it never reorders.
///
/// The *last activity* of a conversation is its
/// [`updated_at`](crate::Conversation::updated_at): the time of its newest message, or of a later
/// change of it: who answers, the contacts, the variables, or whether the assistant is enabled. Every
/// activity moves a conversation, also while a client reads the list page by page. A conversation that
/// moves to a part that was read already is then missing from the pages. Each page has a cursor of
/// the change feed, [`Page::changes_cursor`](crate::Page::changes_cursor), of the moment when its
/// walk began: what moved, appeared or disappeared since is in the changes after it.
///
/// ```
/// use convodb::{Filter, ChannelKind, ListRequest, Sort};
/// let open = ListRequest::new().filter(Filter::new().kind(ChannelKind::Widget));
/// let active_this_year = open.sort(Sort::LastActivity).active_from("2025-01-01".parse()?);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Sort {
    /// The time of creation, as in the documented API. For every filter.
    #[default]
    CreatedAt,
    /// The time of the last activity, in a store with the index family
    /// [`IndexFamily::LastActivity`](crate::IndexFamily::LastActivity). Without filter, or filtered by type, by assistant, by both, by
    /// the sender's phone or by the customer's phone.
    LastActivity,
}

impl Sort {
    /// Both sorts.
    pub const ALL: [Sort; 2] = [Sort::CreatedAt, Sort::LastActivity];

    /// The sort's name in the API: `created_at` or `last_activity`.
    ///
    /// ```
    /// use convodb::Sort;
    /// assert_eq!("last_activity".parse::<Sort>()?, Sort::LastActivity);
    /// assert_eq!(Sort::default().to_string(), "created_at");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Sort::CreatedAt => "created_at",
            Sort::LastActivity => "last_activity",
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Sort {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let reason = "must be one of created_at, last_activity";
        let found = Sort::ALL.into_iter().find(|sort| sort.as_str() == text);
        found.ok_or(Error::Invalid { field: "sort", reason })
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
    pub(crate) sort: Sort,
    /// The earliest time that `sort` names, inclusive.
    pub(crate) from: Option<Timestamp>,
    /// The end of the times that `sort` names, exclusive.
    pub(crate) to: Option<Timestamp>,
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

    /// The sort keys within the bounds: from the first one of `from` to before the first one of `to`.
    pub(crate) fn sort_keys(&self) -> Range<SortKey> {
        let first_at = |at: Timestamp| match self.sort {
            Sort::CreatedAt => SortKey::of_position(Position::first_at(at)),
            Sort::LastActivity => SortKey::of_activity(at.millis(), Position::from_bits(0)),
        };
        let start = first_at(self.from.unwrap_or(Timestamp::MIN));
        let end = self.to.map_or_else(|| self.end_of(Timestamp::MAX), first_at);
        start..end.max(start)
    }

    /// The first sort key after those of the millisecond `at`.
    pub(crate) const fn end_of(&self, at: Timestamp) -> SortKey {
        match self.sort {
            Sort::CreatedAt => SortKey::of_position(Position::last_at(at).next()),
            Sort::LastActivity => SortKey::of_activity(at.millis() + 1, Position::from_bits(0)),
        }
    }

    /// The sort key of a row.
    pub(crate) const fn sort_key(&self, updated_at: Timestamp, position: Position) -> SortKey {
        match self.sort {
            Sort::CreatedAt => SortKey::of_position(position),
            Sort::LastActivity => SortKey::of_activity(updated_at.millis(), position),
        }
    }

    /// The gap before the first row in the order of the list.
    pub(crate) fn front(&self) -> SortKey {
        match self.order {
            Order::Descending => self.sort_keys().end,
            Order::Ascending => self.sort_keys().start,
        }
    }

    /// The gap after the last row in the order of the list.
    pub(crate) fn back(&self) -> SortKey {
        match self.order {
            Order::Descending => self.sort_keys().start,
            Order::Ascending => self.sort_keys().end,
        }
    }

    /// The gap directly before the row at `key` in the order of the list.
    pub(crate) const fn gap_before(&self, key: SortKey) -> SortKey {
        match self.order {
            Order::Descending => key.next(),
            Order::Ascending => key,
        }
    }

    /// The gap directly after the row at `key` in the order of the list.
    pub(crate) const fn gap_after(&self, key: SortKey) -> SortKey {
        match self.order {
            Order::Descending => key,
            Order::Ascending => key.next(),
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
