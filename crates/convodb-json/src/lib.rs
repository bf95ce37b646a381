//! JSON form of a conversation: the item of the "List Conversations" API, and of its exports.
//!
//! The API is the one of Autocalls (the same at Famulor). An item is an element of its list, and
//! one line of an import or an export of convodb.
//!
//! [`Item::parse`] reads a line, [`LongItem`] one that arrives in pieces, and [`write_item`] and [`write_line`] write one; [`ExportLines`]
//! writes a whole list; [`csv`] writes one as CSV. [`insert_if_new`] and [`insert_or_update`] are the rule by which an item
//! enters a store, in a transaction or a bulk load. [`json`], [`field`] and [`channel`] are the
//! parts that these functions, and other bodies of the same API, are built from.
//!
//! ```
//! use convodb::Store;
//! use convodb_json::{Item, Outcome, insert_if_new};
//!
//! let store = Store::in_memory()?;
//! let user = store.create_user("Acme", "2025-01-25".parse()?)?.id;
//! let line = br#"{"id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "type": "widget",
//!     "assistant_id": "a1b2c3d4-5678-40ab-8def-1234567890ab", "assistant_name": "Support",
//!     "created_at": "2025-01-25 10:15:00"}"#;
//! let item = Item::parse(line)?;
//! let applied = store.write(move |transaction| insert_if_new(transaction, user, &item))?;
//! assert_eq!(applied.outcome, Outcome::Inserted { messages: 0 });
//! assert!(applied.assistant_created);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apply;
mod assistant_names;
pub mod channel;
pub mod csv;
mod export_lines;
pub mod field;
pub mod json;
mod long_item;
mod message;
mod parse;
mod selection;
mod time;
mod write;

pub use crate::apply::{
    Applied, BulkTarget, ImportCounts, ImportTarget, Outcome, PartApplied, Rejection,
    insert_if_new, insert_or_update, insert_part_if_new,
};
pub use crate::assistant_names::AssistantNames;
pub use crate::export_lines::{ExportLines, LineWriter, Messages};
pub use crate::long_item::LongItem;
pub use crate::message::MessageFields;
pub use crate::parse::{Item, ItemError};
pub use crate::selection::{ItemFields, write_selected_item};
pub use crate::write::{
    TimeFormat, write_fields, write_history_message, write_item, write_line, write_named_item,
    write_preview,
};
