//! Decoder access for the fuzz targets, behind the feature `fuzzing`.
//!
//! The functions only forward to private encoders and decoders of bytes that others may have
//! written. All assertions are in `fuzz/`.

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

use redb::ReadableDatabase;

use crate::encoding::counter::CounterBody;
use crate::encoding::index_term::Fingerprinter;
use crate::encoding::key::{
    ActivityKey, ArrivalKey, ChangeKey, CounterKey, DigestKey, FixedKey, IdArrivalKey, IndexKey,
    ListCounterKey, MessageKey, NumberKey, RowKey, UuidKey,
};
use crate::encoding::list_counter::ListCounterBody;
use crate::encoding::record::{self, AccountV1, Body, ChangeV1, IdempotencyV1};
use crate::encoding::token::Sealer;
use crate::encoding::{preview, row};
use crate::engine::store_file;
use crate::error::{Result, from_redb};
use crate::io::fault::FaultSignal;
use crate::io::file_guard::{FileGuard, FileSize};
use crate::io::system::SystemVfs;
use crate::io::vfs::Vfs;
use crate::kv::redb_key::compare_words;
use crate::model::conversation::Conversation;
use crate::model::id::UserId;
use crate::model::message::Message;
use crate::query::changes::ChangeCursor;
use crate::query::cursor::PageCursor;
use crate::tables::Tables;
use crate::tables::{accounts, change_feed};
use crate::wal::reader::WalFiles;
use crate::wal::writer::{AppendError, Wal};
use crate::wal::{Chain, WalPosition};

/// The secrets that seal cursors.
pub struct CursorKeys {
    sealer: Sealer,
    fingerprinter: Fingerprinter,
}

impl CursorKeys {
    /// Fixed secrets, so that inputs are reproducible. No store has them.
    #[must_use]
    pub fn new(sealing: &[[u8; 32]], fingerprint: [u8; 32]) -> Self {
        Self {
            sealer: Sealer::new(sealing.to_vec()),
            fingerprinter: Fingerprinter::new(fingerprint),
        }
    }

    /// Opens the token of a page cursor.
    ///
    /// # Errors
    /// `InvalidCursor` if the token was not sealed with these keys for this user.
    pub fn open_page_cursor(&self, token: &str, user: UserId) -> Result<PageCursor> {
        PageCursor::open(token, user, &self.sealer, &self.fingerprinter)
    }

    /// Opens the token of a change cursor.
    ///
    /// # Errors
    /// `InvalidCursor` if the token was not sealed with these keys for this user.
    pub fn open_change_cursor(&self, token: &str, user: UserId) -> Result<ChangeCursor> {
        ChangeCursor::open(token, user, &self.sealer)
    }

    /// Decodes the payload of a page cursor, which a token contains encrypted.
    #[must_use]
    pub fn decode_page_cursor(&self, payload: &[u8], user: UserId) -> Option<PageCursor> {
        PageCursor::read(payload, user, &self.fingerprinter)
    }

    /// Seals a page cursor into a token.
    #[must_use]
    pub fn seal_page_cursor(&self, cursor: &PageCursor) -> String {
        cursor.seal(&self.sealer)
    }
}

/// The codec of one type of table key.
pub struct KeyCodec {
    /// The type's name on disk.
    pub name: &'static str,
    /// The width of an encoded key in bytes.
    pub width: usize,
    /// Decodes a key from bytes of any length and encodes it.
    pub reencode: fn(&[u8]) -> Vec<u8>,
    /// Decodes two keys and compares their values.
    pub compare_values: fn(&[u8], &[u8]) -> Ordering,
    /// Compares two encoded keys as redb does.
    pub compare_encoded: fn(&[u8], &[u8]) -> Ordering,
}

impl KeyCodec {
    fn of<K: FixedKey>() -> Self {
        Self {
            name: K::NAME,
            width: K::WIDTH,
            reencode: |bytes| K::decode(bytes).encode().as_ref().to_vec(),
            compare_values: |a, b| K::decode(a).cmp(&K::decode(b)),
            compare_encoded: compare_words,
        }
    }
}

/// The codecs of all key types.
#[must_use]
pub fn key_codecs() -> [KeyCodec; 13] {
    [
        KeyCodec::of::<UserId>(),
        KeyCodec::of::<RowKey>(),
        KeyCodec::of::<UuidKey>(),
        KeyCodec::of::<NumberKey>(),
        KeyCodec::of::<IndexKey>(),
        KeyCodec::of::<ActivityKey>(),
        KeyCodec::of::<MessageKey>(),
        KeyCodec::of::<CounterKey>(),
        KeyCodec::of::<ListCounterKey>(),
        KeyCodec::of::<ChangeKey>(),
        KeyCodec::of::<ArrivalKey>(),
        KeyCodec::of::<IdArrivalKey>(),
        KeyCodec::of::<DigestKey>(),
    ]
}

/// Why a record does not decode.
pub type Damage = &'static str;

/// The codec of one kind of record. Each takes the bytes of the record's key, of any length, and
/// decodes the key from them.
pub struct RecordCodec {
    /// The content of the record.
    pub name: &'static str,
    /// Creates a record with a valid checksum from a key and a body of any bytes.
    pub seal: fn(&[u8], &[u8]) -> Vec<u8>,
    /// Decodes a record and drops the value.
    pub decode: fn(&[u8], &[u8]) -> std::result::Result<(), Damage>,
}

/// The codecs of all kinds of records.
#[must_use]
pub fn record_codecs() -> [RecordCodec; 10] {
    [
        RecordCodec {
            name: "conversation",
            seal: seal::<RowKey>,
            decode: |key, record| decode_conversation(key, record).map(drop),
        },
        RecordCodec {
            name: "preview",
            seal: seal_preview,
            decode: |key, record| decode_conversation(key, record).map(drop),
        },
        RecordCodec {
            name: "message",
            seal: seal::<MessageKey>,
            decode: |key, record| decode_message(key, record).map(drop),
        },
        RecordCodec {
            name: "account",
            seal: seal::<UserId>,
            decode: |key, record| {
                let key = UserId::decode(key);
                record::decode_small::<UserId, AccountV1<'_>>(&key, record).map(drop)
            },
        },
        RecordCodec { name: "counter", seal: seal_v2::<CounterKey>, decode: decode_counter },
        RecordCodec {
            name: "counter of a list",
            seal: seal::<ListCounterKey>,
            decode: decode_list_counter,
        },
        RecordCodec {
            name: "change",
            seal: seal::<ChangeKey>,
            decode: |key, record| {
                let key = ChangeKey::decode(key);
                record::decode_small::<ChangeKey, ChangeV1>(&key, record).map(drop)
            },
        },
        RecordCodec {
            name: "idempotency",
            seal: seal::<UserId>,
            decode: |key, record| {
                let key = UserId::decode(key);
                record::decode_small::<UserId, IdempotencyV1<'_>>(&key, record).map(drop)
            },
        },
        RecordCodec { name: "token", seal: seal_v2::<DigestKey>, decode: decode_token },
        RecordCodec { name: "departure", seal: seal_v2::<ChangeKey>, decode: decode_departure },
    ]
}

fn seal<K: FixedKey>(key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    record::seal(&K::decode(key), &mut record, |record| record.extend_from_slice(body));
    record
}

fn seal_v2<K: FixedKey>(key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    let write = |record: &mut Vec<u8>| record.extend_from_slice(body);
    record::seal_version(record::V2, &K::decode(key), &mut record, write);
    record
}

/// A record of a row whose preview is `contents`.
fn seal_preview(key: &[u8], contents: &[u8]) -> Vec<u8> {
    let mut record = seal::<RowKey>(key, &[]);
    let contents = &contents[..contents.len().min(4096)];
    record::append_appendix(&RowKey::decode(key), &mut record, |out| out.extend(contents));
    record
}

fn decode_counter(key: &[u8], record: &[u8]) -> std::result::Result<(), Damage> {
    let body = CounterBody::open(&CounterKey::decode(key), record)?;
    body.cells().try_for_each(|cell| cell.map(drop))
}

fn decode_token(key: &[u8], record: &[u8]) -> std::result::Result<(), Damage> {
    let key = DigestKey::decode(key);
    accounts::decode_token_body(key, record::open_any(&key, record)?).map(drop)
}

fn decode_departure(key: &[u8], record: &[u8]) -> std::result::Result<(), Damage> {
    change_feed::decode_body(record::open_any(&ChangeKey::decode(key), record)?).map(drop)
}

fn decode_list_counter(key: &[u8], record: &[u8]) -> std::result::Result<(), Damage> {
    let body = ListCounterBody::open(&ListCounterKey::decode(key), record)?;
    body.cells().try_for_each(|cell| cell.map(drop))
}

/// Decodes the record of a conversation, and its preview.
///
/// # Errors
/// Fails if the record is damaged.
pub fn decode_conversation(key: &[u8], record: &[u8]) -> std::result::Result<Conversation, Damage> {
    let key = RowKey::decode(key);
    let (body, appendix) = record::open_extended(&key, record)?;
    if let Some(appendix) = appendix {
        preview::decode(key, appendix)?;
    }
    Ok(body.conversation(key.position)?.owned())
}

/// Encodes a conversation. Its creation time must be that of the key's position.
#[must_use]
pub fn encode_conversation(key: &[u8], conversation: &Conversation) -> Vec<u8> {
    let mut record = Vec::new();
    let stored = conversation.message_count;
    row::encode_conversation(RowKey::decode(key), &conversation.borrowed(), stored, &mut record);
    record
}

/// Decodes the record of a message.
///
/// # Errors
/// Fails if the record is damaged.
pub fn decode_message(key: &[u8], record: &[u8]) -> std::result::Result<Message, Damage> {
    record::open(&MessageKey::decode(key), record).and_then(Body::message)
}

/// Encodes a message.
#[must_use]
pub fn encode_message(key: &[u8], message: &Message) -> Vec<u8> {
    let mut record = Vec::new();
    record::encode_message(MessageKey::decode(key), message, &mut record);
    record
}

/// The link that the WAL begins with.
const FIRST_LINK: u64 = 1;

/// A writer of a WAL.
pub struct WalWriter(Wal);

impl WalWriter {
    /// A new WAL beside the file at `store`, which is created; replaces an earlier one.
    ///
    /// # Errors
    /// Fails on an I/O error.
    pub fn new(store: &Path, seed: u64) -> Result<Self> {
        let vfs: Arc<dyn Vfs> = Arc::new(SystemVfs);
        if !vfs.exists(store)? {
            drop(vfs.create(store)?);
        }
        let (id, size) = (vfs.file_id(store)?, Arc::new(FileSize::new(0)));
        let guard = FileGuard::new(vfs, store.to_owned(), id, size, FaultSignal::detached());
        let closed = WalPosition { seqno: 0, chain: None };
        let mut wal = Wal::new(Arc::new(guard), seed, closed);
        wal.remove_all()?;
        wal.begin(FIRST_LINK)?;
        Ok(Self(wal))
    }

    /// Appends a record of any bytes and syncs it.
    ///
    /// # Errors
    /// Fails on an I/O error.
    pub fn append(&mut self, record: &[u8]) -> Result<()> {
        let appended = self.0.append(|out| out.extend_from_slice(record));
        appended.map_err(|(AppendError::RolledBack(error) | AppendError::Unknown(error))| error)
    }
}

/// Reads the WAL of the store at `store`. Calls `accept` with the bytes of each record and returns
/// the last sequence number.
///
/// # Errors
/// Fails if the WAL is incomplete, a segment is damaged or `accept` returns `None`.
pub fn read_wal(store: &Path, seed: u64, accept: impl FnMut(&[u8]) -> Option<()>) -> Result<u64> {
    let chain = Chain { link: FIRST_LINK, anchor: FIRST_LINK };
    let begin = WalPosition { seqno: 0, chain: Some(chain) };
    let files = WalFiles { vfs: &SystemVfs, store, seed };
    files.replay(begin, accept).map(|position| position.seqno)
}

/// The tables of an empty store.
pub struct EmptyTables(Tables);

impl EmptyTables {
    /// Creates a store in memory.
    ///
    /// # Errors
    /// Fails if the store cannot be created.
    pub fn new() -> Result<Self> {
        let database = store_file::in_memory(1 << 20)?;
        Ok(Self(Tables::open(&database.begin_read().map_err(from_redb)?)?))
    }

    /// Replays the WAL of the store at `store` into a copy of the tables and returns the
    /// last sequence number.
    ///
    /// # Errors
    /// Fails if a segment is damaged or a record is invalid.
    pub fn replay_wal(&self, store: &Path, seed: u64) -> Result<u64> {
        let mut tables = self.0.clone();
        read_wal(store, seed, |record| tables.replay(record))
    }
}
