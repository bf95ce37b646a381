//! Themes and colours: each for a light background, for a dark one, and as a custom property of CSS.

use std::fmt::Write;

/// Where the colours come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Colours for a light background.
    Light,
    /// Colours for a dark background.
    Dark,
    /// Custom properties of CSS, which the page around the image sets; the background is the page's.
    Css,
}

impl Theme {
    /// The themes of images that stand for themselves.
    pub const ALL: [Theme; 2] = [Theme::Light, Theme::Dark];

    /// The theme's name in file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Theme::Light => "light",
            Theme::Dark => "dark",
            Theme::Css => "css",
        }
    }
}

/// A colour in each theme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    light: &'static str,
    dark: &'static str,
    /// The custom property as a value, as in `var(--ink)`.
    css: &'static str,
}

impl Paint {
    const fn new(light: &'static str, dark: &'static str, css: &'static str) -> Self {
        Self { light, dark, css }
    }

    /// The colour of a theme.
    #[must_use]
    pub const fn of(self, theme: Theme) -> &'static str {
        match theme {
            Theme::Light => self.light,
            Theme::Dark => self.dark,
            Theme::Css => self.css,
        }
    }
}

/// The background.
pub const BACKGROUND: Paint = Paint::new("#ffffff", "#0d1117", "var(--background)");
/// Titles and text.
pub const INK: Paint = Paint::new("#1f2328", "#e6edf3", "var(--ink)");
/// Labels of axes, and notes.
pub const MUTED: Paint = Paint::new("#59636e", "#9198a1", "var(--muted)");
/// Grid lines.
pub const GRID: Paint = Paint::new("#e3e7eb", "#262c34", "var(--grid)");
/// convodb, and what is shown first.
pub const BLUE: Paint = Paint::new("#0b66c3", "#58a6ff", "var(--blue)");
/// A lighter blue.
pub const SKY: Paint = Paint::new("#7cb2e6", "#a9d2ff", "var(--sky)");
/// A second series.
pub const ORANGE: Paint = Paint::new("#c4540b", "#f0883e", "var(--orange)");
/// A lighter orange.
pub const SAND: Paint = Paint::new("#e09a63", "#ffc08a", "var(--sand)");
/// A third series.
pub const GREEN: Paint = Paint::new("#1a7f37", "#3fb950", "var(--green)");
/// A fourth series.
pub const PURPLE: Paint = Paint::new("#8250df", "#bc8cff", "var(--purple)");
/// A warning.
pub const RED: Paint = Paint::new("#a40e26", "#ff7b72", "var(--red)");
/// What is only for comparison.
pub const GREY: Paint = Paint::new("#8a929b", "#7d8590", "var(--grey)");

const ALL: [Paint; 12] =
    [BACKGROUND, INK, MUTED, GRID, BLUE, SKY, ORANGE, SAND, GREEN, PURPLE, RED, GREY];

/// The declarations of all custom properties for one theme.
#[must_use]
pub fn custom_properties(theme: Theme) -> String {
    let mut css = String::new();
    for paint in ALL {
        let name = paint.css.trim_start_matches("var(").trim_end_matches(')');
        let _ = write!(css, "{name}:{};", paint.of(theme));
    }
    css
}
