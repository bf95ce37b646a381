//! What was measured of a server, as a row of a table and of a JSON file.

use std::io::Write;
use std::path::Path;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load_generator::{Outcome, Seen};

/// How one server answered for one list.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Which server.
    pub server: String,
    /// Which list.
    pub list: String,
    /// `first` for its first page, `deep` for places all over it.
    pub depth: String,
    /// Rows asked for.
    pub page_size: u64,
    /// Connections that asked at a time.
    pub connections: usize,
    /// Pages a second, the median of the rounds.
    pub pages_per_s: f64,
    /// Half of all answers took no longer, in nanoseconds.
    pub p50_ns: u64,
    /// 99 of 100 answers took no longer, in nanoseconds.
    pub p99_ns: u64,
}

/// The rounds of one server, gathered.
pub struct Rounds {
    rates: Vec<f64>,
    latency: Histogram<u64>,
}

impl Rounds {
    /// No round yet.
    ///
    /// # Errors
    /// Never: the precision is a constant in range.
    pub fn new() -> Outcome<Self> {
        Ok(Self { rates: Vec::new(), latency: Histogram::new(3)? })
    }

    /// Adds a round.
    ///
    /// # Errors
    /// When a latency does not fit a histogram.
    pub fn add(&mut self, seen: &Seen) -> Outcome<()> {
        self.rates.push(seen.rate);
        self.latency.add(&seen.latency)?;
        Ok(())
    }

    /// The median of the rates, 0 of none.
    #[must_use]
    pub fn rate(&self) -> f64 {
        median(self.rates.clone())
    }

    /// How many pages were read.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.latency.len()
    }

    /// The median of this server's rate in parts of the other's, round by round.
    #[must_use]
    pub fn ratio(&self, other: &Self) -> f64 {
        median(self.rates.iter().zip(&other.rates).map(|(one, other)| one / other).collect())
    }

    /// The rounds as one row.
    #[must_use]
    pub fn measured(
        &self,
        server: &str,
        (list, depth): (&str, &str),
        page_size: u64,
        connections: usize,
    ) -> Measured {
        Measured {
            server: server.to_owned(),
            list: list.to_owned(),
            depth: depth.to_owned(),
            page_size,
            connections,
            pages_per_s: self.rate().round(),
            p50_ns: self.latency.value_at_quantile(0.5),
            p99_ns: self.latency.value_at_quantile(0.99),
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
/// When the file cannot be written.
pub fn report(name: &str, rows: &[Measured]) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n| server | list | depth | rows | pages/s | p50 us | p99 us |")?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for row in rows {
        let Measured { server, list, depth, page_size, pages_per_s, .. } = row;
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
