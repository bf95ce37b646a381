//! Inputs of the model: measurements and assumptions, with units and sources, and costs derived from
//! them.

use std::fmt;

use serde::Serialize;

use crate::simulation::Service;

/// An input with its unit and source.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Input {
    /// Its name, as `--set NAME=VALUE` takes it.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// Its unit, empty for a number.
    pub unit: &'static str,
    /// What it is.
    pub meaning: &'static str,
    /// Where it was measured, or that it is assumed.
    pub source: &'static str,
}

/// An input that cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputError {
    /// No input has this name.
    Unknown(String),
    /// The value is not a finite number in the input's range.
    Value {
        /// The input.
        name: String,
        /// What would be right.
        expected: &'static str,
    },
}

impl fmt::Display for InputError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                write!(formatter, "no input is named `{name}`; --inputs lists them")
            }
            Self::Value { name, expected } => write!(formatter, "`{name}` must be {expected}"),
        }
    }
}

impl std::error::Error for InputError {}

/// The range of an input.
#[derive(Clone, Copy)]
enum Range {
    /// More than 0.
    Positive,
    /// 0 or more.
    NotNegative,
    /// A count of at least 1.
    Count,
    /// From 0 to 1.
    Share,
}

impl Range {
    fn check(self, value: f64) -> Result<(), &'static str> {
        let (is_valid, expected) = match self {
            Self::Positive => (value > 0.0, "a number above 0"),
            Self::NotNegative => (value >= 0.0, "a number of at least 0"),
            Self::Count => (value >= 1.0 && value.fract() == 0.0, "a whole number of at least 1"),
            Self::Share => ((0.0..=1.0).contains(&value), "a number from 0 to 1"),
        };
        if is_valid && value.is_finite() { Ok(()) } else { Err(expected) }
    }
}

macro_rules! inputs {
    ($($name:ident: $value:literal $range:ident $unit:literal, $meaning:literal, $source:literal;)+) => {
        /// All inputs of the model.
        #[derive(Clone, Copy, Debug, PartialEq, Serialize)]
        pub struct Inputs {
            $(#[doc = concat!($meaning, " (", $unit, ").")] pub $name: f64,)+
        }

        impl Default for Inputs {
            fn default() -> Self {
                Self { $($name: $value,)+ }
            }
        }

        impl Inputs {
            /// All inputs, in the order of the document.
            #[must_use]
            pub fn list(&self) -> Vec<Input> {
                vec![$(Input {
                    name: stringify!($name),
                    value: self.$name,
                    unit: $unit,
                    meaning: $meaning,
                    source: $source,
                },)+]
            }

            /// Sets an input by its name.
            ///
            /// # Errors
            /// No input has the name, or the value is out of its range.
            pub fn set(&mut self, name: &str, value: f64) -> Result<(), InputError> {
                let (place, range) = match name {
                    $(stringify!($name) => (&mut self.$name, Range::$range),)+
                    _ => return Err(InputError::Unknown(name.to_owned())),
                };
                range
                    .check(value)
                    .map_err(|expected| InputError::Value { name: name.to_owned(), expected })?;
                *place = value;
                Ok(())
            }
        }
    };
}

inputs! {
    years: 3.0 Count "", "Years in which the conversations were created", "assumed";
    growth: 2.0 Positive "", "Creates of a year, to those of the year before", "assumed";
    conversations_per_user: 10000.0 Count "", "Conversations of a user, on average", "assumed";
    skew: 0.9 NotNegative "", "Exponent of Zipf's law of the conversations of users", "the generated dataset, after 7,168 real chats";
    messages: 8.0 NotNegative "", "Messages appended to a conversation after its creation", "assumed";
    message_bytes: 280.0 Positive "B", "A message: 220 of text, 60 of overhead", "docs/postgres.md, Sizes";
    peak: 5.0 Positive "", "Rates of the peak hour, to the average", "assumed";
    pages_per_write: 7.0 NotNegative "", "Pages read for each write", "assumed";
    change_days: 30.0 NotNegative "days", "Retention of the change feed", "convodb cluster prune";
    retained_changes: 1000000.0 Count "", "The most changes of a user", "StoreOptions::retained_changes";

    cores: 8.0 Count "", "Processor cores of a node", "assumed";
    memory: 64.0 Positive "GB", "Memory of a node", "assumed";
    disk: 2.0 Positive "TB", "Disk of a node", "assumed";
    disk_headroom: 1.4 Positive "", "Disk space, to what is stored", "assumed";
    disk_reads: 50000.0 Positive "1/s", "Random reads of a node's disk", "assumed, NVMe";
    disk_read_ms: 0.1 NotNegative "ms", "A random read", "assumed, NVMe";
    wal_rate: 100.0 Positive "MB/s", "WAL that a node writes and sends to two standbys", "assumed, 2 Gbit/s of network";
    utilisation: 0.6 Share "", "Processor time of a shard that the peak may use", "assumed";
    network_ms: 0.2 NotNegative "ms", "A round trip between two nodes", "assumed, one zone";
    copies: 3.0 Count "", "Copies of a shard", "docs/postgres.md, Patroni";

    lane_rate: 661.0 Positive "1/s", "Writes of a lane, 1 writer", "docs/postgres.md";
    lane_p99_ms: 6.9 Positive "ms", "p99 of these", "docs/postgres.md";
    lane_64_rate: 10041.0 Positive "1/s", "Writes of a lane, 64 writers", "docs/postgres.md";
    lane_64_group: 32.8 Positive "", "Writes of their groups", "docs/postgres.md";
    lanes_16_rate: 12551.0 Positive "1/s", "Writes of 16 lanes, 256 writers", "docs/postgres.md";
    lanes_16_group: 8.1 Positive "", "Writes of their groups", "docs/postgres.md";
    measured_cores: 2.0 Count "", "Cores of these measurements, database and client", "docs/postgres.md";
    quorum_before: 171.0 Positive "1/s", "Writes of a lane of the prototype, 1 writer, one server", "prototype";
    quorum_after: 71.0 Positive "1/s", "The same with a quorum of 1 of 2 standbys", "prototype, Patroni";
    sharded_before: 3879.0 Positive "1/s", "Writes of 16 lanes of the prototype, one server", "prototype";
    sharded_after: 589.0 Positive "1/s", "The same through a coordinator", "prototype, Citus";
    page_ms: 0.25 NotNegative "ms", "Processor time of a page of 15", "prototype, 0.18 to 0.3 ms";
    sharded_page_ms: 1.25 NotNegative "ms", "The same through a coordinator, which plans it anew", "prototype, 1.0 to 1.5 ms";
    coordinator_ms: 0.25 NotNegative "ms", "Of these, at the coordinator", "assumed";
    row_bytes: 206.0 Positive "B", "A conversation's row", "prototype";
    index_bytes: 524.0 Positive "B", "Its index entries, grown by inserts", "prototype";
    change_bytes: 120.0 Positive "B", "A change", "prototype";
    wal_bytes: 2900.0 Positive "B", "WAL of a write: 4.2 kB an insert, 2.7 kB an append", "prototype";
    leaf_reads: 10.0 NotNegative "", "Index leaves of a create that lie anywhere in their index", "13 indexes, 3 of them ordered by time";
    cold_share: 0.1 Share "", "Pages whose rows are not in memory, if not all are", "assumed";
    cold_reads: 17.0 NotNegative "", "Disk reads of such a page", "a page of 15: 17 entries, docs/postgres.md";
    failover_s: 20.0 Positive "s", "A failover", "prototype, 19.9 to 22.1 s";
    failed_attempt_s: 1.0 Positive "s", "An attempt to connect to a shard that is down", "connect_timeout of 1 s";
    stall_s: 0.1 Positive "s", "An attempt without an answer, until it makes no progress", "STALL of convodb-postgres";
    move_s: 0.38 Positive "s", "Writes wait at the end of a shard move", "prototype, Citus, p99";
    move_rate: 50.0 Positive "MB/s", "Rate of a shard move", "assumed";
    write_connections: 16.0 Count "", "Connections for writes of a server process", "ClusterOptions";
    stalled_connections: 4.0 Count "", "Of these, for attempts that make no progress", "a quarter, ClusterOptions::write_connections";
    write_timeout_s: 30.0 Positive "s", "Time of a write", "ClusterOptions::write_timeout";
    request_ms: 0.1 NotNegative "ms", "Processor time of a request in the HTTP server", "docs/benchmarks.md, 97,000 instructions a page";

    file_rate: 485.0 Positive "1/s", "Inserts into a file, 1 writer", "docs/benchmarks.md";
    file_p99_ms: 13.3 Positive "ms", "p99 of these", "docs/benchmarks.md";
    file_64_rate: 6232.0 Positive "1/s", "Inserts into a file, 64 at once", "docs/benchmarks.md";
    file_checkpoint_s: 0.39 NotNegative "s", "A checkpoint of a file, one a second", "docs/benchmarks.md";
    file_checkpoint_rate: 5688.0 Positive "1/s", "Writes beside it", "docs/benchmarks.md";
    file_page_ms: 0.02 NotNegative "ms", "A page of 15 of a file", "docs/benchmarks.md, 10 to 24 us";
    file_row_bytes: 1080.0 Positive "B", "A conversation of a file that grew by single writes", "README.md, twice 540";
}

/// The kinds of deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deployment {
    /// One process with a store file.
    File,
    /// One PostgreSQL primary with standbys.
    OnePrimary,
    /// Citus: many primaries with standbys, behind coordinators.
    Sharded,
}

impl Deployment {
    /// All kinds, the smallest first.
    pub const ALL: [Self; 3] = [Self::File, Self::OnePrimary, Self::Sharded];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::OnePrimary => "one primary",
            Self::Sharded => "shards",
        }
    }
}

/// The 99th percentile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326_348;
/// Writes of a group and writes that wait in a lane at most, as in `convodb-postgres`.
const LANE: (usize, usize) = (256, 1024);
/// The most writes of a group of a file, as in the engine.
const FILE_GROUP: usize = 1024;

impl Inputs {
    /// The service times of a deployment.
    #[must_use]
    pub fn service(&self, deployment: Deployment) -> Service {
        match deployment {
            Deployment::File => self.file(),
            Deployment::OnePrimary => self.quorum(self.measured_lane(), 1.0),
            Deployment::Sharded => {
                let factor = self.sharded_before / self.sharded_after;
                let lane = self.measured_lane();
                let slower = Service {
                    group_cpu: lane.group_cpu * factor,
                    write_cpu: lane.write_cpu * factor,
                    page_cpu: (self.sharded_page_ms - self.coordinator_ms).max(0.0) / 1e3,
                    ..lane
                };
                self.quorum(slower, 2.0)
            }
        }
    }

    /// A lane as it was measured, on one machine. A group of n writes takes a + b n. Sixteen lanes
    /// leave no core idle, so their rate is the processor's part.
    #[must_use]
    pub fn measured_lane(&self) -> Service {
        let lone = 1.0 / self.lane_rate;
        let of_64 = self.lane_64_group / self.lane_64_rate;
        let write_cpu = ((of_64 - lone) / (self.lane_64_group - 1.0)).max(0.0);
        let fixed = (lone - write_cpu).max(0.0);
        let busy = self.measured_cores * self.lanes_16_group / self.lanes_16_rate;
        let group_cpu = (busy - self.lanes_16_group * write_cpu).clamp(0.0, fixed);
        let commit_wait = fixed - group_cpu;
        let p99 = self.lane_p99_ms / 1e3 - group_cpu - write_cpu;
        Service {
            group_cpu,
            write_cpu,
            commit_wait,
            commit_spread: log_normal_spread(commit_wait, p99),
            page_cpu: self.page_ms / 1e3,
            page_wait: 0.0,
            cold_share: 0.0,
            cold_wait: self.cold_reads * self.disk_read_ms / 1e3,
            max_group: LANE.0,
            max_waiting: LANE.1,
            timeout: self.write_timeout_s,
            failed_attempt: self.failed_attempt_s,
            stall: self.stall_s,
            checkpoint_cpu: 0.0,
            checkpoint_every: 0.0,
        }
    }

    /// Adds the wait for a standby, in proportion to the prototype's, and `hops` networks.
    fn quorum(&self, lane: Service, hops: f64) -> Service {
        let slower = self.quorum_before / self.quorum_after - 1.0;
        let standby = (slower / self.lane_rate).max(0.0);
        let network = self.network_ms / 1e3 * hops;
        let commit_wait = lane.commit_wait + standby + 2.0 * network;
        Service { commit_wait, page_wait: network, ..lane }
    }

    /// A file: one lane for all users.
    fn file(&self) -> Service {
        let lone = 1.0 / self.file_rate;
        // Of 64 writers, one half waits while the other commits.
        let of_64 = 32.0 / self.file_64_rate;
        let write_cpu = ((of_64 - lone) / 31.0).max(0.0);
        let commit_wait = (lone - write_cpu).max(0.0);
        Service {
            group_cpu: 0.0,
            write_cpu,
            commit_wait,
            commit_spread: log_normal_spread(commit_wait, self.file_p99_ms / 1e3 - write_cpu),
            page_cpu: (self.file_page_ms + self.request_ms) / 1e3,
            max_group: FILE_GROUP,
            max_waiting: usize::MAX,
            checkpoint_cpu: self.file_checkpoint_s / self.file_checkpoint_rate,
            checkpoint_every: 1.0,
            ..self.measured_lane()
        }
    }
}

/// The standard deviation of the logarithm of log-normal times, from their mean and p99.
fn log_normal_spread(mean: f64, p99: f64) -> f64 {
    // p99 / mean = exp(z s - s^2 / 2); the smaller of the two solutions.
    let ratio = p99 / mean;
    if mean <= 0.0 || ratio <= 1.0 {
        return 0.0;
    }
    NORMAL_P99 - (NORMAL_P99 * NORMAL_P99 - 2.0 * ratio.ln()).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_costs_of_a_lane_are_those_that_were_measured() {
        let lane = Inputs::default().measured_lane();
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.001;
        assert!(near(1.0 / lane.group_time(1.0), 661.0), "{lane:?}");
        assert!(near(32.8 / lane.group_time(32.8), 10_041.0), "{lane:?}");
        let cpu = lane.group_cpu + 8.1 * lane.write_cpu;
        assert!(near(8.1 * 2.0 / cpu, 12_551.0), "{lane:?}");
    }

    #[test]
    fn the_spread_gives_mean_and_p99() {
        let (mean, p99) = (0.6, 6.0);
        let spread = log_normal_spread(mean, p99);
        let found = mean * (NORMAL_P99 * spread - spread * spread / 2.0).exp();
        assert!((found / p99 - 1.0).abs() < 1e-6 && spread < NORMAL_P99, "{spread} {found}");
        assert_eq!(log_normal_spread(0.6, 0.5), 0.0);
    }

    #[test]
    fn inputs_are_set_by_name_within_their_range() {
        let mut inputs = Inputs::default();
        inputs.set("cores", 16.0).expect("in range");
        assert_eq!(inputs.cores, 16.0);
        assert_eq!(inputs.set("corse", 1.0), Err(InputError::Unknown("corse".to_owned())));
        for (name, value) in
            [("cores", 1.5), ("utilisation", 1.1), ("disk", 0.0), ("disk", f64::NAN)]
        {
            let error = inputs.set(name, value).expect_err("out of range");
            assert!(error.to_string().starts_with(&format!("`{name}` must be a")), "{error}");
        }
        assert!(inputs.list().iter().all(|input| !input.source.is_empty()));
    }
}
