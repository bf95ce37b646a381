//! Name cache: the assistants' names that the items of one response need, each read once.

use std::ops::Range;

use convodb::{AssistantId, Error, Result, Snapshot, UserId};

/// Initial capacities: the assistants of a typical page, and the bytes of a typical name.
const TYPICAL_ASSISTANTS: usize = 8;
const TYPICAL_NAME_BYTES: usize = 24;

/// The names of a user's assistants as of one snapshot. Create one for each page or export.
#[derive(Debug)]
pub struct AssistantNames {
    snapshot: Snapshot,
    user: UserId,
    /// The names read so far, concatenated; `ranges` has the position of each.
    text: String,
    ranges: Vec<(AssistantId, Range<usize>)>,
}

impl AssistantNames {
    /// Returns an empty cache. Reads nothing.
    #[must_use]
    pub fn new(snapshot: Snapshot, user: UserId) -> Self {
        let text = String::with_capacity(TYPICAL_ASSISTANTS * TYPICAL_NAME_BYTES);
        Self { snapshot, user, text, ranges: Vec::with_capacity(TYPICAL_ASSISTANTS) }
    }

    /// Returns the current name of the assistant. One B-tree lookup for the first call with an id.
    ///
    /// # Errors
    /// [`Error::AssistantNotFound`] if the user has no assistant with this id. The assistant of a
    /// stored conversation always exists, so there this means a damaged store. Fails if the store
    /// cannot be read.
    #[inline]
    pub fn name(&mut self, id: AssistantId) -> Result<&str> {
        let known = self.ranges.iter().rposition(|(known, _)| *known == id);
        let at = match known {
            Some(at) => at,
            None => {
                let start = self.text.len();
                if !self.snapshot.assistant_name(self.user, id, &mut self.text)? {
                    return Err(Error::AssistantNotFound);
                }
                self.ranges.push((id, start..self.text.len()));
                self.ranges.len() - 1
            }
        };
        Ok(&self.text[self.ranges[at].1.clone()])
    }
}
