//! Records: what a row's value is on disk. The only file that knows bincode.
//!
//! ```text
//! | version u8 | body | checksum u64, little-endian |
//! ```
//!
//! The body of a conversation is flat, see `encoding/row.rs`; that of the others is bincode 2,
//! fixed-width little-endian.
//!
//! The checksum is xxh3-64 of version and body, exclusive-or xxh3-64 of the row's key, and is
//! verified on each read: redb does not verify its pages' checksums when it reads, and a record
//! that a damaged page shows under another key must not be believed either.
//! Decoding borrows from the record and never panics.

use bincode::{BorrowDecode, Decode, Encode};
use xxhash_rust::xxh3::xxh3_64;

use crate::encoding::key::{FixedKey, MessageKey};
use crate::model::cost::Cost;
use crate::model::message::{Message, Role};
use crate::model::timestamp::Timestamp;

/// The version that every record is written with.
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 8;
const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Fixint,
> = bincode::config::standard().with_fixed_int_encoding();

/// What does not hold in a damaged record.
pub(crate) type Damage = &'static str;

/// Appends the record of the row `key`, whose body `write` appends.
pub(crate) fn seal<K: FixedKey>(key: &K, record: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = record.len();
    record.push(VERSION);
    write(record);
    let checksum = checksum(key, &record[start..]);
    record.extend_from_slice(&checksum.to_le_bytes());
}

fn encode(body: impl Encode, record: &mut Vec<u8>) {
    bincode::encode_into_std_write(body, record, CONFIG)
        .unwrap_or_else(|error| unreachable!("plain fields into memory always encode: {error}"));
}

/// Appends the record of row `from` as that of row `to`: the same version and body.
pub(crate) fn rekey<K: FixedKey>(record: &[u8], from: &K, to: &K, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(record);
    if from == to {
        return;
    }
    if let Some(stored) = out[start..].last_chunk_mut::<CHECKSUM_BYTES>() {
        let checksum = u64::from_le_bytes(*stored) ^ key_hash(from) ^ key_hash(to);
        *stored = checksum.to_le_bytes();
    }
}

fn checksum<K: FixedKey>(key: &K, sealed: &[u8]) -> u64 {
    xxh3_64(sealed) ^ key_hash(key)
}

fn key_hash<K: FixedKey>(key: &K) -> u64 {
    xxh3_64(key.encode().as_ref())
}

/// Checks a record of the row `key` and gives its version and body.
pub(crate) fn open<'a, K: FixedKey>(key: &K, record: &'a [u8]) -> Result<Body<'a>, Damage> {
    let (sealed, stored) =
        record.split_last_chunk::<CHECKSUM_BYTES>().ok_or("a record is too short")?;
    if checksum(key, sealed) != u64::from_le_bytes(*stored) {
        return Err("a record's checksum does not match");
    }
    match sealed.split_first() {
        Some((&VERSION, _)) => Ok(Body(sealed)),
        Some(_) => Err("a record has an unknown version"),
        None => Err("a record is too short"),
    }
}

/// The decoded value, if all of the body was read for it.
fn whole<T>(
    decoded: Result<(T, usize), bincode::error::DecodeError>,
    body: &[u8],
) -> Result<T, Damage> {
    match decoded {
        Ok((value, read)) if read == body.len() => Ok(value),
        Ok(_) => Err("a record has bytes after its end"),
        Err(_) => Err("a record does not decode"),
    }
}

/// A record whose checksum was verified: version and body.
#[derive(Clone, Copy)]
pub(crate) struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    /// The bytes of a body that [`open`] gave and that were copied since.
    pub(crate) const fn reopened(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The body without its version.
    pub(super) fn fields(self) -> &'a [u8] {
        self.0.get(1..).unwrap_or_default()
    }

    fn decode<T: BorrowDecode<'a, ()>>(self) -> Result<T, Damage> {
        let body = self.fields();
        whole(bincode::borrow_decode_from_slice(body, CONFIG), body)
    }

    /// The message.
    pub(crate) fn message(self) -> Result<Message, Damage> {
        let MessageV1 { role, content, function_calls, cost, created_at } = self.decode()?;
        let role = match role {
            0 => Role::User,
            1 => Role::Assistant,
            2 => Role::System,
            _ => return Err("a message has an unknown role"),
        };
        Ok(Message::from_stored(
            role,
            content.to_owned(),
            function_calls.map(str::to_owned),
            Cost::from_nanos(cost),
            instant(created_at)?,
        ))
    }
}

pub(super) fn instant(millis: u64) -> Result<Timestamp, Damage> {
    Timestamp::from_millis(millis).map_err(|_| "a record has a time out of range")
}

// ---- messages ----------------------------------------------------------------------------------

#[derive(Encode, BorrowDecode)]
struct MessageV1<'a> {
    role: u8,
    content: &'a str,
    function_calls: Option<&'a str>,
    cost: i64,
    created_at: u64,
}

/// Appends the record of a message whose row is `key` to `record`.
pub(crate) fn encode_message<S: AsRef<str>>(
    key: MessageKey,
    message: &Message<S>,
    record: &mut Vec<u8>,
) {
    let body = MessageV1 {
        role: match message.role() {
            Role::User => 0,
            Role::Assistant => 1,
            Role::System => 2,
        },
        content: message.content(),
        function_calls: message.function_calls(),
        cost: message.cost().nanos(),
        created_at: message.created_at().millis(),
    };
    seal(&key, record, |record| encode(body, record));
}

// ---- accounts ----------------------------------------------------------------------------------

/// The record of a user, an assistant or a token: its name or label, a number (an assistant's own,
/// a token's user; a user's stands in its key and is 0 here), and when it was created.
#[derive(Clone, Encode, BorrowDecode)]
pub(crate) struct AccountV1<'a> {
    pub(crate) name: &'a str,
    pub(crate) number: u32,
    pub(crate) created_at: u64,
}

// ---- totals ------------------------------------------------------------------------------------

/// The record of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct CounterV1 {
    pub(crate) conversations: i64,
    pub(crate) messages: i64,
    pub(crate) cost_nanos: i128,
}

// ---- changes and answers -----------------------------------------------------------------------

/// The record of a change: what happened (1 created, 2 updated, 3 deleted), to which conversation,
/// and where that stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ChangeV1 {
    pub(crate) kind: u8,
    pub(crate) conversation: [u8; 16],
    pub(crate) position: u64,
}

/// The record of what a write with an idempotency key came to: BLAKE3 of what was asked, what was
/// answered, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct AnswerV1<'a> {
    pub(crate) request: [u8; 32],
    pub(crate) answer: &'a [u8],
    pub(crate) at: u64,
}

/// The record of a small row: an account, a counter, a change or an answer.
pub(crate) fn encode_small<K: FixedKey>(key: &K, value: impl Encode) -> Vec<u8> {
    let mut record = Vec::with_capacity(64);
    append_small(key, value, &mut record);
    record
}

/// Appends the record of a small row.
pub(crate) fn append_small<K: FixedKey>(key: &K, value: impl Encode, record: &mut Vec<u8>) {
    seal(key, record, |record| encode(value, record));
}

/// The small row of this key, borrowed.
pub(crate) fn decode_small<'a, K: FixedKey, T: BorrowDecode<'a, ()>>(
    key: &K,
    record: &'a [u8],
) -> Result<T, Damage> {
    open(key, record)?.decode()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::key::RowKey;
    use crate::model::id::UserId;
    use crate::model::position::Position;
    use proptest::prelude::*;

    fn key() -> MessageKey {
        let at = Timestamp::from_millis(1_737_800_000_123).unwrap();
        MessageKey::new(RowKey::new(UserId::new(3), Position::first_at(at)), 4)
    }

    #[test]
    fn a_message_comes_back() {
        let key = key();
        let message = Message::new(Role::System, "hello\n\"there\"".to_owned(), Timestamp::MIN)
            .and_then(|m| m.with_function_calls("[1]".to_owned()))
            .unwrap()
            .with_cost(Cost::from_nanos(-1));
        let mut record = Vec::new();
        encode_message(key, &message, &mut record);
        assert_eq!(open(&key, &record).unwrap().message().unwrap(), message);
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = open(&key(), &bytes).and_then(Body::message);
            // And behind a checksum that holds, as a program with a fault could write it.
            let _ = Body::reopened(&bytes).message();
        }
    }
}
