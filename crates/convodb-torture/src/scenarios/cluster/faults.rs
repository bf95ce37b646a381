//! The faults, each with what it must not cost.

use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

use crate::scenario::{Trial, Violation, ensure};
use crate::scenarios::cluster::nodes::{NODES, Nodes, Part, await_that, url};
use crate::scenarios::cluster::writers::Writers;

/// The time for writes to be acknowledged again after a fault: the lease of a leader (20 s), its
/// successor's promotion, and a reconnection, on a machine that others use, too.
const RESUMPTION: Duration = Duration::from_secs(90);
/// The time for a statement of the operator.
const STATEMENT: Duration = Duration::from_secs(20);
/// The pause between two looks at the cluster.
const PAUSE: Duration = Duration::from_millis(50);
/// The number of acknowledged writes by which writes have resumed.
const RESUMED: usize = 50;

/// A fault: its name in the report, and what inflicts and ends it.
pub(super) struct Fault {
    name: &'static str,
    /// The names of its figures: the longest times without an acknowledged write, and without a read.
    figures: [&'static str; 2],
    inflict: fn(&mut Cell, &mut Trial) -> Result<(), Violation>,
}

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

pub(super) const FAULTS: [Fault; 9] = [
    fault!("no fault", |_, _| {
        thread::sleep(Duration::from_secs(3));
        Ok(())
    }),
    fault!("backends killed", kill_backends),
    fault!("leader handed over", hand_over),
    fault!("leader killed", kill_leader),
    fault!("leader frozen", freeze_leader),
    fault!("leader cut off", cut_leader_off),
    fault!("leader separated from its standbys", separate_leader),
    fault!("both standbys killed", kill_standbys),
    fault!("etcd frozen", freeze_etcd),
];

/// The cluster with its clients.
pub(super) struct Cell {
    pub(super) nodes: Nodes,
    pub(super) writers: Writers,
    pub(super) runtime: Runtime,
}

impl Cell {
    /// Runs a fault, waits until the cluster is whole and written to, and reports its figures.
    pub(super) fn inflict(&mut self, fault: &Fault, trial: &mut Trial) -> Result<(), Violation> {
        let Fault { name, figures, inflict } = fault;
        let began = Instant::now();
        let of_fault = |violation| Violation::new(format!("{name}: {violation}"));
        inflict(self, trial).map_err(of_fault)?;
        self.nodes.await_whole(name).map_err(of_fault)?;
        self.await_writes().map_err(of_fault)?;
        let (writes, reads) = self.writers.longest_gaps(began);
        trial.figure(figures[0], writes.as_secs_f64());
        trial.figure(figures[1], reads.as_secs_f64());
        trial.count("faults");
        Ok(())
    }

    /// Waits until writes are acknowledged.
    fn await_writes(&self) -> Result<(), Violation> {
        let before = self.writers.acknowledged();
        await_that("writes to be acknowledged again", RESUMPTION, PAUSE, || {
            (self.writers.acknowledged() >= before + RESUMED).then_some(())
        })
    }

    /// Runs a statement that returns a number, on the leader.
    fn number(&self, client: &Client, sql: &str) -> Result<i64, Violation> {
        let row =
            self.runtime.block_on(async { timeout(STATEMENT, client.query_one(sql, &[])).await });
        let row = row.map_err(|_| Violation::new(format!("no answer within 20 s: {sql}")))?;
        Ok(row?.get(0))
    }

    /// A connection of the operator to the leader.
    fn operator(&self) -> Result<Client, Violation> {
        let leader = format!("{} target_session_attrs=read-write connect_timeout=2", url());
        self.runtime.block_on(async {
            let connected = timeout(STATEMENT, tokio_postgres::connect(&leader, NoTls)).await;
            let (client, connection) =
                connected.map_err(|_| Violation::new("the leader accepts no connection"))??;
            tokio::spawn(connection);
            Ok(client)
        })
    }
}

/// Terminates connections: in the middle of a commit, between the flights of a group, or anywhere.
fn kill_backends(cell: &mut Cell, trial: &mut Trial) -> Result<(), Violation> {
    const ROUNDS: usize = 90;
    let operator = cell.operator()?;
    for round in 0..ROUNDS {
        let state = match round % 3 {
            0 => "query = 'commit' and state = 'active'",
            1 => "state = 'idle in transaction'",
            _ => "state <> 'idle'",
        };
        let sql = format!(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity \
             where application_name = 'convodb' and {state}"
        );
        let mut tries = 0;
        let mut killed = 0;
        while killed == 0 && tries < 200 {
            killed = cell.number(&operator, &sql)?;
            tries += 1;
        }
        trial.add("backends killed", killed.unsigned_abs());
        // The writers write again before the next.
        let before = cell.writers.acknowledged();
        await_that("a write after a killed backend", RESUMPTION, PAUSE, || {
            (cell.writers.acknowledged() > before).then_some(())
        })?;
    }
    Ok(())
}

/// A planned switchover: the leader ends its connections, and is a standby afterwards.
fn hand_over(cell: &mut Cell, _: &mut Trial) -> Result<(), Violation> {
    let leader = cell.nodes.leader()?;
    cell.nodes.hand_over(leader)?;
    let successor = cell.nodes.await_whole("the switchover")?;
    ensure(successor != leader, || "the leader has not handed over")
}

/// Kills Patroni and PostgreSQL of the leader; another node takes over.
fn kill_leader(cell: &mut Cell, _: &mut Trial) -> Result<(), Violation> {
    let leader = cell.nodes.leader()?;
    cell.nodes.signal(leader, Part::Database, "KILL")?;
    cell.await_other_leader(leader)?;
    cell.nodes.restart(leader)
}

/// Freezes all processes of the leader; another node takes over, and it joins again by itself.
fn freeze_leader(cell: &mut Cell, _: &mut Trial) -> Result<(), Violation> {
    let leader = cell.nodes.leader()?;
    cell.nodes.signal(leader, Part::Whole, "STOP")?;
    let resumed = cell.await_other_leader(leader);
    cell.nodes.signal(leader, Part::Whole, "CONT")?;
    resumed
}

/// Cuts the leader off from everything: its packets, and those to it, vanish.
fn cut_leader_off(cell: &mut Cell, _: &mut Trial) -> Result<(), Violation> {
    let leader = cell.nodes.leader()?;
    cell.nodes.cut_off(leader, true)?;
    let resumed = cell.await_other_leader(leader);
    cell.nodes.cut_off(leader, false)?;
    resumed
}

/// Cuts the leader off from the other nodes; clients still reach it, and it must acknowledge nothing.
fn separate_leader(cell: &mut Cell, _: &mut Trial) -> Result<(), Violation> {
    let leader = cell.nodes.leader()?;
    cell.nodes.separate(leader, true)?;
    let resumed = cell.await_other_leader(leader);
    cell.nodes.separate(leader, false)?;
    resumed
}

/// Kills both standbys for 12 s. Writes wait; an operator cancels the waits, which commits them here
/// alone; none is acknowledged before a standby is back.
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
        let cancelled = cell.number(&operator, cancel)?;
        trial.add("commits cancelled", cancelled.unsigned_abs());
        thread::sleep(Duration::from_millis(500));
    }
    let acknowledged = cell.writers.acknowledged() - before;
    ensure(acknowledged == 0, || {
        format!("{acknowledged} writes were acknowledged while there was no standby")
    })?;
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

impl Cell {
    /// Waits until another node is the leader, and is written to.
    fn await_other_leader(&self, leader: usize) -> Result<(), Violation> {
        await_that("another node to be the leader", RESUMPTION, PAUSE, || {
            Nodes::current_leader(Some(leader))
        })?;
        self.await_writes()
    }
}
