//! The names of assistants that pages told, so that a body needs no descent for each. They are
//! shared by all states until an assistant changes, when the next one begins with none.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::encoding::key::UuidKey;

/// As many are kept; then they are read anew.
const MOST: usize = 16 * 1024;

/// See the head of this file.
#[derive(Default)]
pub(crate) struct AssistantNameCache {
    names: RwLock<HashMap<UuidKey, Box<str>>>,
}

impl AssistantNameCache {
    /// Appends the assistant's name to `out`, if it is known.
    pub(crate) fn append(&self, key: UuidKey, out: &mut String) -> bool {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let name = names.get(&key);
        out.push_str(name.map_or("", |name| name));
        name.is_some()
    }

    pub(crate) fn insert(&self, key: UuidKey, name: &str) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MOST {
            names.clear();
        }
        names.insert(key, name.into());
    }
}
