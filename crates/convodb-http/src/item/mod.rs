//! The item: one conversation as the list shows it, and as a line of an import or an export.

mod channel;
mod field;
mod lines;
mod names;
mod read;
mod write;

pub use self::lines::{ExportLines, Messages};
pub use self::names::AssistantNames;
pub use self::read::{Item, ItemError};
pub use self::write::{write_item, write_line};

pub(crate) use self::channel::{ChannelParts, ContactFields, NOT_API, NOT_WHATSAPP};
pub(crate) use self::field::{
    Broken, boolean, cost, is_object, object, optional, parsed, required, rule, text, variables,
};
pub(crate) use self::write::{Times, write_fields, write_history};
