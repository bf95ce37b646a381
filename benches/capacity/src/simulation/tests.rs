//! The simulation against closed forms, and its faults.

use super::*;

/// A service that takes no time, with room for everything.
const IDLE: Service = Service {
    group_cpu: 0.0,
    write_cpu: 0.0,
    commit_wait: 0.0,
    commit_spread: 0.0,
    page_cpu: 0.0,
    page_wait: 0.0,
    cold_share: 0.0,
    cold_wait: 0.0,
    max_group: 256,
    max_waiting: usize::MAX,
    timeout: 30.0,
    failed_attempt: 1.0,
    stall: 0.1,
    checkpoint_cpu: 0.0,
    checkpoint_every: 0.0,
};

/// One shard with a lane for each user.
fn shard(service: Service, cores: usize, users: usize) -> System {
    let lanes = (0..users).map(|user| Lane { user, pool: 0 }).collect();
    let (shards, users) = (1, vec![0; users]);
    let (pools, connections, stalled_connections) = (1, 16, 0);
    System { service, shards, cores, users, lanes, pools, connections, stalled_connections }
}

fn open(writes: f64, pages: f64, users: usize) -> Load {
    Load::Open { writes, pages, weights: vec![1.0; users] }
}

#[track_caller]
fn near(found: f64, expected: f64, tolerance: f64) {
    assert!((found / expected - 1.0).abs() < tolerance, "{found} instead of {expected}");
}

#[test]
fn pages_on_one_core_wait_as_an_m_d_1_queue() {
    let time = 0.001;
    for load in [0.3, 0.5, 0.8, 0.9] {
        let system = shard(Service { page_cpu: time, ..IDLE }, 1, 1);
        let outcome = run(&system, &open(0.0, load / time, 1), &[], 2_000.0, 7);
        let wait = load * time / (2.0 * (1.0 - load));
        near(outcome.pages().mean_ms, (wait + time) * 1e3, 0.03);
        near(outcome.utilisation(0), load, 0.01);
    }
}

#[test]
fn a_second_core_halves_the_load_and_shortens_the_wait() {
    let service = Service { page_cpu: 0.001, ..IDLE };
    let mean = |cores| {
        let outcome = run(&shard(service, cores, 1), &open(0.0, 800.0, 1), &[], 500.0, 7);
        near(outcome.utilisation(0), 0.8 / cores as f64, 0.02);
        outcome.pages().mean_ms
    };
    // M/D/2 at half load waits 0.18 of a service time, M/D/1 at 0.8 waits twice a service time.
    let (one, two) = (mean(1), mean(2));
    assert!(one > 2.8 && two < 1.15 && two > 1.0, "{one} {two}");
}

#[test]
fn writers_of_a_lane_alternate_in_two_halves() {
    // Half of them wait while the other half commits: n = W / 2, and a group takes a + b n.
    let service = Service { write_cpu: 50e-6, commit_wait: 1.5e-3, ..IDLE };
    let outcome = run(&shard(service, 1, 1), &Load::Closed(vec![0; 64]), &[], 60.0, 1);
    let group = 1.5e-3 + 32.0 * 50e-6;
    near(outcome.write_rate(), 32.0 / group, 0.03);
    near(outcome.writes().mean_ms, 2e3 * group, 0.03);
}

#[test]
fn groups_of_a_lane_reach_the_fixed_point_of_what_arrives_meanwhile() {
    // A lane that is never idle: n = rate T and T = a + b n, so T = a / (1 - b rate).
    let (fixed, each) = (5e-3, 50e-6);
    let service = Service { write_cpu: each, commit_wait: fixed, ..IDLE };
    for rate in [4_000.0, 8_000.0, 12_000.0] {
        let outcome = run(&shard(service, 1, 1), &open(rate, 0.0, 1), &[], 60.0, 3);
        let group = fixed / (1.0 - each * rate);
        near(outcome.group_size(), rate * group, 0.02);
        // A write waits for the rest of one group, and takes the next one.
        near(outcome.writes().mean_ms, 1.5e3 * group, 0.04);
    }
}

#[test]
fn writes_in_the_system_are_rate_times_latency() {
    let service = Service { group_cpu: 1e-3, commit_wait: 2e-3, commit_spread: 1.4, ..IDLE };
    let outcome = run(&shard(service, 2, 40), &open(900.0, 0.0, 40), &[], 400.0, 5);
    let expected = outcome.write_rate() * outcome.writes().mean_ms / 1e3;
    near(outcome.writes_in_system, expected, 0.01);
}

#[test]
fn a_log_normal_commit_has_its_mean() {
    let service = Service { commit_wait: 2e-3, commit_spread: 1.0, ..IDLE };
    let outcome = run(&shard(service, 1, 1), &Load::Closed(vec![0]), &[], 400.0, 5);
    near(outcome.write_rate(), 500.0, 0.02);
    near(outcome.writes().p50_ms, 2.0 * (-0.5_f64).exp(), 0.02);
}

#[test]
fn connections_bound_the_groups_that_run() {
    let service = Service { commit_wait: 0.01, ..IDLE };
    let writers = Load::Closed((0..40).collect());
    let outcome = run(&shard(service, 64, 40), &writers, &[], 60.0, 1);
    near(outcome.write_rate(), 16.0 / 0.01, 0.01);
}

#[test]
fn lanes_of_one_user_take_turns() {
    let service = Service { commit_wait: 0.01, ..IDLE };
    let system = System {
        lanes: (0..8).map(|pool| Lane { user: 0, pool }).collect(),
        pools: 8,
        ..shard(service, 64, 1)
    };
    let outcome = run(&system, &Load::Closed((0..8).collect()), &[], 60.0, 1);
    near(outcome.write_rate(), 100.0, 0.01);
    near(outcome.writes().mean_ms, 80.0, 0.02);
}

#[test]
fn writes_survive_a_failover_within_their_time() {
    let service = Service { commit_wait: 1e-3, max_waiting: 1024, ..IDLE };
    let system = shard(service, 1, 10);
    let fault = Fault { shard: 0, at: 20.0, seconds: 20.0, kind: FaultKind::Failover };
    let outcome = run(&system, &open(100.0, 50.0, 10), &[fault], 90.0, 1);
    assert_eq!(outcome.failed_writes(), 0);
    // Attempts take a second, and the pause before the next one up to 0.75 s.
    let longest = outcome.writes().max_ms / 1e3;
    assert!((19.0..22.5).contains(&longest), "{longest}");
    near(outcome.shards[0].failed_pages as f64, 20.0 * 50.0, 0.1);
    near(outcome.writes().requests as f64, 100.0 * 81.0, 0.03);
}

#[test]
fn writes_beyond_a_lanes_queue_or_their_time_fail() {
    let service = Service { commit_wait: 1e-3, max_waiting: 1024, ..IDLE };
    let fault = |seconds| Fault { shard: 0, at: 20.0, seconds, kind: FaultKind::Failover };
    let system = shard(service, 1, 1);
    // 200 a second for 20 s in one lane, which holds 1,024.
    let outcome = run(&system, &open(200.0, 0.0, 1), &[fault(20.0)], 90.0, 1);
    let shard_outcome = &outcome.shards[0];
    near(shard_outcome.refused as f64, 4_000.0 - 1_024.0, 0.1);
    assert_eq!(shard_outcome.timed_out, 0);
    let outcome = run(&system, &open(10.0, 0.0, 1), &[fault(60.0)], 90.0, 1);
    let shard_outcome = &outcome.shards[0];
    // Those of the first 30 s of the fault at least; a group fails when the time of its first ends.
    assert!((290..620).contains(&shard_outcome.timed_out), "{}", shard_outcome.timed_out);
    assert_eq!(shard_outcome.refused, 0);
}

#[test]
fn a_shard_that_is_down_takes_the_connections_of_others() {
    let service = Service { commit_wait: 1e-3, ..IDLE };
    let system = System {
        shards: 2,
        users: (0..200).map(|user| user % 2).collect(),
        ..shard(service, 1, 200)
    };
    let fault = Fault { shard: 0, at: 20.0, seconds: 20.0, kind: FaultKind::Failover };
    let shared = run(&system, &open(200.0, 0.0, 200), &[fault], 90.0, 1);
    let limited = System { stalled_connections: 4, ..system.clone() };
    let limited = run(&limited, &open(200.0, 0.0, 200), &[fault], 90.0, 1);
    let apart = System {
        lanes: (0..200).map(|user| Lane { user, pool: user % 2 }).collect(),
        pools: 2,
        ..system
    };
    let apart = run(&apart, &open(200.0, 0.0, 200), &[fault], 90.0, 1);
    let p99 = |outcome: &Outcome| outcome.shards[1].writes.quantiles().p99_ms;
    assert!(p99(&shared) > 1_000.0 && p99(&apart) < 2.0, "{} {}", p99(&shared), p99(&apart));
    // Each of the 100 users gives a connection up once, after 0.1 s, and then waits for one of four.
    assert!(p99(&limited) < 50.0, "{}", p99(&limited));
    // They are written when their shard is back.
    assert_eq!(limited.failed_writes(), 0);
    let longest = limited.shards[0].writes.quantiles().max_ms;
    assert!((19_000.0..25_000.0).contains(&longest), "{longest}");
}

#[test]
fn attempts_without_progress_share_their_places() {
    let service = Service { commit_wait: 1e-3, failed_attempt: 5.0, ..IDLE };
    let system = System { stalled_connections: 2, ..shard(service, 1, 40) };
    let fault = Fault { shard: 0, at: 20.0, seconds: 12.0, kind: FaultKind::Failover };
    let outcome = run(&system, &open(40.0, 0.0, 40), &[fault], 90.0, 1);
    assert_eq!(outcome.failed_writes(), 0);
    // An attempt that began at the end takes its 5 s; 40 users are then written by two connections.
    let longest = outcome.writes().max_ms;
    assert!((12_000.0..18_000.0).contains(&longest), "{longest}");
}

#[test]
fn writes_wait_for_the_end_of_a_shard_move() {
    let service = Service { commit_wait: 1e-3, page_cpu: 1e-4, ..IDLE };
    let fault = Fault { shard: 0, at: 20.0, seconds: 0.4, kind: FaultKind::Move };
    let outcome = run(&shard(service, 1, 10), &open(100.0, 50.0, 10), &[fault], 60.0, 1);
    assert_eq!((outcome.failed_writes(), outcome.shards[0].failed_pages), (0, 0));
    let longest = outcome.writes().max_ms;
    assert!((350.0..410.0).contains(&longest), "{longest}");
    assert!(outcome.pages().max_ms < 2.0);
}

#[test]
fn checkpoints_delay_what_runs_beside_them() {
    let service = Service { page_cpu: 1e-4, checkpoint_cpu: 1e-3, ..IDLE };
    let every = |checkpoint_every| {
        let system = shard(Service { checkpoint_every, ..service }, 1, 1);
        run(&system, &open(100.0, 100.0, 1), &[], 60.0, 1).pages()
    };
    let (without, with) = (every(0.0), every(1.0));
    assert!(without.max_ms < 2.0 && with.p99_ms > 50.0, "{without:?} {with:?}");
}

#[test]
fn a_seed_repeats_its_run_exactly() {
    let service = Service { group_cpu: 1e-3, commit_wait: 2e-3, commit_spread: 1.4, ..IDLE };
    let quantiles = |seed| {
        let outcome = run(&shard(service, 2, 40), &open(500.0, 100.0, 40), &[], 30.0, seed);
        (outcome.writes(), outcome.pages(), outcome.groups)
    };
    assert_eq!(quantiles(1), quantiles(1));
    assert_ne!(quantiles(1), quantiles(2));
}
