//! Async calls and streams over a [`convodb`] store, for services on tokio.
//!
//! The engine is synchronous: a page in memory takes microseconds, and a write waits for the disk.
//! This crate adds what a service needs for the second, and nothing else:
//!
//! - **Writes** are awaited without holding a thread: [`AsyncStore::write`] puts the write into the
//!   engine's queue, and the writer's thread wakes the task once it is durable. Ten thousand tasks may
//!   write at a time; they share commits, and those that find no place in the queue wait for one.
//! - **Pages** are read in line: [`AsyncStore::snapshot`] is the engine's own
//!   [`Snapshot`](convodb::Snapshot). A page that is in memory takes less time than the way to
//!   another thread and back; one that is not holds its thread for as long as a read of the disk, so a
//!   service wants more threads than cores (16, or four a core).
//! - **What takes longer** goes aside: [`AsyncStore::aside`] runs any work of the engine (a history of
//!   a thousand messages, a report over years, an audit, a bulk load) on a thread for what blocks.
//! - **Walks** are streams: [`AsyncStore::pages`] and [`AsyncStore::conversations`] over one state of
//!   the store, [`AsyncStore::live_pages`] and [`AsyncStore::live_conversations`] over the state of
//!   each moment.
//!
//! ```
//! use convodb_tokio::{AsyncStore, convodb::*};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<()> {
//!     let store = AsyncStore::in_memory()?; // or AsyncStore::open("conversations.convodb").await?
//!     let now: Timestamp = "2025-01-25 14:30:00".parse()?;
//!     let user = store.create_user("Acme".parse()?, now).await?.id;
//!     let bot = AssistantId::generate(now);
//!     store.create_assistant(user, bot, "Support".parse()?).await?;
//!
//!     let id = ConversationId::generate(now);
//!     store.insert(user, Conversation::new(id, bot, Channel::Widget, now)).await?;
//!     let hello = Message::new(Role::User, "Hello!".to_owned(), now)?;
//!     assert_eq!(store.append_message(user, id, hello).await?, 1);
//!
//!     let page = store.snapshot().list(user, &ListRequest::default())?;
//!     assert_eq!(page.len(), 1);
//!     store.close().await
//! }
//! ```
//!
//! # What cancelling means
//!
//! To drop the future of a write before it found a place in the queue withdraws it: it is never run.
//! Afterwards it cannot be taken back. It runs, and is committed if it can be, whether or not anyone
//! waits; only its answer is lost, as that of a request whose connection broke. A service that must
//! know gives conversations ids of its own and looks, or spawns the write as a task.
//!
//! To drop a stream ends its walk. To drop the future of its next item loses nothing.
//!
//! # Errors and panics
//!
//! All errors are the engine's [`Error`](convodb::Error). A closure that panics panics in the task
//! that awaits it, after all that it changed was taken back. Reading aside needs a runtime and panics
//! without one; writing works under any executor.
//!
//! # Closing
//!
//! A write that was answered is durable, so nothing needs to be done at the end. [`AsyncStore::close`]
//! finishes what is queued and tells how that went. The last handle that is dropped inside a runtime
//! leaves that to a thread for what blocks.

pub use convodb;

mod aside;
mod conversations;
mod pages;
mod store;
mod writes;

pub use crate::conversations::Conversations;
pub use crate::pages::Pages;
pub use crate::store::AsyncStore;
