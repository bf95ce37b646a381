//! Store metadata: format, secrets and WAL position, in the table `meta` from names to bytes.
//!
//! | name | value |
//! |---|---|
//! | `magic` | `convodb` |
//! | `format` | u32, big-endian |
//! | `secret.fingerprints` | 32 bytes: the key of all fingerprints; never changes |
//! | `secret.cursors.N` | 32 bytes: the N-th key that seals cursors, N from 1; the highest seals |
//! | `log` | u64, big-endian: the last sequence number of the WAL that the tables contain |

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction,
};

use crate::error::{Error, Result, from_redb};
use crate::io::vfs::Vfs;
use crate::kv::catch_panic::catch_redb_panic;
use crate::tables::schema::{self, Bytes};

const NAME: &str = "meta";
const TABLE: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new(NAME);
const MAGIC: &[u8] = b"convodb";
const MAGIC_NAME: &[u8] = b"magic";
const FORMAT_NAME: &[u8] = b"format";
const FINGERPRINTS_NAME: &[u8] = b"secret.fingerprints";
const WAL_NAME: &[u8] = b"log";

/// A secret of one database.
pub(crate) type Secret = [u8; 32];

/// The `meta` table as of one commit.
pub(crate) type Meta = ReadOnlyTable<Bytes, Bytes>;

/// The secrets of a store.
#[derive(Clone)]
pub(crate) struct StoredSecrets {
    pub(crate) fingerprints: Secret,
    /// The keys that seal cursors, oldest first; the last one seals.
    pub(crate) cursors: Vec<Secret>,
}

impl StoredSecrets {
    /// The seed of the checksums of the store's WAL.
    pub(crate) fn wal_seed(&self) -> u64 {
        let hash = blake3::keyed_hash(&self.fingerprints, b"log");
        hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// Creates every table, so that a reader finds them all, and writes the metadata of a new store.
pub(crate) fn initialize(
    write: &WriteTransaction,
    fingerprints: Secret,
    cursors: Secret,
) -> Result<()> {
    schema::create_missing(write)?;
    let mut meta = write.open_table(TABLE).map_err(from_redb)?;
    meta.insert(MAGIC_NAME, MAGIC).map_err(from_redb)?;
    meta.insert(FINGERPRINTS_NAME, fingerprints.as_slice()).map_err(from_redb)?;
    drop(meta);
    put_format(write)?;
    put_wal_seqno(write, 0)?;
    put_cursor_key(write, cursors)
}

/// Writes the current format.
pub(crate) fn put_format(write: &WriteTransaction) -> Result<()> {
    write
        .open_table(TABLE)
        .map_err(from_redb)?
        .insert(FORMAT_NAME, schema::FORMAT.to_be_bytes().as_slice())
        .map_err(from_redb)?;
    Ok(())
}

/// Adds a key that seals cursors from now on. Cursors sealed with older keys stay valid.
pub(crate) fn put_cursor_key(write: &WriteTransaction, key: Secret) -> Result<()> {
    let mut meta = write.open_table(TABLE).map_err(from_redb)?;
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

/// The format of the file.
///
/// # Errors
/// [`Error::NotAStore`] if the file has no metadata, and [`Error::NewerFormat`] if this version
/// cannot read its format.
pub(crate) fn check_format(read: &ReadTransaction) -> Result<u32> {
    let not_a_store = |why: &str| Error::NotAStore(why.to_owned());
    let meta = match read.open_table(TABLE) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => {
            return Err(not_a_store("a redb file of another program"));
        }
        Err(error) => return Err(from_redb(error)),
    };
    if meta.get(MAGIC_NAME).map_err(from_redb)?.is_none_or(|magic| magic.value() != MAGIC) {
        return Err(not_a_store("no convodb mark"));
    }
    let format =
        meta.get(FORMAT_NAME).map_err(from_redb)?.and_then(|format| format.value().try_into().ok());
    let found = format.map(u32::from_be_bytes).ok_or_else(|| not_a_store("no format number"))?;
    if found > schema::FORMAT {
        return Err(Error::NewerFormat { found, supported: schema::FORMAT });
    }
    Ok(found)
}

/// The secrets of the store.
pub(crate) fn secrets(read: &ReadTransaction) -> Result<StoredSecrets> {
    let meta = read.open_table(TABLE).map_err(from_redb)?;
    let secret = |name: &[u8]| -> Result<Option<Secret>> {
        let Some(stored) = meta.get(name).map_err(from_redb)? else {
            return Ok(None);
        };
        let what = "a secret is not 32 bytes";
        let secret = stored.value().try_into();
        secret.map(Some).map_err(|_| Error::Corrupted { table: NAME, what })
    };
    let missing = || Error::Corrupted { table: NAME, what: "a secret is missing" };
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

/// Opens the `meta` table, for [`copy`].
pub(crate) fn open(read: &ReadTransaction) -> Result<Meta> {
    read.open_table(TABLE).map_err(from_redb)
}

/// Writes all metadata into another database: format, secrets and WAL position.
pub(crate) fn copy(from: &Meta, write: &WriteTransaction) -> Result<()> {
    let mut table = write.open_table(TABLE).map_err(from_redb)?;
    catch_redb_panic(|| {
        for entry in from.iter().map_err(from_redb)? {
            let (name, value) = entry.map_err(from_redb)?;
            table.insert(name.value(), value.value()).map_err(from_redb)?;
        }
        Ok(())
    })
}

/// The last sequence number of the WAL that the tables contain.
pub(crate) fn wal_seqno(read: &ReadTransaction) -> Result<u64> {
    let meta = read.open_table(TABLE).map_err(from_redb)?;
    let stored =
        meta.get(WAL_NAME).map_err(from_redb)?.and_then(|seqno| seqno.value().try_into().ok());
    let what = "the WAL sequence number is missing";
    let seqno = stored.ok_or(Error::Corrupted { table: NAME, what })?;
    Ok(u64::from_be_bytes(seqno))
}

/// Records that the tables contain the WAL up to `seqno`.
pub(crate) fn put_wal_seqno(write: &WriteTransaction, seqno: u64) -> Result<()> {
    write
        .open_table(TABLE)
        .map_err(from_redb)?
        .insert(WAL_NAME, seqno.to_be_bytes().as_slice())
        .map_err(from_redb)?;
    Ok(())
}

/// 32 unpredictable bytes.
pub(crate) fn fresh_secret(vfs: &dyn Vfs) -> Result<Secret> {
    let mut secret = Secret::default();
    vfs.fill_random(&mut secret)?;
    Ok(secret)
}
