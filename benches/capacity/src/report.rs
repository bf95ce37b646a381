//! The results as tables in Markdown, and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::inputs::{Deployment, Input, Inputs};
use crate::measured::{self, Comparison};
use crate::plan::{self, Demand, Plan, Year};
use crate::scenario::{self, Disturbed, LargestUser, Simulated, Skew};

/// The exponents of Zipf's law in the table of skews.
const SKEWS: [f64; 6] = [0.0, 0.7, 0.8, 0.9, 1.0, 1.1];

/// All results.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The seed of all random numbers.
    pub seed: u64,
    /// The inputs.
    pub inputs: Vec<Input>,
    /// Each size with each deployment.
    pub sizes: Vec<Size>,
    /// The largest users of a shard.
    pub largest_users: Vec<LargestUser>,
    /// Growth to the largest size.
    pub years: Vec<Year>,
    /// The largest size with users of other skews.
    pub skews: Vec<Skew>,
    /// Simulated beside measured.
    pub measured: Vec<Comparison>,
}

/// A number of conversations on a deployment.
#[derive(Clone, Debug, Serialize)]
pub struct Size {
    /// The machines.
    pub plan: Plan,
    /// What was simulated; none if the plan is impossible.
    pub simulated: Option<Simulated>,
}

impl Report {
    /// Computes and simulates everything.
    #[must_use]
    pub fn new(inputs: &Inputs, sizes: &[f64], seed: u64) -> Self {
        let largest = sizes.iter().copied().fold(0.0, f64::max);
        let sizes = sizes.iter().flat_map(|size| {
            let demand = Demand::new(inputs, *size);
            Deployment::ALL.map(|deployment| {
                let plan = Plan::new(inputs, deployment, demand.clone());
                let is_possible = plan.breaks.is_none();
                let simulated = is_possible.then(|| scenario::simulate(inputs, &plan, seed));
                Size { plan, simulated }
            })
        });
        Self {
            seed,
            inputs: inputs.list(),
            sizes: sizes.collect(),
            largest_users: [Deployment::OnePrimary, Deployment::Sharded]
                .map(|deployment| scenario::largest_user(inputs, deployment, seed))
                .to_vec(),
            years: plan::years(inputs, largest),
            skews: SKEWS.map(|skew| scenario::skew(inputs, largest, skew, seed)).to_vec(),
            measured: measured::compare(inputs, seed),
        }
    }

    /// The blocks of the document by their names.
    #[must_use]
    pub fn blocks(&self) -> Vec<(&'static str, String)> {
        vec![
            ("machines", self.machines()),
            ("latencies", self.latencies()),
            ("faults", self.faults()),
            ("largest", self.largest()),
            ("growth", self.growth()),
            ("skew", self.skew()),
            ("measured", self.comparison()),
            ("inputs", self.input_table()),
        ]
    }

    fn machines(&self) -> String {
        let mut table = table(
            "conversations | deployment | database nodes | HTTP servers | one copy | writes/s, \
             average | at the peak | pages/s at the peak | largest user | first limit",
        );
        for Size { plan, .. } in &self.sizes {
            let demand = &plan.demand;
            let limit = plan.first_limit();
            let nodes = match (plan.breaks, plan.deployment, plan.shards) {
                (Some(_), ..) => "does not fit".to_owned(),
                (None, Deployment::Sharded, shards) => {
                    let plural = if shards == 1 { "" } else { "s" };
                    format!("{} ({shards} shard{plural})", plan.database_nodes)
                }
                (None, ..) => plan.database_nodes.to_string(),
            };
            let used = if plan.deployment == Deployment::Sharded && plan.breaks.is_none() {
                format!("{}: {:.1} shards", limit.limit.name(), limit.used)
            } else {
                format!("{}: {}", limit.limit.name(), percent(limit.used))
            };
            row(
                &mut table,
                &[
                    power(demand.conversations),
                    plan.deployment.name().to_owned(),
                    nodes,
                    if plan.breaks.is_some() { String::new() } else { plan.servers.to_string() },
                    bytes(plan.bytes),
                    number(demand.average_writes),
                    number(demand.writes),
                    number(demand.pages),
                    percent(demand.largest_share),
                    used,
                ],
            );
        }
        table
    }

    fn latencies(&self) -> String {
        let mut table = table(
            "conversations | deployment | processors, average | busiest shard | writes a group | \
             write p50 | p99 | p99.9 | page p50 | p99 | p99.9",
        );
        for (plan, simulated) in self.simulated() {
            row(
                &mut table,
                &[
                    power(plan.demand.conversations),
                    plan.deployment.name().to_owned(),
                    percent(simulated.utilisation),
                    percent(simulated.highest_utilisation),
                    format!("{:.2}", simulated.group),
                    millis(simulated.writes.p50_ms),
                    millis(simulated.writes.p99_ms),
                    millis(simulated.writes.p999_ms),
                    millis(simulated.pages.p50_ms),
                    millis(simulated.pages.p99_ms),
                    millis(simulated.pages.p999_ms),
                ],
            );
        }
        table
    }

    fn faults(&self) -> String {
        let mut table = table(
            "conversations | deployment | fault | writes refused | timed out | pages failed | \
             longest write | other shards: write p99 | p99.9 | longest | failed",
        );
        for (plan, simulated) in self.simulated() {
            let faults = [
                ("failover", simulated.failover),
                ("failover, without the limit", simulated.failover_unlimited),
                ("failover, connections by shard", simulated.failover_apart),
                ("shard move", simulated.shard_move),
            ];
            for (name, fault) in faults {
                if let Some(fault) = fault {
                    row(&mut table, &fault_row(plan, name, &fault));
                }
            }
        }
        table
    }

    fn largest(&self) -> String {
        let mut table = table(
            "deployment | conversations that fill the disk | writes/s of a lane | writes a group | \
             conversations with that rate | conversations whose writes and pages fill the processors",
        );
        for user in &self.largest_users {
            row(
                &mut table,
                &[
                    user.deployment.name().to_owned(),
                    power(user.by_disk),
                    number(user.lane_writes),
                    format!("{:.0}", user.group),
                    power(user.by_lane),
                    power(user.by_processor),
                ],
            );
        }
        table
    }

    fn growth(&self) -> String {
        let mut table = table("year | conversations | one copy | shards | moved | days of moving");
        for year in &self.years {
            row(
                &mut table,
                &[
                    year.year.to_string(),
                    power(year.conversations),
                    bytes(year.bytes),
                    year.shards.to_string(),
                    bytes(year.moved),
                    format!("{:.1}", year.move_days),
                ],
            );
        }
        table
    }

    fn skew(&self) -> String {
        let mut table = table(
            "exponent | largest user | its conversations | shards | fullest shard by hash alone, \
             to the average | result",
        );
        for Skew { skew, plan, by_hash } in &self.skews {
            let largest = plan.demand.largest_share;
            let result = plan.breaks.map_or_else(
                || "fits".to_owned(),
                |breaks| format!("does not fit: {} {}", breaks.limit.name(), percent(breaks.used)),
            );
            row(
                &mut table,
                &[
                    format!("{skew:.1}"),
                    percent(largest),
                    power(largest * plan.demand.conversations),
                    plan.shards.to_string(),
                    format!("{by_hash:.2}"),
                    result,
                ],
            );
        }
        table
    }

    fn comparison(&self) -> String {
        let mut table = table(
            "arrangement | writes/s measured | simulated | ratio | p50 measured | simulated | p99 \
             measured | simulated | a group measured | simulated",
        );
        for found in &self.measured {
            let measured = &found.measured;
            let name = if measured.is_input { "*" } else { "" };
            row(
                &mut table,
                &[
                    format!("{}{name}", measured.name),
                    number(measured.rate),
                    number(found.rate),
                    format!("{:.2}", found.rate / measured.rate),
                    millis(measured.p50_ms),
                    millis(found.p50_ms),
                    millis(measured.p99_ms),
                    millis(found.p99_ms),
                    measured.group.map_or_else(String::new, |group| format!("{group:.1}")),
                    format!("{:.1}", found.group),
                ],
            );
        }
        table
    }

    fn input_table(&self) -> String {
        let mut table = table("name | value | meaning | source");
        for input in &self.inputs {
            let value = format!("{} {}", input.value, input.unit);
            row(
                &mut table,
                &[
                    format!("`{}`", input.name),
                    value.trim().to_owned(),
                    input.meaning.to_owned(),
                    input.source.to_owned(),
                ],
            );
        }
        table
    }

    fn simulated(&self) -> impl Iterator<Item = (&Plan, &Simulated)> {
        self.sizes.iter().filter_map(|size| Some((&size.plan, size.simulated.as_ref()?)))
    }
}

fn fault_row(plan: &Plan, name: &str, fault: &Disturbed) -> [String; 11] {
    let others = &fault.other_writes;
    let other = |value: f64| if others.requests == 0 { String::new() } else { millis(value) };
    [
        power(plan.demand.conversations),
        plan.deployment.name().to_owned(),
        name.to_owned(),
        number(fault.refused as f64),
        number(fault.timed_out as f64),
        number(fault.failed_pages as f64),
        millis(fault.writes.max_ms),
        other(others.p99_ms),
        other(others.p999_ms),
        other(others.max_ms),
        if others.requests == 0 { String::new() } else { number(fault.other_failed as f64) },
    ]
}

/// The head of a table, from its columns separated by ` | `.
fn table(columns: &str) -> String {
    format!("| {columns} |\n|{}\n", "---|".repeat(columns.split(" | ").count()))
}

fn row(table: &mut String, cells: &[String]) {
    let _ = writeln!(table, "| {} |", cells.join(" | "));
}

/// Three significant digits with separators of thousands.
fn number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        v if v < 1.0 => format!("{v:.2}"),
        v if v < 100.0 && v.fract() != 0.0 => format!("{v:.1}"),
        v => convodb_bench::chart::axis::count_label(v),
    }
}

/// A large number as a power of ten: `1e10`, `3.2e8`.
fn power(value: f64) -> String {
    format!("{value:.1e}").replace(".0e", "e")
}

fn bytes(value: f64) -> String {
    match value {
        v if v >= 1e12 => format!("{:.1} TB", v / 1e12),
        v if v >= 1e9 => format!("{:.1} GB", v / 1e9),
        v => format!("{:.0} MB", v / 1e6),
    }
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        v if v < 0.1 => format!("{v:.3}%"),
        v if v < 10.0 => format!("{v:.1}%"),
        v => format!("{v:.0}%"),
    }
}

fn millis(value: f64) -> String {
    match value {
        v if v >= 1_000.0 => format!("{:.1} s", v / 1_000.0),
        v if v >= 100.0 => format!("{v:.0} ms"),
        v if v >= 10.0 => format!("{v:.1} ms"),
        v => format!("{v:.2} ms"),
    }
}

#[cfg(test)]
mod tests {
    use convodb_bench::document_block;

    use super::*;

    #[test]
    fn values_are_short() {
        assert_eq!([power(1e10), power(3.24e8), power(999.0)], ["1e10", "3.2e8", "1e3"]);
        assert_eq!([number(0.0), number(0.5), number(12_551.4)], ["0", "0.50", "12,551"]);
        assert_eq!([percent(0.032), percent(14.851), percent(0.0001)], ["3.2%", "1485%", "0.010%"]);
        assert_eq!([millis(1.5), millis(20_000.0)], ["1.50 ms", "20.0 s"]);
        assert_eq!([bytes(26e12), bytes(3e6)], ["26.0 TB", "3 MB"]);
    }

    #[test]
    fn every_table_has_as_many_cells_as_columns() {
        let report = Report::new(&Inputs::default(), &[1e6], 1);
        for (name, block) in report.blocks() {
            let cells: Vec<usize> = block.lines().map(|line| line.matches('|').count()).collect();
            assert!(cells.len() > 2 && cells.iter().all(|of| *of == cells[0]), "{name}\n{block}");
        }
    }

    #[test]
    fn the_document_has_the_present_inputs_and_checks() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/capacity.md");
        let document = std::fs::read_to_string(path).expect("docs/capacity.md");
        for (name, block) in Report::new(&Inputs::default(), &[1e6], 1).blocks() {
            if ["inputs", "largest", "measured"].contains(&name) {
                let renewed = document_block::replace(&document, name, &block).expect("block");
                assert!(renewed == document, "block `{name}`: run `just capacity --write`");
            }
        }
    }

    #[test]
    fn the_report_repeats_with_its_seed() {
        let json = |seed| {
            let report = Report::new(&Inputs::default(), &[1e6], seed);
            serde_json::to_string(&report).expect("JSON")
        };
        assert_eq!(json(1), json(1));
        assert_ne!(json(1), json(2));
    }
}
