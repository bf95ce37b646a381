//! Sequences: numbers that are assigned once, in order, of users, changes and assistants; and the
//! times of the last retention pass.

use crate::encoding::key::NumberKey;
use crate::error::{Error, Result};
use crate::kv::table_spec::TableSpec;
use crate::model::id::UserId;
use crate::model::timestamp::Timestamp;
use crate::tables::schema::{Bytes, SEQUENCES, Sequences};

/// The numbers of users; the user 0 stands for the store.
const USERS: NumberKey = NumberKey { user: UserId::new(0), number: 1 };

/// The time of the last retention pass, in milliseconds.
const RETENTION: NumberKey = NumberKey { user: UserId::new(0), number: 5 };

/// The creation time up to which the last retention pass deleted conversations, in milliseconds.
const RETENTION_LIMIT: NumberKey = NumberKey { user: UserId::new(0), number: 6 };

/// The numbers of the user's changes.
pub(crate) const fn changes(user: UserId) -> NumberKey {
    NumberKey { user, number: 2 }
}

/// The numbers of the user's trimmed changes.
const fn trimmed(user: UserId) -> NumberKey {
    NumberKey { user, number: 3 }
}

/// The numbers of the user's deleted assistants.
const fn deleted_assistants(user: UserId) -> NumberKey {
    NumberKey { user, number: 4 }
}

impl Sequences {
    /// The number of the newest user, who may be deleted; 0 before the first.
    pub(crate) fn last_user(&self) -> Result<u64> {
        self.last(USERS)
    }

    /// Assigns the next user's number.
    pub(crate) fn next_user(&mut self) -> Result<UserId> {
        let next = self.last_user()? + 1;
        let user = u32::try_from(next).map_err(|_| Error::Invalid {
            field: "user",
            reason: "must be one of the first 4294967295",
        })?;
        self.put_last_user(next);
        Ok(UserId::new(user))
    }

    pub(crate) fn put_last_user(&mut self, number: u64) {
        self.put(USERS, number);
    }

    /// The number of the user's newest change; 0 before the first.
    pub(crate) fn last_change(&self, user: UserId) -> Result<u64> {
        self.last(changes(user))
    }

    pub(crate) fn put_last_change(&mut self, user: UserId, number: u64) {
        self.put(changes(user), number);
    }

    /// The number of the newest of the user's trimmed changes; 0 if none was trimmed.
    pub(crate) fn last_trimmed(&self, user: UserId) -> Result<u64> {
        self.last(trimmed(user))
    }

    pub(crate) fn put_last_trimmed(&mut self, user: UserId, number: u64) {
        self.put(trimmed(user), number);
    }

    /// The highest number of the user's deleted assistants; 0 if none was deleted.
    pub(crate) fn last_deleted_assistant(&self, user: UserId) -> Result<u32> {
        let number = self.last(deleted_assistants(user))?;
        let what = "an assistant's number is out of range";
        u32::try_from(number).map_err(|_| SEQUENCES.corrupted(what))
    }

    pub(crate) fn put_last_deleted_assistant(&mut self, user: UserId, number: u32) {
        self.put(deleted_assistants(user), u64::from(number));
    }

    /// The time of the last retention pass.
    pub(crate) fn last_retention(&self) -> Result<Option<Timestamp>> {
        self.time(RETENTION)
    }

    pub(crate) fn put_last_retention(&mut self, at: Timestamp) {
        self.put(RETENTION, at.millis());
    }

    /// The creation time up to which the last retention pass deleted conversations.
    pub(crate) fn last_retention_limit(&self) -> Result<Option<Timestamp>> {
        self.time(RETENTION_LIMIT)
    }

    pub(crate) fn put_last_retention_limit(&mut self, before: Timestamp) {
        self.put(RETENTION_LIMIT, before.millis());
    }

    fn time(&self, key: NumberKey) -> Result<Option<Timestamp>> {
        let Some(stored) = self.table.get(key)? else { return Ok(None) };
        let millis = decode_number(&SEQUENCES, stored.value())?;
        let what = "a time is out of range";
        Timestamp::from_millis(millis).map(Some).map_err(|_| SEQUENCES.corrupted(what))
    }

    /// The last number of a sequence; 0 before the first. One B-tree lookup.
    fn last(&self, key: NumberKey) -> Result<u64> {
        let stored = self.table.get(key)?;
        stored.map_or(Ok(0), |stored| decode_number(&SEQUENCES, stored.value()))
    }

    fn put(&mut self, key: NumberKey, number: u64) {
        self.table.put(key, &number.to_be_bytes());
    }
}

/// Decodes a number that is the value of `table`.
pub(crate) fn decode_number(table: &TableSpec<NumberKey, Bytes>, stored: &[u8]) -> Result<u64> {
    let bytes = stored.try_into().map_err(|_| table.corrupted("a number is not 8 bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}
