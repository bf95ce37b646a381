//! The item: one conversation as the list shows it, and as a line of an import or an export.

mod field;
mod names;
mod read;
mod write;

pub use self::names::AssistantNames;
pub use self::read::{Item, ItemError};
pub use self::write::write_item;
