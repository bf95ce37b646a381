//! Index families: the indexes that a store may have or lack, and what each of them answers.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// An optional family of indexes: what it answers costs disk space and time of each write, so a
/// store has it only where it is asked for ([`StoreOptions::indexes`](crate::StoreOptions::indexes),
/// [`Store::add_indexes`](crate::Store::add_indexes)).
///
/// ```
/// use convodb::IndexFamily;
/// assert_eq!("ai-off".parse::<IndexFamily>()?, IndexFamily::AiOff);
/// assert_eq!(IndexFamily::AiOff.to_string(), "ai-off");
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum IndexFamily {
    /// Conversations whose AI is off, alone and with type and assistant:
    /// [`Filter::ai_off`](crate::Filter::ai_off). Only these conversations have entries, two to
    /// four each.
    AiOff,
    /// Lists by last activity, without filter and by type, assistant, both, sender or customer:
    /// [`Sort::LastActivity`](crate::Sort::LastActivity). A conversation has four to six entries,
    /// which each message and each change moves.
    LastActivity,
    /// Previews kept in the rows: a page that asks for them
    /// ([`ListRequest::previews`](crate::ListRequest::previews)) reads no message. Without the family
    /// it reads the first and the last one of each conversation. Each conversation that has messages
    /// takes up to 1.2 KiB more, and is written whole with each message.
    Previews,
    /// Exact totals of lists by sender, customer, external identifier or an AI that is off, at a
    /// bounded cost: [`Snapshot::count`](crate::Snapshot::count). Lists by sender or with an AI that
    /// is off have a record of counters for each month; the others have one from 256 conversations
    /// on. A new conversation changes up to eight records.
    Counters,
}

impl IndexFamily {
    /// All families.
    pub const ALL: [IndexFamily; 4] = [
        IndexFamily::AiOff,
        IndexFamily::LastActivity,
        IndexFamily::Previews,
        IndexFamily::Counters,
    ];

    /// The name in settings and in the file: `ai-off`, `last-activity`, `previews` or `counters`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            IndexFamily::AiOff => "ai-off",
            IndexFamily::LastActivity => "last-activity",
            IndexFamily::Previews => "previews",
            IndexFamily::Counters => "counters",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for IndexFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for IndexFamily {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        IndexFamily::ALL.into_iter().find(|family| family.as_str() == text).ok_or(Error::Invalid {
            field: "indexes",
            reason: "must be none, ai-off, last-activity, previews or counters",
        })
    }
}

/// A set of index families.
///
/// ```
/// use convodb::{IndexFamilies, IndexFamily};
/// let all = "ai-off,last-activity,counters".parse::<IndexFamilies>()?;
/// assert!(all.contains(IndexFamily::AiOff));
/// assert_eq!("none".parse::<IndexFamilies>()?, IndexFamilies::NONE);
/// assert_eq!(IndexFamilies::NONE.to_string(), "none");
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IndexFamilies(u8);

impl IndexFamilies {
    /// No family.
    pub const NONE: IndexFamilies = IndexFamilies(0);
    /// Every family.
    pub const ALL: IndexFamilies = {
        let (mut all, mut at) = (Self::NONE, 0);
        while at < IndexFamily::ALL.len() {
            all = all.with(IndexFamily::ALL[at]);
            at += 1;
        }
        all
    };

    /// The set with one family more.
    #[must_use]
    pub const fn with(self, family: IndexFamily) -> Self {
        Self(self.0 | family.bit())
    }

    /// Whether the set has the family.
    #[must_use]
    pub const fn contains(self, family: IndexFamily) -> bool {
        self.0 & family.bit() != 0
    }

    /// Whether the set has none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The families of the set, in the order of [`IndexFamily::ALL`].
    pub fn iter(self) -> impl Iterator<Item = IndexFamily> {
        IndexFamily::ALL.into_iter().filter(move |family| self.contains(*family))
    }
}

impl FromIterator<IndexFamily> for IndexFamilies {
    fn from_iter<T: IntoIterator<Item = IndexFamily>>(families: T) -> Self {
        families.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for IndexFamilies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.pad("none");
        }
        let names: Vec<&str> = self.iter().map(IndexFamily::as_str).collect();
        f.pad(&names.join(","))
    }
}

impl FromStr for IndexFamilies {
    type Err = Error;

    /// Reads names separated by commas, or `none`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Self::NONE),
            names => names.split(',').map(|name| name.trim().parse()).collect(),
        }
    }
}

/// Whether a store has an index family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum IndexState {
    /// The store does not have it.
    Absent,
    /// It is being built: every write keeps it up, and conversations from before are being added.
    /// It answers nothing yet.
    Building,
    /// It answers.
    Ready,
    /// It is being removed, and answers nothing any more.
    Dropping,
}

impl IndexState {
    /// The name: `absent`, `building`, `ready` or `dropping`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            IndexState::Absent => "absent",
            IndexState::Building => "building",
            IndexState::Ready => "ready",
            IndexState::Dropping => "dropping",
        }
    }
}

impl fmt::Display for IndexState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_as_they_are_printed() {
        for set in [IndexFamilies::NONE, IndexFamilies::ALL] {
            assert_eq!(set.to_string().parse::<IndexFamilies>().unwrap(), set);
        }
        assert!(IndexFamily::ALL.into_iter().all(|family| IndexFamilies::ALL.contains(family)));
    }

    #[test]
    fn an_unknown_name_is_refused_with_all_names() {
        for wrong in ["", "all", "none,ai-off", "ai-off,"] {
            let error = wrong.parse::<IndexFamilies>().unwrap_err().to_string();
            assert!(
                IndexFamily::ALL.iter().all(|family| error.contains(family.as_str())),
                "{error}"
            );
        }
    }
}
