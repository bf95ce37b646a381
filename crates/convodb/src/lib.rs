//! Embedded storage and query engine for conversations.
//!
//! Conversations are chats of AI assistants over a web widget, WhatsApp, an API, or tests.
//!
//! A store is one file, opened by one process. It contains users; each user has assistants, and
//! conversations with their messages. It is built for listing them: by any combination of five
//! filters, in both directions from any place, in pages that cost the same at any depth and at any
//! size.
//!
//! ```
//! use convodb::*;
//!
//! let store = Store::in_memory()?; // or Store::open("conversations.convodb")?
//! let now: Timestamp = "2025-01-25 14:30:00".parse()?;
//! let user = store.create_user("Acme", now)?.id;
//! let bot = store.create_assistant(user, AssistantId::generate(now), "Support")?.id;
//!
//! let channel = Channel::whatsapp("+14155551234", "+4915112345678")?; // sender, customer
//! let id = ConversationId::generate(now);
//! store.insert(user, Conversation::new(id, bot, channel, now), Vec::new())?;
//! store.append_message(user, id, Message::new(Role::User, "Hello!", now)?)?;
//!
//! let filter = Filter::new().customer_phone("+4915112345678")?;
//! let page = store.snapshot().list(user, &ListRequest::new().filter(filter))?;
//! for conversation in page.conversations() {
//!     assert_eq!(conversation.message_count, 1);
//! }
//! assert!(page.next_cursor().is_none());
//! # Ok::<(), convodb::Error>(())
//! ```
//!
//! # Values
//!
//! A [`Conversation`] takes place over a [`Channel`], which has the fields that only this channel
//! has: a phone implies WhatsApp, an [`ExternalIdentifier`] implies the API. Values validate
//! themselves on construction: a [`Phone`] has 1 to 64 bytes, [`Variables`] are a JSON object, a
//! [`Cost`] is a whole number of billionths of a US dollar. Texts are stored and compared byte for
//! byte. The caller passes every time; the engine's data never depends on a clock.
//!
//! # Writing
//!
//! [`Store::insert`], [`Store::update`], [`Store::append_message`] and similar methods are writes
//! of one operation. [`Store::write`] runs a closure with a [`Transaction`]: any number of
//! operations, atomic and isolated. Concurrent writes share a commit. [`Store::submit`] does not
//! wait, for callers that must not, and [`Store::bulk_load`] loads millions of conversations at
//! once.
//!
//! # Reading
//!
//! [`Store::snapshot`] returns the state of the last commit in about 20 ns and never waits for a
//! writer. A [`Snapshot`] provides [`list`](Snapshot::list),
//! [`conversations`](Snapshot::conversations), [`conversation`](Snapshot::conversation),
//! [`messages`](Snapshot::messages), [`count`](Snapshot::count) and [`stats`](Snapshot::stats), all
//! as of one moment. A
//! [`Page`] owns its bytes, so it can be stored and sent; its conversations borrow from it.
//!
//! # Cursors
//!
//! A page has a [`PageCursor`] for each side on which the list continues. It denotes a place
//! between two conversations and carries the filter, bounds, order and page size. A walk by cursors
//! returns each conversation that exists throughout exactly once, whatever is inserted or deleted
//! meanwhile. [`Snapshot::seal_cursor`] turns a cursor into a short opaque token that clients
//! cannot read or change; it does not expire.
//!
//! # Changes
//!
//! [`Snapshot::changes_since`] is the change feed of a user: what was created, updated or deleted
//! since a cursor, in commit order, without gaps. The feed retains about a million changes of each
//! user ([`StoreOptions::retained_changes`]) and, if the program calls [`Store::expire`], those of
//! the last 30 days. A reader that falls further behind gets [`Error::ChangesExpired`] and lists
//! again.
//!
//! # Durability
//!
//! A write that has returned is on disk, unless [`Durability::Deferred`] was chosen. After a crash
//! the store contains every acknowledged write, and each write as a whole. After an I/O error it
//! reopens its files by itself and continues ([`Store::state`], [`Store::last_fault`]).
//! [`Snapshot::verify`] audits everything.
//!
//! # Errors
//!
//! There is one [`Error`]. Misuse (nothing was done), missing things and faults of the store never
//! share a variant. What belongs to another user is missing. Messages and `Debug` output contain no
//! phone number, name, token or message text. Faults, recovery and format upgrades are logged
//! through `tracing`.
//!
//! # Cost
//!
//! A page reads at most [`PageCost::bound`] entries and rows, ten times its size plus ten, whatever
//! the filters, the depth and the data, and four more for each further combination of several types
//! and assistants ([`PageCost::bound_of_ranges`]); a page in memory takes microseconds. A single
//! durable insert takes a fraction of a millisecond, which concurrent inserts share. Statistics
//! read counters, not conversations. Methods that cost more say so.
//!
//! # Related crates
//!
//! `convodb-tokio` awaits writes and streams lists; `convodb-json` reads and writes conversations
//! as JSON; `convodb-http` serves a store in the shape of the documented "List Conversations" API;
//! `convodb-cli` is the command line. `examples/` contains whole programs.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod bulk_load;
mod encoding;
mod engine;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod io;
mod kv;
mod maintenance;
mod metrics;
mod model;
mod options;
mod query;
mod rules;
#[doc(hidden)]
pub mod seam;
mod snapshot;
mod store;
mod tables;
#[cfg(test)]
mod testing;
mod transaction;
mod verify;
mod wal;

pub use crate::bulk_load::loader::BulkLoader;
pub use crate::bulk_load::staging::BulkOptions;
pub use crate::bulk_load::writer::BulkLoadReport;
pub use crate::engine::published::{ChangedUsers, CommitListener};
pub use crate::error::{Error, Result};
pub use crate::io::fault::StoreState;
pub use crate::maintenance::backup::{BackupReport, checksum_path};
pub use crate::maintenance::compact::{CompactReport, compact, compact_with};
pub use crate::maintenance::erase::{EraseReport, ErasureScope, UnfinishedErasure};
pub use crate::maintenance::expire::{ExpireReport, Retention};
pub use crate::maintenance::options::{ChecksumPolicy, MaintenanceOptions};
pub use crate::maintenance::restore::{restore, restore_with};
pub use crate::maintenance::retention::RetentionDoubt;
pub use crate::maintenance::usage::{TableBytes, Usage};
pub use crate::metrics::{Histogram, LatencyHistogram, Metrics};
pub use crate::model::account::{Assistant, AssistantRef, User};
pub use crate::model::change::ChangeKind;
pub use crate::model::channel::{Channel, ChannelKind};
pub use crate::model::choice::{AssistantIds, ChannelKinds};
pub use crate::model::contact::Contact;
pub use crate::model::conversation::{Conversation, ConversationRef};
pub use crate::model::cost::{Cost, CostSum};
pub use crate::model::id::{AssistantId, ConversationId, UserId};
pub use crate::model::index_family::{IndexFamilies, IndexFamily, IndexState};
pub use crate::model::message::{Message, Role};
pub use crate::model::preview::{Excerpt, Preview, PreviewRef};
pub use crate::model::quota::{Quota, QuotaLimit, StorageUsage, UserQuota};
pub use crate::model::text::{ExternalIdentifier, IdempotencyKey, Name, Phone};
pub use crate::model::timestamp::{Day, Timestamp};
pub use crate::model::token::{
    Access, NewToken, Scope, Scopes, Token, TokenId, TokenNarrowing, TokenOptions, TokenPrefix,
    TokenSelector, TokenText,
};
pub use crate::model::variables::Variables;
pub use crate::model::version::StoreVersion;
pub use crate::options::{Durability, StoreOptions};
pub use crate::query::changes::{Change, ChangeCursor, Changes, ChangesSince};
pub use crate::query::count::Count;
pub use crate::query::cursor::PageCursor;
pub use crate::query::filter::Filter;
pub use crate::query::list_spec::{Order, Sort};
pub use crate::query::message_iter::MessageIter;
pub use crate::query::page::{Page, PageCost};
pub use crate::query::page_size::PageSize;
pub use crate::query::request::ListRequest;
pub use crate::query::stats::{Period, Stats, StatsProgress, StatsRequest, StatsRow, Volume};
pub use crate::snapshot::Snapshot;
pub use crate::store::{MAX_DELETED_MESSAGES, MAX_INSERTED_BYTES, Store};
pub use crate::transaction::Transaction;
pub use crate::transaction::inserts::InsertProgress;
pub use crate::verify::report::{Finding, VerifyReport};

/// The file system interface, for tests on a simulated disk: see [`StoreOptions::vfs`].
pub mod vfs {
    pub use crate::io::vfs::{Access, FileId, Vfs, VfsFile};
}
