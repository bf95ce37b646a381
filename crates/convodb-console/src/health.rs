//! Health screen: how fast the server is and what it holds, from its metrics.

use askama::Template;
use convodb::{Histogram, Metrics, StoreState};

use crate::chart::{self, Bar, GridLine};
use crate::format::{bytes, count, seconds};
use crate::frame::{Frame, Screen};
use crate::text;

/// What a server knows of its own health, since its start.
#[derive(Clone, Debug)]
pub struct Health {
    /// Whether the store accepts writes.
    pub state: StoreState,
    /// The times of pages of lists that the API answered.
    pub api_pages: Histogram,
    /// The times of pages of lists that the console answered.
    pub console_pages: Histogram,
    /// The pages of lists that were read.
    pub pages: u64,
    /// The entries and rows that they read.
    pub reads: u64,
    /// The most that they could have read: the sum of their bounds.
    pub bound: u64,
    /// The metrics of the store.
    pub store: Metrics,
    /// The bytes of the database file and of the WAL; `None` if they cannot be read.
    pub files: Option<(u64, u64)>,
    /// The open connections.
    pub connections: u64,
}

/// The health of the server.
#[derive(Clone, Debug, Template)]
#[template(path = "health.html")]
pub struct HealthScreen {
    /// The surroundings.
    pub frame: Frame,
    /// What is shown.
    pub health: Health,
}

/// A number with what it means.
struct Figure {
    label: &'static str,
    value: String,
    note: String,
}

/// The times of an operation, as a chart and a table.
struct Times<'s> {
    title: &'static str,
    series: Vec<(&'static str, &'s Histogram)>,
}

impl HealthScreen {
    fn state(&self) -> (&'static str, &'static str) {
        match self.health.state {
            StoreState::Open => ("good", text::STATE_OPEN),
            StoreState::ReadOnly => ("off", text::STATE_READ_ONLY),
            _ => ("off", text::STATE_FAULT),
        }
    }

    fn figures(&self) -> Vec<Figure> {
        let Health { store, files, .. } = &self.health;
        let mut figures = vec![
            self.reads(),
            Figure {
                label: text::WRITER_QUEUE,
                value: count(store.writes_waiting as u64),
                note: format!("{} {}", count(store.writes_refused), text::WRITES_REFUSED),
            },
            Figure {
                label: text::WAL_SYNCS,
                value: count(store.wal_syncs.count()),
                note: quantiles(&store.wal_syncs),
            },
            Figure {
                label: text::MEMTABLES,
                value: bytes(store.memtable_bytes as u64),
                note: format!("{} {}", count(store.checkpoints.count()), text::CHECKPOINTS_DONE),
            },
        ];
        if let Some((file, wal)) = files {
            figures.push(Figure {
                label: text::FILE,
                value: bytes(*file),
                note: format!("{} {}", text::WAL, bytes(*wal)),
            });
        }
        figures.push(Figure {
            label: text::CONNECTIONS,
            value: count(self.health.connections),
            note: match store.live_snapshots {
                0 | 1 => text::NO_OLD_SNAPSHOT.to_owned(),
                _ => {
                    let age = seconds(store.oldest_snapshot.as_secs_f64());
                    format!("{} {age}", text::OLDEST_SNAPSHOT)
                }
            },
        });
        figures
    }

    /// The entries and rows read a page, against what they may be.
    #[allow(clippy::cast_precision_loss, reason = "an average with one decimal")]
    fn reads(&self) -> Figure {
        let Health { pages, reads, bound, .. } = self.health;
        let average = |sum: u64| format!("{:.1}", sum as f64 / pages.max(1) as f64);
        let note = format!(
            "{} {}, {} {}",
            text::OF_AT_MOST,
            average(bound),
            count(pages),
            text::PAGES_READ
        );
        Figure { label: text::READS_PER_PAGE, value: average(reads), note }
    }

    fn times(&self) -> [Times<'_>; 3] {
        let Health { api_pages, console_pages, store, .. } = &self.health;
        [
            Times {
                title: text::PAGE_TIMES,
                series: vec![(text::API, api_pages), (text::CONSOLE, console_pages)],
            },
            Times { title: text::WAL_TIMES, series: vec![(text::WAL_SYNCS, &store.wal_syncs)] },
            Times {
                title: text::CHECKPOINT_TIMES,
                series: vec![(text::CHECKPOINTS, &store.checkpoints)],
            },
        ]
    }
}

impl Times<'_> {
    fn is_empty(&self) -> bool {
        self.series.iter().all(|(_, times)| times.count() == 0)
    }

    /// Each series with its class and its quantiles.
    fn legend(&self) -> Vec<(String, &'static str, String)> {
        let line = |(at, (name, times)): (usize, &(&'static str, &Histogram))| {
            (format!("series-{}", at + 1), *name, quantiles(times))
        };
        self.series.iter().enumerate().map(line).collect()
    }

    /// The buckets from the first to the last that counts anything: the bound in words, the count
    /// of each series, and their sum.
    fn rows(&self) -> Vec<(String, Vec<u64>, u64)> {
        let Some((_, first)) = self.series.first() else { return Vec::new() };
        let row = |(at, (bound, _)): (usize, &(f64, u64))| {
            let of = |(_, times): &(&'static str, &Histogram)| {
                times.buckets.get(at).map_or(0, |(_, count)| *count)
            };
            let counts: Vec<u64> = self.series.iter().map(of).collect();
            let sum = counts.iter().sum();
            (bucket(*bound), counts, sum)
        };
        let rows: Vec<_> = first.buckets.iter().enumerate().map(row).collect();
        let counts = |(_, _, sum): &(String, Vec<u64>, u64)| *sum > 0;
        let (begin, end) = (rows.iter().position(counts), rows.iter().rposition(counts));
        let (Some(begin), Some(end)) = (begin, end) else { return Vec::new() };
        rows.into_iter().take(end + 1).skip(begin).collect()
    }

    #[allow(clippy::cast_precision_loss, reason = "the heights of bars need no more")]
    fn chart(&self) -> (Vec<Bar>, Vec<GridLine>) {
        let bar = |(label, counts, sum): (String, Vec<u64>, u64)| chart::Values {
            url: String::new(),
            title: format!("{label}: {}", count(sum)),
            label,
            values: counts.into_iter().map(|count| count as f64).collect(),
        };
        chart::stacked(self.rows().into_iter().map(bar).collect())
    }

    /// The counts of a row as text.
    fn shown(&self, counts: &[u64]) -> Vec<String> {
        counts.iter().map(|number| count(*number)).collect()
    }

    /// A value of the axis; blank between whole numbers.
    #[allow(clippy::cast_possible_truncation, reason = "grid lines are small")]
    #[allow(clippy::cast_sign_loss, reason = "grid lines are positive")]
    fn axis(&self, value: &f64) -> String {
        if value.fract() == 0.0 { count(*value as u64) } else { String::new() }
    }
}

/// `≤ 0.8 ms`; the last bucket has no bound.
fn bucket(bound: f64) -> String {
    if bound.is_finite() { format!("\u{2264} {}", seconds(bound)) } else { text::LONGER.to_owned() }
}

/// `p50 ≤ 0.1 ms, p99 ≤ 0.8 ms`
fn quantiles(times: &Histogram) -> String {
    let quantile = |share| times.quantile(share).map(bucket);
    match (quantile(0.5), quantile(0.99)) {
        (Some(half), Some(most)) => format!("p50 {half}, p99 {most}"),
        _ => text::NONE_YET.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use convodb::LatencyHistogram;

    use super::*;

    #[test]
    fn a_chart_has_the_buckets_that_count_something_and_those_between() {
        let times = LatencyHistogram::default();
        for millis in [1, 1, 7, 60_000] {
            times.record(Duration::from_millis(millis));
        }
        let histogram = times.read();
        let shown = Times { title: "", series: vec![("", &histogram)] };
        let rows = shown.rows();
        assert_eq!((rows[0].0.as_str(), rows[0].2), ("\u{2264} 1.6 ms", 2));
        assert_eq!(rows.last().map(|row| (row.0.as_str(), row.2)), Some((text::LONGER, 1)));
        assert_eq!(rows.iter().map(|row| row.2).sum::<u64>(), 4);
        assert_eq!(rows.len(), 14);
        assert_eq!(quantiles(&histogram), format!("p50 \u{2264} 1.6 ms, p99 {}", text::LONGER));
        assert!(!shown.is_empty() && shown.chart().0.len() == 14);

        let none = Histogram::default();
        let empty = Times { title: "", series: vec![("", &none)] };
        assert!(empty.is_empty() && empty.rows().is_empty());
        assert_eq!(quantiles(&none), text::NONE_YET);
    }
}
