//! Formats of numbers and times for people.

use convodb::{Timestamp, Volume};

const NANOS: i128 = 1_000_000_000;

/// A time in a page: UTC for machines and people; a script shows it in the viewer's zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    /// `2025-01-25T10:15:00Z`
    pub(crate) iso: String,
    /// `2025-01-25 10:15:00`
    pub(crate) utc: String,
}

impl Time {
    /// A time, to the second.
    pub(crate) fn of(at: Timestamp) -> Self {
        let utc = at.to_string();
        let utc = utc.split('.').next().unwrap_or_default().to_owned();
        Self { iso: format!("{}Z", utc.replace(' ', "T")), utc }
    }
}

/// `1,234,567`
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `3.2 MiB`
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    #[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mut value = number as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// A duration in seconds: `0.8 ms`, or `6.6 s`.
pub(crate) fn seconds(number: f64) -> String {
    if number < 1.0 { format!("{:.1} ms", number * 1000.0) } else { format!("{number:.1} s") }
}

/// An amount in USD from billionths: cents from one dollar on, else up to six decimals.
pub(crate) fn usd(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let unit = NANOS.unsigned_abs();
    let decimals: u32 = if nanos >= unit || nanos == 0 { 2 } else { 6 };
    let step = 10_u128.pow(9 - decimals);
    let rounded = nanos.saturating_add(step / 2) / step;
    format!("{sign}{}", amount(rounded, decimals, 2))
}

/// An amount in USD from billionths, with every decimal, at least `decimals`.
pub(crate) fn exact_usd(nanos: i128, decimals: usize) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    format!("{sign}{}", amount(nanos.unsigned_abs(), 9, decimals))
}

/// The number of decimals that show all of these amounts of billionths exactly, at least two.
pub(crate) fn exact_decimals(amounts: impl Iterator<Item = i128>) -> usize {
    let needed = |nanos: i128| (2..9).find(|decimals| nanos % 10_i128.pow(9 - decimals) == 0);
    amounts.map(|nanos| needed(nanos).unwrap_or(9)).max().unwrap_or(2) as usize
}

/// `$1,234.50` from a number of units of the last decimal; at least `kept` decimals are kept.
fn amount(units: u128, decimals: u32, kept: usize) -> String {
    let scale = 10_u128.pow(decimals);
    let whole = count(u64::try_from(units / scale).unwrap_or(u64::MAX));
    let width = decimals as usize;
    let fraction = format!("{:0width$}", units % scale);
    let kept = fraction.trim_end_matches('0').len().max(kept);
    format!("${whole}.{}", &fraction[..kept])
}

/// Sums, each as text.
pub(crate) struct Numbers {
    pub(crate) conversations: String,
    pub(crate) messages: String,
    pub(crate) cost: String,
}

/// The sums of a volume as text.
pub(crate) fn numbers(volume: &Volume) -> Numbers {
    Numbers {
        conversations: count(volume.conversations),
        messages: count(volume.messages),
        cost: usd(volume.cost.nanos()),
    }
}

/// A share of a whole, in percent with one decimal; `None` of nothing.
pub(crate) fn change(now: f64, before: f64) -> Option<f64> {
    (before > 0.0).then(|| (now - before) / before * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_and_amounts_enough_decimals() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        for (nanos, text) in [
            (0, "$0.00"),
            (3_200_000, "$0.0032"),
            (120_000_000, "$0.12"),
            (1_000, "$0.000001"),
            (999_999_999, "$1.00"),
            (1_234_567_890_000, "$1,234.57"),
            (-5_000_000, "-$0.005"),
        ] {
            assert_eq!(usd(nanos), text);
        }
        for (nanos, text) in [
            (0, "$0.00"),
            (7_300_000_000, "$7.30"),
            (1_234_567_890_123, "$1,234.567890123"),
            (-1, "-$0.000000001"),
        ] {
            assert_eq!(exact_usd(nanos, 2), text);
        }
        assert_eq!(exact_usd(1_682_000_000, 5), "$1.68200");
        for (amounts, decimals) in
            [(&[][..], 2), (&[7_300_000_000, 0], 2), (&[7_300_000_000, -1_040_000], 5), (&[1], 9)]
        {
            assert_eq!(exact_decimals(amounts.iter().copied()), decimals, "{amounts:?}");
        }
    }

    #[test]
    fn bytes_and_durations_have_one_decimal() {
        for (number, text) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (u64::MAX, "16777216.0 TiB")]
        {
            assert_eq!(bytes(number), text);
        }
        for (number, text) in [(0.0001, "0.1 ms"), (0.4096, "409.6 ms"), (6.5536, "6.6 s")] {
            assert_eq!(seconds(number), text);
        }
    }

    #[test]
    fn times_are_utc_to_the_second() {
        let time = Time::of("2025-01-25T10:15:00.250Z".parse().unwrap());
        assert_eq!(
            (time.iso.as_str(), time.utc.as_str()),
            ("2025-01-25T10:15:00Z", "2025-01-25 10:15:00")
        );
    }
}
