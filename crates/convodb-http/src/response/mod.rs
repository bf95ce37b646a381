//! Responses: JSON bodies, pages of lists, pagination links.

pub(crate) mod base_url;
pub(crate) mod history;
pub(crate) mod history_page;
pub(crate) mod json_body;
pub(crate) mod numbered_page;
pub(crate) mod page;
pub(crate) mod statistics;
