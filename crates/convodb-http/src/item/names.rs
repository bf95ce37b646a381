//! The names of the assistants that items tell, each read once.

use std::ops::Range;

use convodb::{AssistantId, Error, Result, Snapshot, UserId};

/// How many assistants a page tells of, and what a name takes, as a first guess.
const TYPICAL_ASSISTANTS: usize = 8;
const TYPICAL_NAME_BYTES: usize = 24;

/// The names of a user's assistants, as a snapshot has them. Made for one page or one walk.
#[derive(Debug)]
pub struct AssistantNames {
    snapshot: Snapshot,
    user: UserId,
    /// All names that were read, one after the other.
    text: String,
    known: Vec<(AssistantId, Range<usize>)>,
}

impl AssistantNames {
    /// The names of the user's assistants, none of which is read yet.
    #[must_use]
    pub fn new(snapshot: Snapshot, user: UserId) -> Self {
        let text = String::with_capacity(TYPICAL_ASSISTANTS * TYPICAL_NAME_BYTES);
        Self { snapshot, user, text, known: Vec::with_capacity(TYPICAL_ASSISTANTS) }
    }

    /// The present name of the assistant. One descent the first time.
    ///
    /// # Errors
    /// [`Error::Corrupted`] where a conversation's assistant is not there, or a fault of the store.
    pub fn name(&mut self, id: AssistantId) -> Result<&str> {
        let known = self.known.iter().rposition(|(known, _)| *known == id);
        let at = match known {
            Some(at) => at,
            None => {
                let start = self.text.len();
                if !self.snapshot.assistant_name(self.user, id, &mut self.text)? {
                    let what = "a conversation's assistant is not there";
                    return Err(Error::Corrupted { table: "assistants.v1", what });
                }
                self.known.push((id, start..self.text.len()));
                self.known.len() - 1
            }
        };
        Ok(&self.text[self.known[at].1.clone()])
    }
}
