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
pub(crate) enum Grain {
    /// A day of one assistant.
    Day,
    /// A day of all assistants.
    DayOfAll,
    /// A month of one assistant.
    Month,
}

/// A grain and the day that it begins with. Orders by grain, then by day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(u32);

impl Grain {
    pub(crate) const ALL: [Grain; 3] = [Grain::Day, Grain::DayOfAll, Grain::Month];

    /// The span of this grain that a day is in. Days that no instant has are one day.
    pub(crate) fn of(self, day: Day) -> Span {
        let start = match self {
            Grain::Day | Grain::DayOfAll => day,
            Grain::Month => day.month_start(),
        };
        Span((self as u32) << GRAIN_SHIFT | start.get().min(DAYS))
    }
}

impl Span {
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
    pub(crate) fn grain(self) -> Option<Grain> {
        Grain::ALL.into_iter().find(|grain| *grain as u32 == self.0 >> GRAIN_SHIFT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_tells_its_grain_and_its_first_day() {
        let day: Day = "2025-01-26".parse().unwrap();
        for (grain, start) in [
            (Grain::Day, "2025-01-26"),
            (Grain::DayOfAll, "2025-01-26"),
            (Grain::Month, "2025-01-01"),
        ] {
            let span = grain.of(day);
            assert_eq!(span.grain(), Some(grain));
            assert_eq!(span.start().to_string(), start);
            assert_eq!(Span::from_bits(span.bits()), span);
        }
        assert_eq!(Span::from_bits(u32::MAX).grain(), None);
    }

    #[test]
    fn spans_of_one_grain_order_as_their_days_do() {
        for grain in Grain::ALL {
            assert!(grain.of(Day::new(40)) < grain.of(Day::new(80)));
            assert!(grain.of(Day::new(80)) < grain.of(Day::new(u32::MAX)));
        }
        assert_eq!(Grain::Day.of(Day::new(7)).bits(), 7, "as format 1 has it");
    }
}
