//! Numbers that are given once: of users, in the order in which they were made.

use crate::encoding::key::NumberKey;
use crate::error::{Error, Result};
use crate::model::id::UserId;
use crate::storage::schema::names;
use crate::storage::tables::{Records, Tables};

/// The numbers of users, which are the store's.
const USERS: NumberKey = NumberKey { owner: UserId::new(0), number: 1 };

/// The last number that was given; 0 before the first.
fn last(sequences: &Records<NumberKey>, key: NumberKey) -> Result<u64> {
    let Some(stored) = sequences.get(key)? else { return Ok(0) };
    let what = "a number is not 8 bytes";
    let bytes = stored.value().try_into();
    let bytes = bytes.map_err(|_| Error::Corrupted { table: names::SEQUENCES, what })?;
    Ok(u64::from_be_bytes(bytes))
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
