//! What a store knows of itself: `meta`, from a name to bytes.
//!
//! | name | value |
//! |---|---|
//! | `magic` | `convodb` |
//! | `format` | u32, big-endian |
//! | `secret.fingerprints` | 32 bytes: the key of all fingerprints; never changes |
//! | `secret.cursors.N` | 32 bytes: the N-th key that seals cursors, N from 1; the highest seals |
//! | `log` | u64, big-endian: the last group of the log that the tables hold |

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, TableError, WriteTransaction};

use crate::encoding::index_term::Field;
use crate::error::{Error, Result, from_redb};
use crate::io::vfs::Vfs;
use crate::kv::catch_panic::catch_redb_panic;
use crate::tables::schema::{self, META};

const MAGIC: &[u8] = b"convodb";
const MAGIC_NAME: &[u8] = b"magic";
const FORMAT_NAME: &[u8] = b"format";
const FINGERPRINTS_NAME: &[u8] = b"secret.fingerprints";
const LOG_NAME: &[u8] = b"log";

/// A secret of one database.
pub(crate) type Secret = [u8; 32];

/// What a store knows of itself, as one commit left it.
pub(crate) type Meta = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The secrets of a store.
#[derive(Clone)]
pub(crate) struct StoredSecrets {
    pub(crate) fingerprints: Secret,
    /// The keys that seal cursors, oldest first; the last one seals.
    pub(crate) cursors: Vec<Secret>,
}

impl StoredSecrets {
    /// The seed of the checksums of the store's log.
    pub(crate) fn wal_seed(&self) -> u64 {
        let hash = blake3::keyed_hash(&self.fingerprints, b"log");
        hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// Makes every table, so that a reader finds them all, and writes what the store knows of itself.
pub(crate) fn initialize(
    write: &WriteTransaction,
    fingerprints: Secret,
    cursors: Secret,
) -> Result<()> {
    make_tables(write)?;
    let mut meta = write.open_table(META).map_err(from_redb)?;
    meta.insert(MAGIC_NAME, MAGIC).map_err(from_redb)?;
    meta.insert(FINGERPRINTS_NAME, fingerprints.as_slice()).map_err(from_redb)?;
    drop(meta);
    put_format(write)?;
    put_wal_seqno(write, 0)?;
    put_cursor_key(write, cursors)
}

/// Makes the tables that are not there.
pub(crate) fn make_tables(write: &WriteTransaction) -> Result<()> {
    write.open_table(schema::CONVERSATIONS).map_err(from_redb)?;
    write.open_table(schema::CONVERSATION_IDS).map_err(from_redb)?;
    for leading in Field::ALL {
        write.open_table(schema::index(leading)).map_err(from_redb)?;
    }
    write.open_table(schema::MESSAGES).map_err(from_redb)?;
    write.open_table(schema::COUNTERS).map_err(from_redb)?;
    write.open_table(schema::USERS).map_err(from_redb)?;
    write.open_table(schema::USER_NAMES).map_err(from_redb)?;
    write.open_table(schema::ASSISTANTS).map_err(from_redb)?;
    write.open_table(schema::ASSISTANT_NUMBERS).map_err(from_redb)?;
    write.open_table(schema::TOKENS).map_err(from_redb)?;
    write.open_table(schema::SEQUENCES).map_err(from_redb)?;
    write.open_table(schema::CHANGES).map_err(from_redb)?;
    write.open_table(schema::CHANGE_MARKS).map_err(from_redb)?;
    write.open_table(schema::IDEMPOTENCY).map_err(from_redb)?;
    Ok(())
}

/// Tells that the store is of the format that this version writes.
pub(crate) fn put_format(write: &WriteTransaction) -> Result<()> {
    write
        .open_table(META)
        .map_err(from_redb)?
        .insert(FORMAT_NAME, schema::FORMAT.to_be_bytes().as_slice())
        .map_err(from_redb)?;
    Ok(())
}

/// Adds a key that seals the cursors given out from now on; the older ones stay valid.
pub(crate) fn put_cursor_key(write: &WriteTransaction, key: Secret) -> Result<()> {
    let mut meta = write.open_table(META).map_err(from_redb)?;
    let mut number: u8 = 1;
    while meta.get(cursor_key_name(number).as_slice()).map_err(from_redb)?.is_some() {
        number = number.checked_add(1).ok_or(Error::Invalid {
            field: "cursor key",
            reason: "must not be replaced more than 254 times",
        })?;
    }
    meta.insert(cursor_key_name(number).as_slice(), key.as_slice()).map_err(from_redb)?;
    Ok(())
}

fn cursor_key_name(number: u8) -> Vec<u8> {
    format!("secret.cursors.{number}").into_bytes()
}

/// The format of the file, which is a store of a format that this version reads.
pub(crate) fn check_format(read: &ReadTransaction) -> Result<u32> {
    let not_a_store = |why: &str| Error::NotAStore(why.to_owned());
    let meta = match read.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => {
            return Err(not_a_store("it is a redb file of another program"));
        }
        Err(error) => return Err(from_redb(error)),
    };
    if meta.get(MAGIC_NAME).map_err(from_redb)?.is_none_or(|magic| magic.value() != MAGIC) {
        return Err(not_a_store("it has no convodb mark"));
    }
    let format =
        meta.get(FORMAT_NAME).map_err(from_redb)?.and_then(|format| format.value().try_into().ok());
    let found = format.map(u32::from_be_bytes).ok_or_else(|| not_a_store("it has no format"))?;
    if found > schema::FORMAT {
        return Err(Error::NewerFormat { found, supported: schema::FORMAT });
    }
    Ok(found)
}

/// The secrets of the store.
pub(crate) fn secrets(read: &ReadTransaction) -> Result<StoredSecrets> {
    let meta = read.open_table(META).map_err(from_redb)?;
    let secret = |name: &[u8]| -> Result<Option<Secret>> {
        let Some(stored) = meta.get(name).map_err(from_redb)? else {
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
    Ok(StoredSecrets { fingerprints, cursors })
}

/// What the store knows of itself, to be copied.
pub(crate) fn open(read: &ReadTransaction) -> Result<Meta> {
    Ok(read.open_table(META).map_err(from_redb)?)
}

/// Writes all of `from` into another database: its format, its secrets, its place in the log.
pub(crate) fn copy(from: &Meta, write: &WriteTransaction) -> Result<()> {
    let mut table = write.open_table(META).map_err(from_redb)?;
    catch_redb_panic(|| {
        for entry in from.iter().map_err(from_redb)? {
            let (name, value) = entry.map_err(from_redb)?;
            table.insert(name.value(), value.value()).map_err(from_redb)?;
        }
        Ok(())
    })
}

/// The last group of the log that the tables hold.
pub(crate) fn wal_seqno(read: &ReadTransaction) -> Result<u64> {
    let meta = read.open_table(META).map_err(from_redb)?;
    let stored =
        meta.get(LOG_NAME).map_err(from_redb)?.and_then(|group| group.value().try_into().ok());
    let what = "the place in the log is missing";
    let group = stored.ok_or(Error::Corrupted { table: schema::names::META, what })?;
    Ok(u64::from_be_bytes(group))
}

/// Tells that the tables hold the log up to `group`.
pub(crate) fn put_wal_seqno(write: &WriteTransaction, group: u64) -> Result<()> {
    write
        .open_table(META)
        .map_err(from_redb)?
        .insert(LOG_NAME, group.to_be_bytes().as_slice())
        .map_err(from_redb)?;
    Ok(())
}

/// 32 bytes that nobody can foresee.
pub(crate) fn fresh_secret(vfs: &dyn Vfs) -> Result<Secret> {
    let mut secret = Secret::default();
    vfs.fill_random(&mut secret)?;
    Ok(secret)
}
