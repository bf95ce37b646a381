//! Single conversations and their messages.

use convodb::{AssistantId, Conversation, ConversationId, Message, Name, UserId};
use convodb_service::ConversationHistory;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::error::{Result, corrupted};
use crate::page_statement::{ASSISTANT, COLUMN_COUNT, COLUMNS, owner};
use crate::pool::{Session, Statements as _};
use crate::rows::{self, Columns, decode_name};

/// Single conversations.
impl Cluster {
    /// The user's conversation `id`, as [`convodb::Snapshot::conversation`]. One statement.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn conversation(
        &self,
        user: UserId,
        id: ConversationId,
    ) -> Result<Option<Conversation>> {
        let found =
            self.readers(user).rows(&conversation_sql(), &[&owner(user)?, &id.uuid()]).await?;
        Ok(self.decode_conversation(found.first())?.map(|(conversation, _)| conversation))
    }

    /// The messages of the user's conversation `id`, as [`convodb::Snapshot::messages`]. One
    /// statement; loads all messages into memory.
    ///
    /// # Errors
    /// [`convodb::Error::Corrupted`] if there are not as many as were stored; or a fault of the
    /// database.
    pub async fn messages(&self, user: UserId, id: ConversationId) -> Result<Option<Vec<Message>>> {
        let found = self.readers(user).rows(&messages_sql(), &[&owner(user)?, &id.uuid()]).await?;
        self.decode_messages(&found)
    }

    /// The user's conversation `id` with its messages, both as of one moment. Two statements in one
    /// round trip; loads all messages into memory.
    ///
    /// # Errors
    /// As [`Cluster::messages`].
    pub async fn conversation_with_messages(
        &self,
        user: UserId,
        id: ConversationId,
    ) -> Result<Option<(Conversation, Vec<Message>)>> {
        let found = self.history_of(user, id).await?;
        Ok(found.map(|found| (found.conversation, found.messages)))
    }

    /// [`Cluster::conversation_with_messages`] with the name of the assistant.
    pub(crate) async fn history_of(
        &self,
        user: UserId,
        id: ConversationId,
    ) -> Result<Option<ConversationHistory>> {
        self.readers(user).read(|session| self.history_in(session, user, id)).await
    }

    async fn history_in(
        &self,
        client: Session<'_>,
        user: UserId,
        id: ConversationId,
    ) -> Result<Option<ConversationHistory>> {
        let begin = "begin isolation level repeatable read, read only";
        let row = client.prepare(&conversation_sql()).await?;
        let messages = client.prepare(&messages_sql()).await?;
        let values: [&(dyn ToSql + Sync); 2] = [&owner(user)?, &id.uuid()];
        // All are sent at once, in this order, so that the transaction ends even if this call does not.
        let (begun, row, messages, ended, checked) = tokio::join!(
            biased;
            client.batch_execute(begin),
            client.query_opt(&row, &values),
            client.query(&messages, &values),
            client.batch_execute("commit"),
            client.check(),
        );
        if begun.and(ended).is_err() {
            // It may be within a transaction.
            client.discard();
        }
        let conversation = self.decode_conversation(row?.as_ref())?;
        let messages = self.decode_messages(&messages?)?;
        checked?;
        Ok(conversation.zip(messages).map(|((conversation, assistant_name), messages)| {
            ConversationHistory { conversation, assistant_name, messages }
        }))
    }

    /// The conversation of a row, with the name of its assistant.
    fn decode_conversation(&self, row: Option<&Row>) -> Result<Option<(Conversation, Name)>> {
        let Some(row) = row else { return Ok(None) };
        let Some((_, conversation)) = rows::conversation(row, 0)? else { return Ok(None) };
        if !self.reaches(conversation.assistant) {
            return Ok(None);
        }
        let name = decode_name(&mut Columns::new(row, COLUMN_COUNT, "assistant"))?;
        Ok(Some((conversation, name)))
    }

    fn decode_messages(&self, found: &[Row]) -> Result<Option<Vec<Message>>> {
        let Some(first) = found.first() else { return Ok(None) };
        let mut columns = Columns::new(first, 0, "conversation");
        let assistant: Option<Uuid> = columns.next()?;
        if !assistant.is_some_and(|id| self.reaches(AssistantId::new(id))) {
            return Ok(None);
        }
        let stored = columns.unsigned()?;
        let mut messages = Vec::with_capacity(found.len());
        for row in found {
            let Some((number, message)) = rows::message(row, 2)? else { continue };
            messages.push(message);
            if number != messages.len() as u64 {
                return Err(corrupted("message", "a message is missing"));
            }
        }
        if messages.len() as u64 != stored {
            let what = "a conversation has not as many messages as were stored";
            return Err(corrupted("message", what));
        }
        Ok(Some(messages))
    }
}

/// The statement that reads a conversation.
fn conversation_sql() -> String {
    format!(
        "select {COLUMNS}, a.name from conversation c {ASSISTANT} where c.owner = $1 and c.id = $2"
    )
}

/// The statement that reads the messages of a conversation, and how many there are.
fn messages_sql() -> String {
    format!(
        "select a.id, c.stored, m.number, m.role, m.content, m.calls, m.cost, m.created_ms \
         from conversation c {ASSISTANT} left join lateral (select * from message \
         where owner = $1 and pos = c.pos order by owner, pos, number) m on true \
         where c.owner = $1 and c.id = $2 order by m.number"
    )
}
