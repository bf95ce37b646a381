//! The clock of a simulation: events in the order of their times.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A time in nanoseconds since the simulation began.
pub(crate) type Nanos = u64;

/// Nanoseconds of a number of seconds that is not negative; at most 584 years.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
pub(crate) fn nanos(seconds: f64) -> Nanos {
    (seconds * 1e9).round() as Nanos
}

/// Seconds of a time.
pub(crate) fn seconds(at: Nanos) -> f64 {
    at as f64 / 1e9
}

/// Events in the order of their times, and of their scheduling at equal times.
pub(crate) struct EventQueue<E> {
    heap: BinaryHeap<Scheduled<E>>,
    scheduled: u64,
    now: Nanos,
}

struct Scheduled<E> {
    at: Nanos,
    number: u64,
    event: E,
}

impl<E> EventQueue<E> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), scheduled: 0, now: 0 }
    }

    pub(crate) const fn now(&self) -> Nanos {
        self.now
    }

    /// Schedules an event at a time, or now if that has passed.
    pub(crate) fn schedule(&mut self, at: Nanos, event: E) {
        self.scheduled += 1;
        let at = at.max(self.now);
        self.heap.push(Scheduled { at, number: self.scheduled, event });
    }

    /// Advances the clock to the next event and returns it.
    pub(crate) fn pop(&mut self) -> Option<E> {
        let next = self.heap.pop()?;
        self.now = next.at;
        Some(next.event)
    }
}

impl<E> Ord for Scheduled<E> {
    /// The heap returns its greatest element, so the earliest event is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<E> PartialOrd for Scheduled<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Scheduled<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Scheduled<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_times_and_of_scheduling() {
        let mut queue = EventQueue::new();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            queue.schedule(at, event);
        }
        let order: String = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!((order.as_str(), queue.now()), ("abcd", 5));
        queue.schedule(3, 'e');
        assert_eq!((queue.pop(), queue.now()), (Some('e'), 5));
    }
}
