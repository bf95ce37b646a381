//! Model: the plain values of the public API. Each validates itself. No bytes, no I/O.

pub(crate) mod account;
pub(crate) mod change;
pub(crate) mod channel;
pub(crate) mod choice;
pub(crate) mod contact;
pub(crate) mod conversation;
pub(crate) mod cost;
mod digits;
pub(crate) mod id;
pub(crate) mod index_family;
pub(crate) mod json;
pub(crate) mod message;
pub(crate) mod position;
pub(crate) mod preview;
pub(crate) mod quota;
#[cfg(feature = "serde")]
pub(crate) mod serialize;
pub(crate) mod text;
pub(crate) mod timestamp;
pub(crate) mod token;
pub(crate) mod variables;
pub(crate) mod version;
