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
    /// The fewest bytes per second that a client may take of a response, or send of an import, on
    /// average after the timeouts above; 4,096. 0 for no such limit.
    pub min_bytes_per_second: u32,
    /// The most connections, at least 1; 10,000. If there are more, the oldest one that has sent no
    /// valid token is closed; if all have, further connections wait.
    pub max_connections: u32,
    /// The most connections from one address; no limit. Behind a proxy all have the same.
    pub max_connections_per_address: Option<u32>,
    /// The most requests of one connection, which is then closed; no limit.
    pub max_requests_per_connection: Option<u32>,
    /// The age at which a connection is closed after its response; no limit.
    pub max_connection_age: Option<Duration>,
    /// The most bytes of request and response bodies in memory; 256 MiB. Of this budget, as of the
    /// others, a user may hold as much as is left for the other users; beyond it, requests are
    /// answered with 503.
    pub max_buffered_bytes: usize,
    /// The most bytes of responses that are kept, to be sent again while the user's data is
    /// unchanged; 32 MiB. A user may take half of it. 0 keeps none.
    pub response_cache_bytes: usize,
    /// The most bytes of a JSON body; 1 MiB.
    pub max_body_bytes: usize,
    /// The most bytes of a line of an import whose text is in memory; 1 MiB. A longer one is parsed
    /// as it arrives, and its messages count against `max_buffered_bytes`.
    pub max_line_text_bytes: usize,
    /// The most writes that wait for their commit; 256. A user may have as many as are left for the
    /// others; further writes are answered with 503.
    pub max_waiting_writes: usize,
    /// The most concurrent imports and exports, together; 16. A user may have as many as are left
    /// for the others; further ones are answered with 503.
    pub max_transfers: usize,
    /// The most concurrent imports and exports of one user; 4.
    pub max_transfers_per_user: usize,
    /// The most requests for statistics that are read or wait for it; 16. A user may have as many
    /// as are left for the others; further ones are answered with 503.
    pub max_statistics: usize,
    /// The most requests that wait for changes; 4,096. A user may have as many as are left for the
    /// others; further ones are answered with 503.
    pub max_waiting_polls: usize,
    /// The most streams of change events; 1,024. A user may have as many as are left for the
    /// others; further ones are answered with 503.
    pub max_event_streams: usize,
    /// The most streams of change events of one user; 128.
    pub max_event_streams_per_user: usize,
    /// The longest silence of a stream of events, after which it sends a comment, and checks its
    /// token; 15 s.
    pub event_heartbeat: Duration,
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
            min_bytes_per_second: 4096,
            max_connections: 10_000,
            max_connections_per_address: None,
            max_requests_per_connection: None,
            max_connection_age: None,
            max_buffered_bytes: 256 << 20,
            response_cache_bytes: 32 << 20,
            max_body_bytes: 1 << 20,
            max_line_text_bytes: 1 << 20,
            max_waiting_writes: 256,
            max_transfers: 16,
            max_transfers_per_user: 4,
            max_statistics: 16,
            max_waiting_polls: 4096,
            max_event_streams: 1024,
            max_event_streams_per_user: 128,
            event_heartbeat: Duration::from_secs(15),
        }
    }
}
