//! Page size: the maximum number of conversations of a page.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The maximum number of conversations of a page: 1 to 100, by default 15 as in the documented API.
///
/// Parses decimal digits.
///
/// ```
/// use convodb::PageSize;
/// assert_eq!(PageSize::default().get(), 15);
/// assert_eq!("50".parse::<PageSize>()?.to_string(), "50");
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

    /// A page of at most this number of conversations, 1 to 100.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `per_page` for any other number.
    pub fn new(conversations: u64) -> Result<Self> {
        let invalid = |reason| Error::Invalid { field: "per_page", reason };
        match u8::try_from(conversations) {
            Ok(0) => Err(invalid("must be at least 1")),
            Ok(size) if size <= Self::MAX.0 => Ok(Self(size)),
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

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PageSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(size) if digits => Self::new(size),
            // Digits beyond u64 are too large a number; digits after a minus sign are too small.
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
    fn sizes_from_1_to_100_parse() {
        for (text, size) in [("1", 1), ("100", 100), ("015", 15)] {
            assert_eq!(text.parse::<PageSize>().unwrap().get(), size);
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
