//! What a server gives to each client, and what all of them share.

use std::time::Duration;

/// Bounds of a server. The default is for a service that strangers reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For the head of a request, and for an idle connection to become busy again; 10 s.
    pub header_timeout: Duration,
    /// For the whole of a JSON body to come; 30 s.
    pub body_timeout: Duration,
    /// For the next piece of an import to come; 30 s.
    pub chunk_timeout: Duration,
    /// For a client to take some of what it is sent; 30 s.
    pub write_timeout: Duration,
    /// For a client to take the whole of an export, which holds a snapshot meanwhile; 1 h.
    pub export_timeout: Duration,
    /// For requests in flight when the server is stopped; 10 s.
    pub shutdown_timeout: Duration,
    /// The most connections at a time, at least 1; 10,000. One more waits until another is closed.
    pub max_connections: u32,
    /// The most bytes of a JSON body; 1 MiB.
    pub max_body_bytes: usize,
    /// The most bytes of a line of an import; 16 MiB.
    pub max_line_bytes: usize,
    /// The most writes that wait for the disk at a time; 256. One more is refused.
    pub max_waiting_writes: usize,
    /// The most imports and exports at a time, together; 16. One more is refused.
    pub max_transfers: usize,
    /// The most of them that one user has; 4.
    pub max_transfers_per_user: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            chunk_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            export_timeout: Duration::from_secs(3600),
            shutdown_timeout: Duration::from_secs(10),
            max_connections: 10_000,
            max_body_bytes: 1 << 20,
            max_line_bytes: 16 << 20,
            max_waiting_writes: 256,
            max_transfers: 16,
            max_transfers_per_user: 4,
        }
    }
}
