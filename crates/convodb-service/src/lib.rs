//! What a server serves: an embedded store, or a store on another database.
//!
//! A [`Source`] is one of both. A request reads a [`View`] of it. The view of an embedded store is its
//! [`Snapshot`](convodb::Snapshot), which is read on the calling thread, without a future, a box or a
//! dynamic call. Any other store implements [`Remote`], whose methods return boxed futures.
//!
//! A request that names an access token which was read before need not read it first. Its
//! [`RecalledAccess`] is a hint, and the first read of the request checks it beside.
//!
//! A [`Write`] is data, because a remote store may have to run it again after a fault. An embedded
//! store runs it in a transaction: [`Write::run`].

mod access;
mod error;
mod news;
mod remote;
mod source;
mod view;
mod write;

pub use crate::access::{ReadAccess, RecallState, RecalledAccess};
pub use crate::error::{Error, Result};
pub use crate::news::News;
pub use crate::remote::{
    Account, AssistantPage, BoxFuture, ConversationHistory, ExportItem, Followed, ListReader,
    Listed, Remote, RemoteCounter,
};
pub use crate::source::Source;
pub use crate::view::{RemoteView, View};
pub use crate::write::{
    ConversationChange, Idempotent, Write, WriteAuthority, WriteResponse, Written,
};
