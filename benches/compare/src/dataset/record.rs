//! Keys and records of the key-value engines.
//!
//! They are as wide as convodb's and cost the same work to read: a checksum over body and key, a
//! flat body, one UTF-8 validation of all texts, then owned copies.
//!
//! ```text
//! row key    user u32 | position u64                 big-endian
//! entry key  user u32 | term u64 | position u64      big-endian
//! by activity  user u32 | term u64 | time u48 | position u64
//! record     version u8 | body | checksum u64         as in docs/file-format.md
//! ```

use anyhow::{Context, Result, bail, ensure};
use convodb_bench::row::{Row, created_at_millis, kind_number, kind_of};
use convodb_bench::sql::Key;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 8;
const AI_ENABLED: u8 = 1;
const FIRST_TEXT: u8 = 1 << 1;
const VARIABLES: u8 = 1 << 6;

/// The key of a row.
pub(crate) fn row_key(user: u32, position: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&user.to_be_bytes());
    key[4..].copy_from_slice(&position.to_be_bytes());
    key
}

/// The key of an index entry.
pub(crate) fn entry_key(user: u32, term: u64, position: u64) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&user.to_be_bytes());
    key[4..12].copy_from_slice(&term.to_be_bytes());
    key[12..].copy_from_slice(&position.to_be_bytes());
    key
}

/// The key of an entry of the index by last activity.
pub(crate) fn activity_key(user: u32, term: u64, key: Key) -> [u8; 26] {
    let mut bytes = [0; 26];
    bytes[..4].copy_from_slice(&user.to_be_bytes());
    bytes[4..12].copy_from_slice(&term.to_be_bytes());
    bytes[12..18].copy_from_slice(&key.updated_at.to_be_bytes()[2..]);
    bytes[18..].copy_from_slice(&key.position.to_be_bytes());
    bytes
}

/// The position at the end of each of these keys.
pub(crate) fn position_of(key: &[u8]) -> u64 {
    key.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Appends the record of a row.
pub(crate) fn encode(user: u32, position: u64, row: &Row, record: &mut Vec<u8>) -> Result<()> {
    let start = record.len();
    record.push(VERSION);
    let texts = [
        &row.sender_name,
        &row.sender_phone,
        &row.customer_name,
        &row.customer_phone,
        &row.external_identifier,
    ];
    let mut bits = if row.ai_enabled { AI_ENABLED } else { 0 };
    for (number, _) in texts.iter().enumerate().filter(|(_, text)| text.is_some()) {
        bits |= FIRST_TEXT << number;
    }
    bits |= if row.variables.is_some() { VARIABLES } else { 0 };
    record.extend([kind_number(row.kind), bits]);
    record.extend(row.message_count.to_le_bytes());
    record.extend(row.cost_nanos.to_le_bytes());
    record.extend(row.updated_at.to_le_bytes());
    record.extend(row.id.as_bytes());
    record.extend(row.assistant.as_bytes());
    for text in texts.into_iter().flatten() {
        record.push(u8::try_from(text.len())?);
    }
    for text in texts.into_iter().chain([&row.variables]).flatten() {
        record.extend(text.as_bytes());
    }
    let checksum = xxh3_64(&record[start..]) ^ xxh3_64(&row_key(user, position));
    record.extend_from_slice(&checksum.to_le_bytes());
    Ok(())
}

/// Decodes the record of a row.
///
/// # Errors
/// Fails if the record is damaged.
pub(crate) fn decode(user: u32, position: u64, record: &[u8]) -> Result<Row> {
    let Some((sealed, stored)) = record.split_last_chunk::<CHECKSUM_BYTES>() else {
        bail!("record is shorter than its checksum")
    };
    let checksum = xxh3_64(sealed) ^ xxh3_64(&row_key(user, position));
    ensure!(checksum == u64::from_le_bytes(*stored), "record checksum mismatch");
    let mut fields = Fields(sealed.get(1..).unwrap_or_default());
    let [kind, bits] = fields.take()?;
    let message_count = u32::from_le_bytes(fields.take()?);
    let cost_nanos = i64::from_le_bytes(fields.take()?);
    let updated_at = u64::from_le_bytes(fields.take()?);
    let (id, assistant) = (fields.take()?, fields.take()?);
    let short = (bits & !VARIABLES) >> 1;
    let count = short.count_ones() as usize;
    let (lengths, texts) = fields.0.split_at_checked(count).context("record ends early")?;
    // Validate all texts at once, as convodb does.
    let mut texts = std::str::from_utf8(texts)?;
    let mut lengths = lengths.iter();
    let mut text = |number: u8| -> Result<Option<String>> {
        if short & (1 << number) == 0 {
            return Ok(None);
        }
        let length = lengths.next().context("record ends early")?;
        let (text, rest) =
            texts.split_at_checked(usize::from(*length)).context("record ends early")?;
        texts = rest;
        Ok(Some(text.to_owned()))
    };
    Ok(Row {
        sender_name: text(0)?,
        sender_phone: text(1)?,
        customer_name: text(2)?,
        customer_phone: text(3)?,
        external_identifier: text(4)?,
        variables: (bits & VARIABLES != 0).then(|| texts.to_owned()),
        id: Uuid::from_bytes(id),
        assistant: Uuid::from_bytes(assistant),
        kind: kind_of(kind)?,
        message_count,
        cost_nanos,
        ai_enabled: bits & AI_ENABLED != 0,
        created_at: created_at_millis(position),
        updated_at,
    })
}

/// The unread fields of a record.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const W: usize>(&mut self) -> Result<[u8; W]> {
        let (field, rest) = self.0.split_first_chunk().context("record ends early")?;
        self.0 = rest;
        Ok(*field)
    }
}
