//! Middleware: what runs around every route, and the limits and metrics it enforces and records.

pub(crate) mod budget;
pub(crate) mod caller;
pub(crate) mod cors;
pub(crate) mod envelope;
pub(crate) mod metrics;
pub(crate) mod rate_limit;
pub(crate) mod session_key;
mod store_metrics;
pub(crate) mod token_use;
