//! Calendar of the demo: when its conversations begin.
//!
//! The rate grows over the year, follows the hours of a European day and the days of the week, and
//! rises before Christmas. Each hour has a weight; conversation `n` of `count` begins where `n` /
//! `count` of the total is reached.

use convodb::{Result, Timestamp};

const HOUR_MILLIS: u64 = 3_600_000;
const DAYS: u64 = 365;
/// By hour of the day, in UTC.
const HOURS: [u64; 24] =
    [2, 1, 1, 1, 1, 3, 6, 12, 21, 28, 29, 27, 22, 25, 27, 26, 25, 23, 22, 20, 17, 12, 8, 4];
/// By day of the week, from Monday.
const WEEK: [u64; 7] = [124, 117, 112, 110, 104, 78, 55];
/// The rate at the end, in percent of that at the beginning.
const GROWTH_PERCENT: u64 = 260;
/// How much a day deviates from the rule, in percent.
const NOISE_PERCENT: u64 = 12;

/// The hours of a year and their cumulative weights.
pub(super) struct Calendar {
    /// The first instant of the first hour, in milliseconds since 1970.
    start: u64,
    /// The sum of the weights of all hours before each hour, and the total.
    cumulative: Vec<u64>,
}

impl Calendar {
    /// The hours of the year that ends at `end`.
    pub(super) fn new(end: Timestamp) -> Self {
        let end_hour = end.millis() / HOUR_MILLIS;
        let start_hour = end_hour.saturating_sub(DAYS * 24);
        let mut cumulative = vec![0];
        let mut total = 0;
        for hour in start_hour..end_hour.max(start_hour + 1) {
            total += weight(hour, hour - start_hour);
            cumulative.push(total);
        }
        Self { start: start_hour * HOUR_MILLIS, cumulative }
    }

    /// When the conversation begins before which `part` / 2^32 of all have begun.
    ///
    /// # Errors
    /// Fails if the time is out of the store's range.
    pub(super) fn moment(&self, part: u64) -> Result<Timestamp> {
        let total = self.cumulative.last().copied().unwrap_or(0);
        let scaled = u128::from(total) * u128::from(part);
        let reached = u64::try_from(scaled >> 32).unwrap_or(total);
        let next = self.cumulative.partition_point(|before| *before <= reached);
        let next = next.clamp(1, self.cumulative.len() - 1);
        let (before, after) = (self.cumulative[next - 1], self.cumulative[next]);
        let fraction = (scaled - (u128::from(before) << 32)) * u128::from(HOUR_MILLIS);
        let within = u64::try_from(fraction / (u128::from(after - before) << 32));
        let hours = (next as u64 - 1) * HOUR_MILLIS;
        Timestamp::from_millis(self.start + hours + within.unwrap_or(0))
    }
}

/// The weight of an hour since 1970 that is `elapsed` hours after the beginning.
fn weight(hour: u64, elapsed: u64) -> u64 {
    let day = hour / 24;
    // 1970-01-01 was a Thursday.
    let of_week = usize::try_from((day + 3) % 7).unwrap_or(0);
    let of_day = usize::try_from(hour % 24).unwrap_or(0);
    let growth = 100 + (GROWTH_PERCENT - 100) * elapsed / (DAYS * 24);
    let noise = 100 - NOISE_PERCENT + noise(day) % (2 * NOISE_PERCENT + 1);
    // At least 1: no hour is without weight.
    (HOURS[of_day] * WEEK[of_week] * growth * noise * season(day) / 1000).max(1)
}

/// The weight of the season, in percent: more before Christmas, little until the new year.
fn season(day: u64) -> u64 {
    // The day of the year, a day off after a leap day: precise enough for a season.
    match day * 100 % 36_525 / 100 {
        324..=356 => 128,
        357..=365 | 0 => 52,
        _ => 100,
    }
}

/// A number that depends on the day alone.
fn noise(day: u64) -> u64 {
    (day.wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 40
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_ascend_to_the_end_and_have_a_shape() {
        let end: Timestamp = "2026-01-31 12:34:00".parse().unwrap();
        let calendar = Calendar::new(end);
        let all: Vec<u64> =
            (0..40_000).map(|n| calendar.moment((n << 32) / 40_000).unwrap().millis()).collect();
        assert!(all.is_sorted() && all[39_999] <= end.millis());
        assert_eq!(all[0] / HOUR_MILLIS, end.millis() / HOUR_MILLIS - DAYS * 24);

        let count = |test: &dyn Fn(u64) -> bool| all.iter().filter(|at| test(**at)).count();
        let day = |at: u64| at / HOUR_MILLIS / 24;
        let sundays = count(&|at| (day(at) + 3) % 7 == 6);
        let mondays = count(&|at| (day(at) + 3) % 7 == 0);
        assert!(mondays > 2 * sundays, "{mondays} on Mondays, {sundays} on Sundays");
        let night = count(&|at| at / HOUR_MILLIS % 24 < 5);
        assert!((1..2_000).contains(&night), "{night} at night");
        let [first, last] = [0, 11]
            .map(|month| count(&|at| (at - all[0]) / (DAYS * 24 * HOUR_MILLIS / 12) == month));
        assert!(last > 2 * first, "{first} in the first month, {last} in the last");
    }
}
