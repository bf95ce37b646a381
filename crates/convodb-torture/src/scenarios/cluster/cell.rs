//! The cluster with its clients, and what a fault is.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::scenario::{Trial, Violation};
use crate::scenarios::cluster::application::Application;
use crate::scenarios::cluster::nodes::{Nodes, await_that, url};
use crate::scenarios::cluster::operator::{Operator, SUPERUSER};
use crate::scenarios::cluster::writers::Writers;

/// The time for writes to be acknowledged again after a fault: the lease of a leader (20 s), its
/// successor's promotion, and a reconnection, on a machine that others use, too.
pub(super) const RESUMPTION: Duration = Duration::from_secs(90);
/// The pause between two looks at the cluster.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// The number of acknowledged writes by which writes have resumed.
const RESUMED: usize = 50;

/// A fault: its name in the report, and what inflicts and ends it.
pub(super) struct Fault {
    pub(super) name: &'static str,
    /// The names of its figures: the longest times without an acknowledged write, and without a read.
    pub(super) figures: [&'static str; 2],
    pub(super) inflict: fn(&mut Cell, &mut Trial) -> Result<(), Violation>,
}

/// The cluster with its clients.
pub(super) struct Cell {
    pub(super) nodes: Nodes,
    pub(super) writers: Writers,
    pub(super) application: Application,
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
    pub(super) fn await_writes(&self) -> Result<(), Violation> {
        let before = self.writers.acknowledged();
        await_that("writes to be acknowledged again", RESUMPTION, PAUSE, || {
            (self.writers.acknowledged() >= before + RESUMED).then_some(())
        })
    }

    /// Waits until another node is the leader, and is written to. Returns it.
    pub(super) fn await_other_leader(&self, leader: usize) -> Result<usize, Violation> {
        let other = await_that("another node to be the leader", RESUMPTION, PAUSE, || {
            Nodes::current_leader(Some(leader))
        })?;
        self.await_writes()?;
        Ok(other)
    }

    /// A connection of the operator to the leader.
    pub(super) fn operator(&self) -> Result<Operator, Violation> {
        Operator::connect(&url(SUPERUSER))
    }
}
