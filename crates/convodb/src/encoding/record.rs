//! Records: the bytes of stored values, with a version and a checksum.
//!
//! The only file that uses bincode.
//!
//! ```text
//! | version u8 | body | checksum u64, little-endian | appendix, of version 3 |
//! ```
//!
//! Version 3 is version 1 with an [`Appendix`], which only rows have.
//! Access tokens and changes have records of version 2, too, and counters have them alone; all others
//! are of version 1.
//!
//! The body of a conversation is a flat layout (`encoding/row.rs`), and that of counters has integers
//! of variable length (`encoding/counter.rs`). All other bodies are bincode 2 with fixed-width
//! little-endian integers.
//!
//! The checksum is xxh3-64 of version and body, exclusive-or xxh3-64 of the key. Every read
//! verifies it, because redb does not verify the checksums of its pages when it reads. It includes
//! the key, so that a record that a damaged page returns under another key is detected too.
//! Decoding borrows from the record and never panics.

use bincode::{BorrowDecode, Decode, Encode};
use xxhash_rust::xxh3::xxh3_64;

use crate::encoding::key::{FixedKey, MessageKey};
use crate::model::cost::Cost;
use crate::model::message::{Message, Role};
use crate::model::timestamp::Timestamp;

/// The first version, which every kind of record has.
pub(crate) const V1: u8 = 1;
/// The second version, of counters and of some access tokens and changes.
pub(crate) const V2: u8 = 2;
/// The version of a record with an [`Appendix`], whose body is one of version 1.
const V3: u8 = 3;
const CHECKSUM_BYTES: usize = 8;
const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Fixint,
> = bincode::config::standard().with_fixed_int_encoding();

/// What is wrong with a damaged record.
pub(crate) type Damage = &'static str;

/// Appends the record of `key`, whose body `write` appends.
pub(crate) fn seal<K: FixedKey>(key: &K, record: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    seal_version(V1, key, record, write);
}

/// The length of a record with a body of this length.
pub(crate) const fn sealed_len(body: usize) -> usize {
    1 + body + CHECKSUM_BYTES
}

/// [`seal`], with a version.
pub(crate) fn seal_version<K: FixedKey>(
    version: u8,
    key: &K,
    record: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let start = record.len();
    record.push(version);
    write(record);
    let checksum = checksum(key, &record[start..]);
    record.extend_from_slice(&checksum.to_le_bytes());
}

/// What follows a record for those who ask for it, with a checksum of its own: reading the record
/// does not read it.
///
/// ```text
/// record of version 3 | contents | checksum u64 | length of the contents u16
/// ```
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appendix<'a> {
    /// Contents and checksum.
    sealed: &'a [u8],
}

impl<'a> Appendix<'a> {
    /// Verifies the appendix of a record of `key`, and returns its contents.
    pub(crate) fn open<K: FixedKey>(self, key: &K) -> Result<&'a [u8], Damage> {
        let (contents, stored) =
            self.sealed.split_last_chunk::<CHECKSUM_BYTES>().ok_or("an appendix is too short")?;
        match checksum(key, contents) == u64::from_le_bytes(*stored) {
            true => Ok(contents),
            false => Err("an appendix's checksum does not match"),
        }
    }
}

/// Adds an appendix, whose contents `write` appends, to the record of `key` that is `record`. The
/// contents must have less than 64 KiB.
pub(crate) fn append_appendix<K: FixedKey>(
    key: &K,
    record: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
) {
    set_version(V3, key, record);
    let start = record.len();
    write(record);
    let contents = &record[start..];
    let length = u16::try_from(contents.len());
    let length = length.unwrap_or_else(|_| unreachable!("an appendix has less than 64 KiB"));
    let checksum = checksum(key, contents);
    record.extend(checksum.to_le_bytes());
    record.extend(length.to_le_bytes());
}

/// Copies a verified record of `key` without its appendix.
pub(crate) fn without_appendix<K: FixedKey>(key: &K, record: &[u8]) -> Vec<u8> {
    let mut own = own(record).to_owned();
    set_version(V1, key, &mut own);
    own
}

/// The record without its appendix. Everything else is unverified.
pub(crate) fn own(record: &[u8]) -> &[u8] {
    split(record).map_or(record, |(own, _)| own)
}

/// Splits the appendix off a record.
#[inline]
fn split(record: &[u8]) -> Result<(&[u8], Option<Appendix<'_>>), Damage> {
    if record.first() != Some(&V3) {
        return Ok((record, None));
    }
    let too_short = "a record is too short for its appendix";
    let (rest, length) = record.split_last_chunk().ok_or(too_short)?;
    let sealed = usize::from(u16::from_le_bytes(*length)) + CHECKSUM_BYTES;
    let (own, sealed) = rest.split_at(rest.len().checked_sub(sealed).ok_or(too_short)?);
    Ok((own, Some(Appendix { sealed })))
}

fn set_version<K: FixedKey>(version: u8, key: &K, record: &mut [u8]) {
    if let Some(first) = record.first_mut() {
        *first = version;
    }
    if let Some((sealed, stored)) = record.split_last_chunk_mut::<CHECKSUM_BYTES>() {
        *stored = checksum(key, sealed).to_le_bytes();
    }
}

fn encode(body: impl Encode, record: &mut Vec<u8>) {
    bincode::encode_into_std_write(body, record, CONFIG)
        .unwrap_or_else(|error| unreachable!("plain fields into memory always encode: {error}"));
}

/// Appends a record of the key `from` as a record of the key `to`, with the same version and body.
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

/// Verifies a record of `key`, of version 1, and returns its version and body.
pub(crate) fn open<'a, K: FixedKey>(key: &K, record: &'a [u8]) -> Result<Body<'a>, Damage> {
    match open_any(key, record)? {
        body if body.version() == V1 => Ok(body),
        _ => Err("a record has an unknown version"),
    }
}

/// Verifies a record of `key`, of version 1 or 2, and returns its version and body.
pub(crate) fn open_any<'a, K: FixedKey>(key: &K, record: &'a [u8]) -> Result<Body<'a>, Damage> {
    match verified(key, record)? {
        body if matches!(body.version(), V1 | V2) => Ok(body),
        _ => Err("a record has an unknown version"),
    }
}

/// Verifies a record of `key` that may have an appendix, which stays unverified, and returns both.
#[inline]
pub(crate) fn open_extended<'a, K: FixedKey>(
    key: &K,
    record: &'a [u8],
) -> Result<(Body<'a>, Option<Appendix<'a>>), Damage> {
    let (own, appendix) = split(record)?;
    match verified(key, own)? {
        body if matches!(body.version(), V1 | V3) => Ok((body, appendix)),
        _ => Err("a record has an unknown version"),
    }
}

/// Verifies the checksums of a record of `key`, of any version, and of its appendix.
pub(crate) fn check<K: FixedKey>(key: &K, record: &[u8]) -> Result<(), Damage> {
    let (own, appendix) = split(record)?;
    verified(key, own)?;
    appendix.map_or(Ok(()), |appendix| appendix.open(key).map(drop))
}

#[inline]
fn verified<'a, K: FixedKey>(key: &K, record: &'a [u8]) -> Result<Body<'a>, Damage> {
    let (sealed, stored) =
        record.split_last_chunk::<CHECKSUM_BYTES>().ok_or("a record is too short")?;
    if checksum(key, sealed) != u64::from_le_bytes(*stored) {
        return Err("a record's checksum does not match");
    }
    match sealed.split_first() {
        Some((&(V1 | V2 | V3), _)) => Ok(Body(sealed)),
        Some(_) => Err("a record has an unknown version"),
        None => Err("a record is too short"),
    }
}

/// Returns the decoded value if decoding consumed the whole body.
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

/// A record without its checksum, which was verified: version and body.
#[derive(Clone, Copy)]
pub(crate) struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    /// A body that no checksum was verified of.
    #[cfg(test)]
    pub(crate) const fn unverified(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The version, 1 to 3.
    pub(crate) fn version(self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }

    /// The body without its version.
    pub(super) fn fields(self) -> &'a [u8] {
        self.0.get(1..).unwrap_or_default()
    }

    pub(crate) fn decode<T: BorrowDecode<'a, ()>>(self) -> Result<T, Damage> {
        let body = self.fields();
        whole(bincode::borrow_decode_from_slice(body, CONFIG), body)
    }

    /// Decodes a message.
    pub(crate) fn message(self) -> Result<Message, Damage> {
        let MessageV1 { role, content, function_calls, cost, created_at } = self.decode()?;
        Ok(Message::from_stored(
            decode_role(role)?,
            content.to_owned(),
            function_calls.map(str::to_owned),
            Cost::from_nanos(cost),
            instant(created_at)?,
        ))
    }
}

pub(crate) fn instant(millis: u64) -> Result<Timestamp, Damage> {
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

pub(super) const fn encode_role(role: Role) -> u8 {
    match role {
        Role::User => 0,
        Role::Assistant => 1,
        Role::System => 2,
        Role::Tool => 3,
    }
}

pub(super) const fn decode_role(number: u8) -> Result<Role, Damage> {
    match number {
        0 => Ok(Role::User),
        1 => Ok(Role::Assistant),
        2 => Ok(Role::System),
        3 => Ok(Role::Tool),
        _ => Err("a message has an unknown role"),
    }
}

/// Appends the record of a message to `record`.
pub(crate) fn encode_message(key: MessageKey, message: &Message, record: &mut Vec<u8>) {
    let body = MessageV1 {
        role: encode_role(message.role()),
        content: message.content(),
        function_calls: message.function_calls(),
        cost: message.cost().nanos(),
        created_at: message.created_at().millis(),
    };
    seal(&key, record, |record| encode(body, record));
}

/// The length of the record of a message.
pub(crate) fn message_record_len(message: &Message) -> usize {
    message_record_len_of(message.content().len(), message.function_calls().map(str::len))
}

/// The length of the record of a message whose content and function calls have these lengths.
pub(crate) fn message_record_len_of(content: usize, calls: Option<usize>) -> usize {
    let text = |length: usize| size_of::<u64>() + length;
    let calls = 1 + calls.map_or(0, text);
    // Role, content, function calls, cost and time.
    sealed_len(1 + text(content) + calls + 8 + 8)
}

// ---- accounts ----------------------------------------------------------------------------------

/// The body of a user, an assistant, or an access token of version 1.
///
/// `name` is the name, or empty for a token. `number` is the number of an assistant, the user of a
/// token, or whether a user is closed, 0 or 1. `created_at` is in milliseconds.
#[derive(Clone, Encode, BorrowDecode)]
pub(crate) struct AccountV1<'a> {
    pub(crate) name: &'a str,
    pub(crate) number: u32,
    pub(crate) created_at: u64,
}

/// The body of an access token of version 2. Times are in milliseconds; `scopes` has a bit for each
/// scope. `name` and `prefix` may be empty.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct TokenV2<'a> {
    pub(crate) user: u32,
    pub(crate) created_at: u64,
    pub(crate) name: &'a str,
    pub(crate) prefix: &'a str,
    pub(crate) scopes: u8,
    pub(crate) assistant: Option<[u8; 16]>,
    pub(crate) expires_at: Option<u64>,
    pub(crate) last_used_at: Option<u64>,
}

// ---- counters of formats 1 to 3 -----------------------------------------------------------------

/// The body of a counter of formats 1 to 3. Later ones are in `encoding/counter.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct CounterV1 {
    pub(crate) conversations: i64,
    pub(crate) messages: i64,
    pub(crate) cost_nanos: i128,
}

// ---- changes and idempotency records -----------------------------------------------------------

/// The body of a change: its kind (1 created, 2 updated, 3 deleted), the conversation, and the
/// position of that conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ChangeV1 {
    pub(crate) kind: u8,
    pub(crate) conversation: [u8; 16],
    pub(crate) position: u64,
}

/// The body of a change of version 2: a conversation left an assistant, because it was deleted or
/// given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ChangeV2 {
    pub(crate) change: ChangeV1,
    /// The assistant that it had.
    pub(crate) left: [u8; 16],
}

/// The body of an idempotency record: the BLAKE3 hash of the request, the response, and the time of
/// the response in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct IdempotencyV1<'a> {
    pub(crate) request: [u8; 32],
    pub(crate) response: &'a [u8],
    pub(crate) at: u64,
}

// ---- quotas --------------------------------------------------------------------------------------

/// The body of a quota: what the user's data takes, and the user's own limits. A limit of 2^64 - 1
/// is none; without one, that of the store applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct QuotaV1 {
    pub(crate) conversations: u64,
    pub(crate) bytes: u64,
    pub(crate) max_conversations: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
}

/// The body of a staged insert: the id of its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct StagedV1 {
    pub(crate) conversation: [u8; 16],
}

/// Encodes a small record: an account, a counter, a change or an idempotency record.
pub(crate) fn encode_small<K: FixedKey>(key: &K, value: impl Encode) -> Vec<u8> {
    let mut record = Vec::with_capacity(64);
    append_small(key, value, &mut record);
    record
}

/// Encodes a small record of version 2.
pub(crate) fn encode_small_v2<K: FixedKey>(key: &K, value: impl Encode) -> Vec<u8> {
    let mut record = Vec::with_capacity(128);
    append_small_v2(key, value, &mut record);
    record
}

/// Appends a small record.
pub(crate) fn append_small<K: FixedKey>(key: &K, value: impl Encode, record: &mut Vec<u8>) {
    seal(key, record, |record| encode(value, record));
}

/// Appends a small record of version 2.
pub(crate) fn append_small_v2<K: FixedKey>(key: &K, value: impl Encode, record: &mut Vec<u8>) {
    seal_version(V2, key, record, |record| encode(value, record));
}

/// Verifies and decodes a small record of `key`, borrowing from it.
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
    fn a_message_decodes_as_it_was_encoded() {
        let key = key();
        for role in Role::ALL {
            let message = Message::new(role, "hello\n\"there\"", Timestamp::MIN)
                .and_then(|message| message.with_function_calls("[1]"))
                .unwrap()
                .with_cost(Cost::from_nanos(-1));
            let mut record = Vec::new();
            encode_message(key, &message, &mut record);
            assert_eq!(open(&key, &record).unwrap().message().unwrap(), message);
            assert_eq!(message_record_len(&message), record.len());
            let message = Message::new(role, "", Timestamp::MIN).unwrap();
            record.clear();
            encode_message(key, &message, &mut record);
            assert_eq!(message_record_len(&message), record.len());
        }
    }

    /// The numbers of the roles are on disk: a change of one is a change of the format.
    #[test]
    fn the_numbers_of_the_roles_are_frozen() {
        for (number, role) in
            [Role::User, Role::Assistant, Role::System, Role::Tool].iter().enumerate()
        {
            let mut record = Vec::new();
            encode_message(key(), &Message::new(*role, "", Timestamp::MIN).unwrap(), &mut record);
            assert_eq!(usize::from(record[1]), number, "{role}");
        }
    }

    /// The record of a quota is on disk: a change of its bytes is a change of the format.
    #[test]
    fn the_bytes_of_a_quota_are_frozen() {
        let quota = QuotaV1 {
            conversations: 3,
            bytes: 258,
            max_conversations: None,
            max_bytes: Some(u64::MAX),
        };
        let record = encode_small(&UserId::new(1), quota);
        let expected =
            [&[1, 3, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0xff; 8]].concat();
        assert_eq!(record[..record.len() - CHECKSUM_BYTES], expected);
    }

    /// Records of version 2 are on disk: a change of their bytes is a change of the format.
    #[test]
    fn the_bytes_of_version_2_are_frozen() {
        let token = TokenV2 {
            user: 7,
            created_at: 1,
            name: "n",
            prefix: "p",
            scopes: 31,
            assistant: Some([9; 16]),
            expires_at: None,
            last_used_at: Some(2),
        };
        let key = UserId::new(1);
        let record = encode_small_v2(&key, token.clone());
        let expected = [
            &[2, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0][..],
            &[1, 0, 0, 0, 0, 0, 0, 0, b'n', 1, 0, 0, 0, 0, 0, 0, 0, b'p', 31, 1],
            &[9; 16],
            &[0, 1, 2, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(record[..record.len() - CHECKSUM_BYTES], expected.concat());
        assert_eq!(open_any(&key, &record).unwrap().decode::<TokenV2<'_>>().unwrap(), token);
        assert!(open(&key, &record).is_err(), "other kinds of records have version 1 alone");

        let change = ChangeV1 { kind: 3, conversation: [4; 16], position: 5 };
        let record = encode_small_v2(&key, ChangeV2 { change, left: [6; 16] });
        let expected = [&[2, 3][..], &[4; 16], &[5, 0, 0, 0, 0, 0, 0, 0], &[6; 16]];
        assert_eq!(record[..record.len() - CHECKSUM_BYTES], expected.concat());
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = open(&key(), &bytes).and_then(Body::message);
            // Also without the checksum, as a program with a bug could write the record.
            let _ = Body::unverified(&bytes).message();
        }
    }
}
