//! Pseudo-random numbers of the demo: the same on every machine.

use uuid::Builder;

/// The SplitMix64 generator of Steele, Lea and Flood.
pub(super) struct SplitMix64(u64);

impl SplitMix64 {
    /// Begins the stream of a seed and a number. Streams of neighbouring numbers are unrelated.
    pub(super) fn stream(seed: u64, number: u64) -> Self {
        Self(mix(seed ^ mix(number)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`. The bias is negligible, because bounds are far below 2^32.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 32) % bound
    }

    /// Whether an event happens that happens in `percent` of all cases.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number below `bound`; small ones are more frequent.
    pub(super) fn skewed(&mut self, bound: u64) -> u64 {
        let below = 1 + self.below(bound);
        self.below(below)
    }

    /// One of the items, which are not empty.
    pub(super) fn pick<'i, T>(&mut self, items: &'i [T]) -> &'i T {
        let index = usize::try_from(self.below(items.len() as u64)).unwrap_or(0);
        &items[index]
    }

    /// An index with a probability proportional to its weight.
    pub(super) fn weighted(&mut self, weights: impl Iterator<Item = u64> + Clone) -> usize {
        let mut left = self.below(weights.clone().sum());
        for (at, weight) in weights.enumerate() {
            match left.checked_sub(weight) {
                Some(rest) => left = rest,
                None => return at,
            }
        }
        0
    }

    pub(super) fn uuid(&mut self) -> uuid::Uuid {
        let bytes = (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes();
        Builder::from_random_bytes(bytes).into_uuid()
    }
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
