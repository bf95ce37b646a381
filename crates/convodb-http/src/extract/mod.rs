//! Extractors: from the URL, query and headers of a request to typed values.

pub(crate) mod accept;
pub(crate) mod auth;
pub(crate) mod cached_get;
pub(crate) mod event_stream;
pub(crate) mod export_format;
pub(crate) mod idempotency;
pub(crate) mod params;
pub(crate) mod path;
pub(crate) mod query_string;
pub(crate) mod recalled_token;
pub(crate) mod session;
pub(crate) mod strictness;
