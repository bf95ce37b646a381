//! The names of the assistants that items tell, each read once.

use convodb::{Assistant, AssistantId, Error, Result, Snapshot, UserId};

/// The names of a user's assistants, as a snapshot has them. Made for one page or one walk.
#[derive(Debug)]
pub struct AssistantNames {
    snapshot: Snapshot,
    user: UserId,
    known: Vec<Assistant>,
}

impl AssistantNames {
    /// The names of the user's assistants.
    #[must_use]
    pub const fn new(snapshot: Snapshot, user: UserId) -> Self {
        Self { snapshot, user, known: Vec::new() }
    }

    /// The present name of the assistant. One descent the first time.
    ///
    /// # Errors
    /// [`Error::Corrupted`] where a conversation's assistant is not there, or a fault of the store.
    pub fn name(&mut self, id: AssistantId) -> Result<&str> {
        let known = self.known.iter().rposition(|assistant| assistant.id == id);
        let at = match known {
            Some(at) => at,
            None => {
                let what = "a conversation's assistant is not there";
                let missing = || Error::Corrupted { table: "assistants.v1", what };
                self.known.push(self.snapshot.assistant(self.user, id)?.ok_or_else(missing)?);
                self.known.len() - 1
            }
        };
        Ok(self.known[at].name.as_str())
    }
}
