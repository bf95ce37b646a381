//! File descriptors: raises the soft limit, and bounds the connections by it.
//!
//! A connection needs a descriptor, and so does the store for its WAL and its checkpoints. If the
//! connections could take all of them, writes would fail.

/// The descriptors that connections leave to the store, its backups, the admin socket and the log.
const RESERVED: u64 = 64;

/// Raises the soft limit of descriptors as far as `max_connections` needs it and the hard limit
/// allows. Returns how many connections there may be.
#[cfg(unix)]
pub(super) fn connections(max_connections: u32) -> u32 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = u64::from(max_connections) + RESERVED;
    let mut limit = current.unwrap_or(u64::MAX);
    let wanted = needed.min(maximum.unwrap_or(u64::MAX));
    if limit < wanted {
        match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
            Ok(()) => {
                tracing::info!(from = limit, to = wanted, "raised the limit of open files");
                limit = wanted;
            }
            Err(error) => tracing::warn!(%error, limit, "cannot raise the limit of open files"),
        }
    }
    let allowed = within(limit, max_connections);
    if allowed < max_connections {
        tracing::warn!(
            limit,
            connections = allowed,
            "fewer connections than --max-connections: the system limits open files (ulimit -n)"
        );
    }
    allowed
}

/// On other systems, sockets are not limited by a number of files.
#[cfg(not(unix))]
pub(super) fn connections(max_connections: u32) -> u32 {
    max_connections
}

/// The connections of at most `max_connections` that a limit of descriptors has room for.
#[cfg_attr(not(unix), allow(dead_code, reason = "its caller exists on Unix alone"))]
fn within(limit: u64, max_connections: u32) -> u32 {
    // A limit below twice the reserve is shared equally.
    let room = limit.saturating_sub(RESERVED).max(limit / 2).max(1);
    u32::try_from(room).map_or(max_connections, |room| room.min(max_connections))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_to_the_store() {
        for (limit, wanted, expected) in [
            (u64::MAX, 10_000, 10_000),
            (20_000, 10_000, 10_000),
            (10_064, 10_000, 10_000),
            (10_063, 10_000, 9_999),
            (1024, 10_000, 960),
            (256, 10_000, 192),
            (100, 10_000, 50),
            (1, 10_000, 1),
            (0, 10_000, 1),
        ] {
            assert_eq!(within(limit, wanted), expected, "{limit}");
        }
    }
}
