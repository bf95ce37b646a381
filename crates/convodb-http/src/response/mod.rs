//! Responses: JSON bodies, pages of lists, pagination links; entity tags, and the cache of
//! responses.

pub(crate) mod base_url;
pub(crate) mod cache;
pub(crate) mod columns;
pub(crate) mod compression;
pub(crate) mod etag;
pub(crate) mod history;
pub(crate) mod history_page;
pub(crate) mod html;
pub(crate) mod json_body;
pub(crate) mod names;
pub(crate) mod numbered_page;
pub(crate) mod page;
pub(crate) mod statistics;
