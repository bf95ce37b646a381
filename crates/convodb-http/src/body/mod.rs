//! Bodies of requests: their bytes within bounds, and from those to values of the engine.

mod assistant;
mod change;
mod conversation;
mod fields;
mod lines;
mod message;
mod packing;
mod pieces;
mod unread;

pub(crate) use self::assistant::{AssistantName, NewAssistant};
pub(crate) use self::change::ConversationChange;
pub(crate) use self::conversation::NewConversation;
pub(crate) use self::lines::Line;
pub(crate) use self::message::read_message;
pub(crate) use self::unread::Unread;
