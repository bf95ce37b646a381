//! The faults, each with what it must not cost.

use std::thread;
use std::time::{Duration, Instant};

use crate::scenario::{Trial, Violation, ensure};
use crate::scenarios::cluster::cell::{Cell, Fault};
use crate::scenarios::cluster::database_faults::{
    crash_server, deadlock, fail_serialization, kill_backends, refuse_connections,
};
use crate::scenarios::cluster::health::ExpectedHealth;
use crate::scenarios::cluster::nodes::{NODES, Part};

/// A fault with the names of its figures.
macro_rules! fault {
    ($name:literal, $inflict:expr) => {
        Fault {
            name: $name,
            figures: [concat!($name, ": s without writes"), concat!($name, ": s without reads")],
            inflict: $inflict,
        }
    };
}

pub(super) const FAULTS: [Fault; 13] = [
    fault!("no fault", |_, _| {
        thread::sleep(Duration::from_secs(3));
        Ok(())
    }),
    fault!("backends killed", kill_backends),
    fault!("serialization failures", fail_serialization),
    fault!("deadlocks", deadlock),
    fault!("no free connections", refuse_connections),
    fault!("server crashed", crash_server),
    fault!("leader handed over", hand_over),
    fault!("leader killed", kill_leader),
    fault!("leader frozen", freeze_leader),
    fault!("leader cut off", cut_leader_off),
    fault!("leader separated from its standbys", separate_leader),
    fault!("both standbys killed", kill_standbys),
    fault!("etcd frozen", freeze_etcd),
];

/// A planned switchover: the leader ends its connections, and is a standby afterwards.
fn hand_over(cell: &mut Cell, _: &mut Trial) -> Result<(), Violation> {
    let leader = cell.nodes.leader()?;
    cell.nodes.hand_over(leader)?;
    let successor = cell.nodes.await_whole("the switchover")?;
    ensure(successor != leader, || "the leader has not handed over")
}

/// Kills Patroni and PostgreSQL of the leader, while clients of `convodb serve` read and write; another
/// node takes over, and the clients get to their end.
fn kill_leader(cell: &mut Cell, trial: &mut Trial) -> Result<(), Violation> {
    let leader = cell.nodes.leader()?;
    let clients = cell.application.start_clients()?;
    clients.await_middle()?;
    cell.nodes.signal(leader, Part::Database, "KILL")?;
    clients.note_kill(leader);
    cell.application.await_readiness(503)?;
    cell.application.check_no_health()?;
    let other = cell.await_other_leader(leader)?;
    clients.note_leader(other);
    cell.application.await_readiness(200)?;
    let seen = cell.application.finish(clients)?;
    trial.add("created over HTTP", seen.created);
    trial.add("requests repeated over HTTP", seen.repeated);
    cell.nodes.restart(leader)
}

/// Freezes all processes of the leader; another node takes over, and it joins again by itself.
fn freeze_leader(cell: &mut Cell, _: &mut Trial) -> Result<(), Violation> {
    let leader = cell.nodes.leader()?;
    cell.nodes.signal(leader, Part::Whole, "STOP")?;
    let resumed = cell.await_other_leader(leader);
    cell.nodes.signal(leader, Part::Whole, "CONT")?;
    resumed.map(|_| ())
}

/// Cuts the leader off from everything: its packets, and those to it, vanish.
fn cut_leader_off(cell: &mut Cell, _: &mut Trial) -> Result<(), Violation> {
    let leader = cell.nodes.leader()?;
    cell.nodes.cut_off(leader, true)?;
    let resumed = cell.await_other_leader(leader);
    cell.nodes.cut_off(leader, false)?;
    resumed.map(|_| ())
}

/// Cuts the leader off from the other nodes; clients still reach it, and it must acknowledge nothing.
fn separate_leader(cell: &mut Cell, _: &mut Trial) -> Result<(), Violation> {
    let leader = cell.nodes.leader()?;
    cell.nodes.separate(leader, true)?;
    let resumed = cell.await_other_leader(leader);
    cell.nodes.separate(leader, false)?;
    resumed.map(|_| ())
}

/// Kills both standbys for 12 s. Writes wait; an operator cancels the waits, which commits them here
/// alone; none is acknowledged before a standby is back, or before the operator gives the quorum up.
fn kill_standbys(cell: &mut Cell, trial: &mut Trial) -> Result<(), Violation> {
    let leader = cell.nodes.leader()?;
    let operator = cell.operator()?;
    let standbys: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
    for standby in &standbys {
        cell.nodes.signal(*standby, Part::Database, "KILL")?;
    }
    // What both had confirmed is on its way.
    thread::sleep(Duration::from_secs(1));
    let before = cell.writers.acknowledged();
    let cancel = "select count(pg_cancel_backend(pid)) from pg_stat_activity \
                  where application_name = 'convodb' and wait_event = 'SyncRep'";
    let until = Instant::now() + Duration::from_secs(11);
    while Instant::now() < until {
        let cancelled = operator.number(cancel)?;
        trial.add("commits cancelled", cancelled.unsigned_abs());
        thread::sleep(Duration::from_millis(500));
    }
    cell.application.await_health(&ExpectedHealth::WAITING)?;
    cell.application.await_readiness(200)?;
    let acknowledged = cell.writers.acknowledged() - before;
    ensure(acknowledged == 0, || {
        format!("{acknowledged} writes were acknowledged while there was no standby")
    })?;
    // Turning the strict mode off is not enough: Patroni looks at it when a standby comes or goes.
    cell.nodes.set_synchronous(false)?;
    cell.application.await_health(&ExpectedHealth::GIVEN_UP)?;
    cell.await_writes()?;
    cell.nodes.set_synchronous(true)?;
    for standby in standbys {
        cell.nodes.restart(standby)?;
    }
    Ok(())
}

/// Freezes two of three etcd servers for 25 s: the leader steps down, and nobody can take over.
fn freeze_etcd(cell: &mut Cell, _: &mut Trial) -> Result<(), Violation> {
    for node in 0..2 {
        cell.nodes.signal(node, Part::Etcd, "STOP")?;
    }
    thread::sleep(Duration::from_secs(25));
    for node in 0..2 {
        cell.nodes.signal(node, Part::Etcd, "CONT")?;
    }
    Ok(())
}
