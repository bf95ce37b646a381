//! Encodings: keys in value order, checksummed records, index terms, sealed tokens.
//!
//! Nothing here knows a table.

pub(crate) mod cells;
pub(crate) mod counter;
pub(crate) mod index_term;
pub(crate) mod key;
pub(crate) mod leb128;
pub(crate) mod list_counter;
pub(crate) mod preview;
pub(crate) mod record;
pub(crate) mod row;
pub(crate) mod time_bucket;
pub(crate) mod token;
