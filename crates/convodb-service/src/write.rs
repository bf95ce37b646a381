//! Writes as data: what a store executes, and executes again after a fault.

use std::fmt;
use std::sync::Arc;

use convodb::seam::{conversation_bytes, filter_matches, message_bytes};
use convodb::{
    Assistant, AssistantId, Conversation, ConversationId, Error, Filter, IdempotencyKey, Message,
    Name, Scope, Timestamp, TokenId, Transaction, UserId,
};
use convodb_json::{Applied, Item, insert_if_new};

/// A change of a conversation: see [`Write::Change`].
pub type ConversationChange = Arc<dyn Fn(&mut Conversation) -> convodb::Result<()> + Send + Sync>;

/// The response to a write: see [`Idempotent::response`].
pub type WriteResponse = Arc<dyn Fn(&Written) -> Vec<u8> + Send + Sync>;

/// A write of one user's data.
///
/// ```
/// use std::sync::Arc;
/// use convodb::{ConversationId, Timestamp};
/// use convodb_service::Write;
///
/// let at: Timestamp = "2025-01-25".parse()?;
/// let id = ConversationId::generate(at);
/// let hand_over = Write::Change {
///     id,
///     now: at,
///     change: Arc::new(|conversation| {
///         conversation.ai_enabled = false;
///         Ok(())
///     }),
/// };
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone)]
pub enum Write {
    /// Inserts a conversation with its messages so far, as [`convodb::Transaction::insert`].
    Insert {
        /// The conversation.
        conversation: Conversation,
        /// Its messages.
        messages: Vec<Message>,
    },
    /// Changes a conversation, as [`convodb::Transaction::update`].
    Change {
        /// The conversation.
        id: ConversationId,
        /// The current time.
        now: Timestamp,
        /// The change. It may run several times, each time on what is stored then, so it must depend
        /// on nothing else. If it panics, the writes of its group are abandoned.
        change: ConversationChange,
    },
    /// Appends a message, as [`convodb::Transaction::append_message`].
    Append {
        /// The conversation.
        id: ConversationId,
        /// The message.
        message: Message,
    },
    /// Deletes a conversation with its messages, as [`convodb::Transaction::delete`].
    Delete {
        /// The conversation.
        id: ConversationId,
    },
    /// Deletes a conversation with its messages, if it has every field that the filter sets when the
    /// write is done; else fails as if it did not exist.
    DeleteMatching {
        /// The conversation.
        id: ConversationId,
        /// The filter.
        filter: Filter,
    },
    /// Inserts the conversations of these items that the user does not have, each as
    /// [`insert_if_new`]. An item that breaks a rule is rejected; the others are inserted. It cannot be
    /// done once for an idempotency key: to repeat it changes nothing.
    Import {
        /// The items.
        items: Arc<[Item]>,
    },
    /// Creates an assistant, as [`convodb::Transaction::create_assistant`].
    CreateAssistant {
        /// The assistant.
        id: AssistantId,
        /// The name.
        name: Name,
    },
    /// Renames an assistant, as [`convodb::Transaction::rename_assistant`].
    RenameAssistant {
        /// The assistant.
        id: AssistantId,
        /// The new name.
        name: Name,
    },
    /// Deletes an assistant that has no conversations, as
    /// [`convodb::Transaction::delete_assistant`].
    DeleteAssistant {
        /// The assistant.
        id: AssistantId,
    },
}

impl Write {
    /// Runs the write in a transaction of an embedded store.
    ///
    /// # Errors
    /// Those of the method of [`Transaction`] that the variant names.
    pub fn run(self, transaction: &mut Transaction<'_>, user: UserId) -> convodb::Result<Written> {
        match self {
            Self::Insert { conversation, messages } => {
                transaction.insert(user, conversation, messages)?;
                Ok(Written::Inserted)
            }
            Self::Change { id, now, change } => {
                let changed = transaction.update(user, id, now, |row| change(row))?;
                let assistant = transaction.assistant(user, changed.assistant)?;
                Ok(Written::Changed(changed, assistant.map(|assistant| assistant.name)))
            }
            Self::Append { id, message } => {
                Ok(Written::Appended(transaction.append_message(user, id, &message)?))
            }
            Self::Delete { id } => {
                transaction.delete(user, id)?;
                Ok(Written::Deleted)
            }
            Self::DeleteMatching { id, filter } => {
                let found = transaction.conversation(user, id)?;
                if !found.is_some_and(|row| filter_matches(&filter, &row)) {
                    return Err(Error::ConversationNotFound);
                }
                transaction.delete(user, id)?;
                Ok(Written::Deleted)
            }
            Self::Import { items } => {
                let applied = items.iter().map(|item| insert_if_new(transaction, user, item));
                Ok(Written::Imported(applied.collect::<convodb::Result<_>>()?))
            }
            Self::CreateAssistant { id, name } => {
                Ok(Written::AssistantCreated(transaction.create_assistant(user, id, name)?))
            }
            Self::RenameAssistant { id, name } => {
                transaction.rename_assistant(user, id, name)?;
                let renamed = transaction.assistant(user, id)?;
                Ok(Written::AssistantRenamed(renamed.ok_or(Error::AssistantNotFound)?))
            }
            Self::DeleteAssistant { id } => {
                transaction.delete_assistant(user, id)?;
                Ok(Written::AssistantDeleted)
            }
        }
    }

    /// About as many bytes as the write holds in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        const FIXED: usize = 512;
        let inserted = |conversation: &Conversation, messages: &[Message]| {
            let row = conversation_bytes(&conversation.borrowed(), 0);
            messages.iter().map(message_bytes).fold(row, i64::saturating_add)
        };
        let bytes = match self {
            Self::Insert { conversation, messages } => inserted(conversation, messages),
            Self::Import { items } => {
                let sizes = items.iter().map(|item| inserted(&item.conversation, &item.messages));
                let fixed = i64::try_from(FIXED * items.len()).unwrap_or(i64::MAX);
                sizes.fold(fixed, i64::saturating_add)
            }
            Self::Append { message, .. } => message_bytes(message),
            Self::Change { .. }
            | Self::Delete { .. }
            | Self::DeleteMatching { .. }
            | Self::CreateAssistant { .. }
            | Self::RenameAssistant { .. }
            | Self::DeleteAssistant { .. } => 0,
        };
        FIXED + usize::try_from(bytes).unwrap_or_default()
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Insert { .. } => "Insert",
            Self::Change { .. } => "Change",
            Self::Append { .. } => "Append",
            Self::Delete { .. } => "Delete",
            Self::DeleteMatching { .. } => "DeleteMatching",
            Self::Import { .. } => "Import",
            Self::CreateAssistant { .. } => "CreateAssistant",
            Self::RenameAssistant { .. } => "RenameAssistant",
            Self::DeleteAssistant { .. } => "DeleteAssistant",
        };
        f.debug_struct(name).finish_non_exhaustive()
    }
}

/// The result of a [`Write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The conversation is inserted.
    Inserted,
    /// The conversation after the change, and the name of its assistant if the write has read it: an
    /// embedded store does.
    Changed(Conversation, Option<Name>),
    /// The number of messages after the append.
    Appended(u32),
    /// The conversation is deleted.
    Deleted,
    /// What became of each item, in their order.
    Imported(Vec<Applied>),
    /// The new assistant.
    AssistantCreated(Assistant),
    /// The assistant with the new name.
    AssistantRenamed(Assistant),
    /// The assistant is deleted.
    AssistantDeleted,
}

/// A write that is done once: what [`convodb::Transaction::idempotent`] takes.
#[derive(Clone)]
pub struct Idempotent {
    /// The key that the client chose.
    pub key: IdempotencyKey,
    /// A digest of the request.
    pub request: [u8; 32],
    /// The current time, from which the age of the record is computed.
    pub now: Timestamp,
    /// Makes the response to the write. It may run several times, so it must depend on nothing else.
    pub response: WriteResponse,
}

impl fmt::Debug for Idempotent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotent").finish_non_exhaustive()
    }
}

/// The access token that a write is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteAuthority {
    /// The token.
    pub token: TokenId,
    /// The scope that it needs.
    pub scope: Scope,
    /// The current time, by which the token may have expired.
    pub now: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use convodb::{Channel, ListRequest, Role, Store};
    use convodb_json::Outcome;

    #[test]
    fn a_write_does_in_an_embedded_store_what_it_names() {
        let store = Store::in_memory().unwrap();
        let at: Timestamp = "2025-01-25".parse().unwrap();
        let user = store.create_user("Acme", at).unwrap().id;
        let run = |write: Write| store.write(move |transaction| write.run(transaction, user));
        let (bot, id) = (AssistantId::generate(at), ConversationId::generate(at));
        let name = |text: &str| Name::new(text).unwrap();

        let created = run(Write::CreateAssistant { id: bot, name: name("Bot") }).unwrap();
        assert!(matches!(created, Written::AssistantCreated(bot) if bot.name.as_str() == "Bot"));
        let conversation = Conversation::new(id, bot, Channel::Widget, at);
        let inserted = run(Write::Insert { conversation, messages: Vec::new() });
        assert_eq!(inserted.unwrap(), Written::Inserted);
        let message = Message::new(Role::User, "Hello", at).unwrap();
        assert_eq!(run(Write::Append { id, message }).unwrap(), Written::Appended(1));
        let change: ConversationChange = Arc::new(|row| {
            row.ai_enabled = false;
            Ok(())
        });
        let Written::Changed(changed, read) = run(Write::Change { id, now: at, change }).unwrap()
        else {
            panic!("a change has another result");
        };
        assert_eq!((changed.ai_enabled, read), (false, Some(name("Bot"))));
        let renamed = run(Write::RenameAssistant { id: bot, name: name("Robot") }).unwrap();
        assert!(matches!(renamed, Written::AssistantRenamed(bot) if bot.name.as_str() == "Robot"));
        assert!(run(Write::DeleteAssistant { id: bot }).is_err(), "it has a conversation");

        let line = format!(
            "{{\"id\":\"{}\",\"assistant_id\":\"{}\",\"type\":\"widget\"",
            id.uuid(),
            bot.uuid()
        );
        let new = line.replace(&id.uuid().to_string(), "00000000-0000-4000-8000-000000000001");
        let lines = [line, new].map(|line| format!("{line},\"created_at\":\"2025-01-25\"}}"));
        let items = lines.map(|line| Item::parse(line.as_bytes()).unwrap()).into();
        let Written::Imported(applied) = run(Write::Import { items }).unwrap() else {
            panic!("an import has another result");
        };
        let outcomes: Vec<Outcome> = applied.iter().map(|applied| applied.outcome).collect();
        assert_eq!(outcomes, [Outcome::AlreadyPresent, Outcome::Inserted { messages: 0 }]);
        let imported = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        assert_eq!(run(Write::Delete { id: imported }).unwrap(), Written::Deleted);

        let other = Filter::new().external_identifier("7").unwrap();
        let not_matching = run(Write::DeleteMatching { id, filter: other });
        assert!(matches!(not_matching, Err(Error::ConversationNotFound)));
        let matching = run(Write::DeleteMatching { id, filter: Filter::new() });
        assert_eq!(matching.unwrap(), Written::Deleted);
        assert!(matches!(run(Write::Delete { id }), Err(Error::ConversationNotFound)));
        let deleted = run(Write::DeleteAssistant { id: bot });
        assert_eq!(deleted.unwrap(), Written::AssistantDeleted);
        assert!(store.snapshot().list(user, &ListRequest::new()).unwrap().is_empty());
    }
}
