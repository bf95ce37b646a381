//! Limits of a server: time, memory and concurrency, for each client and for all of them.

use std::time::Duration;

/// Limits of a server. The defaults suit a service on the public internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Timeout for request headers, and for an idle connection; 10 s.
    pub header_timeout: Duration,
    /// Timeout for a whole JSON body; 30 s.
    pub body_timeout: Duration,
    /// Timeout for the next chunk of an import; 30 s.
    pub chunk_timeout: Duration,
    /// Timeout for a client to accept any bytes of a response; 30 s.
    pub write_timeout: Duration,
    /// Timeout for a whole export, which holds a snapshot; 1 h.
    pub export_timeout: Duration,
    /// Timeout for requests in flight during a shutdown; 10 s.
    pub shutdown_timeout: Duration,
    /// The most connections, at least 1; 10,000. Further connections wait until one is closed.
    pub max_connections: u32,
    /// The most bytes of a JSON body; 1 MiB.
    pub max_body_bytes: usize,
    /// The most bytes of one line of an import; 16 MiB.
    pub max_line_bytes: usize,
    /// The most writes that wait for their commit; 256. Further writes are answered with 503.
    pub max_waiting_writes: usize,
    /// The most concurrent imports and exports, together; 16. Further ones are answered with 503.
    pub max_transfers: usize,
    /// The most concurrent imports and exports of one user; 4.
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
