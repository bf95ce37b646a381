//! Numbers that are given once: of users, in the order in which they were made, and of the changes
//! of each user's conversations, in the order in which they were committed.

use crate::encoding::key::NumberKey;
use crate::error::{Error, Result};
use crate::model::id::UserId;
use crate::tables::schema::names;
use crate::tables::{Records, Tables};

/// The numbers of users, which are the store's.
const USERS: NumberKey = NumberKey { user: UserId::new(0), number: 1 };

/// The numbers of the user's changes.
pub(crate) const fn changes(user: UserId) -> NumberKey {
    NumberKey { user, number: 2 }
}

/// Those of them that were forgotten.
const fn forgotten(user: UserId) -> NumberKey {
    NumberKey { user, number: 3 }
}

/// The numbers of the user's deleted assistants.
const fn deleted_assistants(user: UserId) -> NumberKey {
    NumberKey { user, number: 4 }
}

/// A number as it is stored.
pub(crate) fn number(stored: &[u8], table: &'static str) -> Result<u64> {
    let what = "a number is not 8 bytes";
    let bytes = stored.try_into().map_err(|_| Error::Corrupted { table, what })?;
    Ok(u64::from_be_bytes(bytes))
}

/// The last number that was given; 0 before the first.
fn last(sequences: &Records<NumberKey>, key: NumberKey) -> Result<u64> {
    let stored = sequences.get(key)?;
    stored.map_or(Ok(0), |stored| number(stored.value(), names::SEQUENCES))
}

/// The number of the newest user, who may be gone; 0 before the first.
pub(crate) fn last_user(sequences: &Records<NumberKey>) -> Result<u64> {
    last(sequences, USERS)
}

/// Gives the next user's number.
pub(crate) fn take_user(tables: &mut Tables) -> Result<UserId> {
    let next = last_user(&tables.sequences)? + 1;
    let user = u32::try_from(next).map_err(|_| Error::Invalid {
        field: "user",
        reason: "must be one of the first 4294967295",
    })?;
    tables.sequences.put(USERS, &next.to_be_bytes());
    Ok(UserId::new(user))
}

/// The number of the user's newest change; 0 before the first.
pub(crate) fn last_change(sequences: &Records<NumberKey>, user: UserId) -> Result<u64> {
    last(sequences, changes(user))
}

pub(crate) fn put_last_change(tables: &mut Tables, user: UserId, number: u64) {
    tables.sequences.put(changes(user), &number.to_be_bytes());
}

/// The number of the newest of the user's changes that were forgotten; 0 while none were.
pub(crate) fn last_forgotten(sequences: &Records<NumberKey>, user: UserId) -> Result<u64> {
    last(sequences, forgotten(user))
}

pub(crate) fn put_last_forgotten(tables: &mut Tables, user: UserId, number: u64) {
    tables.sequences.put(forgotten(user), &number.to_be_bytes());
}

/// The highest number of the user's deleted assistants; 0 if none was deleted.
pub(crate) fn last_deleted_assistant(sequences: &Records<NumberKey>, user: UserId) -> Result<u32> {
    let number = last(sequences, deleted_assistants(user))?;
    let what = "an assistant's number is out of range";
    u32::try_from(number).map_err(|_| Error::Corrupted { table: names::SEQUENCES, what })
}

pub(crate) fn put_last_deleted_assistant(tables: &mut Tables, user: UserId, number: u32) {
    tables.sequences.put(deleted_assistants(user), &u64::from(number).to_be_bytes());
}
