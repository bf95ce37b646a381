//! SVG canvas: lines, dots, bars and text, in a light and a dark theme or in the colours of the page
//! around it. It does not measure text; the caller leaves enough space.

use std::fmt::Write;

use crate::chart::palette::{BACKGROUND, GRID, INK, MUTED, Paint, Theme};

/// The point of a text that is placed at its coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Its beginning.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// The style of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stroke {
    /// The colour.
    pub paint: Paint,
    /// The width in pixels.
    pub width: f64,
    /// Whether it is dashed.
    pub dashed: bool,
}

/// A font: its size in pixels and its weight.
pub type Font = (f64, u32);

/// An unfinished SVG image. Coordinates are pixels from the top left.
pub struct Canvas {
    theme: Theme,
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    /// An empty image.
    #[must_use]
    pub const fn new(theme: Theme, width: f64, height: f64) -> Self {
        Self { theme, width, height, body: String::new() }
    }

    /// A line through these points.
    pub fn line(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let dash = if stroke.dashed { " stroke-dasharray=\"5 4\"" } else { "" };
        let _ = writeln!(
            self.body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" \
             stroke-linejoin=\"round\"{dash}/>",
            points.join(" "),
            stroke.paint.of(self.theme),
            stroke.width
        );
    }

    /// A dot. Pointing at it shows `note`, if there is one.
    pub fn dot(&mut self, (x, y): (f64, f64), radius: f64, paint: Paint, note: &str) {
        let colour = paint.of(self.theme);
        let note = title(note);
        let _ = writeln!(
            self.body,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\">{note}</circle>"
        );
    }

    /// A horizontal bar from `x` to the right, around `y`. Pointing at it shows `note`, if there is
    /// one.
    pub fn bar(
        &mut self,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        paint: Paint,
        note: &str,
    ) {
        let colour = paint.of(self.theme);
        let (top, note) = (y - height / 2.0, title(note));
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" \
             fill=\"{colour}\">{note}</rect>"
        );
    }

    /// Text whose vertical middle is at `y`.
    pub fn text(&mut self, at: (f64, f64), anchor: Anchor, font: Font, paint: Paint, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let ((x, y), (size, weight)) = (at, font);
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" \
             font-weight=\"{weight}\" fill=\"{}\">{}</text>",
            y + size * 0.35,
            paint.of(self.theme),
            escaped(text)
        );
    }

    /// Text in the colour of titles.
    pub fn ink(&mut self, at: (f64, f64), anchor: Anchor, font: Font, text: &str) {
        self.text(at, anchor, font, INK, text);
    }

    /// Text in the colour of axis labels.
    pub fn muted(&mut self, at: (f64, f64), anchor: Anchor, font: Font, text: &str) {
        self.text(at, anchor, font, MUTED, text);
    }

    /// A grid line.
    pub fn grid(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.line(&[from, to], Stroke { paint: GRID, width: 1.0, dashed: false });
    }

    /// Finishes the image; screen readers read out `title`.
    #[must_use]
    pub fn finish(self, title: &str) -> String {
        let Self { theme, width, height, body } = self;
        let title = escaped(title);
        // In a page, the image has its font and its background, and shrinks with it.
        let (attributes, background) = match theme {
            Theme::Css => ("font-family=\"inherit\"".to_owned(), String::new()),
            Theme::Light | Theme::Dark => (
                format!(
                    "width=\"{width}\" height=\"{height}\" font-family=\"system-ui, \
                     -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif\""
                ),
                format!(
                    "<rect width=\"{width}\" height=\"{height}\" fill=\"{}\"/>\n",
                    BACKGROUND.of(theme)
                ),
            ),
        };
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             {attributes} role=\"img\">\n<title>{title}</title>\n{background}{body}</svg>\n"
        )
    }
}

/// What is shown when something is pointed at; nothing if `note` is empty.
fn title(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(note)) }
}

/// Text as content of an element of HTML or SVG.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
