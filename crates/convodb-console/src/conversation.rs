//! Conversation screen: the messages as a chat, and what is known of the conversation.

use askama::Template;
use convodb::{Channel, Conversation, Message};

use crate::format::{Time, count, usd};
use crate::frame::{Frame, Screen};
use crate::list::{participant, short_id};
use crate::markup::{called, entries, kind_name, pretty, role_name};
use crate::query::Query;
use crate::text;

/// The messages of a page of a history.
#[derive(Clone, Debug)]
pub struct MessagePart {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// The number of messages before them.
    pub skipped: u32,
    /// The number of messages that are stored.
    pub stored: u32,
    /// The cursor of the part before.
    pub prev: Option<String>,
    /// The cursor of the part after.
    pub next: Option<String>,
}

/// The conversations beside this one in the list that it was opened from.
#[derive(Clone, Debug, Default)]
pub struct Neighbours {
    /// The id of the one before, and the cursor of its page; `None` for the cursor of the same page.
    pub previous: Option<(String, Option<String>)>,
    /// The id of the one after, likewise.
    pub next: Option<(String, Option<String>)>,
}

/// A conversation with a part of its history.
#[derive(Debug, Template)]
#[template(path = "conversation.html")]
pub struct ConversationScreen {
    /// The surroundings.
    pub frame: Frame,
    /// The parameters of the list that it was opened from.
    pub list: Query,
    /// The conversation.
    pub conversation: Conversation,
    /// The name of its assistant.
    pub assistant: String,
    /// Its messages.
    pub part: MessagePart,
    /// Its neighbours in the list.
    pub neighbours: Neighbours,
}

/// A message as the template shows it.
struct Bubble {
    side: &'static str,
    author: &'static str,
    content: String,
    /// The names of called functions, and their JSON.
    calls: Option<(String, String)>,
    cost: Option<String>,
    at: Time,
}

impl ConversationScreen {
    fn id(&self) -> String {
        self.conversation.id.to_string()
    }

    fn title(&self) -> String {
        participant(&self.conversation.channel).0.unwrap_or_else(|| short_id(&self.id()))
    }

    fn kind(&self) -> &'static str {
        self.conversation.channel.kind().as_str()
    }

    fn kind_name(&self) -> &'static str {
        kind_name(self.conversation.channel.kind())
    }

    fn bubbles(&self) -> Vec<Bubble> {
        let bubble = |message: &Message| Bubble {
            side: message.role().as_str(),
            author: role_name(message.role()),
            content: message.content().to_owned(),
            calls: message.function_calls().map(|calls| (called(calls), pretty(calls))),
            cost: (message.cost().nanos() != 0).then(|| usd(message.cost().nanos().into())),
            at: Time::of(message.created_at()),
        };
        self.part.messages.iter().map(bubble).collect()
    }

    /// `Messages 21 to 40 of 87`; empty if all are shown.
    fn range(&self) -> String {
        let shown = self.part.messages.len() as u64;
        if shown == u64::from(self.part.stored) {
            return String::new();
        }
        let first = u64::from(self.part.skipped);
        let (from, to) = (count(first + 1), count(first + shown));
        format!("{} {from} to {to} of {}", text::MESSAGES, count(self.part.stored.into()))
    }

    fn is_partial(&self) -> bool {
        self.part.stored > 0 && self.part.stored < self.conversation.message_count
    }

    fn variables(&self) -> Vec<(String, String)> {
        self.conversation.variables.as_ref().map_or(Vec::new(), |object| entries(object.as_str()))
    }

    /// The people of a WhatsApp conversation: a label, the name and the phone.
    fn contacts(&self) -> Vec<(&'static str, String, String)> {
        let Channel::Whatsapp { sender, customer } = &self.conversation.channel else {
            return Vec::new();
        };
        [(text::CUSTOMER, customer), (text::SENDER, sender)]
            .map(|(label, contact)| {
                let name = contact.name.as_ref().map_or("", |name| name.as_str());
                let phone = contact.phone.as_ref().map_or("", |phone| phone.as_str());
                (label, name.to_owned(), phone.to_owned())
            })
            .into()
    }

    fn identifier(&self) -> Option<&str> {
        self.conversation.channel.external_identifier()
    }

    fn customer_url(&self) -> Option<String> {
        let phone = self.conversation.channel.customer_phone()?;
        let query = Query::new([("phone", phone.to_owned())]);
        Some(self.frame.url(&format!("/customers{}", query.suffix())))
    }

    fn created(&self) -> Time {
        Time::of(self.conversation.created_at)
    }

    fn updated(&self) -> Time {
        Time::of(self.conversation.updated_at)
    }

    fn messages(&self) -> String {
        count(self.conversation.message_count.into())
    }

    fn cost(&self) -> String {
        usd(self.conversation.total_cost.nanos().into())
    }

    fn exact_cost(&self) -> String {
        self.conversation.total_cost.to_string()
    }

    fn back_url(&self) -> String {
        self.frame.url(&format!("/conversations{}", self.list.suffix()))
    }

    fn part_url(&self, cursor: Option<&String>) -> Option<String> {
        let query = self.list.with("messages", cursor?);
        Some(self.frame.url(&format!("/conversations/{}{}", self.id(), query.suffix())))
    }

    fn neighbour_url(&self, neighbour: Option<&(String, Option<String>)>) -> Option<String> {
        let (id, cursor) = neighbour?;
        let query = match cursor {
            Some(cursor) => self.list.with("cursor", cursor),
            None => self.list.clone(),
        };
        Some(self.frame.url(&format!("/conversations/{id}{}", query.suffix())))
    }

    fn ai_url(&self) -> String {
        self.frame.url(&format!("/conversations/{}/ai{}", self.id(), self.list.suffix()))
    }
}
