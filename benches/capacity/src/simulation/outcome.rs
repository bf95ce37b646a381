//! Results of a simulation: latencies, counts and utilisation.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency that is distinguished, in nanoseconds: a quarter of an hour.
const LONGEST: u64 = 900_000_000_000;

/// Latencies in nanoseconds, with three significant digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

/// Quantiles of latencies in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// The number of requests.
    pub requests: u64,
    /// Their mean.
    pub mean_ms: f64,
    /// The median.
    pub p50_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// The 99.9th percentile.
    pub p999_ms: f64,
    /// The greatest.
    pub max_ms: f64,
}

impl Latencies {
    /// No latencies.
    #[expect(clippy::missing_panics_doc, reason = "the bounds are valid constants")]
    #[must_use]
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are valid constants"))
    }

    pub(crate) fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// Adds those of another.
    #[expect(clippy::missing_panics_doc, reason = "both have the same bounds")]
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// The quantiles.
    #[must_use]
    pub fn quantiles(&self) -> Quantiles {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e6;
        Quantiles {
            requests: self.0.len(),
            mean_ms: self.0.mean() / 1e6,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: self.0.max() as f64 / 1e6,
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// The results of one shard.
#[derive(Clone, Debug, Default)]
pub struct ShardOutcome {
    /// Latencies of committed writes.
    pub writes: Latencies,
    /// Latencies of pages.
    pub pages: Latencies,
    /// Writes refused because too many waited.
    pub refused: u64,
    /// Writes whose time ended.
    pub timed_out: u64,
    /// Pages that failed because the shard was down.
    pub failed_pages: u64,
    /// Seconds of processor time.
    pub(crate) busy: f64,
}

/// The results of a simulation, from the end of the warm-up on.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Each shard.
    pub shards: Vec<ShardOutcome>,
    /// Measured seconds.
    pub seconds: f64,
    /// Processor cores of a shard.
    pub cores: usize,
    /// Groups that were committed.
    pub groups: u64,
    /// The mean number of writes in the system.
    pub writes_in_system: f64,
}

impl Outcome {
    /// Latencies of writes to all shards.
    #[must_use]
    pub fn writes(&self) -> Quantiles {
        self.merged(|shard| &shard.writes)
    }

    /// Latencies of pages of all shards.
    #[must_use]
    pub fn pages(&self) -> Quantiles {
        self.merged(|shard| &shard.pages)
    }

    /// Committed writes a second.
    #[must_use]
    pub fn write_rate(&self) -> f64 {
        self.writes().requests as f64 / self.seconds
    }

    /// Mean number of writes of a group.
    #[must_use]
    pub fn group_size(&self) -> f64 {
        self.writes().requests as f64 / self.groups as f64
    }

    /// Writes that were refused or timed out.
    #[must_use]
    pub fn failed_writes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.refused + shard.timed_out).sum()
    }

    /// Share of a shard's processor time that is used, from 0 to 1.
    #[must_use]
    pub fn utilisation(&self, shard: usize) -> f64 {
        self.shards[shard].busy / (self.seconds * self.cores as f64)
    }

    /// The highest utilisation of a shard.
    #[must_use]
    pub fn highest_utilisation(&self) -> f64 {
        (0..self.shards.len()).map(|shard| self.utilisation(shard)).fold(0.0, f64::max)
    }

    fn merged(&self, of: impl Fn(&ShardOutcome) -> &Latencies) -> Quantiles {
        let mut all = Latencies::new();
        for shard in &self.shards {
            all.add(of(shard));
        }
        all.quantiles()
    }
}
