//! What writes with an idempotency key came to, so that one that is sent again is not done again.

use crate::encoding::key::UuidKey;
use crate::encoding::record::{AnswerV1, decode_small, encode_small};
use crate::error::{Error, Result};
use crate::model::id::UserId;
use crate::model::text::IdempotencyKey;
use crate::model::timestamp::Timestamp;
use crate::tables::schema::names;
use crate::tables::{Records, Tables};

/// Where the answer to a key is kept. 128 bits of a hash: a user can collide with nobody else.
pub(crate) fn key(user: UserId, key: &IdempotencyKey) -> UuidKey {
    let hash = blake3::hash(key.as_str().as_bytes());
    let half = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    UuidKey { user, uuid: uuid::Uuid::from_bytes(half) }
}

fn decode(key: UuidKey, record: &[u8]) -> Result<AnswerV1<'_>> {
    decode_small(&key, record).map_err(|what| Error::Corrupted { table: names::IDEMPOTENCY, what })
}

/// The answer to a request that was done under this key, if one was. One descent.
///
/// # Errors
/// [`Error::IdempotencyConflict`] when it was another request.
pub(crate) fn find(
    answers: &Records<UuidKey>,
    key: UuidKey,
    request: &[u8; 32],
) -> Result<Option<Vec<u8>>> {
    let Some(record) = answers.get(key)? else { return Ok(None) };
    let found = decode(key, record.value())?;
    if found.request != *request {
        return Err(Error::IdempotencyConflict);
    }
    Ok(Some(found.answer.to_owned()))
}

pub(crate) fn put(
    tables: &mut Tables,
    key: UuidKey,
    request: [u8; 32],
    answer: &[u8],
    at: Timestamp,
) {
    let record = encode_small(&key, AnswerV1 { request, answer, at: at.millis() });
    tables.idempotency.put(key, &record);
}

/// When the answer of a record was given.
pub(crate) fn at(key: UuidKey, record: &[u8]) -> Result<u64> {
    decode(key, record).map(|answer| answer.at)
}

/// Those that are older than `before`, at most `limit`. A step for each that there is.
pub(crate) fn older(
    answers: &Records<UuidKey>,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<UuidKey>> {
    let mut older = Vec::new();
    for entry in answers.iter()? {
        let (key, record) = entry?;
        if at(key, record.value())? < before.millis() {
            older.push(key);
            if older.len() == limit {
                break;
            }
        }
    }
    Ok(older)
}
