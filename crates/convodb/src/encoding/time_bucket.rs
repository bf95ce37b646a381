//! Time buckets: the day, week or month of a record of counters, at three granularities.
//!
//! The same conversations are counted at each granularity (rollups), so that statistics of a year
//! read few records.
//!
//! ```text
//! a day of one assistant   | 00 | days since 1970-01-01, 30 bits (formats 1 to 3)
//! a day of all assistants  | 01 | the same
//! a month of one assistant | 10 | days from 1970-01-01 to the first of the month
//! a week of one assistant  | 11 | days from 1970-01-01 to its first day, a Monday (the first: a Thursday)
//! ```

use crate::model::timestamp::Day;

const GRAIN_SHIFT: u32 = 30;
const DAYS: u32 = (1 << GRAIN_SHIFT) - 1;

/// The granularity of a record of counters: its length of time, and whether it counts one assistant
/// or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Granularity {
    /// A day of all assistants.
    DayAllAssistants = 1,
    /// A month of one assistant.
    Month = 2,
    /// A week of one assistant, with a counter for each of its days.
    Week = 3,
}

/// A time bucket: a granularity and its first day. Orders by granularity, then by day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimeBucket(u32);

impl Granularity {
    pub(crate) const ALL: [Granularity; 3] =
        [Granularity::DayAllAssistants, Granularity::Month, Granularity::Week];

    /// The time bucket of this granularity that contains a day. All days beyond 30 bits, which no
    /// timestamp reaches, share one bucket.
    pub(crate) fn of(self, day: Day) -> TimeBucket {
        let start = match self {
            Granularity::DayAllAssistants => day,
            Granularity::Month => day.month_start(),
            Granularity::Week => day.week_start(),
        };
        TimeBucket((self as u32) << GRAIN_SHIFT | start.get().min(DAYS))
    }
}

impl TimeBucket {
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// A bucket after this one and not after any other that follows it; it may be of no granularity.
    pub(crate) const fn following(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The first day.
    pub(crate) const fn start(self) -> Day {
        Day::new(self.0 & DAYS)
    }

    /// Whether it is a day of one assistant, as in formats 1 to 3.
    pub(crate) const fn is_day_of_assistant(self) -> bool {
        self.0 >> GRAIN_SHIFT == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_contains_its_granularity_and_first_day() {
        let day: Day = "2025-01-26".parse().unwrap();
        for (granularity, bits, start) in [
            (Granularity::DayAllAssistants, 1, "2025-01-26"),
            (Granularity::Month, 2, "2025-01-01"),
            (Granularity::Week, 3, "2025-01-20"),
        ] {
            let bucket = granularity.of(day);
            assert_eq!(bucket.bits() >> GRAIN_SHIFT, bits);
            assert_eq!(bucket.start().to_string(), start);
            assert_eq!(TimeBucket::from_bits(bucket.bits()), bucket);
            assert!(!bucket.is_day_of_assistant());
        }
        assert!(TimeBucket::from_bits(day.get()).is_day_of_assistant());
    }

    #[test]
    fn buckets_of_one_granularity_order_by_day() {
        for granularity in Granularity::ALL {
            assert!(granularity.of(Day::new(40)) < granularity.of(Day::new(80)));
            assert!(granularity.of(Day::new(80)) < granularity.of(Day::new(u32::MAX)));
        }
    }
}
