//! The plan of each size, simulated: at the peak, with a failover, and with a shard move.

use serde::Serialize;

use crate::inputs::{Deployment, Inputs};
use crate::plan::{Demand, Plan, conversation_bytes, lane_rate, whole};
use crate::population;
use crate::simulation::{Fault, FaultKind, Lane, Load, Outcome, Quantiles, System, run};

/// The fewest simulated writes and seconds at the peak.
const AT_PEAK: (f64, f64) = (40_000.0, 30.0);
/// Simulated seconds with a fault, and when it begins.
const WITH_FAULT: (f64, f64) = (80.0, 15.0);

/// What was simulated of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct Simulated {
    /// Writes at the peak.
    pub writes: Quantiles,
    /// Pages at the peak.
    pub pages: Quantiles,
    /// Writes that failed at the peak.
    pub failed_writes: u64,
    /// Utilisation of the processors, on average over the shards.
    pub utilisation: f64,
    /// That of the busiest shard.
    pub highest_utilisation: f64,
    /// Writes of a group.
    pub group: f64,
    /// The load of the fullest shard to the average: by size, and by hash alone.
    pub imbalance: (f64, f64),
    /// A failover at the peak of the shard that has the largest user; none for a file.
    pub failover: Option<Disturbed>,
    /// The same, if attempts without progress could take all connections; none without another shard.
    pub failover_unlimited: Option<Disturbed>,
    /// The same, if each shard had connections of its own; none without another shard.
    pub failover_apart: Option<Disturbed>,
    /// The end of a move of that shard's users; none without another shard.
    pub shard_move: Option<Disturbed>,
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Disturbed {
    /// Writes to the shard.
    pub writes: Quantiles,
    /// Writes that were refused.
    pub refused: u64,
    /// Writes whose time ended.
    pub timed_out: u64,
    /// Pages that failed.
    pub failed_pages: u64,
    /// Writes to all other shards.
    pub other_writes: Quantiles,
    /// Writes to other shards that failed.
    pub other_failed: u64,
}

/// Simulates a plan that is possible.
#[must_use]
pub fn simulate(inputs: &Inputs, plan: &Plan, seed: u64) -> Simulated {
    let demand = &plan.demand;
    let places = population::place(&demand.shares, plan.shards);
    let by_hash = population::place_by_hash(&demand.shares, plan.shards, seed);
    let imbalance = |places: &[usize]| {
        population::imbalance(&population::loads(&demand.shares, places, plan.shards))
    };
    let imbalance = (imbalance(&places), imbalance(&by_hash));
    let system = system(inputs, plan, &places);
    let load = load(plan, system.lanes.len());
    let seconds = (AT_PEAK.0 / demand.writes).max(AT_PEAK.1);
    let peak = run(&system, &load, &[], seconds, seed);
    let busy: f64 = (0..plan.shards).map(|shard| peak.utilisation(shard)).sum();
    let fault = |kind, seconds| Fault { shard: 0, at: WITH_FAULT.1, seconds, kind };
    let with_fault = |system: &System, kind, seconds| {
        disturbed(&run(system, &load, &[fault(kind, seconds)], WITH_FAULT.0, seed))
    };
    let is_cluster = plan.deployment != Deployment::File;
    let has_others = plan.shards > 1;
    let failover = |system: &System| with_fault(system, FaultKind::Failover, inputs.failover_s);
    Simulated {
        writes: peak.writes(),
        pages: peak.pages(),
        failed_writes: peak.failed_writes(),
        utilisation: busy / plan.shards as f64,
        highest_utilisation: peak.highest_utilisation(),
        group: peak.group_size(),
        imbalance,
        failover: is_cluster.then(|| failover(&system)),
        failover_unlimited: has_others
            .then(|| failover(&System { stalled_connections: 0, ..system.clone() })),
        failover_apart: has_others.then(|| failover(&apart(&system))),
        shard_move: has_others.then(|| with_fault(&system, FaultKind::Move, inputs.move_s)),
    }
}

fn system(inputs: &Inputs, plan: &Plan, places: &[usize]) -> System {
    let mut service = inputs.service(plan.deployment);
    if plan.bytes / plan.shards as f64 > inputs.memory * 1e9 {
        service.cold_share = inputs.cold_share;
    }
    let is_file = plan.deployment == Deployment::File;
    let pools = plan.servers.max(1);
    // A file has one lane for all users.
    let users = if is_file { vec![0] } else { places.to_vec() };
    let lanes = (0..users.len()).map(|user| Lane { user, pool: user % pools }).collect();
    System {
        service,
        shards: plan.shards,
        cores: whole(inputs.cores),
        users,
        lanes,
        pools,
        connections: whole(inputs.write_connections),
        stalled_connections: whole(inputs.stalled_connections),
    }
}

/// The same system with connections of each server for each shard, a share of them each and at least
/// two.
fn apart(system: &System) -> System {
    let lane =
        |lane: &Lane| Lane { pool: lane.pool * system.shards + system.users[lane.user], ..*lane };
    System {
        lanes: system.lanes.iter().map(lane).collect(),
        pools: system.pools * system.shards,
        connections: (system.connections / system.shards).max(2),
        stalled_connections: 0,
        ..system.clone()
    }
}

fn load(plan: &Plan, lanes: usize) -> Load {
    let Demand { writes, pages, ref shares, .. } = plan.demand;
    let weights = if lanes == 1 { vec![1.0] } else { shares.clone() };
    Load::Open { writes, pages, weights }
}

/// What happened to shard 0 and to the others.
fn disturbed(outcome: &Outcome) -> Disturbed {
    let shard = &outcome.shards[0];
    let mut others = outcome.clone();
    others.shards.remove(0);
    Disturbed {
        writes: shard.writes.quantiles(),
        refused: shard.refused,
        timed_out: shard.timed_out,
        failed_pages: shard.failed_pages,
        other_writes: others.writes(),
        other_failed: others.failed_writes(),
    }
}

/// The largest user that a shard of its own can hold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LargestUser {
    /// The kind of deployment.
    pub deployment: Deployment,
    /// Conversations that fill its disk.
    pub by_disk: f64,
    /// The greatest rate of its lane in writes a second: p99 is at most 250 ms, and at most one write
    /// of a thousand fails.
    pub lane_writes: f64,
    /// Their mean group.
    pub group: f64,
    /// Conversations of a user with this rate at the peak, without pages.
    pub by_lane: f64,
    /// Conversations of a user whose writes and pages use what the peak may use of the processors.
    pub by_processor: f64,
}

/// The greatest p99 of a lane that counts as carrying its load, in milliseconds.
const LANE_P99_MS: f64 = 250.0;
/// The greatest share of its writes that may fail.
const LANE_FAILURES: f64 = 0.001;

/// Searches the largest user of a shard by simulation of its lane.
#[must_use]
pub fn largest_user(inputs: &Inputs, deployment: Deployment, seed: u64) -> LargestUser {
    let service = inputs.service(deployment);
    let system = System {
        service,
        shards: 1,
        cores: whole(inputs.cores),
        users: vec![0],
        lanes: vec![Lane { user: 0, pool: 0 }],
        pools: 1,
        connections: whole(inputs.write_connections),
        stalled_connections: 0,
    };
    let at = |writes: f64| {
        let load = Load::Open { writes, pages: 0.0, weights: vec![1.0] };
        run(&system, &load, &[], 30.0, seed)
    };
    let carries = |outcome: &Outcome| {
        let writes = outcome.writes();
        let failed = outcome.failed_writes() as f64 / writes.requests as f64;
        failed <= LANE_FAILURES && writes.p99_ms <= LANE_P99_MS
    };
    let (mut low, mut high) = (0.0, 2.0 * lane_rate(inputs, deployment) / inputs.utilisation);
    for _ in 0..10 {
        let middle = f64::midpoint(low, high);
        if carries(&at(middle)) { low = middle } else { high = middle }
    }
    // A conversation of an average year's user brings this many writes a second at the peak.
    let one = Demand::new(inputs, 1e6);
    let (writes, pages) = (one.writes / 1e6, one.pages / 1e6);
    let cpu = writes * (service.group_cpu + service.write_cpu) + pages * service.page_cpu;
    let space = inputs.disk * 1e12 / inputs.disk_headroom;
    let space = space - inputs.retained_changes * inputs.change_bytes;
    LargestUser {
        deployment,
        by_disk: space / conversation_bytes(inputs, deployment),
        lane_writes: low,
        group: at(low).group_size(),
        by_lane: low / writes,
        by_processor: inputs.cores * inputs.utilisation / cpu,
    }
}

/// The largest size with users of another skew.
#[derive(Clone, Debug, Serialize)]
pub struct Skew {
    /// The exponent.
    pub skew: f64,
    /// The machines.
    pub plan: Plan,
    /// The fullest shard to the average if users are placed by hash alone.
    pub by_hash: f64,
}

/// Plans a size on shards with users of another skew.
#[must_use]
pub fn skew(inputs: &Inputs, conversations: f64, skew: f64, seed: u64) -> Skew {
    let inputs = Inputs { skew, ..*inputs };
    let plan = Plan::new(&inputs, Deployment::Sharded, Demand::new(&inputs, conversations));
    let shares = &plan.demand.shares;
    let places = population::place_by_hash(shares, plan.shards, seed);
    let by_hash = population::imbalance(&population::loads(shares, &places, plan.shards));
    Skew { skew, plan, by_hash }
}
