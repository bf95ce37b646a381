//! Erasure marks: which erasures are unfinished, in the table `meta`.
//!
//! An erasure is marked, durably, before its first deletion. Once everything is deleted, the mark
//! says so; the deleted bytes are still in the file. A copy of the live data contains none of them,
//! so a compaction leaves such marks out, and with them the last trace of the erasure.
//!
//! ```text
//! name  | "erasure." | user u32 | shape u8 | fingerprint u64 of each field of the shape
//! value | stage u8: 1 deleting, 2 deleted  | since u64, ms
//! ```
//!
//! Big-endian. Without fields the user is erased, else the conversations with these values. Values
//! are fingerprints, as in index terms: a mark contains no personal data.

use redb::WriteTransaction;

use crate::encoding::index_term::{Field, Fingerprint, Fingerprints, Shape};
use crate::error::{Error, Result, from_redb};
use crate::kv::catch_panic::catch_read_fault;
use crate::model::id::UserId;
use crate::model::timestamp::Timestamp;
use crate::tables::meta::{self, Meta};

const PREFIX: &[u8] = b"erasure.";
const DELETING: u8 = 1;
const DELETED: u8 = 2;

/// A mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErasureMark {
    pub(crate) user: UserId,
    /// The fields of the erased conversations; none if the user is erased.
    pub(crate) fields: Fingerprints,
    pub(crate) since: Timestamp,
    /// Whether nothing remains to be deleted.
    pub(crate) deleted: bool,
}

impl ErasureMark {
    /// Whether the whole user is erased.
    pub(crate) fn is_of_user(&self) -> bool {
        self.fields.shape() == Shape::EMPTY
    }

    fn name(&self) -> Vec<u8> {
        let mut name = prefix_of(self.user);
        name.push(self.fields.shape().bits());
        for field in self.fields.shape().fields() {
            let value = self.fields.get(field).unwrap_or_default();
            name.extend(value.bits().to_be_bytes());
        }
        name
    }

    fn decode(name: &[u8], value: &[u8]) -> Option<Self> {
        let (user, name) = name.strip_prefix(PREFIX)?.split_first_chunk()?;
        let (shape, mut name) = name.split_first()?;
        let mut fields = Fingerprints::default();
        for field in Shape::from_bits(*shape).fields() {
            let (bits, rest) = name.split_first_chunk()?;
            fields.set(field, Fingerprint::from_bits(u64::from_be_bytes(*bits)));
            name = rest;
        }
        let (stage, since) = value.split_first()?;
        let since = Timestamp::from_millis(u64::from_be_bytes(since.try_into().ok()?)).ok()?;
        let is_whole = name.is_empty() && fields.shape().bits() == *shape;
        let deleted = match *stage {
            DELETING => false,
            DELETED => true,
            _ => return None,
        };
        let user = UserId::new(u32::from_be_bytes(*user));
        is_whole.then_some(Self { user, fields, since, deleted })
    }
}

fn prefix_of(user: UserId) -> Vec<u8> {
    [PREFIX, &user.get().to_be_bytes()].concat()
}

/// All marks, by user.
pub(crate) fn all(meta: &Meta) -> Result<Vec<ErasureMark>> {
    catch_read_fault(|| {
        let mut marks = Vec::new();
        for entry in meta.range(PREFIX..).map_err(from_redb)? {
            let (name, value) = entry.map_err(from_redb)?;
            if !name.value().starts_with(PREFIX) {
                break;
            }
            let what = "an erasure mark is damaged";
            let mark = ErasureMark::decode(name.value(), value.value());
            marks.push(mark.ok_or(Error::Corrupted { table: "meta", what })?);
        }
        Ok(marks)
    })
}

/// Writes a mark. A mark that the whole user is deleted replaces all of the user's.
pub(crate) fn put(write: &WriteTransaction, mark: &ErasureMark) -> Result<()> {
    let mut meta = write.open_table(meta::TABLE).map_err(from_redb)?;
    if mark.is_of_user() && mark.deleted {
        let prefix = prefix_of(mark.user);
        meta.retain_in(prefix.as_slice().., |name, _| !name.starts_with(&prefix))
            .map_err(from_redb)?;
    }
    let stage = if mark.deleted { DELETED } else { DELETING };
    let value = [&[stage][..], &mark.since.millis().to_be_bytes()].concat();
    meta.insert(mark.name().as_slice(), value.as_slice()).map_err(from_redb)?;
    Ok(())
}

/// Whether this entry of `meta` is a mark that a copy of the live data leaves out.
pub(crate) fn ends_with_a_copy(name: &[u8], value: &[u8]) -> bool {
    ErasureMark::decode(name, value).is_some_and(|mark| mark.deleted)
}

/// Whether a row with these fingerprints is one that the mark erases.
pub(crate) fn matches(marked: &Fingerprints, row: &Fingerprints) -> bool {
    Field::ALL.into_iter().all(|field| match marked.get(field) {
        Some(value) => row.get(field) == Some(value),
        None => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::RawStore;

    fn mark(user: u32, fields: &[(Field, u64)], deleted: bool) -> ErasureMark {
        let mut fingerprints = Fingerprints::default();
        for (field, value) in fields {
            fingerprints.set(*field, Fingerprint::from_bits(*value));
        }
        let since = Timestamp::from_millis(1_737_800_000_000).unwrap();
        ErasureMark { user: UserId::new(user), fields: fingerprints, since, deleted }
    }

    #[test]
    fn marks_are_read_as_they_were_written() {
        let store = RawStore::new();
        let written = [
            mark(1, &[], false),
            mark(1, &[(Field::Customer, 7)], true),
            mark(1, &[(Field::Assistant, 1), (Field::External, u64::MAX)], false),
            mark(256, &[(Field::Customer, 7)], false),
        ];
        store.write(|write| written.iter().try_for_each(|mark| put(write, mark)).unwrap());
        let read = || all(&meta::open(&store.read()).unwrap()).unwrap();
        assert_eq!(read(), written);
        // The user's own erasure, once it has deleted everything, includes the others.
        store.write(|write| put(write, &mark(1, &[], true)).unwrap());
        assert_eq!(read(), [mark(1, &[], true), written[3]]);
        let left_out = |stage: u8| {
            let value = [&[stage][..], &[0; 8]].concat();
            ends_with_a_copy(&written[0].name(), &value)
        };
        assert!(left_out(DELETED) && !left_out(DELETING));
        assert!(meta::secrets(&store.read()).is_ok());
    }

    #[test]
    fn damaged_marks_are_refused() {
        let name = mark(1, &[(Field::Customer, 7)], true).name();
        let value = [&[DELETED][..], &[0; 8]].concat();
        assert!(ErasureMark::decode(&name, &value).is_some());
        for end in 0..name.len() {
            assert_eq!(ErasureMark::decode(&name[..end], &value), None);
        }
        for wrong in [&value[..8], &[], &[0; 9], &[3; 9], &[DELETED; 9], &[0; 10]] {
            assert_eq!(ErasureMark::decode(&name, wrong), None, "{wrong:?}");
        }
        let longer = [&name[..], &[0]].concat();
        assert_eq!(ErasureMark::decode(&longer, &value), None);
    }
}
