//! Applies a page of conversations to the store in one transaction: all of them or none.
//!
//! A new conversation is inserted. An existing one is updated: its fields are replaced, and messages
//! beyond the known ones are appended. Nothing is ever deleted.

use convodb::{Conversation, Error, Name, Result, Store, Transaction, UserId};
use convodb_http::item::Item;

/// A conversation as the server sent it.
pub(crate) struct Candidate {
    /// Its position in the import, from 1.
    pub(crate) number: u64,
    /// Its line, for the rejects file.
    pub(crate) line: Vec<u8>,
    /// The parsed line, or why it is rejected.
    pub(crate) item: Result<Item, String>,
}

/// The result of applying a page.
#[derive(Default)]
pub(crate) struct Applied {
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) messages: u64,
    pub(crate) assistants_created: u64,
    /// Number, reason and line of each rejected conversation.
    pub(crate) rejected: Vec<(u64, String, Vec<u8>)>,
}

/// What became of one conversation.
enum Change {
    Inserted { messages: usize },
    Updated { messages: usize },
    Rejected { reason: String },
}

/// Applies a page: inserts its new conversations and updates the existing ones.
///
/// # Errors
/// Fails if the store does; then nothing of the page is written.
pub(crate) fn apply_page(store: &Store, user: UserId, page: Vec<Candidate>) -> Result<Applied> {
    let snapshot = store.snapshot();
    let mut known = Vec::with_capacity(page.len());
    for candidate in &page {
        let id = candidate.item.as_ref().ok().map(|item| item.conversation.id);
        let history = id.map(|id| snapshot.history(user, id)).transpose()?.flatten();
        known.push(history.map_or(0, |history| history.len()));
    }
    drop(snapshot);
    store.write(move |transaction| {
        let mut applied = Applied::default();
        for (Candidate { number, line, item }, known) in page.into_iter().zip(known) {
            let change = match item {
                Ok(item) => applied.apply(transaction, user, &item, known)?,
                Err(reason) => Change::Rejected { reason },
            };
            applied.count(change, number, line);
        }
        Ok(applied)
    })
}

impl Applied {
    fn count(&mut self, change: Change, number: u64, line: Vec<u8>) {
        match change {
            Change::Inserted { messages } => {
                self.inserted += 1;
                self.messages += messages as u64;
            }
            Change::Updated { messages } => {
                self.updated += 1;
                self.messages += messages as u64;
            }
            Change::Rejected { reason } => self.rejected.push((number, reason, line)),
        }
    }

    /// Inserts or updates one conversation, of which the store has `known` messages.
    fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        user: UserId,
        item: &Item,
        known: usize,
    ) -> Result<Change> {
        let Item { conversation, assistant_name, messages } = item;
        if !self.has_assistant(transaction, user, conversation, assistant_name.as_ref())? {
            let reason = "assistant_name must be given for an assistant that does not exist yet";
            return Ok(Change::Rejected { reason: reason.to_owned() });
        }
        if transaction.get(user, conversation.id)?.is_some() {
            let new = messages.get(known..).unwrap_or_default();
            for message in new {
                transaction.append_message(user, conversation.id, message)?;
            }
            let least = u32::try_from(known + new.len()).unwrap_or(u32::MAX);
            transaction
                .update(user, conversation.id, |stored| replace_fields(stored, item, least))?;
            return Ok(Change::Updated { messages: new.len() });
        }
        match transaction.insert(user, conversation, messages) {
            Ok(()) => Ok(Change::Inserted { messages: messages.len() }),
            // Validated before anything is written.
            Err(error @ Error::Invalid { .. }) => {
                Ok(Change::Rejected { reason: error.to_string() })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the user has the conversation's assistant. Creates it if the item names it.
    fn has_assistant(
        &mut self,
        transaction: &mut Transaction<'_>,
        user: UserId,
        conversation: &Conversation,
        name: Option<&Name>,
    ) -> Result<bool> {
        if transaction.assistant(user, conversation.assistant)?.is_some() {
            return Ok(true);
        }
        let Some(name) = name else { return Ok(false) };
        transaction.create_assistant(user, conversation.assistant, name.clone())?;
        self.assistants_created += 1;
        Ok(true)
    }
}

/// Replaces every field that can change with the server's.
fn replace_fields(stored: &mut Conversation, item: &Item, least_messages: u32) {
    let new = item.conversation.clone();
    stored.assistant = new.assistant;
    stored.channel = new.channel;
    stored.variables = new.variables;
    stored.message_count = new.message_count.max(least_messages);
    stored.total_cost = new.total_cost;
    stored.ai_enabled = new.ai_enabled;
    stored.updated_at = new.updated_at;
}
