//! Rows that were read more than once, decoded, by key: what a page would otherwise descend to, four
//! levels of redb's tree each. A look-up is one slot and one comparison. A page whose first row is
//! missed for the second time keeps its rows, so a walk through everything leaves no trace and pays
//! for one look-up a page.
//!
//! Every state of the tables has a *generation*. A slot knows the last generation in which a row
//! that falls on it changed, and the row that it holds knows in which it was read: the row is right
//! for a reader if nothing changed since the older of the two, so the cache serves the snapshots of
//! all times and never has to be emptied.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::encoding::key::RowKey;
use crate::encoding::row::Row;

/// Slots are made so many at a time, when the first of them is wanted: a small store has few.
const BLOCK: usize = 64;
/// Memory for one row, with what is around it: a slot for each.
const BYTES_PER_ROW: usize = 512;
/// Longer rows are not kept, so that slots bound memory.
const MAX_TEXTS: usize = 1024;

/// See the head of this file.
pub(crate) struct RowCache {
    blocks: Box<[OnceLock<Box<[Slot]>>]>,
    /// How many bits of a hash are not the number of a slot.
    shift: u32,
}

#[derive(Default)]
struct Slot {
    row: ArcSwapOption<Cached>,
    /// The last generation in which a row of the slot changed.
    changed: AtomicU64,
    /// The hash of the key that was last missed.
    missed: AtomicU64,
}

struct Cached {
    key: RowKey,
    generation: u64,
    row: Row,
    texts: Box<str>,
}

/// The cache as readers of one generation see it.
#[derive(Clone, Copy)]
pub(crate) struct CachedRows<'c> {
    cache: &'c RowCache,
    generation: u64,
}

impl RowCache {
    /// For about so many bytes of rows; none where they are too few for a block of slots.
    pub(crate) fn new(bytes: usize) -> Self {
        let rows = bytes / BYTES_PER_ROW;
        let slots = rows.checked_ilog2().map_or(0_usize, |bits| 1 << bits);
        // Shifted by one less than all bits at most, for there may be no slots.
        let shift = (u64::BITS - slots.trailing_zeros()).min(u64::BITS - 1);
        Self { blocks: (0..slots / BLOCK).map(|_| OnceLock::new()).collect(), shift }
    }

    /// What readers of `generation` see of it.
    pub(crate) const fn at(&self, generation: u64) -> CachedRows<'_> {
        CachedRows { cache: self, generation }
    }

    /// Tells that a row changed, before the generation in which it did is shown to anyone.
    pub(crate) fn change(&self, key: RowKey, generation: u64) {
        if let Some(slot) = self.slot(hash(key)) {
            slot.changed.fetch_max(generation, Ordering::Release);
        }
    }

    fn slot(&self, hash: u64) -> Option<&Slot> {
        let number = usize::try_from(hash >> self.shift).unwrap_or(0);
        let block = self.blocks.get(number / BLOCK)?;
        let slots = block.get_or_init(|| (0..BLOCK).map(|_| Slot::default()).collect());
        Some(&slots[number % BLOCK])
    }
}

impl CachedRows<'_> {
    /// Shows the row of a key and its texts, if they are here.
    pub(crate) fn get<T>(self, key: RowKey, show: impl FnOnce(&Row, &str) -> T) -> Option<T> {
        let slot = self.cache.slot(hash(key))?;
        let cached = slot.row.load();
        let cached = cached.as_ref().filter(|cached| cached.key == key)?;
        let since = cached.generation.min(self.generation);
        let unchanged = slot.changed.load(Ordering::Acquire) <= since;
        unchanged.then(|| show(&cached.row, &cached.texts))
    }

    /// Notes that a row is not here, and tells whether it was missed before.
    pub(crate) fn miss(self, key: RowKey) -> bool {
        let hash = hash(key);
        let slot = self.cache.slot(hash);
        slot.is_some_and(|slot| slot.missed.swap(hash, Ordering::Relaxed) == hash)
    }

    /// Keeps a row that was read.
    pub(crate) fn keep(self, key: RowKey, row: &Row, texts: &str) {
        let Some(slot) = self.cache.slot(hash(key)) else { return };
        if texts.len() <= MAX_TEXTS {
            let generation = self.generation;
            slot.row.store(Some(Cached { key, generation, row: *row, texts: texts.into() }.into()));
        }
    }
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
    use crate::encoding::row::encode_conversation;
    use crate::model::id::UserId;
    use crate::model::position::Position;
    use crate::testing::whatsapp_row;

    fn key(position: u64) -> RowKey {
        RowKey::new(UserId::new(7), Position::from_bits(position))
    }

    /// Keeps row `key` with `count` messages, as a reader of a generation reads it.
    fn keep(cache: CachedRows<'_>, key: RowKey, count: u32) {
        let mut conversation = whatsapp_row(1, "+2");
        conversation.message_count = count;
        let mut record = Vec::new();
        encode_conversation(key, &conversation.borrowed(), &mut record);
        let (row, texts) = Row::decode(open(&key, &record).unwrap(), key.position).unwrap();
        cache.keep(key, &row, texts);
    }

    fn get(cache: CachedRows<'_>, key: RowKey) -> Option<u32> {
        cache.get(key, |row, texts| row.conversation(texts).message_count)
    }

    #[test]
    fn a_row_is_found_by_its_key_alone() {
        let cache = RowCache::new(1 << 20);
        assert_eq!(get(cache.at(1), key(5)), None);
        assert!(!cache.at(1).miss(key(5)));
        assert!(cache.at(1).miss(key(5)));
        keep(cache.at(1), key(5), 1);
        assert_eq!(get(cache.at(1), key(5)), Some(1));
        assert_eq!(get(cache.at(1), key(6)), None);
        assert_eq!(get(cache.at(1), RowKey::new(UserId::new(8), key(5).position)), None);
    }

    #[test]
    fn each_generation_sees_its_own_row() {
        let cache = RowCache::new(1 << 20);
        let keep = |generation, count| keep(cache.at(generation), key(5), count);
        keep(3, 1);
        assert_eq!(get(cache.at(2), key(5)), Some(1), "nothing changed between");
        assert_eq!(get(cache.at(4), key(5)), Some(1));
        cache.change(key(5), 5);
        assert_eq!(get(cache.at(4), key(5)), None, "it may be either");
        assert_eq!(get(cache.at(5), key(5)), None);
        // A reader of an old snapshot keeps what it has read.
        keep(4, 1);
        assert_eq!(get(cache.at(5), key(5)), None);
        assert_eq!(get(cache.at(6), key(5)), None);
        keep(6, 2);
        assert_eq!(get(cache.at(5), key(5)), Some(2));
        assert_eq!(get(cache.at(4), key(5)), None, "an old snapshot stays as it was");
    }

    #[test]
    fn it_is_as_small_as_asked() {
        let slots = |bytes| RowCache::new(bytes).blocks.len() * BLOCK;
        assert_eq!([slots(0), slots(20_000), slots(33_000), slots(1 << 20)], [0, 0, 64, 2048]);
        for bytes in [0, 20_000, 33_000] {
            let cache = RowCache::new(bytes);
            for position in (0..1000).map(|number| number << 22) {
                keep(cache.at(1), key(position), 1);
                let kept = (bytes >= 32_768).then_some(1);
                assert_eq!(get(cache.at(1), key(position)), kept);
            }
        }
    }
}
