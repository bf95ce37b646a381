//! Connections: which ones are open, and which one is closed to make room for another.
//!
//! A connection is a *stranger's* until it has sent a request with a valid token. If all places are
//! taken, the oldest stranger's connection is closed. So strangers can neither keep clients out nor
//! close their connections.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::middleware::caller::ConnectionOwner;

/// The open connections.
#[derive(Default)]
pub(super) struct Connections {
    max_per_address: Option<u32>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next_id: u64,
    /// By age. May contain connections that are not strangers' any more.
    strangers: BTreeMap<u64, Stranger>,
    /// Counted only if there is a limit for each address.
    of_addresses: HashMap<IpAddr, u32>,
}

struct Stranger {
    owner: ConnectionOwner,
    closed: Arc<Notify>,
}

/// An open connection. Dropping it makes room for another one.
pub(super) struct Connection {
    connections: Arc<Connections>,
    id: u64,
    address: IpAddr,
    pub(super) owner: ConnectionOwner,
    closed: Arc<Notify>,
}

impl Connections {
    pub(super) fn new(max_per_address: Option<u32>) -> Arc<Self> {
        Arc::new(Self { max_per_address, open: Mutex::default() })
    }

    /// Registers a connection; `None` if its address has too many.
    pub(super) fn open(self: &Arc<Self>, address: IpAddr) -> Option<Connection> {
        let mut open = self.lock();
        if let Some(max) = self.max_per_address {
            let count = open.of_addresses.entry(address).or_default();
            if *count >= max {
                return None;
            }
            *count += 1;
        }
        let id = open.next_id;
        open.next_id += 1;
        let (owner, closed) = (ConnectionOwner::default(), Arc::new(Notify::new()));
        let stranger = Stranger { owner: owner.clone(), closed: closed.clone() };
        open.strangers.insert(id, stranger);
        Some(Connection { connections: self.clone(), id, address, owner, closed })
    }

    /// Closes the oldest stranger's connection in favour of a new one, if there is any.
    pub(super) fn make_room_for(&self, new: &Connection) {
        let mut open = self.lock();
        while let Some(oldest) = open.strangers.first_entry().filter(|entry| *entry.key() < new.id)
        {
            let Stranger { owner, closed } = oldest.remove();
            if !owner.is_known() {
                return closed.notify_one();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Waits until the connection is to be closed in favour of another.
    pub(super) async fn closed(&self) {
        self.closed.notified().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.strangers.remove(&self.id);
        if let Some(count) = open.of_addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.of_addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::net::Ipv4Addr;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    fn is_closed(connection: &Connection) -> bool {
        pin!(connection.closed()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_oldest_stranger_makes_room() {
        let connections = Connections::new(None);
        let open = || connections.open(address(1)).unwrap();
        let [known, gone, second, third] = [open(), open(), open(), open()];
        known.owner.set_known();
        drop(gone);
        let new = open();
        connections.make_room_for(&new);
        assert_eq!([&known, &second, &third].map(is_closed), [false, true, false]);
        connections.make_room_for(&new);
        connections.make_room_for(&new);
        assert_eq!([&known, &third, &new].map(is_closed), [false, true, false]);
        drop((known, second, third, new));
        assert!(connections.lock().strangers.is_empty());
    }

    #[test]
    fn an_address_has_a_bounded_number_of_connections() {
        let connections = Connections::new(Some(2));
        let [one, two] = [1, 1].map(|last| connections.open(address(last)));
        assert!(one.is_some() && two.is_some());
        assert!(connections.open(address(1)).is_none());
        assert!(connections.open(address(2)).is_some());
        drop(one);
        assert!(connections.open(address(1)).is_some());
        drop(two);
        assert!(connections.lock().of_addresses.is_empty());
    }
}
