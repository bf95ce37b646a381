//! What a supervisor that started the server is told, systemd above all: that it is ready, that it
//! stops, and, where it wants to know, that it is well. Without a supervisor nothing is told.

use std::time::Duration;

use convodb::Store;
use sd_notify::NotifyState;

/// Tells that requests are served from now on.
pub(crate) fn tell_ready() {
    tell(NotifyState::Ready);
}

/// Tells that the server stops.
pub(crate) fn tell_stopping() {
    tell(NotifyState::Stopping);
}

/// A supervisor that does not listen misses it, nothing else fails.
fn tell(state: NotifyState<'_>) {
    let _ = sd_notify::notify(&[state]);
}

/// Tells that the server is well for as long as the store takes writes, twice in the time after which
/// the supervisor would start it anew. Returns at once where nobody wants to know.
pub(crate) async fn keep_telling(store: Store) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let mut beat = tokio::time::interval((patience / 2).max(Duration::from_millis(10)));
    loop {
        beat.tick().await;
        if store.is_open() {
            tell(NotifyState::Watchdog);
        }
    }
}
