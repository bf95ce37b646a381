//! convodb writer: single inserts through the group commit, batches as one transaction.

use std::path::Path;

use ::convodb::{
    AssistantId, ConversationId, Message, Role, Store, StoreOptions, Timestamp, UserId,
};
use anyhow::Result;
use uuid::Uuid;

use crate::writers::{NewRow, Writer};

/// Opens a store for writes.
pub(crate) fn open(path: &Path, fast_recovery: bool) -> Result<Store> {
    Ok(Store::open_with(path, &StoreOptions::new().fast_recovery(fast_recovery))?)
}

impl Writer for Store {
    fn insert(&self, rows: &[NewRow]) -> Result<()> {
        if let [row] = rows {
            let user = UserId::new(row.user);
            return Ok(Store::insert(self, user, row.conversation.clone(), Vec::new())?);
        }
        let rows = rows.to_vec();
        self.write(move |transaction| {
            rows.into_iter().try_for_each(|row| {
                transaction.insert(UserId::new(row.user), row.conversation, Vec::new())
            })
        })?;
        Ok(())
    }

    fn append(&self, user: u32, id: Uuid, content: &str, at: u64) -> Result<()> {
        let message = Message::new(Role::User, content.to_owned(), Timestamp::from_millis(at)?)?;
        self.append_message(UserId::new(user), ConversationId::new(id), message)?;
        Ok(())
    }

    fn delete(&self, user: u32, ids: &[Uuid]) -> Result<()> {
        let (user, ids) = (UserId::new(user), ids.to_vec());
        Ok(self.write(move |transaction| {
            ids.iter().try_for_each(|id| transaction.delete(user, ConversationId::new(*id)))
        })?)
    }

    fn reassign(&self, user: u32, ids: &[Uuid], assistant: Uuid) -> Result<()> {
        let (user, ids, assistant) = (UserId::new(user), ids.to_vec(), AssistantId::new(assistant));
        Ok(self.write(move |transaction| {
            ids.iter().try_for_each(|id| {
                let change = |conversation: &mut ::convodb::Conversation| {
                    conversation.assistant = assistant;
                    Ok(())
                };
                let id = ConversationId::new(*id);
                transaction.update(user, id, Timestamp::MIN, change).map(drop)
            })
        })?)
    }
}
