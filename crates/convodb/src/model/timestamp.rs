//! Instants in UTC with millisecond precision, and days.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::error::{Error, Result};
use crate::model::inline_str::InlineStr;

const MILLIS_PER_DAY: u64 = 86_400_000;

/// An instant: milliseconds since 1970-01-01T00:00:00Z, at most [`Timestamp::MAX`].
///
/// Prints as the documented API does, to the second: `2025-01-25 14:30:00` (UTC). Parses that
/// form, RFC 3339 with any offset, and a date alone (its first instant).
///
/// ```
/// use convodb::Timestamp;
/// let at: Timestamp = "2025-01-25T15:30:00.250+01:00".parse()?;
/// assert_eq!(at.to_string(), "2025-01-25 14:30:00");
/// assert_eq!(at.millis() % 1000, 250);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The earliest instant, 1970-01-01 00:00:00.
    pub const MIN: Timestamp = Timestamp(0);
    /// The latest instant, 2109-05-15 07:35:11.102: 42 bits of milliseconds, less one, so that the
    /// position after the last is still a position.
    pub const MAX: Timestamp = Timestamp((1 << 42) - 2);

    /// The instant this many milliseconds after 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// [`Error::Invalid`] beyond [`Timestamp::MAX`].
    pub fn from_millis(millis: u64) -> Result<Self> {
        if millis > Self::MAX.0 {
            return Err(out_of_range());
        }
        Ok(Self(millis))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The day this instant is on, in UTC.
    #[must_use]
    pub fn day(self) -> Day {
        // 42 bits of milliseconds are at most 50,903 days.
        Day(u32::try_from(self.0 / MILLIS_PER_DAY).unwrap_or(u32::MAX))
    }

    /// This instant as it prints, without a formatter: `2025-01-25 14:30:00`. About 10 ns.
    #[must_use]
    pub fn printed(self) -> InlineStr<19> {
        let mut text = InlineStr::new();
        self.put_seconds(&mut text, b' ');
        text
    }

    /// This instant in RFC 3339 with milliseconds, without a formatter:
    /// `2025-01-25T14:30:00.250Z`. About 10 ns.
    #[must_use]
    pub fn printed_rfc3339(self) -> InlineStr<24> {
        let mut text = InlineStr::new();
        text.put(*b"Z");
        text.put_digits(self.0 % 1000, 3);
        text.put(*b".");
        self.put_seconds(&mut text, b'T');
        text
    }

    /// This instant in RFC 3339 with milliseconds, `2025-01-25T14:30:00.250Z`.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        self.printed_rfc3339().to_string()
    }

    /// Puts the date and the time to the second before a text, with `between` between them.
    fn put_seconds<const N: usize>(self, text: &mut InlineStr<N>, between: u8) {
        let at = TimeZone::UTC.to_datetime(self.to_jiff());
        // From the last to the first.
        text.put_pair(b':', at.second().unsigned_abs());
        text.put_pair(b':', at.minute().unsigned_abs());
        text.put_pair(between, at.hour().unsigned_abs());
        text.put_pair(b'-', at.day().unsigned_abs());
        text.put_pair(b'-', at.month().unsigned_abs());
        text.put_digits(at.year().unsigned_abs().into(), 4);
    }

    fn to_jiff(self) -> jiff::Timestamp {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX)
    }

    fn from_jiff(at: jiff::Timestamp) -> Result<Self> {
        u64::try_from(at.as_millisecond()).map_err(|_| out_of_range()).and_then(Self::from_millis)
    }
}

fn out_of_range() -> Error {
    Error::Invalid { field: "timestamp", reason: "must lie between 1970-01-01 and 2109-05-15" }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.printed().fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Self::from_jiff(at);
        }
        // A civil date or date and time, read as UTC. A text with an offset was taken above; one
        // with a zone in brackets says something else than UTC.
        let civil = text.parse::<DateTime>().ok().filter(|_| !text.contains('['));
        let civil = civil.ok_or(Error::Invalid {
            field: "timestamp",
            reason: "must be a date, YYYY-MM-DD HH:MM:SS, or RFC 3339",
        })?;
        let at = civil.to_zoned(TimeZone::UTC).map_err(|_| out_of_range())?;
        Self::from_jiff(at.timestamp())
    }
}

/// A day in UTC, counted from 1970-01-01. Prints and parses as `2025-01-25`.
///
/// ```
/// use convodb::{Day, Timestamp};
/// let day: Day = "2025-01-26".parse()?;
/// assert_eq!(day.month_start().to_string(), "2025-01-01");
/// assert_eq!(day.week_start().to_string(), "2025-01-20", "a Monday");
/// assert_eq!("2025-01-26 23:59:59".parse::<Timestamp>()?.day(), day);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u32);

impl Day {
    /// The day this many days after 1970-01-01.
    #[must_use]
    pub const fn new(days: u32) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The Monday on or before this day.
    #[must_use]
    pub const fn week_start(self) -> Self {
        // 1970-01-01 was a Thursday, three days after a Monday.
        Self(self.0.saturating_sub((self.0 % 7 + 3) % 7))
    }

    /// The first day of this day's month.
    #[must_use]
    pub fn month_start(self) -> Self {
        let day_of_month = u32::try_from(self.date().day()).unwrap_or(1);
        Self(self.0 - (day_of_month - 1))
    }

    /// The first day of the month after this day's.
    #[must_use]
    pub fn next_month(self) -> Self {
        // 31 days after its first day, every month is over, and none of the next ones is.
        Self(self.month_start().0.saturating_add(31))
            .month_start()
            .max(Self(self.0.saturating_add(1)))
    }

    fn date(self) -> Date {
        let first = Date::constant(1970, 1, 1);
        first
            .checked_add(jiff::Span::new().try_days(self.0).unwrap_or_default())
            .unwrap_or(Date::MAX)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.date().fmt(f)
    }
}

impl FromStr for Day {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse::<Timestamp>().map(Timestamp::day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(text.parse::<Timestamp>().unwrap().to_rfc3339(), expected);
    }

    #[test]
    fn the_three_forms_parse() {
        check("2025-01-25 14:30:00", "2025-01-25T14:30:00.000Z");
        check("2025-01-25 14:30:00.5", "2025-01-25T14:30:00.500Z");
        check("2025-01-25", "2025-01-25T00:00:00.000Z");
        check("2025-01-25T14:30:00+02:00", "2025-01-25T12:30:00.000Z");
        check("2025-01-25T14:30:00.123456Z", "2025-01-25T14:30:00.123Z");
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for wrong in [
            "",
            "soon",
            "1969-12-31",
            "2109-05-16",
            "2025-02-30",
            "25.01.2025",
            "2025-01-25T14:30:00[Europe/Berlin]",
        ] {
            assert!(wrong.parse::<Timestamp>().is_err(), "{wrong}");
        }
        assert!(Timestamp::from_millis(Timestamp::MAX.millis() + 1).is_err());
    }

    /// Each at another time of the day.
    #[test]
    fn prints_every_day_as_the_calendar_does() {
        for day in 0..=Timestamp::MAX.day().get() {
            let second = u64::from(day) * 7_919 % 86_400;
            let millis = u64::from(day) * MILLIS_PER_DAY + second * 1000 + u64::from(day) % 1000;
            let at = Timestamp(millis.min(Timestamp::MAX.0));
            let expected = at.to_jiff().strftime("%Y-%m-%d %H:%M:%S").to_string();
            assert_eq!(at.to_string(), expected);
            assert_eq!(at.to_rfc3339(), format!("{:.3}", at.to_jiff()));
        }
    }

    #[test]
    fn prints_as_documented() {
        let at: Timestamp = "2025-01-05 04:03:02".parse().unwrap();
        assert_eq!(at.to_string(), "2025-01-05 04:03:02");
        assert_eq!(Timestamp::MAX.to_string(), "2109-05-15 07:35:11");
    }

    #[test]
    fn days_weeks_and_months() {
        let day: Day = "2025-01-26".parse().unwrap();
        assert_eq!(day.to_string(), "2025-01-26");
        assert_eq!(day.week_start().to_string(), "2025-01-20");
        assert_eq!(day.month_start().to_string(), "2025-01-01");
        assert_eq!(Day::new(u32::MAX).week_start().get() % 7, 4, "a Monday");
        assert_eq!(Day::new(1).week_start(), Day::new(0), "the first week has no Monday");
    }
}
