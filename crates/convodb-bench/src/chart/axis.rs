//! Axes: logarithmic, linear from zero, or one place for each category; ticks and their labels.

/// How values are placed on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// A logarithmic axis whose ends are 1, 2 or 5 times a power of ten.
    Logarithmic,
    /// A linear axis from zero, at least to `to`.
    FromZero {
        /// The least end of the axis.
        to: f64,
    },
    /// One place for each of this many categories, numbered from 0.
    Categories(usize),
}

/// The labels of an x axis.
#[derive(Clone, Copy, Debug)]
pub enum Labels<'a> {
    /// The ticks as counts.
    Counts,
    /// The names of the categories.
    Names(&'a [String]),
}

impl Labels<'_> {
    pub(crate) fn of(self, number: usize, tick: f64) -> String {
        match self {
            Labels::Counts => count_label(tick),
            Labels::Names(names) => names.get(number).cloned().unwrap_or_default(),
        }
    }
}

/// An axis between two coordinates.
pub(crate) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis for these values between two coordinates.
    pub(crate) fn new(scale: Scale, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = values
            .filter(|value| *value > 0.0)
            .fold((f64::MAX, f64::MIN), |(low, high), v| (v.min(low), v.max(high)));
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        let (low, high) = match scale {
            Scale::Logarithmic => {
                // Round down and up to 1, 2 or 5 times a power of ten.
                let around = round_numbers(low / 10.0, high * 10.0);
                let below = around.iter().copied().rfind(|tick| *tick <= low);
                let above = around.iter().copied().find(|tick| *tick >= high);
                (below.unwrap_or(low), above.unwrap_or(high))
            }
            Scale::FromZero { to } => (0.0, high.max(to)),
            Scale::Categories(count) => (0.0, count.saturating_sub(1).max(1) as f64),
        };
        Self { scale, low, high, from, to }
    }

    /// The coordinate of a value.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Logarithmic => {
                (value / self.low).ln() / (self.high / self.low).ln().max(f64::EPSILON)
            }
            Scale::FromZero { .. } | Scale::Categories(_) => value / self.high.max(f64::EPSILON),
        };
        self.from + share * (self.to - self.from)
    }

    /// Logarithmic: powers of ten; on a short axis also 2 and 5 times them. Linear: up to six round
    /// numbers. Categories: each of them.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Logarithmic => {
                let all = round_numbers(self.low, self.high);
                if (self.high / self.low).log10() <= 2.5 {
                    return all;
                }
                let whole = |tick: &f64| (tick.log10() - tick.log10().round()).abs() < 1e-9;
                all.into_iter().filter(whole).collect()
            }
            Scale::FromZero { .. } => {
                let least = self.high / 6.0;
                let steps = round_numbers(least / 10.0, self.high * 10.0);
                let step = steps.into_iter().find(|step| *step >= least).unwrap_or(self.high);
                let mut ticks = Vec::new();
                let mut tick = 0.0;
                while tick <= self.high * 1.000_001 {
                    ticks.push(tick);
                    tick += step;
                }
                ticks
            }
            Scale::Categories(count) => (0..count).map(|number| number as f64).collect(),
        }
    }
}

/// 1, 2 and 5 times all powers of ten from `low` to `high`.
fn round_numbers(low: f64, high: f64) -> Vec<f64> {
    let mut found = Vec::new();
    let mut power = 10f64.powf(low.log10().floor());
    while power <= high * 1.000_001 {
        for times in [1.0, 2.0, 5.0] {
            let tick = times * power;
            if tick >= low * 0.999_999 && tick <= high * 1.000_001 {
                found.push(tick);
            }
        }
        power *= 10.0;
    }
    found
}

/// A number of three significant digits.
#[must_use]
pub fn rounded(value: f64) -> f64 {
    if value <= 0.0 {
        return value;
    }
    let scale = 10f64.powf(2.0 - value.log10().floor());
    (value * scale).round() / scale
}

/// A time in microseconds as text with a unit.
#[must_use]
pub fn time_label(micros: f64) -> String {
    match micros {
        0.0 => "0".to_owned(),
        ..1.0 => format!("{} ns", (micros * 1000.0).round()),
        ..1000.0 => format!("{micros} \u{b5}s"),
        ..1_000_000.0 => format!("{} ms", micros / 1000.0),
        _ => format!("{} s", micros / 1_000_000.0),
    }
}

/// A count with thousands separators.
#[must_use]
pub fn count_label(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut label = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            label.push(',');
        }
        label.push(digit);
    }
    label
}

/// A count for a narrow chart: `10k`, `1M`.
pub(crate) fn short_count_label(count: f64) -> String {
    match count {
        ..1000.0 => format!("{count:.0}"),
        ..1_000_000.0 => format!("{}k", count / 1000.0),
        _ => format!("{}M", count / 1_000_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_in_range() {
        assert_eq!(round_numbers(1.0, 20.0), [1.0, 2.0, 5.0, 10.0, 20.0]);
        assert_eq!(round_numbers(30.0, 40.0), [0.0; 0]);
    }

    #[test]
    fn labels_have_units_and_separators() {
        assert_eq!(time_label(0.5), "500 ns");
        assert_eq!(time_label(20.0), "20 \u{b5}s");
        assert_eq!(time_label(5000.0), "5 ms");
        assert_eq!(count_label(1_000_000.0), "1,000,000");
        assert_eq!(count_label(100.0), "100");
    }

    #[test]
    fn an_axis_contains_all_its_values() {
        let axis = Axis::new(Scale::Logarithmic, [3.0, 70.0].into_iter(), 0.0, 100.0);
        assert!(axis.at(3.0) >= 0.0 && axis.at(70.0) <= 100.0);
        assert!((axis.low - 2.0).abs() < 1e-9 && (axis.high - 100.0).abs() < 1e-9);
        let axis = Axis::new(Scale::FromZero { to: 0.0 }, [3.0, 12.0].into_iter(), 0.0, 100.0);
        assert_eq!(axis.ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
        assert!((axis.at(3.0) - 25.0).abs() < 1e-9);
        let axis = Axis::new(Scale::Categories(3), [1.0].into_iter(), 0.0, 100.0);
        assert_eq!(
            axis.ticks().into_iter().map(|tick| axis.at(tick)).collect::<Vec<_>>(),
            [0.0, 50.0, 100.0]
        );
    }
}
