//! An inline string: a short ASCII text on the stack, built from its end to its beginning.
//!
//! Numbers yield their last digit first, so that prepending needs no second pass. Formatting a
//! value this way allocates nothing and avoids `std::fmt`, which is several times slower.

use std::fmt;

/// A text of at most `N` ASCII bytes, stored inline.
#[derive(Clone, Copy)]
pub(crate) struct InlineStr<const N: usize> {
    /// The text is the part from `start` to the end.
    bytes: [u8; N],
    start: usize,
}

impl<const N: usize> InlineStr<N> {
    /// An empty text.
    pub(crate) const fn new() -> Self {
        Self { bytes: [b'0'; N], start: N }
    }

    /// Prepends bytes.
    ///
    /// # Panics
    /// Panics when the text has no space left for them.
    pub(crate) fn put<const M: usize>(&mut self, part: [u8; M]) {
        let end = self.start;
        self.start -= M;
        self.bytes[self.start..end].copy_from_slice(&part);
    }

    /// Prepends one byte and a number below 100 in two digits.
    ///
    /// # Panics
    /// Panics when the text has no space left for them.
    pub(crate) fn put_pair(&mut self, before: u8, number: u8) {
        self.put([before, b'0' + number / 10, b'0' + number % 10]);
    }

    /// Prepends the last `width` decimal digits of a number.
    ///
    /// # Panics
    /// Panics when the text has no space left for them.
    pub(crate) fn put_digits(&mut self, mut number: u64, width: usize) {
        for _ in 0..width {
            self.put([b'0' + (number % 10).to_le_bytes()[0]]);
            number /= 10;
        }
    }

    /// The text.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl<const N: usize> fmt::Display for InlineStr<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(self.as_bytes()).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_prepended() {
        let mut text = InlineStr::<8>::new();
        text.put_digits(45, 3);
        text.put(*b".");
        text.put_pair(b'-', 7);
        assert_eq!(text.to_string(), "-07.045");
        assert_eq!(text.as_bytes(), b"-07.045");
    }
}
