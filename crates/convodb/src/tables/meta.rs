//! Store metadata: format, secrets and WAL position, in the table `meta` from names to bytes.
//!
//! | name | value |
//! |---|---|
//! | `magic` | `convodb` |
//! | `format` | u32, big-endian |
//! | `secret.fingerprints` | 32 bytes: the key of all fingerprints; never changes |
//! | `secret.cursors.N` | 32 bytes: the N-th key that seals cursors, N from 1; the highest seals |
//! | `epochs` | the history of the store ([`Epochs`]) |
//! | `log` | u64, big-endian: the last sequence number that the tables contain |
//! | `log.chain` | link and anchor of the WAL ([`Chain`]), each u64, big-endian; missing in a closed store |
//! | `index.` and a name | the state of an optional index: see [`crate::tables::families`] |
//! | `upgrade.lacking` | which tables a store of format 3 or 4 lacked before its upgrade began; else missing |
//! | `erasure.` and bytes | an unfinished erasure: see [`crate::tables::erasure_marks`] |

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction,
};

use crate::error::{Error, Result, from_redb};
use crate::io::vfs::Vfs;
use crate::kv::catch_panic::{catch_read_fault, catch_redb_panic};
use crate::tables::epochs::Epochs;
use crate::tables::schema::{self, Bytes};
use crate::wal::{Chain, WalPosition};

const NAME: &str = "meta";
pub(crate) const TABLE: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new(NAME);
const MAGIC: &[u8] = b"convodb";
const MAGIC_NAME: &[u8] = b"magic";
const FORMAT_NAME: &[u8] = b"format";
const FINGERPRINTS_NAME: &[u8] = b"secret.fingerprints";
const EPOCHS_NAME: &[u8] = b"epochs";
const SEQNO_NAME: &[u8] = b"log";
const CHAIN_NAME: &[u8] = b"log.chain";
const LACKING_NAME: &[u8] = b"upgrade.lacking";

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

/// Creates every table, so that a reader finds them all, and writes the metadata of a new store,
/// whose first commit follows the one with the number `seqno`.
pub(crate) fn initialize(
    write: &WriteTransaction,
    secrets: &StoredSecrets,
    epochs: &Epochs,
    seqno: u64,
) -> Result<()> {
    schema::create_missing(write)?;
    let mut meta = write.open_table(TABLE).map_err(from_redb)?;
    meta.insert(MAGIC_NAME, MAGIC).map_err(from_redb)?;
    meta.insert(FINGERPRINTS_NAME, secrets.fingerprints.as_slice()).map_err(from_redb)?;
    drop(meta);
    put_format(write, schema::FORMAT)?;
    put_epochs(write, epochs)?;
    put_wal_position(write, WalPosition { seqno, chain: None })?;
    secrets.cursors.iter().try_for_each(|key| put_cursor_key(write, *key))
}

fn put(write: &WriteTransaction, name: &[u8], value: &[u8]) -> Result<()> {
    let mut table = write.open_table(TABLE).map_err(from_redb)?;
    table.insert(name, value).map_err(from_redb)?;
    Ok(())
}

/// Writes the format.
pub(crate) fn put_format(write: &WriteTransaction, format: u32) -> Result<()> {
    put(write, FORMAT_NAME, &format.to_be_bytes())
}

/// Records which tables a store lacks, by their names, before an upgrade creates them: its WAL lacks
/// them, too.
pub(crate) fn put_lacking(write: &WriteTransaction, names: &[&str]) -> Result<()> {
    put(write, LACKING_NAME, names.join(",").as_bytes())
}

/// The names of the tables that [`put_lacking`] has recorded; `None` if it has not.
pub(crate) fn lacking(read: &ReadTransaction) -> Result<Option<Vec<String>>> {
    let stored = open(read)?.get(LACKING_NAME).map_err(from_redb)?;
    let names = stored.map(|names| String::from_utf8_lossy(names.value()).into_owned());
    Ok(names.map(|names| names.split(',').map(str::to_owned).collect()))
}

/// Removes what [`put_lacking`] has recorded.
pub(crate) fn remove_lacking(write: &WriteTransaction) -> Result<()> {
    write.open_table(TABLE).map_err(from_redb)?.remove(LACKING_NAME).map_err(from_redb)?;
    Ok(())
}

/// Writes the history of the store.
pub(crate) fn put_epochs(write: &WriteTransaction, epochs: &Epochs) -> Result<()> {
    put(write, EPOCHS_NAME, &epochs.encode())
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
    secrets_in(&open(read)?)
}

/// The secrets in a `meta` table.
pub(crate) fn secrets_in(meta: &Meta) -> Result<StoredSecrets> {
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

/// Writes the metadata whose name and value `is_kept` selects into another database, which is closed
/// after group `seqno`.
pub(crate) fn copy(
    from: &Meta,
    write: &WriteTransaction,
    seqno: u64,
    is_kept: impl Fn(&[u8], &[u8]) -> bool,
) -> Result<()> {
    let entries = catch_read_fault(|| {
        let entries = from.iter().map_err(from_redb)?;
        let owned = entries.map(|entry| {
            let (name, value) = entry.map_err(from_redb)?;
            Ok((name.value().to_owned(), value.value().to_owned()))
        });
        owned.collect::<Result<Vec<_>>>()
    })?;
    let mut table = write.open_table(TABLE).map_err(from_redb)?;
    catch_redb_panic(|| {
        for (name, value) in entries.iter().filter(|(name, value)| is_kept(name, value)) {
            table.insert(&**name, &**value).map_err(from_redb)?;
        }
        Ok(())
    })?;
    drop(table);
    put_wal_position(write, WalPosition { seqno, chain: None })
}

/// The history of the store.
pub(crate) fn epochs(read: &ReadTransaction) -> Result<Epochs> {
    let meta = open(read)?;
    let stored = meta.get(EPOCHS_NAME).map_err(from_redb)?;
    let epochs = stored.and_then(|epochs| Epochs::decode(epochs.value()));
    epochs.ok_or(Error::Corrupted { table: NAME, what: "the epochs are missing or damaged" })
}

/// Up to where the tables contain the WAL.
pub(crate) fn wal_position(read: &ReadTransaction) -> Result<WalPosition> {
    let meta = open(read)?;
    let damaged = |what| Error::Corrupted { table: NAME, what };
    let seqno = meta.get(SEQNO_NAME).map_err(from_redb)?;
    let seqno = seqno.and_then(|seqno| seqno.value().try_into().ok()).map(u64::from_be_bytes);
    let seqno = seqno.ok_or(damaged("the WAL sequence number is missing"))?;
    let chain = meta.get(CHAIN_NAME).map_err(from_redb)?.map(|chain| {
        let words = chain.value().as_chunks::<8>();
        let ([link, anchor], []) = words else { return Err(damaged("the WAL chain is damaged")) };
        Ok(Chain { link: u64::from_be_bytes(*link), anchor: u64::from_be_bytes(*anchor) })
    });
    Ok(WalPosition { seqno, chain: chain.transpose()? })
}

/// Records up to where the tables contain the WAL.
pub(crate) fn put_wal_position(write: &WriteTransaction, position: WalPosition) -> Result<()> {
    let WalPosition { seqno, chain } = position;
    put(write, SEQNO_NAME, &seqno.to_be_bytes())?;
    match chain {
        Some(Chain { link, anchor }) => {
            put(write, CHAIN_NAME, [link.to_be_bytes(), anchor.to_be_bytes()].as_flattened())
        }
        None => {
            let mut table = write.open_table(TABLE).map_err(from_redb)?;
            table.remove(CHAIN_NAME).map_err(from_redb)?;
            Ok(())
        }
    }
}

/// A random number: of an epoch, or of the first link of a WAL.
pub(crate) fn fresh_number(vfs: &dyn Vfs) -> Result<u64> {
    let mut number = [0; 8];
    vfs.fill_random(&mut number)?;
    Ok(u64::from_be_bytes(number))
}

/// 32 unpredictable bytes.
pub(crate) fn fresh_secret(vfs: &dyn Vfs) -> Result<Secret> {
    let mut secret = Secret::default();
    vfs.fill_random(&mut secret)?;
    Ok(secret)
}
