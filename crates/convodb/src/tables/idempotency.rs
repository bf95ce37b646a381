//! Idempotency records: the response of each keyed write, returned when the write is retried.

use crate::encoding::key::UuidKey;
use crate::encoding::record::{IdempotencyV1, decode_small, encode_small, sealed_len};
use crate::error::{Error, Result};
use crate::model::id::UserId;
use crate::model::text::IdempotencyKey;
use crate::model::timestamp::Timestamp;
use crate::tables::schema::{IDEMPOTENCY, Idempotency};

/// The table's key of an idempotency key: 128 bits of a hash, after the user's number, so that keys
/// of different users cannot collide.
pub(crate) fn key(user: UserId, key: &IdempotencyKey) -> UuidKey {
    let hash = blake3::hash(key.as_str().as_bytes());
    let half = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    UuidKey { user, uuid: uuid::Uuid::from_bytes(half) }
}

impl Idempotency {
    /// The recorded response for a key, if there is one. One B-tree lookup.
    ///
    /// # Errors
    /// [`Error::IdempotencyConflict`] if the record belongs to a different request.
    pub(crate) fn find(&self, key: UuidKey, request: &[u8; 32]) -> Result<Option<Vec<u8>>> {
        let Some(record) = self.table.get(key)? else { return Ok(None) };
        let found = decode(key, record.value())?;
        if found.request != *request {
            return Err(Error::IdempotencyConflict);
        }
        Ok(Some(found.response.to_owned()))
    }

    /// Records the response to a request.
    pub(crate) fn put(&mut self, key: UuidKey, request: [u8; 32], response: &[u8], at: Timestamp) {
        let record = IdempotencyV1 { request, response, at: at.millis() };
        self.table.put(key, &encode_small(&key, record));
    }

    /// Dates at most `limit` records that are of a time after `until` at `now`, and returns how many:
    /// the clock was corrected since, and they would be retained until that time. A step for each
    /// stored record.
    pub(crate) fn redate(
        &mut self,
        until: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<usize> {
        let mut later = Vec::new();
        for entry in self.table.iter()? {
            let (key, record) = entry?;
            let IdempotencyV1 { request, response, at } = decode(key, record.value())?;
            if at > until.millis() {
                later.push((key, request, response.to_owned()));
                if later.len() == limit {
                    break;
                }
            }
        }
        for (key, request, response) in &later {
            self.put(*key, *request, response, now);
        }
        Ok(later.len())
    }

    /// Removes at most `limit` records that are older than `before`, and returns the user and the
    /// length of each, in the order of users. A step for each stored record.
    pub(crate) fn expire(
        &mut self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<(UserId, usize)>> {
        let mut older = Vec::new();
        for entry in self.table.iter()? {
            let (key, record) = entry?;
            if recorded_at(key, record.value())? < before.millis() {
                older.push((key, record.value().len()));
                if older.len() == limit {
                    break;
                }
            }
        }
        older.iter().try_for_each(|(key, _)| self.table.remove(*key))?;
        Ok(older.into_iter().map(|(key, length)| (key.user, length)).collect())
    }
}

/// The length of the record of a response.
pub(crate) fn record_len(response: &[u8]) -> usize {
    // The hash of the request, the response with its length, and the time.
    sealed_len(32 + size_of::<u64>() + response.len() + 8)
}

/// Decodes the record of a response. Verifies its checksum.
pub(crate) fn decode(key: UuidKey, record: &[u8]) -> Result<IdempotencyV1<'_>> {
    decode_small(&key, record).map_err(|what| IDEMPOTENCY.corrupted(what))
}

/// The time of a record, in milliseconds since 1970-01-01.
pub(crate) fn recorded_at(key: UuidKey, record: &[u8]) -> Result<u64> {
    decode(key, record).map(|record| record.at)
}
