//! What is told to the person at the terminal, and what time it is there.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use convodb::Timestamp;
use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar is told where the work is, in entries.
const STEP: u64 = 1 << 12;

/// Writes a line to standard error. A person who no longer listens misses it, nothing else fails.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A word as a shell takes it, for a command that is told to be typed.
pub(crate) fn quoted(word: impl Display) -> String {
    let word = word.to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+,=".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word;
    }
    format!("'{}'", word.replace('\'', "'\\''"))
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

/// `1 message`, `258145 messages`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// The style of a progress bar. The template is ours, so it is right.
pub(crate) fn progress_style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|error| unreachable!("{template}: {error}"))
        .progress_chars("=> ")
}

/// A bar for work that goes through entries, and how it is told of them.
pub(crate) fn entries_bar() -> (ProgressBar, impl FnMut(u64, u64)) {
    let bar = ProgressBar::new(0).with_style(progress_style(
        "{bar:40} {human_pos} of {human_len} entries, {per_sec}, {eta} to go",
    ));
    let told = bar.clone();
    let follow = move |done: u64, of: u64| {
        if done.is_multiple_of(STEP) || done == of {
            told.set_length(of);
            told.set_position(done);
        }
    };
    (bar, follow)
}

/// A number of bytes as people read it: `538.2 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        for (word, expected) in
            [("acme", "acme"), ("a/b.convodb", "a/b.convodb"), ("Acme Corp", "'Acme Corp'")]
        {
            assert_eq!(quoted(word), expected);
        }
        assert_eq!(quoted("O'Neil"), "'O'\\''Neil'");
        assert_eq!(quoted("$(x)"), "'$(x)'");
    }
}
