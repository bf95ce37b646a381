//! A page of conversations into the store, in one write: all of them, or none.
//!
//! One that is not there is inserted. One that is there is left, or brought up to date: its fields are
//! taken over, and messages beyond those that are known are appended. Nothing is ever taken away.

use convodb::{Conversation, Error, Name, Result, Store, Transaction, UserId};
use convodb_http::item::Item;

/// A conversation as the server tells it.
pub(crate) struct Arrival {
    /// Which one of the migration it is, from 1.
    pub(crate) number: u64,
    /// Its line, for the rejects.
    pub(crate) line: Vec<u8>,
    /// What the line says, or why it cannot be taken.
    pub(crate) item: Result<Item, String>,
}

/// What became of a page.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) messages: u64,
    pub(crate) assistants_created: u64,
    pub(crate) rejected: Vec<(u64, String, Vec<u8>)>,
}

/// Writes a page. Its conversations are either not there, or to be brought up to date.
///
/// # Errors
/// A fault of the store; then nothing of the page is written.
pub(crate) fn take(store: &Store, user: UserId, page: Vec<Arrival>) -> Result<Taken> {
    let snapshot = store.snapshot();
    let mut known = Vec::with_capacity(page.len());
    for arrival in &page {
        let id = arrival.item.as_ref().ok().map(|item| item.conversation.id);
        let history = id.map(|id| snapshot.history(user, id)).transpose()?.flatten();
        known.push(history.map_or(0, |history| history.len()));
    }
    drop(snapshot);
    store.write(move |transaction| {
        let mut taken = Taken::default();
        for (Arrival { number, line, item }, known) in page.into_iter().zip(known) {
            let refused = match item {
                Ok(item) => taken.take_one(transaction, user, &item, known)?,
                Err(reason) => Some(reason),
            };
            taken.rejected.extend(refused.map(|reason| (number, reason, line)));
        }
        Ok(taken)
    })
}

impl Taken {
    /// Writes one conversation, or says why it cannot be taken.
    fn take_one(
        &mut self,
        transaction: &mut Transaction<'_>,
        user: UserId,
        item: &Item,
        known: usize,
    ) -> Result<Option<String>> {
        let Item { conversation, assistant_name, messages } = item;
        if !self.has_assistant(transaction, user, conversation, assistant_name.as_ref())? {
            let reason = "assistant_name must be given for an assistant that is not there yet";
            return Ok(Some(reason.to_owned()));
        }
        if transaction.get(user, conversation.id)?.is_some() {
            let new = messages.get(known..).unwrap_or_default();
            for message in new {
                transaction.append_message(user, conversation.id, message)?;
            }
            let least = u32::try_from(known + new.len()).unwrap_or(u32::MAX);
            transaction.update(user, conversation.id, |stored| take_over(stored, item, least))?;
            self.updated += 1;
            self.messages += new.len() as u64;
            return Ok(None);
        }
        match transaction.insert(user, conversation, messages) {
            Ok(()) => {
                self.inserted += 1;
                self.messages += messages.len() as u64;
                Ok(None)
            }
            // Checked before anything of it was written.
            Err(error @ Error::Invalid { .. }) => Ok(Some(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Whether the user has the conversation's assistant, which is created where a name is told.
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

/// Takes over what the server says of a conversation that is there: all but what never changes.
fn take_over(stored: &mut Conversation, item: &Item, least_messages: u32) {
    let said = item.conversation.clone();
    stored.assistant = said.assistant;
    stored.channel = said.channel;
    stored.variables = said.variables;
    stored.message_count = said.message_count.max(least_messages);
    stored.total_cost = said.total_cost;
    stored.ai_enabled = said.ai_enabled;
    stored.updated_at = said.updated_at;
}
