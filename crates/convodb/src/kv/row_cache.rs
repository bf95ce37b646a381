//! Row cache: bodies of rows that are read more than once, by key.
//!
//! A hit saves a B-tree lookup through four levels of redb. A key maps to a bucket of two slots. A
//! cache lookup reads one or both of them and allocates nothing.
//!
//! *Admission.* A page inserts its rows only if its first row is missed for the second time. So a
//! scan through all conversations inserts nothing and costs one cache lookup a page.
//!
//! *Validity.* Every stored state of the tables has a *generation*. A bucket records the generation
//! of the last change to any of its rows, a slot the generation in which its row was read. A cached
//! row is valid for a reader if nothing changed after the older of the row's and the reader's
//! generation. So one cache serves snapshots of any age and is never cleared.
//!
//! *Concurrency.* A slot is a sequence lock of atomic words. A writer makes the sequence odd,
//! writes, and makes it even again. A reader that finds it odd or changed reports a miss. Nobody
//! waits.
//!
//! ```text
//! bucket, 80 words | last generation of a change | hash of the key last missed | slot | slot |
//! slot,   39 words | sequence | position | user u32, length u32 | generation read in | body ... |
//! ```

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::encoding::key::RowKey;
use crate::encoding::record::Body;

const WORD: usize = size_of::<u64>();
/// Words in a bucket: ten cache lines.
const BUCKET_WORDS: usize = 80;
const CHANGED: usize = 0;
const MISSED: usize = 1;
const SLOTS: usize = 2;
const SLOT_WORDS: usize = (BUCKET_WORDS - SLOTS) / 2;
const SEQUENCE: usize = 0;
const POSITION: usize = 1;
const USER_AND_LENGTH: usize = 2;
const GENERATION: usize = 3;
const BODY: usize = 4;
/// Maximum length of a cached body, in bytes.
const MAX_BODY: usize = (SLOT_WORDS - BODY) * WORD;
/// Buckets are allocated in blocks of this many, each when its first bucket is used: a small store
/// allocates few.
const BLOCK: usize = 8;

/// A cache of row bodies, of fixed size, shared by all snapshots of a store.
pub(crate) struct RowCache {
    blocks: Box<[OnceLock<Box<[Bucket]>>]>,
}

type Bucket = [AtomicU64; BUCKET_WORDS];

/// The cache as seen by readers of one generation.
#[derive(Clone, Copy)]
pub(crate) struct CachedRows<'c> {
    cache: &'c RowCache,
    generation: u64,
}

impl RowCache {
    /// A cache of at most `bytes` bytes of buckets; an empty one if they are too few for a block.
    pub(crate) fn new(bytes: usize) -> Self {
        let blocks = bytes / (BLOCK * BUCKET_WORDS * WORD);
        Self { blocks: (0..blocks).map(|_| OnceLock::new()).collect() }
    }

    /// The view for readers of `generation`.
    pub(crate) const fn at(&self, generation: u64) -> CachedRows<'_> {
        CachedRows { cache: self, generation }
    }

    /// Invalidates a row that changes in `generation`. Call it before that generation is published.
    pub(crate) fn change(&self, key: RowKey, generation: u64) {
        if let Some(bucket) = self.bucket(hash(key)) {
            bucket[CHANGED].fetch_max(generation, Ordering::Release);
        }
    }

    /// The bucket of a hash, allocated on first use; `None` if the cache is empty.
    fn bucket(&self, hash: u64) -> Option<&Bucket> {
        let number = self.number(hash)?;
        let empty = || [const { AtomicU64::new(0) }; BUCKET_WORDS];
        let block = self.blocks.get(number / BLOCK)?;
        let buckets = block.get_or_init(|| (0..BLOCK).map(|_| empty()).collect());
        Some(&buckets[number % BLOCK])
    }

    /// The number of a hash's bucket: the hash scaled to the number of buckets.
    fn number(&self, hash: u64) -> Option<usize> {
        let buckets = self.blocks.len() * BLOCK;
        usize::try_from((u128::from(hash) * buckets as u128) >> u64::BITS).ok()
    }
}

/// The slots of a bucket.
fn slots(bucket: &Bucket) -> impl Iterator<Item = &[AtomicU64]> {
    bucket[SLOTS..].chunks_exact(SLOT_WORDS)
}

/// The slot's word for the user of a key and the length of a body.
fn user_and_length(key: RowKey, length: usize) -> u64 {
    u64::from(key.user.get()) << 32 | length as u64
}

impl CachedRows<'_> {
    /// Calls `decode` with the cached body of a row and returns its result; `None` on a miss.
    pub(crate) fn get<T>(self, key: RowKey, decode: impl FnOnce(Body<'_>) -> T) -> Option<T> {
        let bucket = self.cache.bucket(hash(key))?;
        let mut body = [0; MAX_BODY];
        let (length, since) = slots(bucket).find_map(|slot| read(slot, key, &mut body))?;
        let unchanged = bucket[CHANGED].load(Ordering::Acquire) <= since.min(self.generation);
        unchanged.then(|| decode(Body::reopened(&body[..length])))
    }

    /// Records a miss; returns whether the last miss in its bucket was of the same row.
    pub(crate) fn miss(self, key: RowKey) -> bool {
        let hash = hash(key);
        let bucket = self.cache.bucket(hash);
        bucket.is_some_and(|bucket| bucket[MISSED].swap(hash, Ordering::Relaxed) == hash)
    }

    /// Inserts a row that was read from the table: into the slot of the same position, else into an
    /// empty slot, else over another row.
    pub(crate) fn insert(self, key: RowKey, body: Body<'_>) {
        let hash = hash(key);
        let Some(bucket) = self.cache.bucket(hash) else { return };
        let has =
            |slot: &[AtomicU64], position: u64| slot[POSITION].load(Ordering::Relaxed) == position;
        let slot = slots(bucket)
            .position(|slot| has(slot, key.position.bits()))
            .or_else(|| slots(bucket).position(|slot| has(slot, 0)))
            .unwrap_or(usize::from(hash % 2 == 1));
        if let Some(slot) = slots(bucket).nth(slot) {
            write(slot, key, self.generation, body.bytes());
        }
    }
}

/// Copies a slot's body of `key` into `body`; returns its length and generation, or `None` on a
/// miss.
fn read(slot: &[AtomicU64], key: RowKey, body: &mut [u8; MAX_BODY]) -> Option<(usize, u64)> {
    let before = slot[SEQUENCE].load(Ordering::Acquire);
    let word = |number: usize| slot[number].load(Ordering::Relaxed);
    let stored = word(USER_AND_LENGTH);
    let length = usize::try_from(stored & u64::from(u32::MAX)).ok()?;
    let matches = before.is_multiple_of(2)
        && word(POSITION) == key.position.bits()
        && (1..=MAX_BODY).contains(&length)
        && stored == user_and_length(key, length);
    if !matches {
        return None;
    }
    let generation = word(GENERATION);
    let words = slot[BODY..].iter().zip(body.chunks_exact_mut(WORD));
    for (word, bytes) in words.take(length.div_ceil(WORD)) {
        bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
    }
    fence(Ordering::Acquire);
    (slot[SEQUENCE].load(Ordering::Relaxed) == before).then_some((length, generation))
}

/// Writes a body into a slot, unless it is too long or another writer has the slot.
fn write(slot: &[AtomicU64], key: RowKey, generation: u64, body: &[u8]) {
    let before = slot[SEQUENCE].load(Ordering::Relaxed);
    let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
    let locked = body.len() <= MAX_BODY
        && before.is_multiple_of(2)
        && slot[SEQUENCE].compare_exchange(before, before + 1, acquire, relaxed).is_ok();
    if !locked {
        return;
    }
    fence(Ordering::Release);
    let put = |number: usize, word: u64| slot[number].store(word, Ordering::Relaxed);
    put(POSITION, key.position.bits());
    put(USER_AND_LENGTH, user_and_length(key, body.len()));
    put(GENERATION, generation);
    for (number, bytes) in (BODY..).zip(body.chunks(WORD)) {
        let mut word = [0; WORD];
        word[..bytes.len()].copy_from_slice(bytes);
        put(number, u64::from_le_bytes(word));
    }
    slot[SEQUENCE].store(before + 2, Ordering::Release);
}

/// Fibonacci hashing: the upper bits select the bucket.
fn hash(key: RowKey) -> u64 {
    let user = u64::from(key.user.get()).rotate_right(20);
    (key.position.bits() ^ user).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::record::open;
    use crate::encoding::row::{Row, encode_conversation};
    use crate::model::id::UserId;
    use crate::model::position::Position;
    use crate::testing::whatsapp_row;

    fn key(position: u64) -> RowKey {
        RowKey::new(UserId::new(7), Position::from_bits(position))
    }

    /// Inserts row `key` with `count` messages, as read by a reader of the cache's generation.
    fn insert(cache: CachedRows<'_>, key: RowKey, count: u32) {
        let mut conversation = whatsapp_row(1, "+2");
        conversation.message_count = count;
        let mut record = Vec::new();
        encode_conversation(key, &conversation.borrowed(), count, &mut record);
        cache.insert(key, open(&key, &record).unwrap());
    }

    fn get(cache: CachedRows<'_>, key: RowKey) -> Option<u32> {
        cache.get(key, |body| {
            let (row, texts) = Row::decode(body, key.position).unwrap();
            row.conversation(texts).message_count
        })
    }

    #[test]
    fn a_row_is_found_only_by_its_own_key() {
        let cache = RowCache::new(1 << 20);
        assert_eq!(get(cache.at(1), key(5)), None);
        assert!(!cache.at(1).miss(key(5)));
        assert!(cache.at(1).miss(key(5)));
        insert(cache.at(1), key(5), 1);
        assert_eq!(get(cache.at(1), key(5)), Some(1));
        assert_eq!(get(cache.at(1), key(6)), None);
        assert_eq!(get(cache.at(1), RowKey::new(UserId::new(8), key(5).position)), None);
    }

    #[test]
    fn each_generation_sees_its_own_row() {
        let cache = RowCache::new(1 << 20);
        let insert = |generation, count| insert(cache.at(generation), key(5), count);
        insert(3, 1);
        assert_eq!(get(cache.at(2), key(5)), Some(1), "nothing changed in between");
        assert_eq!(get(cache.at(4), key(5)), Some(1));
        cache.change(key(5), 5);
        assert_eq!(get(cache.at(4), key(5)), None, "the row may be older or newer than the change");
        assert_eq!(get(cache.at(5), key(5)), None);
        // A reader of an old snapshot inserts the row that it has read.
        insert(4, 1);
        assert_eq!(get(cache.at(5), key(5)), None);
        assert_eq!(get(cache.at(6), key(5)), None);
        insert(6, 2);
        assert_eq!(get(cache.at(5), key(5)), Some(2));
        assert_eq!(get(cache.at(4), key(5)), None, "an old snapshot must not see newer rows");
    }

    #[test]
    fn it_is_not_larger_than_requested() {
        let buckets = |bytes| RowCache::new(bytes).blocks.len() * BLOCK;
        assert_eq!([buckets(0), buckets(5_000), buckets(6_000), buckets(1 << 20)], [0, 0, 8, 1632]);
        for bytes in [0, 5_000, 6_000] {
            let cache = RowCache::new(bytes);
            for position in (0..1000).map(|number| number << 22) {
                insert(cache.at(1), key(position), 1);
                let expected = (bytes >= BLOCK * BUCKET_WORDS * WORD).then_some(1);
                assert_eq!(get(cache.at(1), key(position)), expected);
            }
        }
    }

    /// Three rows replace each other in the two slots of one bucket; a reader never sees a torn
    /// row.
    #[test]
    fn concurrent_readers_find_whole_rows_or_none() {
        let cache = RowCache::new(6_000);
        let same_bucket: Vec<RowKey> = (0..)
            .map(|number| key(number << 22))
            .filter(|key| cache.number(hash(*key)) == Some(7))
            .take(4)
            .collect();
        std::thread::scope(|scope| {
            for (writer, key) in (1..).zip(&same_bucket[..3]) {
                let cache = &cache;
                scope.spawn(move || (0..2_000).for_each(|_| insert(cache.at(1), *key, writer)));
            }
            for _ in 0..20_000 {
                for (count, key) in (1..).zip(&same_bucket) {
                    assert!(get(cache.at(1), *key).is_none_or(|cached| cached == count));
                }
            }
        });
    }
}
