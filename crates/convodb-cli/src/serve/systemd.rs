//! systemd notifications: ready, stopping, and the watchdog's heartbeat.
//!
//! Without systemd's environment variables, nothing is sent. Failures are ignored: they must not
//! stop the server.

use std::time::Duration;

use convodb::{Store, StoreState};
use sd_notify::NotifyState;

/// Notifies that requests are served.
pub(crate) fn notify_ready() {
    notify(NotifyState::Ready);
}

/// Notifies that the server is stopping.
pub(crate) fn notify_stopping() {
    notify(NotifyState::Stopping);
}

fn notify(state: NotifyState<'_>) {
    let _ = sd_notify::notify(&[state]);
}

/// Sends heartbeats while an embedded store serves reads, or always for another one, two in each watchdog timeout; without them, systemd
/// restarts the server. A restart makes neither a disk writable nor a database reachable, so a read-only
/// store has a heartbeat. Returns at once if no watchdog is configured.
pub(crate) async fn send_heartbeats(store: Option<Store>) {
    let Some(timeout) = sd_notify::watchdog_enabled() else { return };
    let mut beat = tokio::time::interval((timeout / 2).max(Duration::from_millis(10)));
    loop {
        beat.tick().await;
        let serves =
            |store: &Store| matches!(store.state(), StoreState::Open | StoreState::ReadOnly);
        if store.as_ref().is_none_or(serves) {
            notify(NotifyState::Watchdog);
        }
    }
}
