//! The oracle: conversations in a plain list, filtered and sorted anew for each question. Slow, and
//! obviously right.

use convodb::{Conversation, ConversationId, Filter, Message, Order, Timestamp, UserId};

/// All conversations of all users, in order of arrival.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    rows: Vec<OracleRow>,
}

#[derive(Clone, Debug)]
struct OracleRow {
    user: UserId,
    /// Its place among the user's rows of its millisecond: one above the highest that was there.
    place: u64,
    conversation: Conversation,
    history: Vec<Message>,
}

impl Oracle {
    /// Adds a conversation unless the user has one with its id; tells whether it did.
    pub fn insert(
        &mut self,
        user: UserId,
        conversation: Conversation,
        history: Vec<Message>,
    ) -> bool {
        if self.conversation(user, conversation.id).is_some() {
            return false;
        }
        let same = |row: &&OracleRow| {
            row.user == user && row.conversation.created_at == conversation.created_at
        };
        let highest = self.rows.iter().filter(same).map(|row| row.place).max();
        let place = highest.map_or(0, |highest| highest + 1);
        self.rows.push(OracleRow { user, place, conversation, history });
        true
    }

    /// Changes a conversation; tells whether the user has it.
    pub fn update(
        &mut self,
        user: UserId,
        id: ConversationId,
        change: impl FnOnce(&mut Conversation),
    ) -> bool {
        let row = self.rows.iter_mut().find(|row| row.user == user && row.conversation.id == id);
        row.map(|row| change(&mut row.conversation)).is_some()
    }

    /// Appends a message; tells whether the user has the conversation.
    pub fn append(&mut self, user: UserId, id: ConversationId, message: &Message) -> bool {
        let found = self.rows.iter_mut().find(|row| row.user == user && row.conversation.id == id);
        let Some(OracleRow { conversation, history, .. }) = found else { return false };
        conversation.message_count += 1;
        let cost = conversation.total_cost.nanos() + message.cost().nanos();
        conversation.total_cost = convodb::Cost::from_nanos(cost);
        conversation.updated_at = conversation.updated_at.max(message.created_at());
        history.push(message.clone());
        true
    }

    /// Deletes a conversation; tells whether the user had it.
    pub fn delete(&mut self, user: UserId, id: ConversationId) -> bool {
        let before = self.rows.len();
        self.rows.retain(|row| row.user != user || row.conversation.id != id);
        self.rows.len() < before
    }

    /// The user's conversation of this id.
    #[must_use]
    pub fn conversation(&self, user: UserId, id: ConversationId) -> Option<&Conversation> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.user == user && row.conversation.id == id).map(|row| &row.conversation)
    }

    /// The messages of the user's conversation of this id.
    #[must_use]
    pub fn messages(&self, user: UserId, id: ConversationId) -> Option<&[Message]> {
        let mut rows = self.rows.iter();
        let found = rows.find(|row| row.user == user && row.conversation.id == id)?;
        Some(&found.history)
    }

    /// All conversations, in order of arrival, with their users.
    pub fn conversations(&self) -> impl Iterator<Item = (UserId, &Conversation)> {
        self.rows.iter().map(|row| (row.user, &row.conversation))
    }

    /// The whole list of a filter, in its order: by time of creation, ties by order of arrival.
    #[must_use]
    pub fn list(&self, user: UserId, asked: &ListQuery) -> Vec<Conversation> {
        self.sorted(user, asked).into_iter().map(|row| row.conversation.clone()).collect()
    }

    /// The whole list of a filter, each row with its time and its place within that.
    #[must_use]
    pub fn places(&self, user: UserId, asked: &ListQuery) -> Vec<((Timestamp, u64), Conversation)> {
        let place = |row: &OracleRow| (row.conversation.created_at, row.place);
        let rows = self.sorted(user, asked).into_iter();
        rows.map(|row| (place(row), row.conversation.clone())).collect()
    }

    fn sorted(&self, user: UserId, asked: &ListQuery) -> Vec<&OracleRow> {
        let mut list: Vec<&OracleRow> = self
            .rows
            .iter()
            .filter(|row| row.user == user && asked.admits(&row.conversation))
            .collect();
        // Stable, so ties stay in order of arrival.
        list.sort_by_key(|row| row.conversation.created_at);
        if asked.order == Order::Descending {
            list.reverse();
        }
        list
    }
}

/// A list as it is asked for.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// The exact matches.
    pub filter: Filter,
    /// The first instant.
    pub created_from: Option<Timestamp>,
    /// The instant after the last.
    pub created_to: Option<Timestamp>,
    /// The order.
    pub order: Order,
}

impl ListQuery {
    fn admits(&self, row: &Conversation) -> bool {
        let Filter { kind, assistant, sender_phone, customer_phone, external_identifier } =
            &self.filter;
        kind.is_none_or(|kind| kind == row.channel.kind())
            && assistant.is_none_or(|assistant| assistant == row.assistant)
            && sender_phone.as_ref().is_none_or(|p| row.channel.sender_phone() == Some(p.as_str()))
            && customer_phone
                .as_ref()
                .is_none_or(|p| row.channel.customer_phone() == Some(p.as_str()))
            && external_identifier
                .as_ref()
                .is_none_or(|e| row.channel.external_identifier() == Some(e.as_str()))
            && self.created_from.is_none_or(|from| row.created_at >= from)
            && self.created_to.is_none_or(|to| row.created_at < to)
    }
}
