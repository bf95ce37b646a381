//! Import within a group: the one rule of every import, on the state of the group.

use convodb::{AssistantId, Conversation, ConversationId, Error, Message, Name, UserId};
use convodb_json::{ImportTarget, Item, insert_if_new};
use convodb_service::Written;

use crate::writes::group::{Refusal, Result, WriteGroup, reaches};

impl WriteGroup<'_> {
    /// Inserts the conversations of the items that the user does not have.
    ///
    /// An item that breaks a rule changes nothing. What fails the import fails its first item that
    /// would change something: there is no such user, or it is being erased. So an import that fails
    /// leaves no trace.
    pub(super) fn import(
        &mut self,
        items: &[Item],
        restriction: Option<AssistantId>,
    ) -> Result<Written> {
        let user = self.user();
        let mut target = Target { group: self, restriction, refusal: None };
        let mut applied = Vec::with_capacity(items.len());
        for item in items {
            match insert_if_new(&mut target, user, item) {
                Ok(done) => applied.push(done),
                Err(error) => return Err(target.refusal.unwrap_or_else(|| error.into())),
            }
        }
        Ok(Written::Imported(applied))
    }
}

/// A group as the target of an import.
struct Target<'g, 'k> {
    group: &'g mut WriteGroup<'k>,
    /// The only assistant that the import reaches.
    restriction: Option<AssistantId>,
    /// Why it ended, if the rule of an import has no error for it.
    refusal: Option<Refusal>,
}

impl Target<'_, '_> {
    fn checked<T>(&mut self, done: Result<T>) -> convodb::Result<T> {
        done.map_err(|refusal| match refusal {
            Refusal::Failed(crate::Error::Store(error)) => error,
            refusal => {
                self.refusal = Some(refusal);
                // The rule passes it on, and then the refusal counts.
                Error::Closed
            }
        })
    }
}

impl ImportTarget for Target<'_, '_> {
    fn has_conversation(&mut self, _: UserId, id: ConversationId) -> convodb::Result<bool> {
        let found = self.group.row(id);
        let of = found.map(|row| row.row.conversation.assistant);
        Ok(of.is_some_and(|assistant| reaches(self.restriction, assistant)))
    }

    fn has_assistant(&mut self, _: UserId, id: AssistantId) -> convodb::Result<bool> {
        if !reaches(self.restriction, id) {
            return Ok(false);
        }
        let found = self.group.assistant(id).map(|found| found.is_some());
        self.checked(found)
    }

    fn create_assistant(&mut self, _: UserId, id: AssistantId, name: Name) -> convodb::Result<()> {
        let created = self.group.create_assistant(id, &name, self.restriction);
        let created = created.and_then(|created| self.group.perform(created));
        self.checked(created).map(drop)
    }

    fn insert(
        &mut self,
        _: UserId,
        new: &Conversation,
        messages: &[Message],
    ) -> convodb::Result<()> {
        let inserted = self.group.insert(new, messages, self.restriction);
        let inserted = inserted.and_then(|inserted| self.group.perform(inserted));
        self.checked(inserted).map(drop)
    }
}
