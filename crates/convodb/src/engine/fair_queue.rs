//! Fair queue: a bounded queue of many users for one reader, who takes from each user in turn.
//!
//! Each item gets a *turn*: the one after its user's previous item, or the current one if the user
//! has none waiting. The reader takes the lowest turn first, and within a turn the earliest arrival.
//! So an item waits for at most one item of each other user, however many one of them has queued
//! (start-time fair queueing). A push and a pop cost a heap operation each, and no allocation once
//! the heap has grown.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::id::UserId;

/// The queue, shared by its writers. Dropping the [`Reader`] closes it.
pub(crate) struct FairQueue<T> {
    state: Mutex<State<T>>,
    /// Signals the reader: an item, a wakeup or the end.
    arrived: Condvar,
    /// Signals writers that wait for a place.
    taken: Condvar,
    depth: usize,
}

/// The reading side. There is one.
pub(crate) struct Reader<T>(Arc<FairQueue<T>>);

struct State<T> {
    waiting: BinaryHeap<Waiting<T>>,
    /// The turn after the last item of each user that has, or had, items since the queue was empty.
    next_turns: HashMap<Option<UserId>, u64>,
    /// The turn of the item that was taken last.
    turn: u64,
    arrivals: u64,
    /// Whether the reader waits for an item.
    reader_waits: bool,
    woken: bool,
    /// Whether nothing more is accepted.
    is_closed: bool,
}

struct Waiting<T> {
    turn: u64,
    arrival: u64,
    item: T,
}

/// Why an item was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    Full,
    Closed,
}

/// What the reader got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Popped<T> {
    Item(T),
    /// [`FairQueue::wake`] was called, or the limit of time has passed.
    Woken,
    /// The queue is closed and empty.
    Closed,
}

impl<T> FairQueue<T> {
    /// A queue of at most `depth` items, and its reader.
    pub(crate) fn new(depth: usize) -> (Arc<Self>, Reader<T>) {
        let state = State {
            waiting: BinaryHeap::new(),
            next_turns: HashMap::new(),
            turn: 0,
            arrivals: 0,
            reader_waits: false,
            woken: false,
            is_closed: false,
        };
        let queue = Arc::new(Self {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            taken: Condvar::new(),
            depth: depth.max(1),
        });
        (queue.clone(), Reader(queue))
    }

    /// The most items.
    pub(crate) const fn depth(&self) -> usize {
        self.depth
    }

    /// Queues an item of a user; items without a user take turns as one user.
    pub(crate) fn try_push(&self, user: Option<UserId>, item: T) -> Result<(), PushError> {
        let state = self.lock();
        if state.is_closed {
            return Err(PushError::Closed);
        }
        if state.waiting.len() >= self.depth {
            return Err(PushError::Full);
        }
        self.push(state, user, item);
        Ok(())
    }

    /// Queues an item; waits for a place.
    pub(crate) fn push_when_free(&self, user: Option<UserId>, item: T) -> Result<(), PushError> {
        let mut state = self.lock();
        while state.waiting.len() >= self.depth && !state.is_closed {
            state = self.taken.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_closed {
            return Err(PushError::Closed);
        }
        self.push(state, user, item);
        Ok(())
    }

    fn push(&self, mut state: MutexGuard<'_, State<T>>, user: Option<UserId>, item: T) {
        let now = state.turn;
        let next = state.next_turns.entry(user).or_insert(now);
        let turn = now.max(*next);
        *next = turn + 1;
        let arrival = state.arrivals;
        state.arrivals += 1;
        state.waiting.push(Waiting { turn, arrival, item });
        self.signal_reader(state);
    }

    /// Wakes the reader without an item. Ignored if the queue is closed.
    pub(crate) fn wake(&self) {
        let mut state = self.lock();
        state.woken = true;
        self.signal_reader(state);
    }

    /// Accepts nothing more; the reader gets what is queued. Returns whether it was open.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.lock();
        let was_open = !std::mem::replace(&mut state.is_closed, true);
        self.signal_reader(state);
        self.taken.notify_all();
        was_open
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Signals only a reader that waits: a signal is a system call.
    fn signal_reader(&self, mut state: MutexGuard<'_, State<T>>) {
        let waits = std::mem::take(&mut state.reader_waits);
        drop(state);
        if waits {
            self.arrived.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Reader<T> {
    /// The next item; waits for it, at most `limit` if there is one.
    pub(crate) fn pop(&self, limit: Option<Duration>) -> Popped<T> {
        let queue = &self.0;
        let mut state = queue.lock();
        loop {
            if let Some(item) = queue.take(&mut state) {
                return Popped::Item(item);
            }
            if state.is_closed {
                return Popped::Closed;
            }
            if std::mem::take(&mut state.woken) {
                return Popped::Woken;
            }
            state.reader_waits = true;
            // A writer resets the flag when it signals.
            let waits = |state: &mut State<T>| state.reader_waits;
            state = match limit {
                None => {
                    queue.arrived.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner)
                }
                Some(limit) => {
                    let waited = queue.arrived.wait_timeout_while(state, limit, waits);
                    let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    if timeout.timed_out() {
                        state.reader_waits = false;
                        return Popped::Woken;
                    }
                    state
                }
            };
        }
    }

    /// The next item, if there is one.
    pub(crate) fn try_pop(&self) -> Option<T> {
        self.0.take(&mut self.0.lock())
    }
}

impl<T> FairQueue<T> {
    fn take(&self, state: &mut State<T>) -> Option<T> {
        let was_full = state.waiting.len() >= self.depth;
        let Waiting { turn, item, .. } = state.waiting.pop()?;
        state.turn = turn;
        if state.waiting.is_empty() {
            state.next_turns.clear();
        } else if state.next_turns.len() > 2 * self.depth {
            state.next_turns.retain(|_, next| *next > turn);
        }
        if was_full {
            self.taken.notify_one();
        }
        Some(item)
    }
}

impl<T> Drop for Reader<T> {
    /// Closes the queue and drops what is queued, outside the lock: an item may be anything.
    fn drop(&mut self) {
        self.0.close();
        let left = std::mem::take(&mut self.0.lock().waiting);
        drop(left);
    }
}

/// The heap has its greatest item on top: the one with the lowest turn, then the earliest.
impl<T> Ord for Waiting<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |waiting: &Self| Reverse((waiting.turn, waiting.arrival));
        key(self).cmp(&key(other))
    }
}

impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Waiting<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    type Item = (u32, u32);

    fn push(queue: &FairQueue<Item>, user: u32, number: u32) -> Result<(), PushError> {
        queue.try_push(Some(UserId::new(user)), (user, number))
    }

    fn drain(reader: &Reader<Item>) -> Vec<Item> {
        std::iter::from_fn(|| reader.try_pop()).collect()
    }

    #[test]
    fn users_are_taken_in_turn_and_each_in_order() {
        let (queue, reader) = FairQueue::new(16);
        for number in 0..4 {
            push(&queue, 1, number).unwrap();
        }
        push(&queue, 2, 0).unwrap();
        push(&queue, 2, 1).unwrap();
        push(&queue, 3, 0).unwrap();
        let expected = [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2), (1, 3)];
        assert_eq!(drain(&reader), expected);
    }

    /// A user who comes late does not wait for the backlog of another, and gets no turns for the
    /// time without items.
    #[test]
    fn a_late_user_waits_for_one_item_of_each_other() {
        let (queue, reader) = FairQueue::new(1024);
        for number in 0..500 {
            push(&queue, 1, number).unwrap();
        }
        for number in 0..100 {
            assert_eq!(reader.try_pop(), Some((1, number)));
        }
        for number in 0..3 {
            push(&queue, 2, number).unwrap();
        }
        let next: Vec<Item> = drain(&reader).into_iter().take(6).collect();
        assert_eq!(next, [(2, 0), (1, 100), (2, 1), (1, 101), (2, 2), (1, 102)]);
    }

    #[test]
    fn turns_start_anew_when_the_queue_was_empty() {
        let (queue, reader) = FairQueue::new(16);
        for round in 0..3 {
            push(&queue, 1, round).unwrap();
            assert_eq!(drain(&reader), [(1, round)]);
        }
        push(&queue, 2, 0).unwrap();
        push(&queue, 1, 3).unwrap();
        assert_eq!(drain(&reader), [(2, 0), (1, 3)]);
        assert!(queue.lock().next_turns.is_empty());
    }

    #[test]
    fn turns_of_users_without_items_are_forgotten() {
        let (queue, reader) = FairQueue::new(4);
        push(&queue, 0, 0).unwrap();
        for user in 1..100 {
            for number in 0..2 {
                push(&queue, user, number).unwrap();
                reader.try_pop().unwrap();
            }
            assert!(queue.lock().next_turns.len() <= 2 * 4 + 1);
        }
    }

    #[test]
    fn a_full_queue_refuses_and_a_closed_one_ends() {
        let (queue, reader) = FairQueue::new(2);
        push(&queue, 1, 0).unwrap();
        push(&queue, 1, 1).unwrap();
        assert_eq!(push(&queue, 2, 0), Err(PushError::Full));
        assert!(queue.close() && !queue.close());
        assert_eq!(push(&queue, 2, 0), Err(PushError::Closed));
        assert_eq!(drain(&reader), [(1, 0), (1, 1)]);
        assert_eq!(reader.pop(None), Popped::Closed);
    }

    #[test]
    fn the_reader_waits_for_an_item_a_wakeup_or_its_limit() {
        let (queue, reader) = FairQueue::new(1);
        assert_eq!(reader.pop(Some(Duration::ZERO)), Popped::Woken);
        queue.wake();
        assert_eq!(reader.pop(None), Popped::Woken);
        let (done, finished) = std::sync::mpsc::channel();
        let reading = thread::spawn(move || {
            for _ in 0..2 {
                done.send(reader.pop(None)).unwrap();
            }
            reader.pop(None)
        });
        queue.push_when_free(None, (0, 0)).unwrap();
        queue.push_when_free(None, (0, 1)).unwrap();
        for number in 0..2 {
            assert_eq!(finished.recv().unwrap(), Popped::Item((0, number)));
        }
        queue.close();
        assert_eq!(reading.join().unwrap(), Popped::Closed);
    }

    #[test]
    fn a_dropped_reader_closes_the_queue_and_drops_its_items() {
        let (queue, reader) = FairQueue::new(2);
        let item = Arc::new(());
        queue.try_push(None, item.clone()).unwrap();
        drop(reader);
        assert_eq!(Arc::strong_count(&item), 1);
        assert_eq!(queue.push_when_free(None, item), Err(PushError::Closed));
    }
}
