//! The fuzzer's ways to the decoders of bytes that others may have made. Behind a feature that only
//! the fuzzer turns on; each function panics where what must hold does not.

#![expect(clippy::unwrap_used, reason = "a fuzzer looks for panics")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use redb::ReadableDatabase;

use crate::encoding::index_term::Fingerprinter;
use crate::encoding::key::{
    ArrivalKey, ChangeKey, CounterKey, DigestKey, FixedKey, IdArrivalKey, IndexKey, MessageKey,
    NumberKey, RowKey, UuidKey,
};
use crate::encoding::record::{self, AccountV1, AnswerV1, Body, ChangeV1, CounterV1};
use crate::encoding::row::encode_conversation;
use crate::encoding::token::Sealer;
use crate::engine::store_file;
use crate::io::system::SystemVfs;
use crate::kv::redb_key::compare_words;
use crate::model::id::UserId;
use crate::query::changes::ChangeCursor;
use crate::query::cursor::PageCursor;
use crate::tables::Tables;
use crate::wal::reader;
use crate::wal::writer::Wal;

const OWNER: UserId = UserId::new(5);
const LOG_SEED: u64 = 77;

/// Of keys with which no token of the corpus was made.
fn sealer() -> (Sealer, Fingerprinter) {
    (Sealer::new(vec![[3; 32], [4; 32]]), Fingerprinter::new([7; 32]))
}

/// No text that the store did not make opens as a cursor.
pub fn cursor_token(text: &str) {
    let (sealer, fingerprinter) = sealer();
    assert!(PageCursor::open(text, OWNER, &sealer, &fingerprinter).is_err());
    assert!(ChangeCursor::open(text, OWNER, &sealer).is_err());
}

/// A payload that a holder of the key made up is refused, or is a cursor that comes back.
pub fn cursor_payload(payload: &[u8]) {
    let (sealer, fingerprinter) = sealer();
    if let Some(cursor) = PageCursor::read(payload, OWNER, &fingerprinter) {
        let token = cursor.seal(&sealer);
        let open = |user| PageCursor::open(&token, user, &sealer, &fingerprinter);
        assert_eq!(open(OWNER).unwrap(), cursor);
        assert!(open(UserId::new(6)).is_err());
        assert!(ChangeCursor::open(&token, OWNER, &sealer).is_err());
    }
}

/// Keys order as their values, by bytes and by words, and come back.
pub fn keys(a: &[u8], b: &[u8]) {
    check_keys::<UserId>(a, b);
    check_keys::<RowKey>(a, b);
    check_keys::<UuidKey>(a, b);
    check_keys::<NumberKey>(a, b);
    check_keys::<IndexKey>(a, b);
    check_keys::<MessageKey>(a, b);
    check_keys::<CounterKey>(a, b);
    check_keys::<ChangeKey>(a, b);
    check_keys::<ArrivalKey>(a, b);
    check_keys::<IdArrivalKey>(a, b);
    check_keys::<DigestKey>(a, b);
}

fn check_keys<K: FixedKey>(a: &[u8], b: &[u8]) {
    let (a, b) = (K::decode(a), K::decode(b));
    let (x, y) = (a.encode(), b.encode());
    let (x, y) = (x.as_ref(), y.as_ref());
    assert_eq!(x.len(), K::WIDTH);
    assert_eq!(x.cmp(y), a.cmp(&b));
    assert_eq!(compare_words(x, y), a.cmp(&b));
    assert!(K::decode(x) == a && K::decode(y) == b);
}

/// Records, as they are and with a checksum that is right, decode to what comes back, or not at all.
pub fn records(bytes: &[u8]) {
    let row = RowKey::decode(bytes);
    let message = MessageKey::new(row, 1);
    let _ = record::open(&row, bytes);
    let body = bytes.get(12..).unwrap_or_default();
    let sealed = sealed_by(&row, body);
    if let Ok(conversation) =
        record::open(&row, &sealed).and_then(|body| body.conversation(row.position))
    {
        let mut again = Vec::new();
        encode_conversation(row, &conversation, &mut again);
        let decoded = record::open(&row, &again).and_then(|body| body.conversation(row.position));
        assert!(decoded.unwrap().owned() == conversation.owned());
    }
    let sealed = sealed_by(&message, body);
    if let Ok(said) = record::open(&message, &sealed).and_then(Body::message) {
        let mut again = Vec::new();
        record::encode_message(message, &said, &mut again);
        assert!(record::open(&message, &again).and_then(Body::message).unwrap() == said);
    }
    let account = sealed_by(&OWNER, body);
    let _ = record::decode_small::<UserId, AccountV1<'_>>(&OWNER, &account);
    let total = CounterKey::decode(bytes);
    let _ = record::decode_small::<CounterKey, CounterV1>(&total, &sealed_by(&total, body));
    let change = ChangeKey::decode(bytes);
    let _ = record::decode_small::<ChangeKey, ChangeV1>(&change, &sealed_by(&change, body));
    let answer = sealed_by(&OWNER, body);
    let _ = record::decode_small::<UserId, AnswerV1<'_>>(&OWNER, &answer);
}

fn sealed_by<K: FixedKey>(key: &K, body: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    record::seal(key, &mut record, |record| record.extend_from_slice(body));
    record
}

/// The tables of an empty store, into which logs are read.
pub struct Replayed(Tables);

impl Replayed {
    /// # Panics
    /// When there can be no store in memory.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it is no value")]
    pub fn new() -> Self {
        let database = store_file::in_memory(1 << 20).unwrap();
        Self(Tables::open(&database.begin_read().unwrap(), 0).unwrap())
    }

    /// A segment of these bytes is read to its end or refused.
    pub fn raw(&self, store: &Path, segment: &[u8]) {
        let mut tables = self.0.clone();
        fs::write(store.with_extension("x-log.00000000000000000001"), segment).unwrap();
        let store = store.with_extension("x");
        let _ = reader::replay(&SystemVfs, &store, LOG_SEED, 0, |bytes| tables.replay(bytes));
    }

    /// Groups of these bytes come back from the log as they were put, and are taken or refused.
    pub fn groups(&self, store: &Path, groups: &[&[u8]]) {
        let mut tables = self.0.clone();
        let mut log = Wal::new(Arc::new(SystemVfs), store.to_owned(), LOG_SEED);
        for (number, group) in (1..).zip(groups) {
            log.append(number, |out| out.extend_from_slice(group)).unwrap();
        }
        log.end_segment();
        let mut seen = 0;
        let read = reader::replay(&SystemVfs, store, LOG_SEED, 0, |bytes| {
            assert_eq!(bytes, groups[seen]);
            seen += 1;
            Some(())
        });
        assert_eq!(usize::try_from(read.unwrap()).unwrap(), groups.len());
        let _ = reader::replay(&SystemVfs, store, LOG_SEED, 0, |bytes| tables.replay(bytes));
    }
}
