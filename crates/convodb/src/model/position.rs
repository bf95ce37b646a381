//! The position of a conversation in the list of its user, and the sort key of every list.

use crate::model::timestamp::Timestamp;

const SEQUENCE_BITS: u32 = 22;

/// A position in a user's list: 42 bits of creation time in milliseconds, then 22 bits of sequence
/// within that millisecond.
///
/// ```text
///  63                              22 21                 0
/// | created_at in milliseconds: 42   | sequence: 22       |
/// ```
///
/// A position is unique for each user. The writer assigns it and an update never changes it. A
/// range of dates is therefore a range of positions. A millisecond has 4,194,304 positions.
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

    /// The creation time that this position was assigned for. A stored position beyond the range
    /// of [`Timestamp`] returns [`Timestamp::MAX`].
    pub(crate) fn created_at(self) -> Timestamp {
        Timestamp::from_millis(self.0 >> SEQUENCE_BITS).unwrap_or(Timestamp::MAX)
    }

    /// The next position.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The sort key of a list: the time of the last activity, then the position. A position is unique
/// for each user, so a sort key is unique in each list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SortKey {
    /// Milliseconds; 0 in a list by creation, which the position alone sorts.
    activity: u64,
    position: Position,
}

impl SortKey {
    /// The key of a list by creation.
    pub(crate) const fn of_position(position: Position) -> Self {
        Self { activity: 0, position }
    }

    /// The key of a list by last activity, with the time of that activity in milliseconds.
    pub(crate) const fn of_activity(activity: u64, position: Position) -> Self {
        Self { activity, position }
    }

    /// The time of the last activity in milliseconds; 0 in a list by creation.
    pub(crate) const fn activity(self) -> u64 {
        self.activity
    }

    pub(crate) const fn position(self) -> Position {
        self.position
    }

    /// The next key. No key is between the two.
    pub(crate) const fn next(self) -> Self {
        Self { position: self.position.next(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_order_by_time_and_then_by_sequence() {
        let at = Timestamp::from_millis(1_737_800_000_123).unwrap();
        let later = Timestamp::from_millis(1_737_800_000_124).unwrap();
        assert!(Position::first_at(at) < Position::last_at(at));
        assert_eq!(Position::last_at(at).next(), Position::first_at(later));
        assert_eq!(Position::last_at(at).created_at(), at);
        assert!(Position::last_at(Timestamp::MAX).next() > Position::last_at(Timestamp::MAX));
        assert_eq!(Position::from_bits(u64::MAX).created_at(), Timestamp::MAX);
    }
}
