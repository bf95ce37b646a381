//! Async API of a [`convodb`] store for services on tokio: awaited writes, streams, notifications.
//!
//! The engine is synchronous: a cached page takes microseconds, and a write waits for the disk.
//! This crate makes waiting asynchronous and adds nothing else:
//!
//! - **Writes** hold no thread: [`AsyncStore::write`] puts the write into the engine's queue, and
//!   the writer thread wakes the task once the write is durable. Ten thousand tasks may write
//!   concurrently; they share commits, and tasks that find the queue full wait for a slot.
//! - **Pages** are read on the current thread: [`AsyncStore::snapshot`] returns the engine's own
//!   [`Snapshot`](convodb::Snapshot). A cached page takes less time than a handover to another
//!   thread. A page that is not cached blocks its thread for a disk read, so a service should have
//!   more threads than cores (16, or four per core).
//! - **Long work** runs on blocking threads: [`AsyncStore::run_blocking`] runs any work of the
//!   engine there, such as a history of a thousand messages, statistics over years, a verification
//!   or a bulk load.
//! - **Lists** are streams: [`AsyncStore::pages`] and [`AsyncStore::conversations`] read one
//!   snapshot, [`AsyncStore::live_pages`] and [`AsyncStore::live_conversations`] a new one for each
//!   page.
//! - **Changes** are a stream: [`AsyncStore::changes`] follows a user's change feed and waits for
//!   new changes at its end. [`AsyncStore::commits`] wakes a task after each commit.
//!
//! ```
//! use convodb_tokio::{AsyncStore, convodb::*};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<()> {
//!     let store = AsyncStore::in_memory()?; // or AsyncStore::open("conversations.convodb").await?
//!     let now: Timestamp = "2025-01-25 14:30:00".parse()?;
//!     let user = store.create_user("Acme", now).await?.id;
//!     let bot = AssistantId::generate(now);
//!     store.create_assistant(user, bot, "Support").await?;
//!
//!     let id = ConversationId::generate(now);
//!     store.insert(user, Conversation::new(id, bot, Channel::Widget, now), Vec::new()).await?;
//!     let hello = Message::new(Role::User, "Hello!".to_owned(), now)?;
//!     assert_eq!(store.append_message(user, id, hello).await?, 1);
//!
//!     let page = store.snapshot().list(user, &ListRequest::default())?;
//!     assert_eq!(page.len(), 1);
//!     store.close().await
//! }
//! ```
//!
//! # Cancellation
//!
//! Dropping the future of a write before it is queued withdraws the write: it never runs. Once it
//! is queued, it runs and is committed if it succeeds, whether or not a task waits for it; only the
//! result is lost, as for a request whose connection breaks. A service that must know the outcome
//! chooses the ids of its conversations and reads them back, or spawns the write as a task.
//!
//! Dropping a stream ends it. Dropping the future of its next item loses nothing.
//!
//! # Errors and panics
//!
//! All errors are the engine's [`Error`](convodb::Error). A panic of a write's closure continues in
//! the task that awaits the write, after the closure's changes were rolled back. Streams and
//! [`AsyncStore::run_blocking`] panic outside a tokio runtime; writes and [`Commits`] work under
//! any executor.
//!
//! # Closing
//!
//! A write is durable when its future completes, so a service need not close its store.
//! [`AsyncStore::close`] finishes the queued writes and returns the errors of closing. When the
//! last handle is dropped inside a runtime, a blocking thread closes the store.

pub use convodb;

mod change_feed;
mod commits;
mod conversations;
mod pages;
mod run_blocking;
mod store;
mod writes;

pub use crate::change_feed::ChangeFeed;
pub use crate::commits::Commits;
pub use crate::conversations::Conversations;
pub use crate::pages::Pages;
pub use crate::store::AsyncStore;
