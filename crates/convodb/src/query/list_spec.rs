//! List specification: which rows belong to a list, between which positions and in which order.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::encoding::index_term::Fingerprints;
use crate::error::{Error, Result};
use crate::kv::gap::ScanDirection;
use crate::model::channel::ChannelKind;
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

/// The specification of one list of a user: what a cursor continues and a page reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListSpec {
    /// The requested type. `filter` has it too, but only as a fingerprint.
    pub(crate) kind: Option<ChannelKind>,
    pub(crate) filter: Fingerprints,
    pub(crate) created_from: Option<Timestamp>,
    pub(crate) created_to: Option<Timestamp>,
    pub(crate) order: Order,
}

impl ListSpec {
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
