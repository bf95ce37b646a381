//! Time: instants in UTC with millisecond precision, and calendar days in UTC.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::error::{Error, Result};
use crate::model::digits::two_digits;

pub(crate) const MILLIS_PER_DAY: u64 = 86_400_000;
const SECONDS_PER_DAY: u64 = MILLIS_PER_DAY / 1000;
const EPOCH: Date = Date::constant(1970, 1, 1);

/// An instant in UTC: milliseconds since 1970-01-01T00:00:00Z, at most [`Timestamp::MAX`].
///
/// Prints to the second, as the documented API does: `2025-01-25 14:30:00`. Parses that form,
/// RFC 3339 with any offset, and a date alone, which is its first instant. Digits beyond the
/// millisecond are cut off.
///
/// The engine never reads the clock: the caller passes every time, for example
/// [`Timestamp::now`].
///
/// Serde: a string in RFC 3339 with milliseconds; deserialization accepts all parsed forms.
///
/// ```
/// use convodb::Timestamp;
/// let at: Timestamp = "2025-01-25T15:30:00.250+01:00".parse()?;
/// assert_eq!(at.to_string(), "2025-01-25 14:30:00");
/// assert_eq!(at.millis() % 1000, 250);
/// assert!(Timestamp::now() > at);
///
/// let system = std::time::SystemTime::from(at);
/// assert_eq!(Timestamp::try_from(system)?, at);
/// let jiff = jiff::Timestamp::from(at);
/// assert_eq!(Timestamp::try_from(jiff)?, at);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The earliest instant, 1970-01-01 00:00:00.
    pub const MIN: Timestamp = Timestamp(0);
    /// The latest instant, 2109-05-15 07:35:11.102: 42 bits of milliseconds, less one, so that the
    /// position after the last one is representable.
    pub const MAX: Timestamp = Timestamp((1 << 42) - 2);

    /// The current time of the system clock, cut off to the millisecond. Returns
    /// [`Timestamp::MIN`] or [`Timestamp::MAX`] if the clock is set before or after the range.
    #[must_use]
    pub fn now() -> Self {
        let now = SystemTime::now();
        let limit = if now < SystemTime::UNIX_EPOCH { Self::MIN } else { Self::MAX };
        Self::try_from(now).unwrap_or(limit)
    }

    /// Parses the last time of a range, and returns the first instant after it, which is the end of
    /// a half-open range: the day after a date, and the next second or millisecond after a time.
    ///
    /// A range that is written as two times includes both of them, as precisely as they are
    /// written, so that none of a window whose end is written as `23:59:59` is missed.
    ///
    /// ```
    /// use convodb::Timestamp;
    /// let end = |text: &str| Timestamp::parse_end(text).map(Timestamp::to_rfc3339);
    /// assert_eq!(end("2025-01-31")?, "2025-02-01T00:00:00.000Z");
    /// assert_eq!(end("2025-01-31 23:59:59")?, "2025-02-01T00:00:00.000Z");
    /// assert_eq!(end("2025-01-31T23:59:59.998Z")?, "2025-01-31T23:59:59.999Z");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] as for parsing a `Timestamp`. An end after [`Timestamp::MAX`] becomes
    /// that.
    pub fn parse_end(text: &str) -> Result<Self> {
        let Timestamp(last) = text.parse()?;
        let millis = match (text.len() <= "2025-01-31".len(), text.contains(['.', ','])) {
            (true, _) => MILLIS_PER_DAY,
            (_, true) => 1,
            _ => 1000,
        };
        Ok(Self((last + millis).min(Self::MAX.0)))
    }

    /// The instant this many milliseconds after 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the instant is after [`Timestamp::MAX`].
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

    /// The day of this instant in UTC.
    #[must_use]
    pub fn day(self) -> Day {
        // 42 bits of milliseconds are at most 50,903 days.
        Day(u32::try_from(self.0 / MILLIS_PER_DAY).unwrap_or(u32::MAX))
    }

    /// The text that `Display` prints, as ASCII: `2025-01-25 14:30:00`. About 10 ns, several times
    /// faster than `write!`.
    ///
    /// ```
    /// let at = convodb::Timestamp::from_millis(1_250)?;
    /// assert_eq!(&at.to_ascii(), b"1970-01-01 00:00:01");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn to_ascii(self) -> [u8; 19] {
        self.ascii_seconds(b' ')
    }

    /// Appends RFC 3339 in UTC with milliseconds, as ASCII: `2025-01-25T14:30:00.250Z`. About
    /// 10 ns.
    ///
    /// ```
    /// let mut out = Vec::new();
    /// convodb::Timestamp::from_millis(1_250)?.write_rfc3339_to(&mut out);
    /// assert_eq!(out, b"1970-01-01T00:00:01.250Z");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[inline]
    pub fn write_rfc3339_to(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.ascii_rfc3339());
    }

    /// This instant in RFC 3339 in UTC with milliseconds, `2025-01-25T14:30:00.250Z`. No digit is
    /// lost, so it parses as the same instant.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        self.ascii_rfc3339().iter().copied().map(char::from).collect()
    }

    /// The date and the time to the second, separated by `separator`.
    #[inline]
    fn ascii_seconds(self, separator: u8) -> [u8; 19] {
        let seconds = self.0 / 1000;
        let [year, month, day] = civil(seconds / SECONDS_PER_DAY);
        let second = seconds % SECONDS_PER_DAY;
        let mut text = *b"0000-00-00 00:00:00";
        text[10] = separator;
        for (at, number) in [
            (0, year / 100),
            (2, year % 100),
            (5, month),
            (8, day),
            (11, second / 3600),
            (14, second / 60 % 60),
            (17, second % 60),
        ] {
            text[at..at + 2].copy_from_slice(&two_digits(number));
        }
        text
    }

    fn ascii_rfc3339(self) -> [u8; 24] {
        let millis = self.0 % 1000;
        let [_, hundreds] = two_digits(millis / 100);
        let [tens, ones] = two_digits(millis % 100);
        let mut text = [0; 24];
        text[..19].copy_from_slice(&self.ascii_seconds(b'T'));
        text[19..].copy_from_slice(&[b'.', hundreds, tens, ones, b'Z']);
        text
    }
}

/// The year, month and day of the month of a day since 1970-01-01, of at most 2^29 days: "Euclidean
/// affine functions and their application to calendar algorithms" (Neri and Schneider, 2022).
#[inline]
const fn civil(days: u64) -> [u64; 3] {
    // Quarters of days since 0000-03-01: a year that begins in March ends with its leap day.
    let quarters = 4 * (days + 719_468) + 3;
    let (century, in_century) = (quarters / 146_097, quarters % 146_097 / 4);
    // The high half is the quotient by 1461 quarters of days, a year; the low half the remainder.
    let product = 2_939_745 * (4 * in_century + 3);
    let (year, in_year) = (product >> 32, (product & 0xffff_ffff) / 2_939_745 / 4);
    // The same for months, by 2^16.
    let months = 2_141 * in_year + 197_913;
    let (month, day) = (months >> 16, (months & 0xffff) / 2_141);
    // January and February are months of the next year.
    let is_next = in_year >= 306;
    let (next, month) = if is_next { (1, month - 12) } else { (0, month) };
    [100 * century + year + next, month, day + 1]
}

fn out_of_range() -> Error {
    Error::Invalid { field: "timestamp", reason: "must lie between 1970-01-01 and 2109-05-15" }
}

impl From<Timestamp> for SystemTime {
    fn from(at: Timestamp) -> Self {
        SystemTime::UNIX_EPOCH + Duration::from_millis(at.0)
    }
}

/// Cuts off below the millisecond. Fails outside the range of [`Timestamp`].
impl TryFrom<SystemTime> for Timestamp {
    type Error = Error;

    fn try_from(at: SystemTime) -> Result<Self> {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| out_of_range())?;
        Self::from_millis(u64::try_from(since.as_millis()).map_err(|_| out_of_range())?)
    }
}

impl From<Timestamp> for jiff::Timestamp {
    fn from(at: Timestamp) -> Self {
        let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX)
    }
}

/// Cuts off below the millisecond. Fails outside the range of [`Timestamp`].
impl TryFrom<jiff::Timestamp> for Timestamp {
    type Error = Error;

    fn try_from(at: jiff::Timestamp) -> Result<Self> {
        u64::try_from(at.as_millisecond()).map_err(|_| out_of_range()).and_then(Self::from_millis)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.ascii_seconds(b' ')).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return at.try_into();
        }
        // A date, or a date and a time, without an offset: read as UTC. A zone in brackets
        // contradicts UTC, so it is refused.
        let civil = text.parse::<DateTime>().ok().filter(|_| !text.contains('['));
        let civil = civil.ok_or(Error::Invalid {
            field: "timestamp",
            reason: "must be a date, YYYY-MM-DD HH:MM:SS, or RFC 3339",
        })?;
        let at = civil.to_zoned(TimeZone::UTC).map_err(|_| out_of_range())?;
        at.timestamp().try_into()
    }
}

/// A calendar day in UTC, counted from 1970-01-01.
///
/// Prints as `2025-01-25`. Parses that form and every form of a [`Timestamp`], whose day it is;
/// parsed days end on 2109-05-15, as timestamps do. Serde: a string.
///
/// ```
/// use convodb::{Day, Timestamp};
/// let day: Day = "2025-01-26".parse()?;
/// assert_eq!(day.month_start().to_string(), "2025-01-01");
/// assert_eq!(day.week_start().to_string(), "2025-01-20", "a Monday");
/// assert_eq!("2025-01-26 23:59:59".parse::<Timestamp>()?.day(), day);
///
/// assert_eq!((day + 6).to_string(), "2025-02-01");
/// assert_eq!(day.days_until(day + 6), 6);
/// assert_eq!(day.succ(), Some(day + 1));
/// assert_eq!(Day::new(0).pred(), None);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u32);

impl Day {
    /// The day this many days after 1970-01-01. Days after 9999-12-31 print as that day.
    #[must_use]
    pub const fn new(days: u32) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The day this many days later, or `None` if it is out of range.
    #[must_use]
    pub const fn checked_add(self, days: u32) -> Option<Self> {
        match self.0.checked_add(days) {
            Some(days) => Some(Self(days)),
            None => None,
        }
    }

    /// The day this many days earlier, or `None` if it is before 1970-01-01.
    #[must_use]
    pub const fn checked_sub(self, days: u32) -> Option<Self> {
        match self.0.checked_sub(days) {
            Some(days) => Some(Self(days)),
            None => None,
        }
    }

    /// The next day, or `None` if it is out of range.
    #[must_use]
    pub const fn succ(self) -> Option<Self> {
        self.checked_add(1)
    }

    /// The previous day, or `None` before 1970-01-01.
    #[must_use]
    pub const fn pred(self) -> Option<Self> {
        self.checked_sub(1)
    }

    /// The number of days from this day to `other`, negative if `other` is earlier.
    #[must_use]
    pub const fn days_until(self, other: Day) -> i64 {
        other.0 as i64 - self.0 as i64
    }

    /// The first day of this day's week: the Monday on or before it.
    ///
    /// The calendar begins on Thursday 1970-01-01, so the first week has four days and begins on
    /// that Thursday.
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

    /// The first day of the next month.
    #[must_use]
    pub fn next_month(self) -> Self {
        // 31 days after the first day of a month is always a day of the next month.
        Self(self.month_start().0.saturating_add(31))
            .month_start()
            .max(Self(self.0.saturating_add(1)))
    }

    /// The first instant of this day.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a day after that of [`Timestamp::MAX`].
    pub(crate) fn start(self) -> Result<Timestamp> {
        Timestamp::from_millis(u64::from(self.0) * MILLIS_PER_DAY)
    }

    fn date(self) -> Date {
        EPOCH
            .checked_add(jiff::Span::new().try_days(self.0).unwrap_or_default())
            .unwrap_or(Date::MAX)
    }
}

/// Panics if the day is out of range, as addition of `std::time` does; see [`Day::checked_add`].
impl Add<u32> for Day {
    type Output = Day;

    fn add(self, days: u32) -> Day {
        let Some(day) = self.checked_add(days) else {
            panic!("overflow when adding days to a day")
        };
        day
    }
}

/// Panics if the day is before 1970-01-01; see [`Day::checked_sub`].
impl Sub<u32> for Day {
    type Output = Day;

    fn sub(self, days: u32) -> Day {
        let Some(day) = self.checked_sub(days) else {
            panic!("overflow when subtracting days from a day")
        };
        day
    }
}

/// Days after 9999-12-31 convert to that day.
impl From<Day> for Date {
    fn from(day: Day) -> Self {
        day.date()
    }
}

/// Fails before 1970-01-01.
impl TryFrom<Date> for Day {
    type Error = Error;

    fn try_from(date: Date) -> Result<Self> {
        let days = EPOCH.until(date).map_or(-1, |span| span.get_days());
        u32::try_from(days)
            .map(Self)
            .map_err(|_| Error::Invalid { field: "day", reason: "must not be before 1970-01-01" })
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
    fn other_texts_and_instants_out_of_range_are_refused() {
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

    /// Each day at another time of the day.
    #[test]
    fn every_day_prints_as_jiff_prints_it() {
        for day in 0..=Timestamp::MAX.day().get() {
            let second = u64::from(day) * 7_919 % 86_400;
            let millis = u64::from(day) * MILLIS_PER_DAY + second * 1000 + u64::from(day) % 1000;
            let at = Timestamp(millis.min(Timestamp::MAX.0));
            let expected = jiff::Timestamp::from(at).strftime("%Y-%m-%d %H:%M:%S").to_string();
            assert_eq!(at.to_string(), expected);
            assert_eq!(at.to_rfc3339(), format!("{:.3}", jiff::Timestamp::from(at)));
        }
    }

    #[test]
    fn a_timestamp_prints_as_documented() {
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
        assert_eq!(Day::new(4).week_start(), Day::new(4), "the first Monday");
    }

    #[test]
    fn day_arithmetic_is_checked() {
        let day = Day::new(10);
        assert_eq!((day + 5 - 15, day - 10), (Day::new(0), Day::new(0)));
        assert_eq!((day.days_until(Day::new(3)), Day::new(3).days_until(day)), (-7, 7));
        assert_eq!((day.succ(), day.pred()), (Some(Day::new(11)), Some(Day::new(9))));
        assert_eq!((Day::new(u32::MAX).succ(), day.checked_sub(11)), (None, None));
    }

    #[test]
    fn instants_and_days_convert_both_ways() {
        for millis in [0, 1, 1_737_800_000_123, Timestamp::MAX.millis()] {
            let at = Timestamp::from_millis(millis).unwrap();
            assert_eq!(Timestamp::try_from(SystemTime::from(at)).unwrap(), at);
            assert_eq!(Timestamp::try_from(jiff::Timestamp::from(at)).unwrap(), at);
            assert_eq!(Day::try_from(Date::from(at.day())).unwrap(), at.day());
        }
        let before = SystemTime::UNIX_EPOCH - Duration::from_millis(1);
        assert!(Timestamp::try_from(before).is_err());
        assert!(Timestamp::try_from(jiff::Timestamp::MAX).is_err());
        assert!(Day::try_from(Date::constant(1969, 12, 31)).is_err());
    }
}
