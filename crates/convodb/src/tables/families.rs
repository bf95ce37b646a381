//! Index families: which of the optional indexes the store has, in the table `meta`.
//!
//! ```text
//! name  | "index." | name of the family
//! value | state u8: 1 building, 2 ready, 3 dropping, 4 dropping, then building
//!       | while building, or dropping what rows contain: next row, user u32, position u64
//! ```
//!
//! Big-endian. An absent family has no entry. While a family is built, writes keep it up as if it
//! were ready, and it has the entries of all rows before the next one. The state and the entries of
//! older rows change in the same transaction, so building continues after a crash where it was.
//!
//! A version keeps up only the families that it knows, so it refuses a store with another one.

use redb::{ReadTransaction, TableError, WriteTransaction};

use crate::encoding::index_term::{Field, Fingerprints};
use crate::encoding::key::{FixedKey, IndexKey, RowKey};
use crate::error::{Error, Result, from_redb};
use crate::model::id::UserId;
use crate::model::index_family::{IndexFamilies, IndexFamily, IndexState};
use crate::model::position::Position;
use crate::tables::meta;

const PREFIX: &str = "index.";
const BUILDING: u8 = 1;
const READY: u8 = 2;
const DROPPING: u8 = 3;
const REPLACING: u8 = 4;

/// The state of one family, with the place where building continues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FamilyState {
    #[default]
    Absent,
    /// Rows before this key have their entries.
    Building(RowKey),
    Ready,
    Dropping {
        /// Rows before this key have nothing of the family any more.
        next: RowKey,
        /// Whether it is built anew afterwards.
        rebuild: bool,
    },
}

impl FamilyState {
    /// The state of a family before its first step.
    pub(crate) fn begin() -> Self {
        Self::Building(first_row())
    }

    /// The state after everything of the family was removed.
    pub(crate) fn removed(rebuild: bool) -> Self {
        if rebuild { Self::begin() } else { Self::Absent }
    }

    /// The state after the family was asked for.
    pub(crate) fn added(self) -> Self {
        match self {
            Self::Absent => Self::begin(),
            Self::Dropping { next, .. } => Self::Dropping { next, rebuild: true },
            Self::Building(_) | Self::Ready => self,
        }
    }

    /// The state after the family was given up.
    pub(crate) fn dropped(self) -> Self {
        match self {
            Self::Absent => Self::Absent,
            Self::Dropping { next, .. } => Self::Dropping { next, rebuild: false },
            Self::Building(_) | Self::Ready => Self::Dropping { next: first_row(), rebuild: false },
        }
    }

    /// The state without the place.
    pub(crate) const fn public(self) -> IndexState {
        match self {
            Self::Absent => IndexState::Absent,
            Self::Building(_) => IndexState::Building,
            Self::Ready => IndexState::Ready,
            Self::Dropping { .. } => IndexState::Dropping,
        }
    }

    fn encode(self) -> Option<Vec<u8>> {
        match self {
            Self::Absent => None,
            Self::Building(next) => Some([&[BUILDING][..], next.encode().as_ref()].concat()),
            Self::Ready => Some(vec![READY]),
            Self::Dropping { next, rebuild } => {
                let state = if rebuild { REPLACING } else { DROPPING };
                Some(match next == first_row() {
                    true => vec![state],
                    false => [&[state][..], next.encode().as_ref()].concat(),
                })
            }
        }
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let (state, next) = value.split_first()?;
        let place = match next.len() {
            0 => None,
            RowKey::WIDTH => Some(RowKey::decode(next)),
            _ => return None,
        };
        let dropping = |rebuild| Self::Dropping { next: place.unwrap_or_else(first_row), rebuild };
        match (*state, place) {
            (BUILDING, Some(next)) => Some(Self::Building(next)),
            (READY, None) => Some(Self::Ready),
            (DROPPING, _) => Some(dropping(false)),
            (REPLACING, _) => Some(dropping(true)),
            _ => None,
        }
    }
}

/// A key before those of all rows.
fn first_row() -> RowKey {
    RowKey::decode(&[])
}

/// The state of every family, as of one commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Families([FamilyState; IndexFamily::ALL.len()]);

impl Families {
    /// Reads the states; none is there in a file without `meta` entries of families.
    pub(crate) fn open(read: &ReadTransaction) -> Result<Self> {
        let meta = match read.open_table(meta::TABLE) {
            Ok(meta) => meta,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Self::default()),
            Err(error) => return Err(from_redb(error)),
        };
        let mut families = Self::default();
        for family in IndexFamily::ALL {
            if let Some(stored) = meta.get(name(family).as_bytes()).map_err(from_redb)? {
                let what = "the state of an index family is damaged";
                let state = FamilyState::decode(stored.value());
                families.0[family as usize] =
                    state.ok_or(Error::Corrupted { table: "meta", what })?;
            }
        }
        Ok(families)
    }

    pub(crate) const fn get(&self, family: IndexFamily) -> FamilyState {
        self.0[family as usize]
    }

    /// The families that are neither ready nor absent.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = (IndexFamily, FamilyState)> + '_ {
        let states = IndexFamily::ALL.into_iter().map(|family| (family, self.get(family)));
        states.filter(|(_, state)| {
            matches!(state, FamilyState::Building(_) | FamilyState::Dropping { .. })
        })
    }

    /// Whether writes keep the family up.
    pub(crate) const fn is_kept(&self, family: IndexFamily) -> bool {
        matches!(self.get(family), FamilyState::Building(_) | FamilyState::Ready)
    }

    /// The key before which writes keep up what the rows add to the family `counters`: `None` if
    /// none do.
    pub(crate) fn counted_before(&self) -> Option<RowKey> {
        match self.get(IndexFamily::Counters) {
            FamilyState::Building(next) => Some(next),
            // No timestamp has this position.
            FamilyState::Ready => {
                Some(RowKey::new(UserId::new(u32::MAX), Position::from_bits(u64::MAX)))
            }
            FamilyState::Absent | FamilyState::Dropping { .. } => None,
        }
    }

    /// Whether the entries of a row in the family are known: all or none of those that the row
    /// requires.
    pub(crate) fn covers(&self, family: IndexFamily, row: RowKey) -> bool {
        match self.get(family) {
            FamilyState::Absent | FamilyState::Ready => true,
            FamilyState::Building(next) => row < next,
            FamilyState::Dropping { .. } => false,
        }
    }

    /// Whether an entry led by this field must be one that its row requires.
    pub(crate) fn covers_entry(&self, leading: Field, key: IndexKey) -> bool {
        let row = RowKey::new(key.user, key.position);
        leading.family().is_none_or(|family| self.covers(family, row))
    }

    /// Whether a row must have entries of the family.
    pub(crate) fn must_have(&self, family: IndexFamily, row: RowKey) -> bool {
        self.is_kept(family) && self.covers(family, row)
    }

    /// The fingerprints that the entries of a row must have.
    pub(crate) fn expected(&self, key: RowKey, row: Fingerprints) -> Fingerprints {
        restricted(row, |family| self.must_have(family, key))
    }

    /// Fails unless the family answers.
    ///
    /// # Errors
    /// [`Error::IndexAbsent`] or [`Error::IndexBuilding`].
    pub(crate) const fn require(&self, family: IndexFamily) -> Result<()> {
        let index = family.as_str();
        match self.get(family) {
            FamilyState::Ready => Ok(()),
            FamilyState::Building(_) => Err(Error::IndexBuilding { index }),
            FamilyState::Absent | FamilyState::Dropping { .. } => Err(Error::IndexAbsent { index }),
        }
    }

    /// The fingerprints of a row that the store keeps entries for.
    pub(crate) fn kept(&self, row: Fingerprints) -> Fingerprints {
        restricted(row, |family| self.is_kept(family))
    }
}

/// The fingerprints without those of other families.
fn restricted(row: Fingerprints, has: impl Fn(IndexFamily) -> bool) -> Fingerprints {
    Field::ALL.into_iter().fold(row, |row, field| match field.family() {
        Some(family) if !has(family) => row.without(field),
        _ => row,
    })
}

/// Fails if the file has a family that this version does not know.
///
/// # Errors
/// [`Error::UnknownIndex`].
pub(crate) fn check_known(read: &ReadTransaction) -> Result<()> {
    let meta = meta::open(read)?;
    for entry in meta.range(PREFIX.as_bytes()..).map_err(from_redb)? {
        let (name, _) = entry.map_err(from_redb)?;
        let Some(index) = name.value().strip_prefix(PREFIX.as_bytes()) else { break };
        if !IndexFamily::ALL.into_iter().any(|family| family.as_str().as_bytes() == index) {
            return Err(Error::UnknownIndex { index: String::from_utf8_lossy(index).into_owned() });
        }
    }
    Ok(())
}

fn name(family: IndexFamily) -> String {
    format!("{PREFIX}{family}")
}

/// Writes the state of a family.
pub(crate) fn put(write: &WriteTransaction, family: IndexFamily, state: FamilyState) -> Result<()> {
    let mut table = write.open_table(meta::TABLE).map_err(from_redb)?;
    match state.encode() {
        Some(value) => table.insert(name(family).as_bytes(), &*value).map_err(from_redb)?,
        None => table.remove(name(family).as_bytes()).map_err(from_redb)?,
    };
    Ok(())
}

/// Writes that a new store has these families.
pub(crate) fn put_ready(write: &WriteTransaction, families: IndexFamilies) -> Result<()> {
    families.iter().try_for_each(|family| put(write, family, FamilyState::Ready))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::RawStore;

    #[test]
    fn states_are_read_as_they_were_written() {
        let store = RawStore::new();
        let next = RowKey::new(UserId::new(7), Position::from_bits(u64::MAX));
        for state in [
            FamilyState::Building(next),
            FamilyState::Ready.dropped(),
            FamilyState::Ready.dropped().added(),
            FamilyState::Dropping { next, rebuild: false },
            FamilyState::Dropping { next, rebuild: true },
            FamilyState::Ready,
            FamilyState::Absent,
            FamilyState::begin(),
        ] {
            store.write(|write| put(write, IndexFamily::AiOff, state).unwrap());
            assert_eq!(Families::open(&store.read()).unwrap().get(IndexFamily::AiOff), state);
        }
    }

    #[test]
    fn a_family_of_a_newer_version_is_refused() {
        let store = RawStore::new();
        let put = |name: &[u8]| {
            store.write(|write| {
                write.open_table(meta::TABLE).unwrap().insert(name, &[READY][..]).unwrap();
            });
        };
        put(b"indexes");
        check_known(&store.read()).unwrap();
        put(b"index.tomorrow");
        let refused = check_known(&store.read());
        assert!(matches!(&refused, Err(Error::UnknownIndex { index }) if index == "tomorrow"));
    }

    #[test]
    fn damaged_states_are_refused() {
        let building = FamilyState::begin().encode().unwrap();
        let dropping = [&[DROPPING][..], &building[1..12]].concat();
        for wrong in [&[][..], &[0], &[5], &[READY, 0], &[BUILDING], &building[..12], &dropping] {
            assert_eq!(FamilyState::decode(wrong), None, "{wrong:?}");
        }
        assert_eq!(FamilyState::decode(&[&building[..], &[0]].concat()), None);
    }
}
