//! Waiting in tests: always with a bound, and with words for what did not happen.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits: far longer than a busy machine takes.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Waits until a condition is true, and asks for it every few milliseconds.
///
/// # Panics
/// The condition is not true within [`LIMIT`]: the message says that `what` did not happen.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < LIMIT, "after {} s: {what}", LIMIT.as_secs());
        thread::sleep(Duration::from_millis(2));
    }
}
