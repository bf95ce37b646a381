//! Rows that were read more than once, by key: what a page would otherwise descend to, four levels
//! of redb's tree each. A key falls on a bucket of two slots; a look-up reads one or both, and
//! allocates nothing. A page whose first row is missed for the second time keeps its rows, so a walk
//! through everything leaves no trace and pays for one look-up a page.
//!
//! Every state of the tables has a *generation*. A bucket knows the last generation in which a row
//! that falls on it changed, and the row that it holds knows in which it was read: the row is right
//! for a reader if nothing changed since the older of the two, so the cache serves the snapshots of
//! all times and never has to be emptied.
//!
//! A slot is a sequence lock of atomic words: a writer makes the sequence odd, writes, and makes it
//! even again; a reader that saw it change, or odd, has found nothing. Nobody waits.
//!
//! ```text
//! bucket, 80 words | last generation of a change | hash of the key last missed | slot | slot |
//! slot,   39 words | sequence | position | owner u32, length u32 | generation read in | body ... |
//! ```

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::encoding::key::RowKey;
use crate::encoding::record::Body;

const WORD: usize = size_of::<u64>();
/// The words of a bucket: ten cache lines.
const BUCKET_WORDS: usize = 80;
const CHANGED: usize = 0;
const MISSED: usize = 1;
const SLOTS: usize = 2;
const SLOT_WORDS: usize = (BUCKET_WORDS - SLOTS) / 2;
const SEQUENCE: usize = 0;
const POSITION: usize = 1;
const OWNER_AND_LENGTH: usize = 2;
const GENERATION: usize = 3;
const BODY: usize = 4;
/// Longer bodies are not kept.
const MAX_BODY: usize = (SLOT_WORDS - BODY) * WORD;
/// Buckets are made so many at a time, when the first of them is wanted: a small store has few.
const BLOCK: usize = 8;

/// See the head of this file.
pub(crate) struct RowCache {
    blocks: Box<[OnceLock<Box<[Bucket]>>]>,
}

type Bucket = [AtomicU64; BUCKET_WORDS];

/// The cache as readers of one generation see it.
#[derive(Clone, Copy)]
pub(crate) struct CachedRows<'c> {
    cache: &'c RowCache,
    generation: u64,
}

impl RowCache {
    /// For so many bytes of buckets; none where they are too few for a block.
    pub(crate) fn new(bytes: usize) -> Self {
        let blocks = bytes / (BLOCK * BUCKET_WORDS * WORD);
        Self { blocks: (0..blocks).map(|_| OnceLock::new()).collect() }
    }

    /// What readers of `generation` see of it.
    pub(crate) const fn at(&self, generation: u64) -> CachedRows<'_> {
        CachedRows { cache: self, generation }
    }

    /// Tells that a row changed, before the generation in which it did is shown to anyone.
    pub(crate) fn change(&self, key: RowKey, generation: u64) {
        if let Some(bucket) = self.bucket(hash(key)) {
            bucket[CHANGED].fetch_max(generation, Ordering::Release);
        }
    }

    /// The bucket of a hash, by its share of the range.
    fn bucket(&self, hash: u64) -> Option<&Bucket> {
        let number = self.number(hash)?;
        let empty = || [const { AtomicU64::new(0) }; BUCKET_WORDS];
        let block = self.blocks.get(number / BLOCK)?;
        let buckets = block.get_or_init(|| (0..BLOCK).map(|_| empty()).collect());
        Some(&buckets[number % BLOCK])
    }

    fn number(&self, hash: u64) -> Option<usize> {
        let buckets = self.blocks.len() * BLOCK;
        usize::try_from((u128::from(hash) * buckets as u128) >> u64::BITS).ok()
    }
}

/// The slots of a bucket.
fn slots(bucket: &Bucket) -> impl Iterator<Item = &[AtomicU64]> {
    bucket[SLOTS..].chunks_exact(SLOT_WORDS)
}

/// What stands for a key and a length in a slot.
fn owner_and_length(key: RowKey, length: usize) -> u64 {
    u64::from(key.owner.get()) << 32 | length as u64
}

impl CachedRows<'_> {
    /// Shows the body of a row, if it is here.
    pub(crate) fn get<T>(self, key: RowKey, as_ref: impl FnOnce(Body<'_>) -> T) -> Option<T> {
        let bucket = self.cache.bucket(hash(key))?;
        let mut body = [0; MAX_BODY];
        let (length, since) = slots(bucket).find_map(|slot| read(slot, key, &mut body))?;
        let unchanged = bucket[CHANGED].load(Ordering::Acquire) <= since.min(self.generation);
        unchanged.then(|| as_ref(Body::reopened(&body[..length])))
    }

    /// Notes that a row is not here, and tells whether it was missed before.
    pub(crate) fn miss(self, key: RowKey) -> bool {
        let hash = hash(key);
        let bucket = self.cache.bucket(hash);
        bucket.is_some_and(|bucket| bucket[MISSED].swap(hash, Ordering::Relaxed) == hash)
    }

    /// Keeps a row that was read, in the place of itself, of nothing, or of another.
    pub(crate) fn insert(self, key: RowKey, body: Body<'_>) {
        let hash = hash(key);
        let Some(bucket) = self.cache.bucket(hash) else { return };
        let has =
            |slot: &[AtomicU64], position: u64| slot[POSITION].load(Ordering::Relaxed) == position;
        let place = slots(bucket)
            .position(|slot| has(slot, key.position.bits()))
            .or_else(|| slots(bucket).position(|slot| has(slot, 0)))
            .unwrap_or(usize::from(hash % 2 == 1));
        if let Some(slot) = slots(bucket).nth(place) {
            write(slot, key, self.generation, body.bytes());
        }
    }
}

/// Copies the body that a slot holds of `key`, and tells its length and its generation.
fn read(slot: &[AtomicU64], key: RowKey, body: &mut [u8; MAX_BODY]) -> Option<(usize, u64)> {
    let before = slot[SEQUENCE].load(Ordering::Acquire);
    let word = |number: usize| slot[number].load(Ordering::Relaxed);
    let stored = word(OWNER_AND_LENGTH);
    let length = usize::try_from(stored & u64::from(u32::MAX)).ok()?;
    let right = before.is_multiple_of(2)
        && word(POSITION) == key.position.bits()
        && (1..=MAX_BODY).contains(&length)
        && stored == owner_and_length(key, length);
    if !right {
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

/// Puts a body into a slot, unless it is too long or another puts one.
fn write(slot: &[AtomicU64], key: RowKey, generation: u64, body: &[u8]) {
    let before = slot[SEQUENCE].load(Ordering::Relaxed);
    let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
    let mine = body.len() <= MAX_BODY
        && before.is_multiple_of(2)
        && slot[SEQUENCE].compare_exchange(before, before + 1, acquire, relaxed).is_ok();
    if !mine {
        return;
    }
    fence(Ordering::Release);
    let put = |number: usize, word: u64| slot[number].store(word, Ordering::Relaxed);
    put(POSITION, key.position.bits());
    put(OWNER_AND_LENGTH, owner_and_length(key, body.len()));
    put(GENERATION, generation);
    for (number, bytes) in (BODY..).zip(body.chunks(WORD)) {
        let mut word = [0; WORD];
        word[..bytes.len()].copy_from_slice(bytes);
        put(number, u64::from_le_bytes(word));
    }
    slot[SEQUENCE].store(before + 2, Ordering::Release);
}

/// Spreads keys over the slots by its upper bits (Fibonacci hashing).
fn hash(key: RowKey) -> u64 {
    let owner = u64::from(key.owner.get()).rotate_right(20);
    (key.position.bits() ^ owner).wrapping_mul(0x9E37_79B9_7F4A_7C15)
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

    /// Keeps row `key` with `count` messages, as a reader of a generation reads it.
    fn insert(cache: CachedRows<'_>, key: RowKey, count: u32) {
        let mut conversation = whatsapp_row(1, "+2");
        conversation.message_count = count;
        let mut record = Vec::new();
        encode_conversation(key, &conversation.borrowed(), &mut record);
        cache.insert(key, open(&key, &record).unwrap());
    }

    fn get(cache: CachedRows<'_>, key: RowKey) -> Option<u32> {
        cache.get(key, |body| {
            let (row, texts) = Row::decode(body, key.position).unwrap();
            row.conversation(texts).message_count
        })
    }

    #[test]
    fn a_row_is_found_by_its_key_alone() {
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
        assert_eq!(get(cache.at(2), key(5)), Some(1), "nothing changed between");
        assert_eq!(get(cache.at(4), key(5)), Some(1));
        cache.change(key(5), 5);
        assert_eq!(get(cache.at(4), key(5)), None, "it may be either");
        assert_eq!(get(cache.at(5), key(5)), None);
        // A reader of an old snapshot keeps what it has read.
        insert(4, 1);
        assert_eq!(get(cache.at(5), key(5)), None);
        assert_eq!(get(cache.at(6), key(5)), None);
        insert(6, 2);
        assert_eq!(get(cache.at(5), key(5)), Some(2));
        assert_eq!(get(cache.at(4), key(5)), None, "an old snapshot stays as it was");
    }

    #[test]
    fn it_is_as_small_as_asked() {
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

    /// Rows of all counts come and go in one bucket; whoever finds one finds it whole.
    #[test]
    fn readers_beside_writers_find_whole_rows_or_none() {
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
                    assert!(get(cache.at(1), *key).is_none_or(|found| found == count));
                }
            }
        });
    }
}
