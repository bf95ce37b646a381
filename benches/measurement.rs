//! Measurements of an HTTP server: repeated rounds, a Markdown table, and a JSON file.

use std::io::Write;
use std::path::Path;

use convodb_bench::latency::Latencies;
use serde::Serialize;

use crate::load_generator::{LoadResult, Outcome};

/// The rate and latency of one server for one list.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// The name of the server.
    pub server: String,
    /// The name of the list.
    pub list: String,
    /// `first` for the first page, `deep` for pages spread over the list.
    pub depth: String,
    /// Rows per page.
    pub page_size: u64,
    /// Concurrent connections.
    pub connections: usize,
    /// Pages per second, the median of the rounds.
    pub pages_per_s: f64,
    /// Median latency in nanoseconds.
    pub p50_ns: u64,
    /// 99th percentile of the latency in nanoseconds.
    pub p99_ns: u64,
}

/// The rounds of one server.
pub struct Rounds {
    rates: Vec<f64>,
    latency: Latencies,
}

impl Rounds {
    /// No rounds.
    ///
    /// # Errors
    /// Never fails: the precision of the histogram is a valid constant.
    pub fn new() -> Outcome<Self> {
        Ok(Self { rates: Vec::new(), latency: Latencies::new()? })
    }

    /// Adds a round.
    ///
    /// # Errors
    /// Fails if a latency exceeds the range of the histogram.
    pub fn add(&mut self, round: &LoadResult) -> Outcome<()> {
        self.rates.push(round.rate);
        self.latency.add(&round.latency)?;
        Ok(())
    }

    /// The median rate in pages per second; 0 without rounds.
    #[must_use]
    pub fn rate(&self) -> f64 {
        median(self.rates.clone())
    }

    /// The number of pages that were read.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.latency.len()
    }

    /// The median over the rounds of this rate divided by the other's.
    #[must_use]
    pub fn ratio(&self, other: &Self) -> f64 {
        median(self.rates.iter().zip(&other.rates).map(|(one, other)| one / other).collect())
    }

    /// Summarizes the rounds as one measurement.
    #[must_use]
    pub fn measurement(
        &self,
        server: &str,
        (list, depth): (&str, &str),
        page_size: u64,
        connections: usize,
    ) -> Measurement {
        let latency = self.latency.summary();
        Measurement {
            server: server.to_owned(),
            list: list.to_owned(),
            depth: depth.to_owned(),
            page_size,
            connections,
            pages_per_s: self.rate().round(),
            p50_ns: latency.p50_ns,
            p99_ns: latency.p99_ns,
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Prints the rows as a table and writes them to `results/<name>.json`.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn report(name: &str, rows: &[Measurement]) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n| server | list | depth | rows | pages/s | p50 us | p99 us |")?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for row in rows {
        let Measurement { server, list, depth, page_size, pages_per_s, .. } = row;
        let [p50, p99] = [row.p50_ns, row.p99_ns].map(|nanos| nanos as f64 / 1000.0);
        writeln!(
            out,
            "| {server} | {list} | {depth} | {page_size} | {pages_per_s:.0} | {p50:.0} | {p99:.0} |"
        )?;
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
    std::fs::create_dir_all(&directory)?;
    let json = serde_json::to_string_pretty(rows)? + "\n";
    std::fs::write(directory.join(format!("{name}.json")), json)?;
    Ok(())
}
