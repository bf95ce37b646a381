//! Terminal output: messages on standard error, progress bars, confirmation, number formats.

use std::fmt::{self, Display};
use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use convodb::Timestamp;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::args::UsageError;

/// Entries between two updates of a progress bar.
const STEP: u64 = 1 << 12;

/// Writes a line to standard error, [`printable`]. Ignores errors: a closed standard error must not
/// fail the verb.
pub(crate) fn say(line: impl Display) {
    let line = line.to_string();
    // A message may have several lines.
    let lines: Vec<String> = line.split('\n').map(printable).collect();
    let _ = writeln!(io::stderr().lock(), "{}", lines.join("\n"));
}

/// Prompts on the terminal to type `word`, and returns whether it was typed.
///
/// # Errors
/// Fails with a [`UsageError`] if standard input is not a terminal: a script must pass `--yes`.
pub(crate) fn confirm(action: &str, word: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!(UsageError(format!(
            "this {action}; pass --yes, as standard input is not a terminal to confirm it"
        )));
    }
    say(format_args!("This {action}. Type {} to confirm:", quoted(word)));
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed).context("cannot read the answer")?;
    Ok(typed.trim() == word)
}

/// A word quoted for a POSIX shell, for commands that a message suggests.
pub(crate) fn quoted(word: impl Display) -> String {
    let word = word.to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+,=".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word;
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The present time by the system's clock.
pub(crate) fn now() -> convodb::Result<Timestamp> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A number with thousands separators: `258,145`.
pub(crate) fn grouped(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// A count with its noun: `1 message`, `258145 messages`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// The style of a progress bar.
///
/// # Panics
/// Panics if the template, which is part of this program, is invalid.
pub(crate) fn progress_style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|error| unreachable!("{template}: {error}"))
        .with_key("per_sec", |state: &ProgressState, out: &mut dyn fmt::Write| {
            // A failed write leaves a gap in the bar.
            let _ = write!(out, "{:.0}/s", state.per_sec());
        })
        .progress_chars("=> ")
}

/// A progress bar over the entries of a store, and the callback that moves it.
pub(crate) fn entries_bar() -> (ProgressBar, impl FnMut(u64, u64)) {
    let bar = ProgressBar::new(0).with_style(progress_style(
        "{bar:40} {human_pos} of {human_len} entries, {per_sec}, {eta} left",
    ));
    let shown = bar.clone();
    let progress = move |done: u64, of: u64| {
        if done.is_multiple_of(STEP) || done == of {
            shown.set_length(of);
            shown.set_position(done);
        }
    };
    (bar, progress)
}

/// A number of bytes with a binary unit: `538.2 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}

/// The text as a terminal can show it safely: control characters and those that change the direction
/// of text are escaped, `\u{1b}`. Texts come from customers; a terminal obeys control sequences, and
/// a reversed text looks like another one.
///
/// Everything that a person reads passes here: tables, `show`, and messages by [`say`].
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_bidi_control(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a character has the Unicode property `Bidi_Control`, or separates lines.
const fn is_bidi_control(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Whether the reader of standard output has closed it.
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Standard output, which records that its reader has closed it.
pub(crate) struct Stdout;

impl Stdout {
    /// Whether its reader has closed it. A closed socket, in contrast, is an ordinary failure.
    pub(crate) fn is_closed() -> bool {
        STDOUT_CLOSED.load(Ordering::Relaxed)
    }

    fn checked<T>(result: io::Result<T>) -> io::Result<T> {
        let closed = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe);
        STDOUT_CLOSED.fetch_or(closed, Ordering::Relaxed);
        result
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::checked(io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::checked(io::stdout().flush())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_special_characters_are_quoted() {
        for (word, expected) in
            [("acme", "acme"), ("a/b.convodb", "a/b.convodb"), ("Acme Corp", "'Acme Corp'")]
        {
            assert_eq!(quoted(word), expected);
        }
        assert_eq!(quoted("O'Neil"), "'O'\\''Neil'");
        assert_eq!(quoted("$(x)"), "'$(x)'");
    }

    #[test]
    fn control_sequences_are_not_printed() {
        for (text, shown) in [
            ("a\u{1b}[2Jb\n", "a\\u{1b}[2Jb\\u{a}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("pay \u{202e}001", "pay \\u{202e}001"),
            ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
            ("Jörg 東京 👋🏽", "Jörg 東京 👋🏽"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}
