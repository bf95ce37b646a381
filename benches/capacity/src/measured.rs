//! The simulation in the arrangements that were measured, beside what was measured.

use serde::Serialize;

use crate::inputs::{Deployment, Inputs};
use crate::simulation::{Lane, Load, Outcome, System, run};

/// Simulated seconds of each arrangement.
const SECONDS: f64 = 20.0;

/// An arrangement with its measured figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Arrangement {
    /// What writes.
    pub name: &'static str,
    /// Where: PostgreSQL by `convodb-postgres`'s example `write_rates` (docs/postgres.md), or a file
    /// (docs/benchmarks.md).
    store: MeasuredStore,
    writers: usize,
    users: usize,
    servers: usize,
    /// Whether the costs of the model were computed from its rate and group.
    pub is_input: bool,
    /// Writes a second.
    pub rate: f64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile in milliseconds.
    pub p99_ms: f64,
    /// Writes of a group, if they were counted.
    pub group: Option<f64>,
}

/// The store of an arrangement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum MeasuredStore {
    File,
    Postgres,
}

const fn postgres(
    name: &'static str,
    (writers, users, servers): (usize, usize, usize),
    is_input: bool,
    [rate, p50_ms, p99_ms, group]: [f64; 4],
) -> Arrangement {
    let (store, group) = (MeasuredStore::Postgres, Some(group));
    Arrangement { name, store, writers, users, servers, is_input, rate, p50_ms, p99_ms, group }
}

const fn file(
    name: &'static str,
    writers: usize,
    is_input: bool,
    [rate, p50_ms, p99_ms]: [f64; 3],
) -> Arrangement {
    let (store, users, servers, group) = (MeasuredStore::File, 1, 1, None);
    Arrangement { name, store, writers, users, servers, is_input, rate, p50_ms, p99_ms, group }
}

/// All arrangements that were measured.
pub const ARRANGEMENTS: [Arrangement; 9] = [
    postgres("lane, 1 writer", (1, 1, 1), true, [661.0, 1.1, 6.9, 1.0]),
    postgres("lane, 64 writers, 1 user", (64, 1, 1), true, [10_041.0, 5.0, 22.6, 32.8]),
    postgres("16 lanes, 256 writers, 16 users", (256, 16, 1), true, [12_551.0, 18.9, 48.2, 8.1]),
    postgres("8 servers, 64 writers, 1 user", (64, 1, 8), false, [2_720.0, 19.2, 85.3, 4.6]),
    postgres(
        "one write a transaction, 64 writers, 1 user",
        (64, 1, 64),
        false,
        [478.0, 81.0, 692.9, 1.0],
    ),
    postgres(
        "one write a transaction, 64 writers, 16 users",
        (64, 16, 64),
        false,
        [1_708.0, 34.1, 108.2, 1.0],
    ),
    file("file, 1 writer", 1, true, [485.0, 0.765, 13.3]),
    file("file, 64 writers", 64, true, [6_232.0, 5.85, 30.4]),
    file("file, 64 connections over HTTP", 64, false, [5_688.0, 8.6, 43.0]),
];

/// An arrangement with its simulated figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The arrangement and what was measured.
    pub measured: Arrangement,
    /// Simulated writes a second.
    pub rate: f64,
    /// Simulated median in milliseconds.
    pub p50_ms: f64,
    /// Simulated 99th percentile in milliseconds.
    pub p99_ms: f64,
    /// Simulated writes of a group.
    pub group: f64,
}

/// Simulates all arrangements.
#[must_use]
pub fn compare(inputs: &Inputs, seed: u64) -> Vec<Comparison> {
    let compared = ARRANGEMENTS.iter().map(|measured| {
        let outcome = simulate(inputs, measured, seed);
        let writes = outcome.writes();
        Comparison {
            measured: *measured,
            rate: outcome.write_rate(),
            p50_ms: writes.p50_ms,
            p99_ms: writes.p99_ms,
            group: outcome.group_size(),
        }
    });
    compared.collect()
}

/// Simulates an arrangement on the machine that measured: one node, no standby, no network.
fn simulate(inputs: &Inputs, arrangement: &Arrangement, seed: u64) -> Outcome {
    let Arrangement { store, writers, users, servers, .. } = *arrangement;
    let service = match store {
        MeasuredStore::File => inputs.service(Deployment::File),
        MeasuredStore::Postgres => inputs.measured_lane(),
    };
    let mut lanes: Vec<Lane> = Vec::new();
    let writers = (0..writers).map(|writer| {
        let lane = Lane { user: writer % users, pool: writer % servers };
        lanes.iter().position(|of| *of == lane).unwrap_or_else(|| {
            lanes.push(lane);
            lanes.len() - 1
        })
    });
    let load = Load::Closed(writers.collect());
    let system = System {
        service,
        shards: 1,
        cores: crate::plan::whole(inputs.measured_cores),
        users: vec![0; users],
        lanes,
        pools: servers,
        connections: crate::plan::whole(inputs.write_connections),
        stalled_connections: 0,
    };
    run(&system, &load, &[], SECONDS, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the simulated rate is within a share of the measured one.
    #[track_caller]
    fn check(comparison: &Comparison, tolerance: f64) {
        let off = (comparison.rate / comparison.measured.rate - 1.0).abs();
        assert!(off < tolerance, "{comparison:?}");
    }

    #[test]
    fn the_simulation_repeats_the_measured_rates() {
        for comparison in compare(&Inputs::default(), 1) {
            match (comparison.measured.is_input, comparison.measured.servers) {
                (true, _) => check(&comparison, 0.06),
                // Waiting for locks takes PostgreSQL time that the model does not have.
                (false, 64) => check(&comparison, 0.5),
                // What the costs were not computed from.
                (false, _) => check(&comparison, 0.2),
            }
        }
    }

    #[test]
    fn the_simulation_repeats_the_measured_latencies_within_a_factor() {
        for comparison in compare(&Inputs::default(), 1) {
            let median = comparison.p50_ms / comparison.measured.p50_ms;
            assert!((0.5..2.0).contains(&median), "{comparison:?}");
        }
    }
}
