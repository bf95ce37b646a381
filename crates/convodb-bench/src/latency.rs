//! Latencies of one kind of operation: a histogram of three significant digits in bounded memory.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Durations of repeated operations.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u32>);

/// Two quantiles of a set of durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// The median in nanoseconds.
    pub p50_ns: u64,
    /// The 99th percentile in nanoseconds.
    pub p99_ns: u64,
    /// The number of durations.
    pub samples: u64,
}

impl Latencies {
    /// No durations.
    ///
    /// # Errors
    /// Never: the precision of the histogram is a valid constant.
    pub fn new() -> Result<Self> {
        Ok(Self(Histogram::new(3)?))
    }

    /// Adds a duration.
    ///
    /// # Errors
    /// The duration is longer than the histogram can represent: centuries.
    pub fn record(&mut self, duration: Duration) -> Result<()> {
        Ok(self.0.record(u64::try_from(duration.as_nanos())?)?)
    }

    /// Adds all durations of another set.
    ///
    /// # Errors
    /// As [`Latencies::record`].
    pub fn add(&mut self, other: &Self) -> Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    /// The number of durations.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there is no duration.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The quantiles; zeros without durations.
    #[must_use]
    pub fn summary(&self) -> Latency {
        Latency {
            p50_ns: self.0.value_at_quantile(0.5),
            p99_ns: self.0.value_at_quantile(0.99),
            samples: self.0.len(),
        }
    }
}
