//! Writes as data: what a group of writes executes, and executes again after a fault.

use std::fmt;
use std::sync::Arc;

use convodb::seam::{conversation_bytes, message_bytes};
use convodb::{
    Assistant, AssistantId, Conversation, ConversationId, Filter, IdempotencyKey, Message, Name,
    Scope, Timestamp, TokenId,
};

/// A change of a conversation: see [`Write::Change`].
pub type ConversationChange = Arc<dyn Fn(&mut Conversation) -> convodb::Result<()> + Send + Sync>;

/// The response to a write: see [`Idempotent::response`].
pub type WriteResponse = Arc<dyn Fn(&Written) -> Vec<u8> + Send + Sync>;

/// A write of one user's data, for [`Cluster::write`](crate::Cluster::write).
///
/// ```
/// use std::sync::Arc;
/// use convodb::{ConversationId, Timestamp};
/// use convodb_postgres::Write;
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
    /// About as many bytes as the write holds in memory.
    pub(crate) fn size(&self) -> usize {
        const FIXED: usize = 512;
        let bytes = match self {
            Self::Insert { conversation, messages } => {
                let row = conversation_bytes(&conversation.borrowed(), 0);
                messages.iter().map(message_bytes).fold(row, i64::saturating_add)
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
    /// The conversation after the change.
    Changed(Conversation),
    /// The number of messages after the append.
    Appended(u32),
    /// The conversation is deleted.
    Deleted,
    /// The new assistant.
    AssistantCreated(Assistant),
    /// The assistant has the new name.
    AssistantRenamed,
    /// The assistant is deleted.
    AssistantDeleted,
}

/// That a write is done once: what [`convodb::Transaction::idempotent`] takes.
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

/// A write as it waits: of whom, and how it is done.
#[derive(Clone, Debug)]
pub(crate) struct WriteRequest {
    pub(crate) write: Write,
    pub(crate) idempotent: Option<Idempotent>,
    /// The only assistant that the write reaches.
    pub(crate) restriction: Option<AssistantId>,
    pub(crate) authority: Option<WriteAuthority>,
}

/// The result of a [`WriteRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Written(Written),
    /// The response of the first write with the idempotency key.
    Response(Vec<u8>),
}
