//! Import rule and assistant references, with the paths of the crate `convodb-json`, which replaces
//! this module.

mod apply;
mod assistant_ref;

pub(crate) use self::apply::{BulkTarget, ImportCounts, Outcome, insert_if_new, insert_or_update};
pub(crate) use self::assistant_ref::AssistantRef;
pub(crate) use convodb_http::item::{
    AssistantNames, ExportLines, Item, ItemError, Messages, write_item, write_line,
};
