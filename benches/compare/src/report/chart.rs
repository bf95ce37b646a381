//! Charts with logarithmic axes: line charts with labelled line ends, and dot plots.

use crate::report::svg::{Anchor, Canvas, Stroke, Theme};

const WIDTH: f64 = 820.0;
const LEFT: f64 = 64.0;
/// Margin for the labels of lines.
const RIGHT: f64 = 210.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 56.0;
const LABEL: (f64, u32) = (12.0, 400);
/// Least distance between two labels.
const LABEL_STEP: f64 = 16.0;

/// The title and subtitle of a chart.
pub(crate) struct Heading<'a> {
    pub(crate) title: &'a str,
    pub(crate) subtitle: &'a str,
}

/// One line of a line chart, or the dots of one engine.
pub(crate) struct Series {
    pub(crate) name: String,
    /// For the light and for the dark theme.
    pub(crate) colours: [&'static str; 2],
    pub(crate) dashed: bool,
    /// Lines: x and y. Dots: index of the row, and x.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Series {
    const fn colour(&self, theme: Theme) -> &'static str {
        match theme {
            Theme::Light => self.colours[0],
            Theme::Dark => self.colours[1],
        }
    }
}

/// A logarithmic axis whose ends are 1, 2 or 5 times a power of ten.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis for these values between two coordinates.
    fn new(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = values
            .filter(|value| *value > 0.0)
            .fold((f64::MAX, f64::MIN), |(low, high), v| (v.min(low), v.max(high)));
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        // Round down and up to 1, 2 or 5 times a power of ten.
        let below = ticks(low / 10.0, high * 10.0).into_iter().rfind(|tick| *tick <= low);
        let above = ticks(low / 10.0, high * 10.0).into_iter().find(|tick| *tick >= high);
        Self { low: below.unwrap_or(low), high: above.unwrap_or(high), from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value / self.low).ln() / (self.high / self.low).ln().max(f64::EPSILON);
        self.from + share * (self.to - self.from)
    }

    /// Powers of ten; on a short axis also 2 and 5 times them.
    fn ticks(&self) -> Vec<f64> {
        let all = ticks(self.low, self.high);
        if (self.high / self.low).log10() <= 2.5 {
            return all;
        }
        let whole = |tick: &f64| (tick.log10() - tick.log10().round()).abs() < 1e-9;
        all.into_iter().filter(whole).collect()
    }
}

/// 1, 2 and 5 times all powers of ten from `low` to `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
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

/// A time in microseconds as text with a unit.
pub(crate) fn time_label(micros: f64) -> String {
    match micros {
        ..1.0 => format!("{} ns", (micros * 1000.0).round()),
        ..1000.0 => format!("{micros} \u{b5}s"),
        _ => format!("{} ms", micros / 1000.0),
    }
}

/// A count with thousands separators.
pub(crate) fn count_label(count: f64) -> String {
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

fn draw_heading(canvas: &mut Canvas, heading: &Heading<'_>) {
    let (ink, muted) = (canvas.theme.ink(), canvas.theme.muted());
    canvas.text((20.0, 28.0), Anchor::Start, (17.0, 600), ink, heading.title);
    canvas.text((20.0, 52.0), Anchor::Start, (12.5, 400), muted, heading.subtitle);
}

/// A line chart of times over a count, with labels at the right ends of the lines.
pub(crate) fn lines(theme: Theme, heading: &Heading<'_>, x_name: &str, all: &[Series]) -> String {
    let height = 440.0;
    let mut canvas = Canvas::new(theme, WIDTH, height);
    draw_heading(&mut canvas, heading);
    let points = || all.iter().flat_map(|series| series.points.iter().copied());
    let x = Axis::new(points().map(|point| point.0), LEFT, WIDTH - RIGHT);
    let y = Axis::new(points().map(|point| point.1), height - BOTTOM, TOP);
    let grid = Stroke { colour: theme.grid(), width: 1.0, dashed: false };
    for tick in y.ticks() {
        let at = y.at(tick);
        canvas.line(&[(LEFT, at), (WIDTH - RIGHT, at)], grid);
        canvas.text((LEFT - 8.0, at), Anchor::End, LABEL, theme.muted(), &time_label(tick));
    }
    for tick in x.ticks() {
        let at = x.at(tick);
        let under = height - BOTTOM + 16.0;
        let label = count_label(tick);
        canvas.text((at, under), Anchor::Middle, LABEL, theme.muted(), &label);
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    canvas.text((middle, height - 16.0), Anchor::Middle, LABEL, theme.muted(), x_name);
    let mut names: Vec<(f64, &Series)> = Vec::new();
    for series in all {
        let drawn: Vec<(f64, f64)> =
            series.points.iter().map(|(a, b)| (x.at(*a), y.at(*b))).collect();
        let colour = series.colour(theme);
        canvas.line(&drawn, Stroke { colour, width: 2.0, dashed: series.dashed });
        for point in &drawn {
            canvas.dot(*point, 3.0, colour);
        }
        if let Some(last) = drawn.last() {
            names.push((last.1, series));
        }
    }
    draw_labels(&mut canvas, &mut names);
    canvas.finish(heading.title)
}

/// Draws the labels next to the ends of their lines, moved apart where they would overlap.
fn draw_labels(canvas: &mut Canvas, names: &mut [(f64, &Series)]) {
    names.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Move overlapping neighbours apart by the same distance each, until none overlap.
    for _ in 0..100 {
        for at in 1..names.len() {
            let overlap = LABEL_STEP - (names[at].0 - names[at - 1].0);
            if overlap > 0.0 {
                names[at - 1].0 -= overlap / 2.0;
                names[at].0 += overlap / 2.0;
            }
        }
    }
    for (y, series) in names.iter() {
        let colour = series.colour(canvas.theme);
        let at = (WIDTH - RIGHT + 12.0, *y);
        canvas.text(at, Anchor::Start, (12.5, 500), colour, &series.name);
    }
}

/// A dot plot with one row per name on a common time axis, and a legend.
pub(crate) fn dots(
    theme: Theme,
    heading: &Heading<'_>,
    names: &[String],
    all: &[Series],
) -> String {
    let (left, right, row, top) = (290.0, 40.0, 30.0, 116.0);
    let height = top + row * names.len() as f64 + 48.0;
    let mut canvas = Canvas::new(theme, WIDTH, height);
    draw_heading(&mut canvas, heading);
    let mut at = 20.0;
    for series in all {
        let colour = series.colour(theme);
        canvas.dot((at + 5.0, 82.0), 5.0, colour);
        canvas.text((at + 16.0, 82.0), Anchor::Start, LABEL, theme.ink(), &series.name);
        at += 34.0 + 6.7 * series.name.chars().count() as f64;
    }
    let values = all.iter().flat_map(|series| series.points.iter().map(|point| point.1));
    let x = Axis::new(values, left, WIDTH - right);
    let bottom = height - 40.0;
    let grid = Stroke { colour: theme.grid(), width: 1.0, dashed: false };
    for tick in x.ticks() {
        let at = x.at(tick);
        canvas.line(&[(at, top - 12.0), (at, bottom)], grid);
        let under = (at, bottom + 14.0);
        canvas.text(under, Anchor::Middle, LABEL, theme.muted(), &time_label(tick));
    }
    for (number, name) in names.iter().enumerate() {
        let y = top + row * (number as f64 + 0.5) - 8.0;
        canvas.line(&[(left, y), (WIDTH - right, y)], grid);
        canvas.text((left - 14.0, y), Anchor::End, (12.5, 400), theme.ink(), name);
        // Draw the first series last, so that it is never hidden.
        for series in all.iter().rev() {
            for (of, value) in &series.points {
                if (of - number as f64).abs() < 0.5 {
                    canvas.dot((x.at(*value), y), 5.5, series.colour(theme));
                }
            }
        }
    }
    canvas.finish(heading.title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_in_range() {
        assert_eq!(ticks(1.0, 20.0), [1.0, 2.0, 5.0, 10.0, 20.0]);
        assert_eq!(ticks(30.0, 40.0), [0.0; 0]);
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
        let axis = Axis::new([3.0, 70.0].into_iter(), 0.0, 100.0);
        assert!(axis.at(3.0) >= 0.0 && axis.at(70.0) <= 100.0);
        assert!((axis.low - 2.0).abs() < 1e-9 && (axis.high - 100.0).abs() < 1e-9);
    }
}
