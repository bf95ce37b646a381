//! Name cache: names of assistants, so that listing a page needs no B-tree lookup for each.
//!
//! All states share one cache until an assistant changes; then the next state starts an empty one.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use foldhash::quality::RandomState;

use crate::encoding::key::UuidKey;

/// The most names in a cache. A full cache is emptied.
const CAPACITY: usize = 16 * 1024;

/// The names of assistants that were read, by user and id.
#[derive(Default)]
pub(crate) struct AssistantNameCache {
    /// Hashed with a random state of the process, several times faster than by SipHash.
    names: RwLock<HashMap<UuidKey, Box<str>, RandomState>>,
}

impl AssistantNameCache {
    /// Appends the assistant's name to `out`, and returns whether the name is cached.
    pub(crate) fn append(&self, key: UuidKey, out: &mut String) -> bool {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let name = names.get(&key);
        out.push_str(name.map_or("", |name| name));
        name.is_some()
    }

    pub(crate) fn insert(&self, key: UuidKey, name: &str) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= CAPACITY {
            names.clear();
        }
        names.insert(key, name.into());
    }
}
