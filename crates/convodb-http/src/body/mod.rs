//! Request bodies: reads their bytes within limits, then parses them into values of the engine.

mod assistant;
mod conversation;
mod conversation_patch;
mod decompress;
mod lines;
mod message;
mod object;
mod request;
mod stream;

pub(crate) use self::assistant::NewAssistant;
pub(crate) use self::conversation::NewConversation;
pub(crate) use self::conversation_patch::ConversationPatch;
pub(crate) use self::lines::{Content, Line};
pub(crate) use self::message::parse_message;
pub(crate) use self::request::RequestBody;
