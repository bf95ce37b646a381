//! The parts of a simulated system: shards, lanes, pools, their service times, load and faults.

/// Times and limits of a shard and of the lanes that write to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Service {
    /// Processor time of a group of writes, without its writes, in seconds.
    pub group_cpu: f64,
    /// Processor time of each write of a group, in seconds.
    pub write_cpu: f64,
    /// Mean of the time that a group waits for disks, standbys and the network, in seconds.
    pub commit_wait: f64,
    /// Standard deviation of the logarithm of that time; 0 makes it constant.
    pub commit_spread: f64,
    /// Processor time of a page, in seconds.
    pub page_cpu: f64,
    /// Time that each page waits for the network, in seconds.
    pub page_wait: f64,
    /// Share of pages whose rows are not in memory, from 0 to 1.
    pub cold_share: f64,
    /// Time that a cold page waits for the disk, in seconds.
    pub cold_wait: f64,
    /// The most writes of a group.
    pub max_group: usize,
    /// The most writes that wait in a lane; more are refused.
    pub max_waiting: usize,
    /// Time after which a write that is not committed fails, in seconds.
    pub timeout: f64,
    /// Time that an attempt takes while its shard is down, in seconds.
    pub failed_attempt: f64,
    /// Time after which an attempt that is not answered makes no progress, in seconds.
    pub stall: f64,
    /// Processor time that a checkpoint takes for each write since the one before, in seconds.
    pub checkpoint_cpu: f64,
    /// Time between two checkpoints, in seconds; 0 for none.
    pub checkpoint_every: f64,
}

impl Service {
    /// The time of a group of `writes` that waits for nothing else, in seconds, on average.
    #[must_use]
    pub fn group_time(&self, writes: f64) -> f64 {
        self.group_cpu + writes * self.write_cpu + self.commit_wait
    }
}

/// The lane of a user: its writes are committed in groups, one group at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The user, whose lock a group holds. Lanes of several servers can be of one user.
    pub user: usize,
    /// The pool of connections of the server that the lane is on.
    pub pool: usize,
}

/// A system of shards, users and servers.
#[derive(Clone, Debug)]
pub struct System {
    /// Service times of all shards.
    pub service: Service,
    /// The number of shards.
    pub shards: usize,
    /// Processor cores of each shard.
    pub cores: usize,
    /// The shard of each user.
    pub users: Vec<usize>,
    /// All lanes.
    pub lanes: Vec<Lane>,
    /// The number of pools: one for each server.
    pub pools: usize,
    /// Connections for writes of each pool.
    pub connections: usize,
    /// Of these, those that attempts without progress may occupy: others give theirs up. 0 for all.
    pub stalled_connections: usize,
}

/// The requests that arrive.
#[derive(Clone, Debug)]
pub enum Load {
    /// Independent requests at random times, whatever the latencies are.
    Open {
        /// Writes a second.
        writes: f64,
        /// Pages a second.
        pages: f64,
        /// The weight of each lane among them.
        weights: Vec<f64>,
    },
    /// Writers that each send the next write when the one before is answered: the lane of each.
    Closed(Vec<usize>),
}

/// What happens to a shard for some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// The shard.
    pub shard: usize,
    /// Its beginning, in seconds.
    pub at: f64,
    /// Its duration, in seconds.
    pub seconds: f64,
    /// What happens.
    pub kind: FaultKind,
}

/// What happens to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A failover: pages fail, writes are attempted again until their time ends.
    Failover,
    /// The last step of a shard move: writes wait, pages continue.
    Move,
}
