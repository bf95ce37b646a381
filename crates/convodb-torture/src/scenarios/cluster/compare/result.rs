//! The result of the comparison, as a table and as JSON.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use convodb_bench::latency::Latency;
use indicatif::HumanCount;
use serde::Serialize;

use crate::scenarios::cluster::compare::pages::{KindTimes, PageTimes};
use crate::scenarios::cluster::compare::round_trips::RoundTrips;
use crate::scenarios::cluster::compare::stores::STORES;
use crate::scenarios::cluster::compare::writes::WriteTimes;

/// What reading and writing costs in each of the three stores, in the order of [`STORES`].
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    /// The number of conversations before the writes.
    pub(super) rows: u64,
    pub(super) round_trips: RoundTrips,
    pub(super) pages: PageTimes,
    pub(super) writes: Vec<WriteTimes>,
}

impl Comparison {
    /// The number of pages that were compared with those of the embedded store.
    pub(crate) fn compared_pages(&self) -> u64 {
        self.pages.compared
    }

    /// Writes one JSON object. Latencies are in nanoseconds.
    ///
    /// # Errors
    /// Those of `out`.
    pub(crate) fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            stores: [&'a str; STORES.len()],
            #[serde(flatten)]
            comparison: &'a Comparison,
        }
        let line = Line { stores: STORES, comparison: self };
        writeln!(out, "{}", serde_json::to_string(&line)?)
    }

    /// Writes a table in Markdown.
    ///
    /// # Errors
    /// Those of `out`.
    pub(crate) fn write_table(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["p50 / p99"].into_iter().chain(STORES));
        let select_1 = self.round_trips.select_1.iter().map(micros);
        let sync = micros(&self.round_trips.sync);
        table.add_row(row("a sync of 4 KiB on their disk", [sync.clone(), sync.clone(), sync]));
        table.add_row(row("`select 1`", ["-".to_owned()].into_iter().chain(select_1)));
        for kind in &self.pages.kinds {
            table.add_row(row(&name_of_kind(kind), kind.stores.iter().map(micros)));
        }
        for arrangement in &self.writes {
            let WriteTimes { writers, users, stores } = arrangement;
            let name = match (writers, users) {
                (1, _) => "creates, 1 writer".to_owned(),
                (_, 1) => format!("creates, {writers} writers of 1 user"),
                _ => format!("creates, {writers} writers of {users} users"),
            };
            let cells = stores.iter().map(|store| {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a rate"
                )]
                let rate = HumanCount(store.per_second.round() as u64);
                format!("{rate}/s, {}", millis(&store.latency))
            });
            table.add_row(row(&name, cells));
        }
        writeln!(out, "{table}")?;
        writeln!(
            out,
            "{} conversations; pages of {}; {} pages compared",
            HumanCount(self.rows),
            self.pages.page_size,
            HumanCount(self.pages.compared)
        )
    }
}

fn row(name: &str, cells: impl IntoIterator<Item = String>) -> Vec<String> {
    [name.to_owned()].into_iter().chain(cells).collect()
}

fn name_of_kind(kind: &KindTimes) -> String {
    let depth = if kind.is_deep { "random depth" } else { "first page" };
    format!("page, {}, {depth}", kind.list)
}

#[expect(clippy::cast_precision_loss, reason = "a duration")]
fn micros(latency: &Latency) -> String {
    let micros = |nanos: u64| nanos as f64 / 1e3;
    format!("{:.0} / {:.0} µs", micros(latency.p50_ns), micros(latency.p99_ns))
}

#[expect(clippy::cast_precision_loss, reason = "a duration")]
fn millis(latency: &Latency) -> String {
    let millis = |nanos: u64| nanos as f64 / 1e6;
    format!("{:.1} / {:.1} ms", millis(latency.p50_ns), millis(latency.p99_ns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::cluster::compare::writes::StoreWrites;

    #[test]
    fn each_kind_is_a_row_and_each_store_a_column() {
        let latency = |p50_ns| Latency { p50_ns, p99_ns: 3 * p50_ns, samples: 9 };
        let kind = KindTimes {
            list: "no filter".to_owned(),
            rows: 900,
            is_deep: true,
            stores: [10_000, 300_000, 400_000].map(latency).to_vec(),
        };
        let store = |per_second| StoreWrites { per_second, latency: latency(2_000_000) };
        let comparison = Comparison {
            rows: 10_000,
            round_trips: RoundTrips {
                select_1: vec![latency(70_000), latency(80_000)],
                sync: latency(500_000),
            },
            pages: PageTimes { compared: 192, page_size: 15, kinds: vec![kind] },
            writes: vec![WriteTimes {
                writers: 64,
                users: 16,
                stores: [9_000.4, 800.0, 700.0].map(store).to_vec(),
            }],
        };
        let mut table = Vec::new();
        comparison.write_table(&mut table).unwrap();
        let table = String::from_utf8(table).unwrap();
        let cells: Vec<Vec<&str>> = table
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        assert_eq!(cells[0][1..], STORES);
        assert_eq!(cells[3], ["`select 1`", "-", "70 / 210 µs", "80 / 240 µs"]);
        let page = ["page, no filter, random depth", "10 / 30 µs", "300 / 900 µs", "400 / 1200 µs"];
        assert_eq!(cells[4], page);
        let writes = cells[5][..2].to_vec();
        assert_eq!(writes, ["creates, 64 writers of 16 users", "9,000/s, 2.0 / 6.0 ms"]);
        let mut json = Vec::new();
        comparison.write_json(&mut json).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["stores"][2], STORES[2]);
        assert_eq!(json["pages"]["kinds"][0]["stores"][1]["p50_ns"], 300_000);
    }
}
