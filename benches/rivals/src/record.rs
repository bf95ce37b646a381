//! Keys and records of the engines of keys and values: as wide as convodb's, and the same work to
//! read: a checksum over body and key, bincode decoded borrowed, then owned.
//!
//! ```text
//! row key    owner u32 | position u64                 big-endian
//! entry key  owner u32 | term u64 | position u64      big-endian
//! record     version u8 | body | checksum u64         as docs/format.md has it
//! ```

use anyhow::{Result, bail, ensure};
use bincode::{BorrowDecode, Encode};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::row::{Row, kind_number, kind_of};

const VERSION: u8 = 1;
const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Fixint,
> = bincode::config::standard().with_fixed_int_encoding();

#[derive(Encode, BorrowDecode)]
struct Body<'a> {
    id: [u8; 16],
    assistant: [u8; 16],
    message_count: u32,
    cost_nanos: i64,
    ai_enabled: bool,
    updated_at: u64,
    kind: u8,
    sender_name: Option<&'a str>,
    sender_phone: Option<&'a str>,
    customer_name: Option<&'a str>,
    customer_phone: Option<&'a str>,
    external_identifier: Option<&'a str>,
    variables: Option<&'a str>,
}

/// The key of a row.
pub(crate) fn row_key(owner: u32, position: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&owner.to_be_bytes());
    key[4..].copy_from_slice(&position.to_be_bytes());
    key
}

/// The key of an index entry.
pub(crate) fn entry_key(owner: u32, term: u64, position: u64) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&owner.to_be_bytes());
    key[4..12].copy_from_slice(&term.to_be_bytes());
    key[12..].copy_from_slice(&position.to_be_bytes());
    key
}

/// The position at the end of either key.
pub(crate) fn position_of(key: &[u8]) -> u64 {
    key.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The time of creation that a position was given for.
pub(crate) const fn created_at(position: u64) -> u64 {
    position >> 22
}

/// Appends the record of a row.
pub(crate) fn encode(owner: u32, position: u64, row: &Row, record: &mut Vec<u8>) -> Result<()> {
    let start = record.len();
    record.push(VERSION);
    let body = Body {
        id: *row.id.as_bytes(),
        assistant: *row.assistant.as_bytes(),
        message_count: row.message_count,
        cost_nanos: row.cost_nanos,
        ai_enabled: row.ai_enabled,
        updated_at: row.updated_at,
        kind: kind_number(row.kind),
        sender_name: row.sender_name.as_deref(),
        sender_phone: row.sender_phone.as_deref(),
        customer_name: row.customer_name.as_deref(),
        customer_phone: row.customer_phone.as_deref(),
        external_identifier: row.external_identifier.as_deref(),
        variables: row.variables.as_deref(),
    };
    bincode::encode_into_std_write(body, record, CONFIG)?;
    let checksum = xxh3_64(&record[start..]) ^ xxh3_64(&row_key(owner, position));
    record.extend_from_slice(&checksum.to_le_bytes());
    Ok(())
}

/// The row of a record.
///
/// # Errors
/// When the record is damaged.
pub(crate) fn decode(owner: u32, position: u64, record: &[u8]) -> Result<Row> {
    let Some((sealed, stored)) = record.split_last_chunk() else { bail!("a record is too short") };
    let checksum = xxh3_64(sealed) ^ xxh3_64(&row_key(owner, position));
    ensure!(checksum == u64::from_le_bytes(*stored), "a record's checksum does not match");
    let body = sealed.get(1..).unwrap_or_default();
    let (body, _): (Body<'_>, usize) = bincode::borrow_decode_from_slice(body, CONFIG)?;
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Ok(Row {
        id: Uuid::from_bytes(body.id),
        assistant: Uuid::from_bytes(body.assistant),
        kind: kind_of(body.kind)?,
        sender_name: owned(body.sender_name),
        sender_phone: owned(body.sender_phone),
        customer_name: owned(body.customer_name),
        customer_phone: owned(body.customer_phone),
        external_identifier: owned(body.external_identifier),
        variables: owned(body.variables),
        message_count: body.message_count,
        cost_nanos: body.cost_nanos,
        ai_enabled: body.ai_enabled,
        created_at: created_at(position),
        updated_at: body.updated_at,
    })
}
