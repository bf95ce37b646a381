//! Version: identifies a state of a store across restores and copies.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The version of a store that a [`Snapshot`](crate::Snapshot) shows: a commit within an epoch.
///
/// Commits are numbered, but a number alone identifies nothing: a store that was restored from a
/// backup assigns the same numbers again, and so does a copy of the file. So the store has an
/// *epoch*, a random number that is new each time the store is opened and written, restored, or
/// stripped of its WAL. A store knows its own earlier epochs, and with which commit each ended;
/// [`Snapshot::contains`](crate::Snapshot::contains) says whether a version is part of its history.
///
/// Save a version, as text, with whatever is derived from the store and must not outlive it. As
/// text it is the epoch as 16 hexadecimal digits, a hyphen and the commit. Serde: that text.
///
/// ```
/// use convodb::{Store, StoreVersion, Timestamp};
/// let store = Store::in_memory()?;
/// let before = store.snapshot().version();
/// store.create_user("Acme", Timestamp::MIN)?;
/// let saved: StoreVersion = store.snapshot().version().to_string().parse()?;
/// assert!(store.snapshot().contains(saved) && store.snapshot().contains(before));
/// assert!(!Store::in_memory()?.snapshot().contains(saved), "another store");
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreVersion {
    pub(crate) epoch: u64,
    /// The sequence number of the last group of writes.
    pub(crate) commit: u64,
}

impl StoreVersion {
    /// The version as 16 bytes, which are equal only for equal versions.
    ///
    /// ```
    /// # let store = convodb::Store::in_memory()?;
    /// let version = store.snapshot().version();
    /// assert_eq!(version.to_bytes(), store.snapshot().version().to_bytes());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        ((self.epoch as u128) << 64 | self.commit as u128).to_be_bytes()
    }
}

impl fmt::Display for StoreVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.commit)
    }
}

impl FromStr for StoreVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (epoch, commit) = text.split_once('-')?;
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let plain = epoch.len() == 16 && digits(epoch) && digits(commit);
            let epoch = u64::from_str_radix(epoch, 16).ok()?;
            plain.then_some(Self { epoch, commit: commit.parse().ok()? })
        };
        parse().ok_or(Error::Invalid {
            field: "version",
            reason: "must be 16 hexadecimal digits, a hyphen and a whole number",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_other_text_is_refused() {
        let version = StoreVersion { epoch: 0xab, commit: 7 };
        assert_eq!(version.to_string(), "00000000000000ab-7");
        assert_eq!(version.to_string().parse::<StoreVersion>().unwrap(), version);
        for text in [
            "",
            "ab-7",
            "00000000000000ab",
            "00000000000000ab-",
            "+0000000000000ab-7",
            "00000000000000ab-+7",
            "00000000000000ab-7-7",
            "00000000000000ag-7",
        ] {
            assert!(text.parse::<StoreVersion>().is_err(), "{text}");
        }
    }
}
