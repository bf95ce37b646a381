//! SVG canvas: lines, dots and text, in a light and a dark theme. It does not measure text; the
//! caller leaves enough space.

use std::fmt::Write;

/// Colours for a light or a dark background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    Light,
    Dark,
}

impl Theme {
    pub(crate) const ALL: [Theme; 2] = [Theme::Light, Theme::Dark];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    const fn background(self) -> &'static str {
        match self {
            Theme::Light => "#ffffff",
            Theme::Dark => "#0d1117",
        }
    }

    /// The colour of titles.
    pub(crate) const fn ink(self) -> &'static str {
        match self {
            Theme::Light => "#1f2328",
            Theme::Dark => "#e6edf3",
        }
    }

    /// The colour of axis labels.
    pub(crate) const fn muted(self) -> &'static str {
        match self {
            Theme::Light => "#59636e",
            Theme::Dark => "#9198a1",
        }
    }

    /// The colour of grid lines.
    pub(crate) const fn grid(self) -> &'static str {
        match self {
            Theme::Light => "#e3e7eb",
            Theme::Dark => "#262c34",
        }
    }
}

/// The point of a text that is placed at its coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// The style of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stroke<'a> {
    pub(crate) colour: &'a str,
    pub(crate) width: f64,
    pub(crate) dashed: bool,
}

/// An unfinished SVG image. Coordinates are pixels from the top left.
pub(crate) struct Canvas {
    pub(crate) theme: Theme,
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    pub(crate) const fn new(theme: Theme, width: f64, height: f64) -> Self {
        Self { theme, width, height, body: String::new() }
    }

    pub(crate) fn line(&mut self, points: &[(f64, f64)], stroke: Stroke<'_>) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let dash = if stroke.dashed { " stroke-dasharray=\"5 4\"" } else { "" };
        let _ = writeln!(
            self.body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" \
             stroke-linejoin=\"round\"{dash}/>",
            points.join(" "),
            stroke.colour,
            stroke.width
        );
    }

    pub(crate) fn dot(&mut self, (x, y): (f64, f64), radius: f64, colour: &str) {
        let _ = writeln!(
            self.body,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>"
        );
    }

    /// Draws text whose vertical middle is at `y`.
    pub(crate) fn text(
        &mut self,
        (x, y): (f64, f64),
        anchor: Anchor,
        (size, weight): (f64, u32),
        colour: &str,
        text: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" \
             font-weight=\"{weight}\" fill=\"{colour}\">{text}</text>",
            y + size * 0.35
        );
    }

    /// Finishes the image; screen readers read out `title`.
    pub(crate) fn finish(self, title: &str) -> String {
        let Self { theme, width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\" font-family=\"system-ui, \
             -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif\">\n\
             <title>{title}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"{}\"/>\n{body}</svg>\n",
            theme.background()
        )
    }
}
