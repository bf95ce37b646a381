//! What a server gives to each client, and what all of them share.

use std::time::Duration;

/// Bounds of a server. The default is for a service that strangers reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For the head of a request, and for an idle connection to become busy again; 10 s.
    pub head: Duration,
    /// For the whole of a JSON body to come; 30 s.
    pub body: Duration,
    /// For the next piece of an import to come; 30 s.
    pub pause: Duration,
    /// For a client to take some of what it is sent; 30 s.
    pub write: Duration,
    /// For a client to take the whole of an export, which holds a snapshot meanwhile; 1 h.
    pub export: Duration,
    /// For requests in flight when the server is stopped; 10 s.
    pub stop: Duration,
    /// The most connections at a time, at least 1; 10,000. One more waits until another is closed.
    pub connections: u32,
    /// The most bytes of a JSON body; 1 MiB.
    pub body_bytes: usize,
    /// The most bytes of a line of an import; 16 MiB.
    pub line_bytes: usize,
    /// The most writes that wait for the disk at a time; 256. One more is refused.
    pub writes: usize,
    /// The most imports and exports at a time, together; 16. One more is refused.
    pub transfers: usize,
    /// The most of them that one user has; 4.
    pub transfers_per_user: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            pause: Duration::from_secs(30),
            write: Duration::from_secs(30),
            export: Duration::from_secs(3600),
            stop: Duration::from_secs(10),
            connections: 10_000,
            body_bytes: 1 << 20,
            line_bytes: 16 << 20,
            writes: 256,
            transfers: 16,
            transfers_per_user: 4,
        }
    }
}
