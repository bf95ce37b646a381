//! Values to bytes and back: keys whose byte order is the order of their values, index terms,
//! records. Nothing here knows a table.

pub(crate) mod index_term;
pub(crate) mod key;
pub(crate) mod record;
pub(crate) mod row;
pub(crate) mod time_bucket;
pub(crate) mod token;
