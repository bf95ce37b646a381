//! What is told to the person at the terminal, and what time it is there.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use convodb::Timestamp;
use indicatif::ProgressStyle;

/// Writes a line to standard error. A person who no longer listens misses it, nothing else fails.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The present, as the system's clock has it.
pub(crate) fn now() -> convodb::Result<Timestamp> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A number as people read it: `258,145`.
pub(crate) fn grouped(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// The style of a progress bar. The template is ours, so it is right.
pub(crate) fn progress_style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|error| unreachable!("{template}: {error}"))
        .progress_chars("=> ")
}
