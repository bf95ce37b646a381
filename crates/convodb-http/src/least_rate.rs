//! Least rate: how long to wait for a client that transfers too slowly.
//!
//! Waiting uses up a credit of time, and each byte restores some of it. So a client may pause for
//! the whole credit, but cannot hold a connection by sending or reading a byte now and then.

use std::time::Duration;

/// The credit of one direction of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeastRate {
    max_credit: Duration,
    /// 0: any byte restores the whole credit.
    bytes_per_second: u32,
    credit: Duration,
}

impl LeastRate {
    pub(crate) const fn new(max_credit: Duration, bytes_per_second: u32) -> Self {
        Self { max_credit, bytes_per_second, credit: max_credit }
    }

    /// How long to wait for the next bytes.
    pub(crate) const fn credit(&self) -> Duration {
        self.credit
    }

    /// Records that `bytes` were transferred after a wait.
    pub(crate) fn transferred(&mut self, bytes: usize, waited: Duration) {
        let restored = match self.bytes_per_second {
            0 if bytes > 0 => self.max_credit,
            0 => Duration::ZERO,
            rate => {
                let nanos = (bytes as u64).saturating_mul(1_000_000_000) / u64::from(rate);
                Duration::from_nanos(nanos)
            }
        };
        let left = self.credit.saturating_sub(waited);
        self.credit = left.saturating_add(restored).min(self.max_credit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waiting_costs_credit_and_bytes_restore_it() {
        let mut rate = LeastRate::new(30 * SECOND, 100);
        rate.transferred(1, 20 * SECOND);
        assert_eq!(rate.credit(), 10 * SECOND + SECOND / 100);
        rate.transferred(500, 5 * SECOND);
        assert_eq!(rate.credit(), 10 * SECOND + SECOND / 100);
        rate.transferred(usize::MAX, 100 * SECOND);
        assert_eq!(rate.credit(), 30 * SECOND, "never more than at first");
    }

    /// A byte every 29 seconds does not go on for ever; the least rate does.
    #[test]
    fn a_trickle_ends_and_the_least_rate_continues() {
        let mut trickle = LeastRate::new(30 * SECOND, 1000);
        let pauses = (0..).take_while(|_| {
            let alive = trickle.credit() > 29 * SECOND;
            trickle.transferred(1, 29 * SECOND);
            alive
        });
        assert_eq!(pauses.count(), 1);
        let mut steady = LeastRate::new(30 * SECOND, 1000);
        for _ in 0..100_000 {
            assert!(steady.credit() > 10 * SECOND);
            steady.transferred(10_000, 10 * SECOND);
        }
    }

    #[test]
    fn without_a_least_rate_any_byte_restores_the_credit() {
        let mut rate = LeastRate::new(30 * SECOND, 0);
        rate.transferred(0, 20 * SECOND);
        assert_eq!(rate.credit(), 10 * SECOND);
        rate.transferred(1, 5 * SECOND);
        assert_eq!(rate.credit(), 30 * SECOND);
    }
}
