//! How many conversations a page has at most.

use std::str::FromStr;

use crate::error::{Error, Result};

/// The most conversations of one page, 1 to 100; 15 by default, as in the documented API.
///
/// ```
/// use convodb::PageSize;
/// assert_eq!(PageSize::default().get(), 15);
/// assert_eq!(PageSize::new(100)?, PageSize::MAX);
/// assert!("101".parse::<PageSize>().is_err());
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageSize(u8);

impl PageSize {
    /// One conversation a page.
    pub const MIN: PageSize = PageSize(1);
    /// 100 conversations a page.
    pub const MAX: PageSize = PageSize(100);

    /// A page of at most `rows` conversations, 1 to 100.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `per_page` for any other number.
    pub fn new(rows: u64) -> Result<Self> {
        let invalid = |reason| Error::Invalid { field: "per_page", reason };
        match u8::try_from(rows) {
            Ok(0) => Err(invalid("must be at least 1")),
            Ok(rows) if rows <= Self::MAX.0 => Ok(Self(rows)),
            _ => Err(invalid("must not be greater than 100")),
        }
    }

    /// The number of conversations.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }

    pub(crate) const fn byte(self) -> u8 {
        self.0
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(15)
    }
}

impl FromStr for PageSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(rows) if digits => Self::new(rows),
            // Digits that are no u64 are too many rows; a minus sign before digits is too few.
            Err(_) if digits => Self::new(u64::MAX),
            _ => match text.strip_prefix('-').map(str::parse::<u64>) {
                Some(Ok(_)) => Self::new(0),
                _ => Err(Error::Invalid { field: "per_page", reason: "must be an integer" }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_to_a_hundred() {
        for (text, rows) in [("1", 1), ("100", 100), ("015", 15)] {
            assert_eq!(text.parse::<PageSize>().unwrap().get(), rows);
        }
        for (text, reason) in [
            ("0", "must be at least 1"),
            ("-1", "must be at least 1"),
            ("101", "must not be greater than 100"),
            ("18446744073709551616", "must not be greater than 100"),
            ("1.5", "must be an integer"),
            ("abc", "must be an integer"),
            ("", "must be an integer"),
            ("+5", "must be an integer"),
        ] {
            let error = text.parse::<PageSize>().unwrap_err();
            assert_eq!(error.to_string(), format!("per_page {reason}"), "{text}");
        }
    }
}
