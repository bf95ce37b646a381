//! Chart: stacked bars as the shapes of an SVG, in its own units.

/// The width of the plot, in units of the SVG.
pub(crate) const WIDTH: f64 = 960.0;
/// The height of the plot.
pub(crate) const HEIGHT: f64 = 240.0;

/// A bar with its parts, bottom first.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) label: String,
    /// The link to what it counts.
    pub(crate) url: String,
    /// What it says to a pointer and to a screen reader.
    pub(crate) title: String,
    pub(crate) x: f64,
    pub(crate) width: f64,
    pub(crate) parts: Vec<Part>,
    /// Whether the axis shows its label.
    pub(crate) is_labelled: bool,
}

/// A part of a bar.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The series, from 0.
    pub(crate) series: usize,
    pub(crate) y: f64,
    pub(crate) height: f64,
}

/// A horizontal line with its value.
#[derive(Clone, Debug)]
pub(crate) struct GridLine {
    pub(crate) y: f64,
    pub(crate) value: f64,
}

/// A bar before its shapes are known.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    pub(crate) label: String,
    pub(crate) url: String,
    pub(crate) title: String,
    /// The value of each series.
    pub(crate) values: Vec<f64>,
}

/// Hundredths of a unit, which no screen can show; fewer bytes.
fn rounded(units: f64) -> f64 {
    (units * 100.0).round() / 100.0
}

/// Lays out bars side by side. Returns them with the grid.
pub(crate) fn stacked(bars: Vec<Values>) -> (Vec<Bar>, Vec<GridLine>) {
    let highest = bars.iter().map(|bar| bar.values.iter().sum::<f64>()).fold(0.0, f64::max);
    let step = nice_step(highest);
    let lines = (highest / step).ceil().max(1.0);
    let top = step * lines;
    let height_of = |value: f64| value / top * HEIGHT;
    #[allow(clippy::cast_precision_loss, reason = "there are at most a few hundred bars")]
    let slot = WIDTH / bars.len().max(1) as f64;
    let width = rounded((slot * 0.72).clamp(1.0, 56.0));
    // At most eight labels.
    let every = bars.len().div_ceil(8).max(1);
    let place = |(at, bar): (usize, Values)| {
        let mut base = HEIGHT;
        let parts = bar.values.iter().enumerate().filter(|(_, value)| **value > 0.0);
        let parts = parts.map(|(series, value)| {
            let height = height_of(*value);
            base -= height;
            Part { series, y: rounded(base), height: rounded(height) }
        });
        let parts = parts.collect();
        #[allow(clippy::cast_precision_loss, reason = "there are at most a few hundred bars")]
        let x = rounded(slot * at as f64 + (slot - width) / 2.0);
        let is_labelled = at % every == 0;
        Bar { label: bar.label, url: bar.url, title: bar.title, x, width, parts, is_labelled }
    };
    let bars = bars.into_iter().enumerate().map(place).collect();
    let mut grid = Vec::new();
    let mut line = 0.0;
    while line <= lines {
        grid.push(GridLine { y: rounded(HEIGHT - height_of(step * line)), value: step * line });
        line += 1.0;
    }
    (bars, grid)
}

/// The distance of grid lines: 1, 2 or 5 times a power of ten, so that there are three to six.
fn nice_step(highest: f64) -> f64 {
    if highest <= 0.0 {
        return 1.0;
    }
    let rough = highest / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| rough <= step * power);
    step.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_the_axis_and_reach_their_values() {
        let bar = |values: &[f64]| Values {
            label: String::new(),
            url: String::new(),
            title: String::new(),
            values: values.to_vec(),
        };
        let (bars, grid) = stacked(vec![bar(&[30.0, 70.0]), bar(&[0.0, 0.0]), bar(&[0.0, 50.0])]);
        assert_eq!(grid.last().map(|line| (line.value, line.y)), Some((100.0, 0.0)));
        assert_eq!(grid.first().map(|line| (line.value, line.y)), Some((0.0, HEIGHT)));
        let [first, empty, last] = &bars[..] else { panic!("three bars") };
        assert_eq!(first.parts.len(), 2);
        assert!((first.parts[0].y + first.parts[0].height - HEIGHT).abs() < 1e-9);
        assert!(first.parts[1].y.abs() < 1e-9, "the highest bar reaches its grid line");
        assert!(empty.parts.is_empty());
        assert_eq!((last.parts[0].series, last.parts[0].height), (1, HEIGHT / 2.0));
        assert!(bars.windows(2).all(|pair| pair[0].x + pair[0].width < pair[1].x));
    }

    #[test]
    fn grid_lines_have_round_values() {
        for (highest, step) in
            [(0.0, 1.0), (3.0, 1.0), (7.0, 2.0), (88.0, 50.0), (100.0, 50.0), (1234.0, 500.0)]
        {
            assert!((nice_step(highest) - step).abs() < 1e-9, "{highest}: {}", nice_step(highest));
        }
    }
}
