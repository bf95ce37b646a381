//! What a store knows of itself: `meta`, from a name to bytes.
//!
//! | name | value |
//! |---|---|
//! | `magic` | `convodb` |
//! | `format` | u32, big-endian |
//! | `secret.fingerprints` | 32 bytes: the key of all fingerprints; never changes |
//! | `secret.cursors.N` | 32 bytes: the N-th key that seals cursors, N from 1; the highest seals |
//! | `next_user` | u32, big-endian: the next user's number; never given twice |

use redb::{ReadTransaction, ReadableTable, TableError, WriteTransaction};

use crate::encoding::term::Field;
use crate::error::{Error, Result};
use crate::model::id::UserId;
use crate::storage::schema::{self, META};

const MAGIC: &[u8] = b"convodb";
const MAGIC_NAME: &[u8] = b"magic";
const FORMAT_NAME: &[u8] = b"format";
const FINGERPRINTS_NAME: &[u8] = b"secret.fingerprints";
const NEXT_USER_NAME: &[u8] = b"next_user";

/// A secret of one database.
pub(crate) type Secret = [u8; 32];

/// The secrets of a store.
#[derive(Clone)]
pub(crate) struct Secrets {
    pub(crate) fingerprints: Secret,
    /// The keys that seal cursors, oldest first; the last one seals.
    pub(crate) cursors: Vec<Secret>,
}

/// Makes every table, so that a reader finds them all, and writes what the store knows of itself.
pub(crate) fn initialize(write: &WriteTransaction) -> Result<()> {
    write.open_table(schema::CONVERSATIONS)?;
    write.open_table(schema::CONVERSATION_IDS)?;
    for leading in Field::ALL {
        write.open_table(schema::index(leading))?;
    }
    write.open_table(schema::MESSAGES)?;
    write.open_table(schema::TOTALS)?;
    write.open_table(schema::USERS)?;
    write.open_table(schema::USER_NAMES)?;
    write.open_table(schema::ASSISTANTS)?;
    write.open_table(schema::ASSISTANT_NUMBERS)?;
    write.open_table(schema::TOKENS)?;
    let mut meta = write.open_table(META)?;
    meta.insert(MAGIC_NAME, MAGIC)?;
    meta.insert(FORMAT_NAME, schema::FORMAT.to_be_bytes().as_slice())?;
    meta.insert(FINGERPRINTS_NAME, fresh_secret()?.as_slice())?;
    meta.insert(NEXT_USER_NAME, 1u32.to_be_bytes().as_slice())?;
    drop(meta);
    add_cursor_key(write)
}

/// Adds a key that seals the cursors given out from now on; the older ones stay valid.
pub(crate) fn add_cursor_key(write: &WriteTransaction) -> Result<()> {
    let mut meta = write.open_table(META)?;
    let mut number: u8 = 1;
    while meta.get(cursor_key_name(number).as_slice())?.is_some() {
        number = number.checked_add(1).ok_or(Error::Invalid {
            field: "cursor key",
            reason: "must not be replaced more than 254 times",
        })?;
    }
    meta.insert(cursor_key_name(number).as_slice(), fresh_secret()?.as_slice())?;
    Ok(())
}

fn cursor_key_name(number: u8) -> Vec<u8> {
    format!("secret.cursors.{number}").into_bytes()
}

/// Checks that the file is a store of a format that this version reads.
pub(crate) fn check_format(read: &ReadTransaction) -> Result<()> {
    let not_a_store = |why: &str| Error::NotAStore(why.to_owned());
    let meta = match read.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => {
            return Err(not_a_store("it is a redb file of another program"));
        }
        Err(error) => return Err(error.into()),
    };
    if meta.get(MAGIC_NAME)?.is_none_or(|magic| magic.value() != MAGIC) {
        return Err(not_a_store("it has no convodb mark"));
    }
    let format = meta.get(FORMAT_NAME)?.and_then(|format| format.value().try_into().ok());
    let found = format.map(u32::from_be_bytes).ok_or_else(|| not_a_store("it has no format"))?;
    if found > schema::FORMAT {
        return Err(Error::NewerFormat { found, supported: schema::FORMAT });
    }
    Ok(())
}

/// The secrets of the store.
pub(crate) fn secrets(read: &ReadTransaction) -> Result<Secrets> {
    let meta = read.open_table(META)?;
    let secret = |name: &[u8]| -> Result<Option<Secret>> {
        let Some(stored) = meta.get(name)? else {
            return Ok(None);
        };
        let what = "a secret is not 32 bytes";
        let secret = stored.value().try_into();
        secret.map(Some).map_err(|_| Error::Corrupted { table: schema::names::META, what })
    };
    let missing = || Error::Corrupted { table: schema::names::META, what: "a secret is missing" };
    let fingerprints = secret(FINGERPRINTS_NAME)?.ok_or_else(missing)?;
    let mut cursors = Vec::new();
    for number in 1..=u8::MAX {
        match secret(&cursor_key_name(number))? {
            Some(key) => cursors.push(key),
            None => break,
        }
    }
    if cursors.is_empty() {
        return Err(missing());
    }
    Ok(Secrets { fingerprints, cursors })
}

/// The number that the next user gets.
pub(crate) fn next_user(meta: &impl ReadableTable<&'static [u8], &'static [u8]>) -> Result<UserId> {
    let stored = meta.get(NEXT_USER_NAME)?.and_then(|next| next.value().try_into().ok());
    let what = "the next user's number is missing";
    let number = stored.ok_or(Error::Corrupted { table: schema::names::META, what })?;
    Ok(UserId::new(u32::from_be_bytes(number)))
}

/// Gives the next user's number, once.
pub(crate) fn take_user_number(write: &WriteTransaction) -> Result<UserId> {
    let mut meta = write.open_table(META)?;
    let user = next_user(&meta)?;
    let next = user
        .get()
        .checked_add(1)
        .ok_or(Error::Invalid { field: "user", reason: "must be one of the first 4294967295" })?;
    meta.insert(NEXT_USER_NAME, next.to_be_bytes().as_slice())?;
    Ok(user)
}

/// 32 bytes of the operating system's randomness.
pub(crate) fn fresh_secret() -> Result<Secret> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| Error::Storage(format!("no randomness from the system: {error}")))?;
    Ok(secret)
}
