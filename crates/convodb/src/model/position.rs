//! Where a conversation stands in its owner's list.

use crate::model::timestamp::Timestamp;

const SEQUENCE_BITS: u32 = 22;

/// A place in an owner's list: 42 bits of creation time in milliseconds, then 22 bits of sequence
/// within that millisecond.
///
/// Unique for each owner, given by the writer, and never changed, so an update never moves a row.
/// A range of dates is a range of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position(u64);

impl Position {
    /// The first position of the millisecond `at`.
    pub(crate) const fn first_at(at: Timestamp) -> Self {
        Self(at.millis() << SEQUENCE_BITS)
    }

    /// The last position of the millisecond `at`.
    pub(crate) const fn last_at(at: Timestamp) -> Self {
        Self((at.millis() << SEQUENCE_BITS) | ((1 << SEQUENCE_BITS) - 1))
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// The time of creation that this position was given for. A stored position beyond the range
    /// of [`Timestamp`] reads as its end.
    pub(crate) fn created_at(self) -> Timestamp {
        Timestamp::from_millis(self.0 >> SEQUENCE_BITS).unwrap_or(Timestamp::MAX)
    }

    /// The position directly after this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_orders_before_sequence_and_comes_back() {
        let at = Timestamp::from_millis(1_737_800_000_123).unwrap();
        let later = Timestamp::from_millis(1_737_800_000_124).unwrap();
        assert!(Position::first_at(at) < Position::last_at(at));
        assert_eq!(Position::last_at(at).next(), Position::first_at(later));
        assert_eq!(Position::last_at(at).created_at(), at);
        assert!(Position::last_at(Timestamp::MAX).next() > Position::last_at(Timestamp::MAX));
        assert_eq!(Position::from_bits(u64::MAX).created_at(), Timestamp::MAX);
    }
}
