//! Server: connections over TCP with timeouts and graceful shutdown, and the admin socket.

pub(crate) mod accept;
pub(crate) mod accounts;
pub(crate) mod admin;
mod connections;
mod framing;
mod write_timeout;
