//! Charts: lines over depth or size, dots and bars by row, as SVG of a given width.
//!
//! A wide chart labels its lines at their right ends; a narrow one, for a phone, has a legend above.

pub mod axis;
pub mod palette;
pub mod svg;

use crate::chart::axis::{Axis, Labels, Scale};
use crate::chart::palette::{GRID, Paint, Theme};
use crate::chart::svg::{Anchor, Canvas, Font, Stroke};

/// The width of a chart for a wide page, in pixels.
pub const WIDE: f64 = 820.0;
/// The width of a chart for a phone.
pub const NARROW: f64 = 380.0;
/// Below this width a chart is narrow.
const NARROW_BELOW: f64 = 600.0;

const LABEL: Font = (12.0, 400);
/// Least distance between two labels of lines, one above the other.
const LABEL_STEP: f64 = 16.0;
/// Least distance between two labels of an axis, side by side.
const TICK_STEP: f64 = 44.0;

/// The title and subtitle of a chart. Without a subtitle, the page around the chart has both, and
/// the title is for screen readers.
#[derive(Clone, Copy, Debug)]
pub struct Heading<'a> {
    /// The title.
    pub title: &'a str,
    /// The subtitle.
    pub subtitle: &'a str,
}

/// The look of a chart.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Its colours.
    pub theme: Theme,
    /// Its width in pixels.
    pub width: f64,
}

impl Look {
    const fn is_narrow(self) -> bool {
        self.width < NARROW_BELOW
    }
}

/// One line of a line chart, or the dots or bars of one colour.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its colour.
    pub paint: Paint,
    /// Whether its line is dashed.
    pub dashed: bool,
    /// Lines: x and y. Dots and bars: index of the row, and x.
    pub points: Vec<(f64, f64)>,
}

/// Draws the heading and returns the height that it takes.
fn draw_heading(canvas: &mut Canvas, heading: &Heading<'_>) -> f64 {
    if heading.subtitle.is_empty() {
        return 12.0;
    }
    canvas.ink((20.0, 28.0), Anchor::Start, (17.0, 600), heading.title);
    canvas.muted((20.0, 52.0), Anchor::Start, (12.5, 400), heading.subtitle);
    70.0
}

/// The places of the entries of a legend in lines of a width, and the height of all lines.
fn legend_places(names: &[&str], width: f64) -> (Vec<(f64, f64)>, f64) {
    let (mut x, mut y) = (0.0, 0.0);
    let mut places = Vec::new();
    for name in names {
        let entry = 32.0 + 6.9 * name.chars().count() as f64;
        if x > 0.0 && x + entry > width {
            (x, y) = (0.0, y + 20.0);
        }
        places.push((x, y));
        x += entry;
    }
    (places, if names.is_empty() { 0.0 } else { y + 24.0 })
}

/// The margin of headings and legends: the page around a chart has its own.
const fn margin(look: Look) -> f64 {
    match look.theme {
        Theme::Light | Theme::Dark => 15.0,
        Theme::Css => 0.0,
    }
}

/// Draws a legend below `top` and returns its height.
fn draw_legend(canvas: &mut Canvas, look: Look, top: f64, all: &[Series]) -> f64 {
    let names: Vec<&str> = all.iter().map(|series| series.name.as_str()).collect();
    let left = margin(look);
    let (places, height) = legend_places(&names, look.width - left);
    for ((x, y), series) in places.into_iter().zip(all) {
        let y = top + y + 8.0;
        canvas.dot((left + x + 5.0, y), 5.0, series.paint, "");
        canvas.ink((left + x + 16.0, y), Anchor::Start, LABEL, &series.name);
    }
    height
}

/// The axes of a line chart.
#[derive(Clone, Copy, Debug)]
pub struct LineAxes<'a> {
    /// The name of the x axis.
    pub x_name: &'a str,
    /// The scale of x.
    pub x: Scale,
    /// The labels of x.
    pub x_labels: Labels<'a>,
    /// The scale of y, which is a time in microseconds.
    pub y: Scale,
}

/// A line chart of times in microseconds.
#[must_use]
pub fn lines(look: Look, heading: &Heading<'_>, axes: &LineAxes<'_>, all: &[Series]) -> String {
    let narrow = look.is_narrow();
    let names: Vec<&str> = all.iter().map(|series| series.name.as_str()).collect();
    let legend = if narrow { legend_places(&names, look.width - 16.0).1 } else { 0.0 };
    let head = if heading.subtitle.is_empty() { 12.0 } else { 70.0 };
    let (left, right) = if narrow { (54.0, 22.0) } else { (64.0, 210.0) };
    let plot = if narrow { 220.0 } else { 300.0 };
    let top = head + legend + 12.0;
    let (bottom, end) = (top + plot, look.width - right);
    let height = bottom + 56.0;
    let mut canvas = Canvas::new(look.theme, look.width, height);
    let drawn_head = draw_heading(&mut canvas, heading);
    if narrow {
        draw_legend(&mut canvas, look, drawn_head, all);
    }
    let points = || all.iter().flat_map(|series| series.points.iter().copied());
    let x = Axis::new(axes.x, points().map(|point| point.0), left, end);
    let y = Axis::new(axes.y, points().map(|point| point.1), bottom, top);
    for tick in y.ticks() {
        let at = y.at(tick);
        canvas.grid((left, at), (end, at));
        canvas.muted((left - 8.0, at), Anchor::End, LABEL, &axis::time_label(tick));
    }
    for (number, tick) in x.ticks().into_iter().enumerate() {
        let label = axes.x_labels.of(number, tick);
        let short = narrow && matches!(axes.x_labels, Labels::Counts);
        let label = if short { axis::short_count_label(tick) } else { label };
        canvas.muted((x.at(tick), bottom + 16.0), Anchor::Middle, LABEL, &label);
    }
    let middle = f64::midpoint(left, end);
    canvas.muted((middle, height - 16.0), Anchor::Middle, LABEL, axes.x_name);
    let mut ends: Vec<(f64, &Series)> = Vec::new();
    for series in all {
        let drawn: Vec<(f64, f64)> =
            series.points.iter().map(|(a, b)| (x.at(*a), y.at(*b))).collect();
        canvas.line(&drawn, Stroke { paint: series.paint, width: 2.0, dashed: series.dashed });
        for (point, (_, value)) in drawn.iter().zip(&series.points) {
            let note = format!("{}: {}", series.name, axis::time_label(axis::rounded(*value)));
            canvas.dot(*point, 3.5, series.paint, &note);
        }
        ends.extend(drawn.last().map(|last| (last.1, series)));
    }
    if !narrow {
        draw_labels(&mut canvas, end + 12.0, &mut ends);
    }
    canvas.finish(heading.title)
}

/// Draws the labels next to the ends of their lines, moved apart where they would overlap.
fn draw_labels(canvas: &mut Canvas, x: f64, ends: &mut [(f64, &Series)]) {
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Move overlapping neighbours apart by the same distance each, until none overlap.
    for _ in 0..100 {
        for at in 1..ends.len() {
            let overlap = LABEL_STEP - (ends[at].0 - ends[at - 1].0);
            if overlap > 0.0 {
                ends[at - 1].0 -= overlap / 2.0;
                ends[at].0 += overlap / 2.0;
            }
        }
    }
    for (y, series) in ends.iter() {
        canvas.text((x, *y), Anchor::Start, (12.5, 500), series.paint, &series.name);
    }
}

/// What the values of a chart by rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Times in microseconds.
    Time,
    /// Counts.
    Count,
    /// Shares of one, shown as per cent.
    Share,
}

impl Unit {
    fn label(self, value: f64) -> String {
        match self {
            Unit::Time => axis::time_label(value),
            Unit::Count => axis::count_label(value),
            Unit::Share => format!("{:.0}%", value * 100.0),
        }
    }
}

/// A chart with one row per name on a common axis: dots on a logarithmic time axis, or bars from
/// zero.
#[must_use]
pub fn rows(
    look: Look,
    heading: &Heading<'_>,
    (unit, scale): (Unit, Scale),
    names: &[String],
    all: &[Series],
) -> String {
    let narrow = look.is_narrow();
    let bars = matches!(scale, Scale::FromZero { .. });
    // A narrow chart has the names above their rows.
    let (left, right) = if narrow { (26.0, 46.0) } else { (290.0, if bars { 70.0 } else { 40.0 }) };
    let row = if narrow { 44.0 } else { 30.0 };
    let series_names: Vec<&str> = all.iter().map(|series| series.name.as_str()).collect();
    let many = all.len() > 1;
    let legend = if many { legend_places(&series_names, look.width - 16.0).1 } else { 0.0 };
    let head = if heading.subtitle.is_empty() { 12.0 } else { 70.0 };
    let top = head + legend + 8.0;
    let height = top + row * names.len() as f64 + if bars { 8.0 } else { 40.0 };
    let mut canvas = Canvas::new(look.theme, look.width, height);
    let drawn_head = draw_heading(&mut canvas, heading);
    if many {
        draw_legend(&mut canvas, look, drawn_head, all);
    }
    let values = all.iter().flat_map(|series| series.points.iter().map(|point| point.1));
    let x = Axis::new(scale, values, left, look.width - right);
    let bottom = top + row * names.len() as f64;
    let mut labelled = f64::NEG_INFINITY;
    for tick in x.ticks().into_iter().filter(|_| !bars) {
        let at = x.at(tick);
        canvas.grid((at, top), (at, bottom));
        if at - labelled >= TICK_STEP {
            canvas.muted((at, bottom + 16.0), Anchor::Middle, LABEL, &unit.label(tick));
            labelled = at;
        }
    }
    for (number, name) in names.iter().enumerate() {
        let above = top + row * number as f64;
        let y = if narrow { above + 30.0 } else { above + row / 2.0 };
        match narrow {
            true => canvas.ink((0.0, above + 12.0), Anchor::Start, (12.5, 400), name),
            false => canvas.ink((left - 14.0, y), Anchor::End, (12.5, 400), name),
        }
        canvas.line(
            &[(left, y), (look.width - right, y)],
            Stroke { paint: GRID, width: if bars { 6.0 } else { 1.0 }, dashed: false },
        );
        // The first series last, so that it is never hidden.
        for series in all.iter().rev() {
            for (_, value) in
                series.points.iter().filter(|(of, _)| (of - number as f64).abs() < 0.5)
            {
                let label =
                    unit.label(if unit == Unit::Time { axis::rounded(*value) } else { *value });
                let note = format!("{name}, {}: {label}", series.name);
                if bars {
                    let width = (x.at(*value) - left).max(1.5);
                    canvas.bar((left, y), (width, 14.0), series.paint, &note);
                    let after = (look.width - right + 8.0, y);
                    canvas.muted(after, Anchor::Start, LABEL, &label);
                } else {
                    canvas.dot((x.at(*value), y), 5.5, series.paint, &note);
                }
            }
        }
    }
    canvas.finish(heading.title)
}
