//! An embedded storage and query engine for conversations: the chats of AI assistants over a web
//! widget, WhatsApp, an API, or tests.
//!
//! A store is one file, opened by one process. It holds users; each has assistants, and conversations
//! with their messages. What it is for is their list: by any combination of five filters, both ways
//! from any place, in pages that cost the same at any depth and any size.
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
//!
//! # Values
//!
//! A [`Conversation`] is held over a [`Channel`], which has what only that channel has: a phone implies
//! WhatsApp, an [`ExternalIdentifier`] implies the API. Values check themselves when they are made, so
//! that what is passed on is right: a [`Phone`] has 1 to 64 bytes, [`Variables`] are a JSON object, a
//! [`Cost`] is a whole number of billionths of a dollar. Texts are kept and compared byte for byte.
//! The caller gives all times; the engine reads no clock.
//!
//! # Writing
//!
//! [`Store::insert`], [`Store::update`], [`Store::append_message`] and their like are writes of one
//! operation. [`Store::write`] runs a closure with a [`Transaction`]: any number of operations, all or
//! nothing, that see the store as it will be, with no other write in between. Writes of many threads
//! gather behind one writer and share a commit. [`Store::submit`] does not wait, for callers that must
//! not, and [`Store::bulk_load`] takes millions of rows at once.
//!
//! # Reading
//!
//! [`Store::snapshot`] is the state of the last commit, for 20 ns, and never waits for a writer. A
//! [`Snapshot`] answers [`list`](Snapshot::list), [`rows`](Snapshot::rows), [`get`](Snapshot::get),
//! [`history`](Snapshot::history) and [`report`](Snapshot::report), all of one moment. A [`Page`] owns
//! its bytes and can be kept and sent; its rows are borrowed from it.
//!
//! # Cursors
//!
//! A page has a [`PageCursor`] for each side on which the list goes on. It is a place between two rows,
//! with all that was asked for: a conversation that is there is never skipped or given twice, whatever
//! comes and goes beside it. [`Snapshot::seal_cursor`] makes a short token of it that tells a client
//! nothing and cannot be changed; it never expires.
//!
//! # Durability
//!
//! A write that returned is on disk, unless [`Durability::Deferred`] was asked for. After a crash the
//! store opens as it was after the last write that was answered, or one that was about to be.
//! [`Snapshot::verify`] reads everything and tells what does not hold.
//!
//! # Errors
//!
//! There is one [`Error`]: what was asked wrongly (nothing was done), what is not there, and faults of
//! the store never share a variant. Another user's things are not there. Messages and `Debug` texts hold
//! no phone number, name, token or message.
//!
//! # Cost
//!
//! A page reads at most [`Work::bound`] entries and rows, ten for each of its size, whatever the
//! filters, the depth and the data; a warm page takes microseconds. A lone durable insert takes a
//! fraction of a millisecond, and inserts that come together share it. Reports read counters, not
//! conversations. What else costs more is told where it is.
//!
//! # Beside it
//!
//! `convodb-tokio` awaits writes and walks lists as streams; `convodb-http` serves a store in the shape
//! of the documented conversations API; `convodb-cli` is the command. `examples/` has whole programs.

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}

mod backend;
mod backup;
mod bulk;
mod checkpoint;
mod commit;
mod committer;
mod compact;
mod counters;
mod disk;
mod durability;
mod encoding;
mod erase;
mod error;
mod expiry;
mod file;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gathered;
mod health;
mod load;
mod log;
mod meter;
mod migration;
mod model;
mod opened;
mod options;
mod query;
mod restore;
mod room;
mod snapshot;
mod snapshot_accounts;
mod storage;
mod store;
mod store_accounts;
mod supervisor;
mod system_disk;
#[cfg(test)]
mod testing;
mod transaction;
#[cfg(test)]
mod transaction_tests;
mod unfinished;
mod usage;
mod view;
mod writer;

pub use crate::backup::{Backup, checksum_path};
pub use crate::bulk::BulkLoader;
pub use crate::compact::{Compaction, compact};
pub use crate::counters::{Counters, Histogram};
pub use crate::durability::Durability;
pub use crate::erase::Erased;
pub use crate::error::{Error, Result};
pub use crate::expiry::{Expired, Keep};
pub use crate::gathered::BulkOptions;
pub use crate::health::StoreState;
pub use crate::load::BulkReport;
pub use crate::model::account::{Assistant, User};
pub use crate::model::change::ChangeKind;
pub use crate::model::channel::{Channel, ChannelKind};
pub use crate::model::contact::Contact;
pub use crate::model::conversation::{Conversation, ConversationRef};
pub use crate::model::cost::{Cost, CostSum};
pub use crate::model::id::{AssistantId, ConversationId, UserId};
pub use crate::model::message::{Message, Role};
pub use crate::model::text::{ExternalIdentifier, IdempotencyKey, Name, Phone};
pub use crate::model::timestamp::{Day, Timestamp};
pub use crate::model::variables::Variables;
pub use crate::options::StoreOptions;
pub use crate::query::changes::{Change, ChangeCursor, Changes, ChangesSince};
pub use crate::query::cursor::PageCursor;
pub use crate::query::filter::Filter;
pub use crate::query::list::Order;
pub use crate::query::page::{Page, Work};
pub use crate::query::page_size::PageSize;
pub use crate::query::report::{Period, Report, ReportRequest, ReportRow, Volume};
pub use crate::query::request::ListRequest;
pub use crate::restore::{Checksum, restore};
pub use crate::snapshot::Snapshot;
pub use crate::storage::audit::{Audit, Fault};
pub use crate::store::Store;
pub use crate::transaction::Transaction;
pub use crate::usage::{TableBytes, Usage};

/// What a disk is to the engine, so that tests can put a simulated one in its place. No part of
/// the promise of this crate.
#[doc(hidden)]
pub mod simulation {
    pub use crate::compact::compact_on;
    pub use crate::disk::{Access, Disk, DiskFile};
    pub use crate::restore::restore_on;
}
