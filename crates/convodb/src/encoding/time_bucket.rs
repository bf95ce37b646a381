//! What a counter spans: a day or a month of one assistant, or a day of all of them. Three grains of
//! the same counts, so that a year is short to add up whatever is asked for.
//!
//! ```text
//! a day of one assistant   | 00 | days since 1970-01-01, 30 bits
//! a day of all assistants  | 01 | the same
//! a month of one assistant | 10 | days to the first of the month
//! ```

use crate::model::timestamp::Day;

const GRAIN_SHIFT: u32 = 30;
const DAYS: u32 = (1 << GRAIN_SHIFT) - 1;

/// How much time, and whose, a counter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Granularity {
    /// A day of one assistant.
    Day,
    /// A day of all assistants.
    DayAllAssistants,
    /// A month of one assistant.
    Month,
}

/// A grain and the day that it begins with. Orders by grain, then by day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimeBucket(u32);

impl Granularity {
    pub(crate) const ALL: [Granularity; 3] =
        [Granularity::Day, Granularity::DayAllAssistants, Granularity::Month];

    /// The span of this grain that a day is in. Days that no instant has are one day.
    pub(crate) fn of(self, day: Day) -> TimeBucket {
        let start = match self {
            Granularity::Day | Granularity::DayAllAssistants => day,
            Granularity::Month => day.month_start(),
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

    /// The day that it begins with.
    pub(crate) const fn start(self) -> Day {
        Day::new(self.0 & DAYS)
    }

    /// The grain; none for bits that no span has.
    pub(crate) fn granularity(self) -> Option<Granularity> {
        Granularity::ALL
            .into_iter()
            .find(|granularity| *granularity as u32 == self.0 >> GRAIN_SHIFT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_tells_its_grain_and_its_first_day() {
        let day: Day = "2025-01-26".parse().unwrap();
        for (granularity, start) in [
            (Granularity::Day, "2025-01-26"),
            (Granularity::DayAllAssistants, "2025-01-26"),
            (Granularity::Month, "2025-01-01"),
        ] {
            let bucket = granularity.of(day);
            assert_eq!(bucket.granularity(), Some(granularity));
            assert_eq!(bucket.start().to_string(), start);
            assert_eq!(TimeBucket::from_bits(bucket.bits()), bucket);
        }
        assert_eq!(TimeBucket::from_bits(u32::MAX).granularity(), None);
    }

    #[test]
    fn spans_of_one_grain_order_as_their_days_do() {
        for granularity in Granularity::ALL {
            assert!(granularity.of(Day::new(40)) < granularity.of(Day::new(80)));
            assert!(granularity.of(Day::new(80)) < granularity.of(Day::new(u32::MAX)));
        }
        assert_eq!(Granularity::Day.of(Day::new(7)).bits(), 7, "as format 1 has it");
    }
}
