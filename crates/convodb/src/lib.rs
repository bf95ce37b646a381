//! An embedded storage and query engine for conversations: the chats of AI assistants over a web
//! widget, WhatsApp, an API, or tests.
//!
//! Every combination of the five documented filters is one index range, so a page costs the same
//! at any depth and any size. Pages go both ways by cursor; each is one consistent snapshot.
//! Writes are durable when they return, and concurrent ones share a commit.
//!
//! ```
//! use convodb::*;
//!
//! let store = Store::in_memory()?; // or Store::open("conversations.convodb")?
//! let now: Timestamp = "2025-01-25 14:30:00".parse()?;
//! let user = store.create_user("Acme".parse()?, now)?.id;
//! let bot = store.create_assistant(user, AssistantId::generate(now), "Support".parse()?)?.id;
//!
//! let customer = Contact { name: None, phone: Some("+4915112345678".parse()?) };
//! let channel = Channel::Whatsapp { sender: Contact::default(), customer };
//! let id = ConversationId::generate(now);
//! store.insert(user, Conversation::new(id, bot, channel, now))?;
//! store.append_message(user, id, Message::new(Role::User, "Hello!".to_owned(), now)?)?;
//!
//! let filter = Filter { customer_phone: Some("+4915112345678".parse()?), ..Filter::default() };
//! let page = store.snapshot().list(user, &ListRequest { filter, ..ListRequest::default() })?;
//! for conversation in page.rows() {
//!     assert_eq!(conversation.message_count, 1);
//! }
//! assert!(page.next().is_none());
//! # Ok::<(), convodb::Error>(())
//! ```

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}

mod bulk;
mod committer;
mod counters;
mod durability;
mod encoding;
mod error;
mod file;
mod gathered;
mod load;
mod log;
mod meter;
mod model;
mod query;
mod snapshot;
mod storage;
mod store;
#[cfg(test)]
mod testing;
mod transaction;
#[cfg(test)]
mod transaction_tests;
mod view;
mod writer;

pub use crate::bulk::BulkLoader;
pub use crate::counters::{Counters, Histogram};
pub use crate::durability::Durability;
pub use crate::error::{Error, Result};
pub use crate::gathered::BulkOptions;
pub use crate::load::BulkReport;
pub use crate::model::account::{Assistant, User};
pub use crate::model::channel::{Channel, ChannelKind};
pub use crate::model::contact::Contact;
pub use crate::model::conversation::{Conversation, ConversationRef};
pub use crate::model::cost::{Cost, CostSum};
pub use crate::model::id::{
    AssistantId, AssistantKind, ConversationId, ConversationKind, Id, IdKind, UserId,
};
pub use crate::model::message::{Message, Role};
pub use crate::model::printed::Printed;
pub use crate::model::text::{
    ExternalIdentifier, ExternalIdentifierKind, Name, NameKind, Phone, PhoneKind, Text, TextKind,
};
pub use crate::model::timestamp::{Day, Timestamp};
pub use crate::model::variables::Variables;
pub use crate::query::cursor::PageCursor;
pub use crate::query::filter::Filter;
pub use crate::query::list::Order;
pub use crate::query::page::{Page, Work};
pub use crate::query::page_size::PageSize;
pub use crate::query::report::{Period, Report, ReportRequest, ReportRow, Volume};
pub use crate::query::request::ListRequest;
pub use crate::snapshot::Snapshot;
pub use crate::storage::audit::{Audit, Fault};
pub use crate::store::{Store, StoreOptions};
pub use crate::transaction::Transaction;
