//! The kinds of change that the change feed reports.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// What happened to a conversation.
///
/// The feed reports the latest change of each conversation. A follower should therefore store or
/// remove the conversation that comes with the change, and use the kind only for display.
///
/// ```
/// use convodb::ChangeKind;
/// assert_eq!("deleted".parse::<ChangeKind>()?, ChangeKind::Deleted);
/// assert_eq!(ChangeKind::Created.to_string(), "created");
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum ChangeKind {
    /// `created`: the conversation was inserted.
    Created,
    /// `updated`: a field or the messages of the conversation changed.
    Updated,
    /// `deleted`: the conversation was deleted, with its messages.
    Deleted,
}

impl ChangeKind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [ChangeKind; 3] =
        [ChangeKind::Created, ChangeKind::Updated, ChangeKind::Deleted];

    /// The kind's name in the API: `created`, `updated` or `deleted`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Created => "created",
            ChangeKind::Updated => "updated",
            ChangeKind::Deleted => "deleted",
        }
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ChangeKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        ChangeKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(Error::Invalid {
            field: "change",
            reason: "must be one of created, updated, deleted",
        })
    }
}
