//! Clients of a store: within the process, and over HTTP against a server process.

pub(crate) mod connection;
pub(crate) mod http_writers;
pub(crate) mod in_process;
pub(crate) mod server_process;
