//! Metrics of the store, collected when they are scraped; they add no cost to a write.

use std::fmt;
use std::sync::Arc;

use convodb::{Histogram, Metrics, Usage};
use convodb_service::{Remote, RemoteCounter, Source};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::log_writer::LogWriter;
use crate::middleware::budget::Budget;
use crate::response::cache::ResponseCache;

/// A collector of the metrics of a store, of the bodies in memory and of the cache of responses.
#[derive(Debug)]
pub(crate) struct StoreMetrics {
    pub(crate) source: Source,
    pub(crate) bytes: Arc<Budget>,
    pub(crate) responses: Arc<ResponseCache>,
}

impl Collector for StoreMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Bytes of request and response bodies in memory";
        let held = ConstGauge::new(signed(self.bytes.held() as u64));
        one(&mut encoder, "bodies", help, Some(&Unit::Bytes), &held)?;
        let help = "Memory of the cache of responses";
        let kept = ConstGauge::new(signed(self.responses.bytes() as u64));
        one(&mut encoder, "response_cache", help, Some(&Unit::Bytes), &kept)?;
        let help = "Lines of the log dropped because its reader was too slow";
        let dropped = ConstCounter::new(LogWriter::dropped());
        one(&mut encoder, "log_lines_dropped", help, None, &dropped)?;
        let store = match &self.source {
            Source::Embedded(store) => store.store(),
            Source::Remote(remote) => return encode_remote(&**remote, &mut encoder),
        };
        encode(&store.metrics(), &mut encoder)?;
        // Without the sizes of its files the store's other metrics are still useful.
        match store.usage() {
            Ok(usage) => encode_usage(&usage, &mut encoder),
            Err(error) => {
                tracing::warn!(cause = %error, "metrics incomplete: cannot read file sizes");
                Ok(())
            }
        }
    }
}

fn encode_remote(remote: &dyn Remote, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    remote.counters().into_iter().try_for_each(|RemoteCounter { name, help, count }| {
        one(encoder, name, help, None, &ConstCounter::new(count))
    })
}

fn encode(counters: &Metrics, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let counts = [
        ("commits", "Commits, each of one or more writes", counters.commits),
        ("changes", "Table entries inserted, replaced or removed by commits", counters.changes),
        (
            "writes_refused",
            "Writes rejected because the write queue was full",
            counters.writes_refused,
        ),
        ("quota_refusals", "Writes refused because of a user's quota", counters.quota_refusals),
        ("read_faults", "Pages that a read could not get from the disk", counters.read_faults),
    ];
    for (name, help, count) in counts {
        one(encoder, name, help, None, &ConstCounter::new(count))?;
    }
    let bytes = Some(&Unit::Bytes);
    let help = "Bytes of keys and values written by commits";
    one(encoder, "committed", help, bytes, &ConstCounter::new(counters.committed_bytes))?;
    let times = [
        ("log_sync", "Time of an append to the WAL with its sync", &counters.wal_syncs),
        (
            "checkpoint",
            "Time of a checkpoint of the memtables into the file, with its sync",
            &counters.checkpoints,
        ),
    ];
    for (name, help, histogram) in times {
        one(encoder, name, help, Some(&Unit::Seconds), &StoreHistogram(histogram))?;
    }
    let help = "Size of the memtables: bytes written since the last checkpoint began";
    one(encoder, "tail", help, bytes, &ConstGauge::new(signed(counters.memtable_bytes as u64)))?;
    let now = [
        ("writes_waiting", "Writes that wait for their commit", counters.writes_waiting),
        (
            "views",
            "Committed states in memory: the current one, and those that snapshots hold",
            counters.live_snapshots,
        ),
    ];
    for (name, help, count) in now {
        one(encoder, name, help, None, &ConstGauge::new(signed(count as u64)))?;
    }
    let help = "Time since the oldest state that a snapshot holds was the current one";
    let age = ConstGauge::new(counters.oldest_snapshot.as_secs_f64());
    one(encoder, "oldest_view_age", help, Some(&Unit::Seconds), &age)
}

fn encode_usage(usage: &Usage, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let sizes = [
        ("file", "Size of the database file", usage.file_bytes),
        ("log", "Size of the WAL file", usage.wal_bytes),
    ];
    for (name, help, size) in sizes {
        one(encoder, name, help, Some(&Unit::Bytes), &ConstGauge::new(signed(size)))?;
    }
    let help = "Approximate number of entries of each table";
    let mut tables = encoder.encode_descriptor("table_entries", help, None, MetricType::Gauge)?;
    for (table, entries) in &usage.tables {
        let label = [("table", *table)];
        ConstGauge::new(signed(*entries)).encode(tables.encode_family(&label)?)?;
    }
    Ok(())
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn one(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    let metric_encoder = encoder.encode_descriptor(name, help, unit, metric.metric_type())?;
    metric.encode(metric_encoder)
}

/// A histogram that was read.
pub(crate) struct StoreHistogram<'h>(pub(crate) &'h Histogram);

impl EncodeMetric for StoreHistogram<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let last = |(bound, count): &(f64, u64)| {
            (if bound.is_finite() { *bound } else { f64::MAX }, *count)
        };
        let buckets: Vec<_> = self.0.buckets.iter().map(last).collect();
        encoder.encode_histogram::<NoLabelSet>(
            self.0.sum.as_secs_f64(),
            self.0.count(),
            &buckets,
            None,
        )
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
