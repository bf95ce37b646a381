//! Plain values: what a conversation is, with its limits kept by types. No bytes, no tables.

pub(crate) mod account;
pub(crate) mod change;
pub(crate) mod channel;
pub(crate) mod contact;
pub(crate) mod conversation;
pub(crate) mod cost;
pub(crate) mod id;
pub(crate) mod inline_str;
pub(crate) mod json;
pub(crate) mod message;
pub(crate) mod position;
pub(crate) mod text;
pub(crate) mod timestamp;
pub(crate) mod variables;
