//! Process key: random bytes of this process, for keyed hashes that no other process repeats.

use std::sync::LazyLock;

use uuid::Uuid;

/// Returns the key of this process for one purpose.
pub(crate) fn process_key(purpose: &'static str) -> [u8; 32] {
    static KEY: LazyLock<[u8; 32]> = LazyLock::new(|| {
        let mut hasher = blake3::Hasher::new();
        // Each has 74 random bits.
        for _ in 0..4 {
            hasher.update(Uuid::now_v7().as_bytes());
        }
        *hasher.finalize().as_bytes()
    });
    *blake3::keyed_hash(&KEY, purpose.as_bytes()).as_bytes()
}
