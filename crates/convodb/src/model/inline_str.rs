//! A short text of digits and punctuation, kept where it is made: printing a value allocates
//! nothing and asks no formatter.

use std::fmt;

/// The printed form of a value: at most `N` ASCII bytes, the same that its `Display` writes.
///
/// ```
/// let cost: convodb::Cost = "0.0045".parse()?;
/// assert_eq!(cost.printed().as_bytes(), b"0.0045");
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InlineStr<const N: usize> {
    /// The text stands at the end.
    bytes: [u8; N],
    start: usize,
}

impl<const N: usize> InlineStr<N> {
    /// No text yet.
    pub(crate) const fn new() -> Self {
        Self { bytes: [b'0'; N], start: N }
    }

    /// Puts bytes before the text.
    ///
    /// # Panics
    /// When there is no room for them.
    pub(crate) fn put<const M: usize>(&mut self, part: [u8; M]) {
        let end = self.start;
        self.start -= M;
        self.bytes[self.start..end].copy_from_slice(&part);
    }

    /// Puts one byte and a number below 100, in two digits, before the text.
    ///
    /// # Panics
    /// When there is no room for them.
    pub(crate) fn put_pair(&mut self, before: u8, number: u8) {
        self.put([before, b'0' + number / 10, b'0' + number % 10]);
    }

    /// Puts `width` decimal digits of a number before the text.
    ///
    /// # Panics
    /// When there is no room for them.
    pub(crate) fn put_digits(&mut self, mut number: u64, width: usize) {
        for _ in 0..width {
            self.put([b'0' + (number % 10).to_le_bytes()[0]]);
            number /= 10;
        }
    }

    /// The text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl<const N: usize> fmt::Display for InlineStr<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(self.as_bytes()).map_err(|_| fmt::Error)?)
    }
}

impl<const N: usize> fmt::Debug for InlineStr<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
