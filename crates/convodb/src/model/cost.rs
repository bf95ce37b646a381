//! Costs: exact decimal amounts of money in USD, as fixed-point integers.

use std::fmt;
use std::iter::Sum;
use std::ops::Range;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::model::digits::two_digits;

const NANOS_PER_DOLLAR: u64 = 1_000_000_000;
const DECIMALS: u8 = 9;
/// The sign, ten digits of dollars, the point and nine decimals.
const MAX_CHARS: usize = 21;
/// Where the point is in a text of `MAX_CHARS`.
const POINT: usize = MAX_CHARS - 1 - DECIMALS as usize;

/// The last decimal digit of a number.
const fn last_digit(number: u64) -> u8 {
    b'0' + (number % 10).to_le_bytes()[0]
}

/// An amount in USD: a whole number of nanodollars (billionths of a dollar) between about -9.2 and
/// 9.2 billion dollars.
///
/// No amount is ever a binary fraction, so a decimal of up to nine places parses and prints
/// unchanged. It parses from a decimal number or a JSON number (RFC 8259, section 6) and prints as
/// the shortest decimal. More than nine places, which are usually binary noise as in
/// `0.30000000000000004`, are rounded half to even.
///
/// Serde: the string of the decimal, so that no digit is lost; deserialization accepts numbers too.
///
/// ```
/// use convodb::Cost;
/// let cost: Cost = "0.0045".parse()?;
/// assert_eq!(cost.nanos(), 4_500_000);
/// assert_eq!(cost.to_string(), "0.0045");
/// let error = "4,50".parse::<Cost>().unwrap_err().to_string();
/// assert_eq!(error, "cost must be a decimal number of USD within 9.2 billion");
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cost(i64);

impl Cost {
    /// No cost.
    pub const ZERO: Cost = Cost(0);

    /// The amount of this many nanodollars.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The amount in nanodollars.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Appends the decimal that `Display` prints, as ASCII. About 5 ns, several times faster than
    /// `write!`.
    ///
    /// ```
    /// let mut out = b"USD ".to_vec();
    /// "0.0045".parse::<convodb::Cost>()?.write_to(&mut out);
    /// assert_eq!(out, b"USD 0.0045");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[inline]
    pub fn write_to(self, out: &mut Vec<u8>) {
        if let Some((text, len)) = self.ascii_of_small() {
            // Of a constant length, which is faster to copy.
            out.extend_from_slice(&text);
            return out.truncate(out.len() - (text.len() - len));
        }
        let (text, part) = self.ascii();
        out.extend_from_slice(&text[part]);
    }

    /// The decimal of an amount between zero and a dollar that has no more than four decimals, as
    /// almost all costs: all four decimals, and the length without the zeros at their end.
    #[inline]
    fn ascii_of_small(self) -> Option<([u8; 6], usize)> {
        const UNIT: u64 = NANOS_PER_DOLLAR / 10_000;
        let nanos = u64::try_from(self.0).ok()?;
        if !(1..NANOS_PER_DOLLAR).contains(&nanos) || nanos % UNIT != 0 {
            return None;
        }
        let units = nanos / UNIT;
        let ([a, b], [c, d]) = (two_digits(units / 100), two_digits(units % 100));
        let len = match [b, c, d] {
            [b'0', b'0', b'0'] => 3,
            [_, b'0', b'0'] => 4,
            [_, _, b'0'] => 5,
            _ => 6,
        };
        Some(([b'0', b'.', a, b, c, d], len))
    }

    /// The shortest decimal: a part of the returned bytes, and which one.
    #[inline]
    fn ascii(self) -> ([u8; MAX_CHARS], Range<usize>) {
        let magnitude = self.0.unsigned_abs();
        let (mut dollars, nanos) = (magnitude / NANOS_PER_DOLLAR, magnitude % NANOS_PER_DOLLAR);
        let mut text = [b'.'; MAX_CHARS];
        let (mut start, mut end) = (POINT, POINT);
        if nanos > 0 {
            let mut rest = nanos;
            for digit in text[POINT + 1..].iter_mut().rev() {
                *digit = last_digit(rest);
                rest /= 10;
            }
            // Some digit differs from 0.
            end = text.iter().rposition(|digit| *digit != b'0').map_or(POINT, |last| last + 1);
        }
        loop {
            start -= 1;
            text[start] = last_digit(dollars);
            dollars /= 10;
            if dollars == 0 {
                break;
            }
        }
        if self.0 < 0 {
            start -= 1;
            text[start] = b'-';
        }
        (text, start..end)
    }

    /// The sum, or `None` if it is out of range.
    #[must_use]
    pub const fn checked_add(self, other: Cost) -> Option<Cost> {
        match self.0.checked_add(other.0) {
            Some(nanos) => Some(Cost(nanos)),
            None => None,
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, part) = self.ascii();
        f.write_str(str::from_utf8(&text[part]).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Cost {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse_nanos(text).and_then(|nanos| i64::try_from(nanos).ok()).map(Self).ok_or(
            Error::Invalid {
                field: "cost",
                reason: "must be a decimal number of USD within 9.2 billion",
            },
        )
    }
}

/// Parses `[-] digits [. digits] [e [+-] digits]` into nanodollars. Returns `None` for any other
/// text and for a value out of range. Works on the digits alone, never on a binary fraction.
fn parse_nanos(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    if whole.is_empty() || fraction.is_empty() || mantissa.len() > 64 {
        return None;
    }
    let digits = whole.bytes().chain(fraction.bytes());
    // The number of digits down to the ninth decimal, once the exponent has moved the point.
    let significant = i64::try_from(whole.len()).ok()? + i64::from(exponent) + i64::from(DECIMALS);
    let mut nanos: i128 = 0;
    let (mut first_dropped, mut rest_dropped) = (0, false);
    let mut seen: i64 = 0;
    for digit in digits {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        if seen < significant {
            nanos = nanos.checked_mul(10)?.checked_add(i128::from(digit))?;
        } else if seen == significant {
            first_dropped = digit;
        } else {
            rest_dropped |= digit != 0;
        }
        seen += 1;
    }
    for _ in seen..significant {
        if nanos == 0 {
            break;
        }
        nanos = nanos.checked_mul(10)?;
    }
    let up = first_dropped > 5 || (first_dropped == 5 && (rest_dropped || nanos % 2 == 1));
    let nanos = nanos.checked_add(i128::from(up))?;
    Some(if negative { -nanos } else { nanos })
}

/// A sum of costs in USD, exact for any number of conversations that a store can contain.
///
/// Parses, prints and serializes as [`Cost`] does.
///
/// ```
/// use convodb::{Cost, CostSum};
/// let costs: [Cost; 3] = ["0.1".parse()?, "0.2".parse()?, "0.0004".parse()?];
/// let sum: CostSum = costs.into_iter().sum();
/// assert_eq!(sum.to_string(), "0.3004");
/// assert_eq!(sum, "0.3004".parse()?);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CostSum(i128);

impl CostSum {
    /// The amount of this many nanodollars.
    #[must_use]
    pub const fn from_nanos(nanos: i128) -> Self {
        Self(nanos)
    }

    /// The amount in nanodollars.
    #[must_use]
    pub const fn nanos(self) -> i128 {
        self.0
    }
}

impl From<Cost> for CostSum {
    fn from(cost: Cost) -> Self {
        Self(cost.0.into())
    }
}

impl Sum<Cost> for CostSum {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Self {
        Self(costs.map(|cost| i128::from(cost.0)).sum())
    }
}

impl fmt::Display for CostSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Ok(nanos) = i64::try_from(self.0) {
            return Cost(nanos).fmt(f);
        }
        // Beyond the range of a cost: print the billions of dollars, then the rest as a cost.
        let billion_dollars = i128::from(NANOS_PER_DOLLAR).pow(2);
        let (billions, rest) = (self.0 / billion_dollars, self.0 % billion_dollars);
        let rest = Cost(i64::try_from(rest.abs()).unwrap_or_default()).to_string();
        let (dollars, fraction) = rest.split_once('.').unwrap_or((&rest, ""));
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{billions}{dollars:0>9}{point}{fraction}")
    }
}

impl FromStr for CostSum {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse_nanos(text)
            .map(Self)
            .ok_or(Error::Invalid { field: "cost", reason: "must be a decimal number of USD" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(text.parse::<Cost>().unwrap().to_string(), expected, "{text}");
    }

    #[test]
    fn decimals_print_as_they_parse() {
        for same in ["0", "1", "0.0045", "0.000000001", "9223372036.854775807", "-0.5", "120"] {
            check(same, same);
        }
    }

    fn written(cost: Cost) -> String {
        let mut out = b"USD ".to_vec();
        cost.write_to(&mut out);
        String::from_utf8(out.split_off(4)).unwrap()
    }

    /// From below zero to above a dollar.
    #[test]
    fn amounts_of_four_decimals_are_written_as_they_print() {
        for units in -10_001..=10_001 {
            let cost = Cost::from_nanos(units * 100_000);
            assert_eq!(written(cost), cost.to_string());
        }
    }

    #[test]
    fn every_amount_prints_as_the_shortest_decimal() {
        let mut all: Vec<i64> = vec![0, 1, 10, 999_999_999, 1_000_000_000, 1_000_000_001];
        all.extend([3_200_000, 4_500_000_000, i64::MAX, i64::MIN + 1, i64::MIN]);
        all.extend((0..500).map(|n: i64| n.wrapping_mul(0x5851_f42d_4c95_7f2d)));
        for nanos in all.iter().flat_map(|n| [*n, n.wrapping_neg(), n % 1_000_000]) {
            let cost = Cost::from_nanos(nanos);
            let text = cost.to_string();
            assert_eq!(text.parse::<Cost>().unwrap(), cost, "{text}");
            assert!(!text.contains('.') || !text.ends_with(['0', '.']), "{text} can be shorter");
            assert_eq!(written(cost), text);
        }
        let beyond = CostSum::from_nanos(-(i128::from(i64::MAX) + 2) * 10);
        assert_eq!(beyond.to_string(), "-92233720368.54775809");
        assert_eq!(beyond.to_string().parse::<CostSum>().unwrap(), beyond);
        assert!("9223372036.854775808".parse::<CostSum>().is_ok(), "a sum has a wider range");
    }

    #[test]
    fn json_forms_of_a_number_parse() {
        check("0.10", "0.1");
        check("5.0", "5");
        check("5e-05", "0.00005");
        check("1.5E3", "1500");
        check("1e-9", "0.000000001");
        check("0e100", "0");
        check("-0", "0");
        check("1e-400", "0");
    }

    #[test]
    fn decimals_beyond_the_ninth_are_rounded_half_to_even() {
        check("0.30000000000000004", "0.3");
        check("0.0000000005", "0");
        check("0.0000000015", "0.000000002");
        check("0.00000000050001", "0.000000001");
        check("0.29999999999999999", "0.3");
        check("5e-10", "0");
        check("9e-10", "0.000000001");
    }

    #[test]
    fn other_texts_and_amounts_out_of_range_are_refused() {
        for wrong in
            ["", "-", ".5", "5.", "1,5", "NaN", "1e", "9223372036.854775808", "1e300", "+1"]
        {
            assert!(wrong.parse::<Cost>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sums_are_exact() {
        let total: CostSum = std::iter::repeat_n(Cost::from_nanos(100_000_000), 1_000).sum();
        assert_eq!(total.to_string(), "100");
    }
}
