//! Oracle: a reference model that stores conversations in a plain list.
//!
//! Every query filters and sorts the whole list again. That is slow, and simple enough to be
//! correct by inspection.

use convodb::{
    Channel, Conversation, ConversationId, Excerpt, ExternalIdentifier, Filter, Message, Name,
    Order, Phone, Preview, Sort, StorageUsage, Timestamp, UserId,
};

/// The conversations of all users, in order of arrival.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    rows: Vec<OracleRow>,
}

#[derive(Clone, Debug)]
struct OracleRow {
    user: UserId,
    /// The position among the user's rows of the same millisecond: one above the highest position
    /// in use when this row arrived.
    position: u64,
    conversation: Conversation,
    messages: Vec<Message>,
}

impl Oracle {
    /// Inserts a conversation. Returns `false` if the user already has one with this id.
    pub fn insert(
        &mut self,
        user: UserId,
        conversation: Conversation,
        messages: Vec<Message>,
    ) -> bool {
        if self.conversation(user, conversation.id).is_some() {
            return false;
        }
        let same = |row: &&OracleRow| {
            row.user == user && row.conversation.created_at == conversation.created_at
        };
        let highest = self.rows.iter().filter(same).map(|row| row.position).max();
        let position = highest.map_or(0, |highest| highest + 1);
        self.rows.push(OracleRow { user, position, conversation, messages });
        true
    }

    /// Updates a conversation. Returns `false` if the user does not have it.
    pub fn update(
        &mut self,
        user: UserId,
        id: ConversationId,
        change: impl FnOnce(&mut Conversation),
    ) -> bool {
        let row = self.rows.iter_mut().find(|row| row.user == user && row.conversation.id == id);
        row.map(|row| change(&mut row.conversation)).is_some()
    }

    /// Appends a message. Returns `false` if the user does not have the conversation.
    pub fn append(&mut self, user: UserId, id: ConversationId, message: &Message) -> bool {
        let found = self.rows.iter_mut().find(|row| row.user == user && row.conversation.id == id);
        let Some(OracleRow { conversation, messages, .. }) = found else { return false };
        conversation.message_count += 1;
        let cost = conversation.total_cost.nanos() + message.cost().nanos();
        conversation.total_cost = convodb::Cost::from_nanos(cost);
        conversation.updated_at = conversation.updated_at.max(message.created_at());
        messages.push(message.clone());
        true
    }

    /// Deletes a conversation. Returns `false` if the user does not have it.
    pub fn delete(&mut self, user: UserId, id: ConversationId) -> bool {
        let before = self.rows.len();
        self.rows.retain(|row| row.user != user || row.conversation.id != id);
        self.rows.len() < before
    }

    /// The user's conversation with this id.
    #[must_use]
    pub fn conversation(&self, user: UserId, id: ConversationId) -> Option<&Conversation> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.user == user && row.conversation.id == id).map(|row| &row.conversation)
    }

    /// The messages of the user's conversation with this id.
    #[must_use]
    pub fn messages(&self, user: UserId, id: ConversationId) -> Option<&[Message]> {
        let mut rows = self.rows.iter();
        let found = rows.find(|row| row.user == user && row.conversation.id == id)?;
        Some(&found.messages)
    }

    /// The beginnings of the first and the last message of the user's conversation with this id;
    /// `None` without messages.
    #[must_use]
    pub fn preview(&self, user: UserId, id: ConversationId) -> Option<Preview> {
        let messages = self.messages(user, id)?;
        let excerpt = |message: &Message| Excerpt {
            role: message.role(),
            text: message.content().chars().take(140).collect(),
            created_at: message.created_at(),
        };
        Some(Preview { first: excerpt(messages.first()?), last: excerpt(messages.last()?) })
    }

    /// All conversations with their users, in order of arrival.
    pub fn conversations(&self) -> impl Iterator<Item = (UserId, &Conversation)> {
        self.rows.iter().map(|row| (row.user, &row.conversation))
    }

    /// What the user's conversations and messages take, by the layout of `docs/file-format.md`.
    #[must_use]
    pub fn usage(&self, user: UserId) -> StorageUsage {
        let own = || self.rows.iter().filter(|row| row.user == user);
        let bytes = own().map(|row| {
            let messages: usize = row.messages.iter().map(message_bytes).sum();
            conversation_bytes(&row.conversation, row.messages.len()) + messages
        });
        StorageUsage { conversations: own().count() as u64, bytes: bytes.sum::<usize>() as u64 }
    }

    /// All matches of a query in its order: by the time that it is sorted by, then by creation time,
    /// ties by order of arrival.
    #[must_use]
    pub fn list(&self, user: UserId, query: &ListQuery) -> Vec<Conversation> {
        self.sorted(user, query).into_iter().map(|row| row.conversation.clone()).collect()
    }

    /// All matches of a query, each with its place in the list.
    #[must_use]
    pub fn places(&self, user: UserId, query: &ListQuery) -> Vec<(ListPlace, Conversation)> {
        let place = |row: &OracleRow| ListPlace {
            activity: query.activity(&row.conversation),
            created_at: row.conversation.created_at,
            position: row.position,
        };
        let rows = self.sorted(user, query).into_iter();
        rows.map(|row| (place(row), row.conversation.clone())).collect()
    }

    fn sorted(&self, user: UserId, query: &ListQuery) -> Vec<&OracleRow> {
        let mut list: Vec<&OracleRow> = self
            .rows
            .iter()
            .filter(|row| row.user == user && query.passes(&row.conversation))
            .collect();
        // A stable sort leaves ties in order of arrival.
        list.sort_by_key(|OracleRow { conversation, .. }| {
            (query.activity(conversation), conversation.created_at)
        });
        if query.order == Order::Descending {
            list.reverse();
        }
        list
    }
}

/// A record has a version and a checksum.
const SEALED: usize = 1 + 8;

/// The bytes of key and record of a conversation with `stored` stored messages.
fn conversation_bytes(row: &Conversation, stored: usize) -> usize {
    let short = |text: Option<&str>| text.map_or(0, |text| 1 + text.len());
    let texts = match &row.channel {
        Channel::Test | Channel::Widget => 0,
        Channel::Whatsapp { sender, customer } => [sender, customer]
            .map(|contact| {
                short(contact.name.as_ref().map(Name::as_str))
                    + short(contact.phone.as_ref().map(Phone::as_str))
            })
            .iter()
            .sum(),
        Channel::Api { external_identifier } => {
            short(external_identifier.as_ref().map(ExternalIdentifier::as_str))
        }
    };
    let number = if stored == row.message_count as usize { 0 } else { 4 };
    let variables = row.variables.as_ref().map_or(0, |variables| variables.as_str().len());
    let (key, fixed) = (4 + 8, 54);
    key + SEALED + fixed + number + texts + variables
}

/// The bytes of key and record of a message.
fn message_bytes(message: &Message) -> usize {
    let calls = message.function_calls().map_or(0, |calls| 8 + calls.len());
    let (key, role, content, cost, at) = (4 + 8 + 4, 1, 8 + message.content().len(), 8, 8);
    key + SEALED + role + content + 1 + calls + cost + at
}

/// The bytes of key and record of an assistant with this name.
#[must_use]
pub fn assistant_bytes(name: &str) -> u64 {
    let (key, number, at) = (4 + 16, 4, 8);
    (key + SEALED + 8 + name.len() + number + at) as u64
}

/// A place in a list, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListPlace {
    /// The last activity; always the same in a list by creation.
    pub activity: Timestamp,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The position among the user's rows of the same time of creation.
    pub position: u64,
}

/// A list query: filter, sort, time range and order.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Exact matches.
    pub filter: Filter,
    /// The time that the list is sorted by.
    pub sort: Sort,
    /// Earliest time that the list is sorted by, inclusive.
    pub from: Option<Timestamp>,
    /// Latest time that the list is sorted by, exclusive.
    pub to: Option<Timestamp>,
    /// Sort order.
    pub order: Order,
}

impl ListQuery {
    /// What sorts a row before its time of creation.
    fn activity(&self, row: &Conversation) -> Timestamp {
        match self.sort {
            Sort::CreatedAt => Timestamp::MIN,
            Sort::LastActivity => row.updated_at,
        }
    }

    /// The time of a row that the list is sorted by.
    fn time(&self, row: &Conversation) -> Timestamp {
        match self.sort {
            Sort::CreatedAt => row.created_at,
            Sort::LastActivity => row.updated_at,
        }
    }

    /// Whether a conversation is in the list.
    #[must_use]
    pub fn passes(&self, row: &Conversation) -> bool {
        let Filter {
            kind,
            assistant,
            kinds,
            assistants,
            sender_phone,
            customer_phone,
            external_identifier,
            ai_off,
        } = &self.filter;
        kind.is_none_or(|kind| kind == row.channel.kind())
            && assistant.is_none_or(|assistant| assistant == row.assistant)
            && kinds.is_none_or(|kinds| kinds.iter().any(|kind| kind == row.channel.kind()))
            && assistants.as_ref().is_none_or(|ids| ids.as_slice().contains(&row.assistant))
            && sender_phone.as_ref().is_none_or(|p| row.channel.sender_phone() == Some(p.as_str()))
            && customer_phone
                .as_ref()
                .is_none_or(|p| row.channel.customer_phone() == Some(p.as_str()))
            && external_identifier
                .as_ref()
                .is_none_or(|e| row.channel.external_identifier() == Some(e.as_str()))
            && !(*ai_off && row.ai_enabled)
            && self.from.is_none_or(|from| self.time(row) >= from)
            && self.to.is_none_or(|to| self.time(row) < to)
    }
}
