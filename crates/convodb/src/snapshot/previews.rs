//! Previews of the conversations of a page.

use crate::encoding::key::RowKey;
use crate::error::Result;
use crate::model::id::UserId;
use crate::model::position::SortKey;
use crate::model::preview::Preview;
use crate::query::page::Page;
use crate::snapshot::Snapshot;

impl Snapshot {
    /// The beginnings of the first and the last message of each conversation of a page, in its
    /// order; `None` for one without stored messages. The page must be of this user, and should be
    /// of this snapshot: of another one, conversations may be missing.
    ///
    /// Costs one or two B-tree lookups for each conversation, and reads both messages whole, to
    /// verify them. Previews are not stored: they cost nothing until they are read.
    ///
    /// ```
    /// # use convodb::*;
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// # let id = ConversationId::generate(at);
    /// # store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new())?;
    /// store.append_message(user, id, Message::new(Role::User, "Hello?", at)?)?;
    /// store.append_message(user, id, Message::new(Role::Assistant, "Hi!", at)?)?;
    /// let snapshot = store.snapshot();
    /// let page = snapshot.list(user, &ListRequest::default())?;
    /// let previews = snapshot.previews(user, &page)?;
    /// let preview = previews[0].as_ref().expect("it has messages");
    /// assert_eq!((&*preview.first.text, &*preview.last.text), ("Hello?", "Hi!"));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store.
    pub fn previews(&self, user: UserId, page: &Page) -> Result<Vec<Option<Preview>>> {
        let messages = &self.state().tables.messages;
        let rows = page.sort_keys().map(SortKey::position).zip(page.conversations());
        let previews = rows.map(|(position, row)| match self.reaches(row.assistant) {
            true => messages.preview(RowKey::new(user, position)),
            false => Ok(None),
        });
        previews.collect()
    }
}
