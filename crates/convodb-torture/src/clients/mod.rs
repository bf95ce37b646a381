//! Clients of a store: concurrent HTTP writers, the server process, and requests without sockets.

pub(crate) mod http_writers;
pub(crate) mod in_process;
pub(crate) mod server_process;
