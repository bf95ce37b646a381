//! Sets of values of one filter field: a conversation passes if it has any one of them.

use std::fmt;

use crate::error::{Error, Result};
use crate::model::channel::ChannelKind;
use crate::model::id::AssistantId;

/// A set of one to four kinds of channels; a filter passes any of them.
///
/// The set of all kinds is the same as no filter. Serde: a list of names.
///
/// ```
/// use convodb::{ChannelKind, ChannelKinds};
/// let kinds = ChannelKinds::new([ChannelKind::Api, ChannelKind::Whatsapp])?;
/// assert!(kinds.contains(ChannelKind::Api) && !kinds.contains(ChannelKind::Test));
/// assert_eq!(format!("{kinds:?}"), "{Whatsapp, Api}");
/// assert!(ChannelKinds::new([]).is_err());
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Vec<ChannelKind>", into = "Vec<ChannelKind>"))]
pub struct ChannelKinds(u8);

impl ChannelKinds {
    /// All kinds.
    pub const ALL: ChannelKinds = ChannelKinds((1 << ChannelKind::ALL.len()) - 1);
    /// No kind. Only a filter that contradicts itself has it.
    pub(crate) const NONE: ChannelKinds = ChannelKinds(0);

    /// The set of these kinds.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `type` if there is none.
    pub fn new(kinds: impl IntoIterator<Item = ChannelKind>) -> Result<Self> {
        let bits = kinds.into_iter().fold(0, |bits, kind| bits | Self::from(kind).0);
        let empty = Error::Invalid { field: "type", reason: "must have at least one value" };
        if bits == 0 { Err(empty) } else { Ok(Self(bits)) }
    }

    /// Whether the set contains the kind.
    #[must_use]
    pub const fn contains(self, kind: ChannelKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The kinds of the set, in the order of [`ChannelKind::ALL`].
    pub fn iter(self) -> impl Iterator<Item = ChannelKind> {
        ChannelKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    /// The only kind of the set; `None` if it has several or none.
    pub(crate) fn single(self) -> Option<ChannelKind> {
        if self.0.count_ones() == 1 { self.iter().next() } else { None }
    }

    /// The kinds that are in both sets.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// The set with these bits; `None` if it is empty or has an unknown kind.
    pub(crate) const fn from_bits(bits: u8) -> Option<Self> {
        if bits == 0 || bits & !Self::ALL.0 != 0 { None } else { Some(Self(bits)) }
    }
}

impl From<ChannelKind> for ChannelKinds {
    fn from(kind: ChannelKind) -> Self {
        Self(1 << kind as u8)
    }
}

impl TryFrom<Vec<ChannelKind>> for ChannelKinds {
    type Error = Error;

    fn try_from(kinds: Vec<ChannelKind>) -> Result<Self> {
        Self::new(kinds)
    }
}

impl From<ChannelKinds> for Vec<ChannelKind> {
    fn from(kinds: ChannelKinds) -> Self {
        kinds.iter().collect()
    }
}

impl fmt::Debug for ChannelKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A set of 1 to 20 assistants; a filter passes any of them.
///
/// Serde: a list of ids.
///
/// ```
/// use convodb::{AssistantId, AssistantIds};
/// let [one, two]: [AssistantId; 2] = [
///     "7c9e6679-7425-40de-944b-e07fc1f90ae7".parse()?,
///     "0192d3a4-5b6c-7d8e-9f01-23456789abcd".parse()?,
/// ];
/// let ids = AssistantIds::new([one, two, one])?;
/// assert_eq!(ids.as_slice(), [two, one], "without duplicates, in the order of the ids");
/// assert!(AssistantIds::new([]).is_err());
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Vec<AssistantId>", into = "Vec<AssistantId>"))]
pub struct AssistantIds(Vec<AssistantId>);

impl AssistantIds {
    /// The most assistants of a set.
    pub const MAX: usize = 20;

    /// The set of these assistants.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `assistant_id` if there is none, or if there are more than
    /// [`AssistantIds::MAX`] different ones.
    pub fn new(ids: impl IntoIterator<Item = AssistantId>) -> Result<Self> {
        let mut set = Vec::new();
        for id in ids {
            if let Err(at) = set.binary_search(&id) {
                set.insert(at, id);
            }
            if set.len() > Self::MAX {
                break;
            }
        }
        let invalid = Error::Invalid { field: "assistant_id", reason: "must have 1 to 20 values" };
        if (1..=Self::MAX).contains(&set.len()) { Ok(Self(set)) } else { Err(invalid) }
    }

    /// Whether the set contains the assistant.
    #[must_use]
    pub fn contains(&self, id: AssistantId) -> bool {
        self.0.binary_search(&id).is_ok()
    }

    /// The assistants of the set, in the order of their ids.
    #[must_use]
    pub fn as_slice(&self) -> &[AssistantId] {
        &self.0
    }
}

impl From<AssistantId> for AssistantIds {
    fn from(id: AssistantId) -> Self {
        Self(vec![id])
    }
}

impl TryFrom<Vec<AssistantId>> for AssistantIds {
    type Error = Error;

    fn try_from(ids: Vec<AssistantId>) -> Result<Self> {
        Self::new(ids)
    }
}

impl From<AssistantIds> for Vec<AssistantId> {
    fn from(ids: AssistantIds) -> Self {
        ids.0
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_set_of_kinds_has_each_kind_once() {
        for bits in 1..=ChannelKinds::ALL.bits() {
            let kinds = ChannelKinds::from_bits(bits).unwrap();
            let twice = kinds.iter().chain(kinds.iter());
            assert_eq!(ChannelKinds::new(twice).unwrap(), kinds);
            let single = kinds.single().map(ChannelKinds::from);
            assert_eq!(single.is_some(), bits.is_power_of_two());
            assert!(single.is_none_or(|single| single == kinds));
        }
        assert_eq!(ChannelKinds::from_bits(0), None);
        assert_eq!(ChannelKinds::from_bits(16), None);
        assert_eq!(ChannelKinds::NONE.single(), None);
    }

    #[test]
    fn a_set_of_assistants_has_1_to_20() {
        let ids = |count: u128| (0..count).map(|number| AssistantId::new(Uuid::from_u128(number)));
        assert_eq!(AssistantIds::new(ids(20).chain(ids(20))).unwrap().as_slice().len(), 20);
        for count in [0, 21, 1_000] {
            let message = AssistantIds::new(ids(count)).unwrap_err().to_string();
            assert_eq!(message, "assistant_id must have 1 to 20 values", "{count}");
        }
        let one = AssistantIds::from(AssistantId::new(Uuid::nil()));
        assert_eq!(one.as_slice(), [AssistantId::new(Uuid::nil())]);
    }
}
