//! Demand of a number of conversations, the shards that carry it, and the limit that decides.

use serde::Serialize;

use crate::inputs::{Deployment, Inputs};
use crate::population;

/// Seconds of a year.
const YEAR: f64 = 365.0 * 86_400.0;

/// What a number of conversations demands.
#[derive(Clone, Debug, Serialize)]
pub struct Demand {
    /// Conversations.
    pub conversations: f64,
    /// Users.
    pub users: usize,
    /// Their shares, the largest first.
    #[serde(skip)]
    pub shares: Vec<f64>,
    /// The share of the largest user.
    pub largest_share: f64,
    /// Conversations created a second, on average over the last year.
    pub creates: f64,
    /// Creates and appends a second, on average over the last year.
    pub average_writes: f64,
    /// Creates and appends a second at the peak.
    pub writes: f64,
    /// Pages a second at the peak.
    pub pages: f64,
    /// Retained changes.
    pub changes: f64,
}

impl Demand {
    /// The demand of a number of conversations at the end of the last year.
    #[must_use]
    pub fn new(inputs: &Inputs, conversations: f64) -> Self {
        let of_last_year = conversations * share_of_last_year(inputs, inputs.years);
        Self::with_creates(inputs, conversations, of_last_year / YEAR)
    }

    fn with_creates(inputs: &Inputs, conversations: f64, creates: f64) -> Self {
        let users = whole(conversations / inputs.conversations_per_user).max(1);
        let shares = population::shares(users, inputs.skew);
        let average_writes = creates * (1.0 + inputs.messages);
        let writes = average_writes * inputs.peak;
        let written = average_writes * inputs.change_days * 86_400.0;
        let retained = |share: &f64| (share * written).min(inputs.retained_changes);
        Self {
            conversations,
            users,
            largest_share: shares[0],
            creates,
            average_writes,
            writes,
            pages: writes * inputs.pages_per_write,
            changes: shares.iter().map(retained).sum(),
            shares,
        }
    }

    /// Bytes of one copy.
    #[must_use]
    pub fn bytes(&self, inputs: &Inputs, deployment: Deployment) -> f64 {
        self.conversations * conversation_bytes(inputs, deployment)
            + self.changes * inputs.change_bytes
    }
}

/// Bytes of a conversation with its messages and index entries.
#[must_use]
pub fn conversation_bytes(inputs: &Inputs, deployment: Deployment) -> f64 {
    let row = match deployment {
        Deployment::File => inputs.file_row_bytes,
        Deployment::OnePrimary | Deployment::Sharded => inputs.row_bytes + inputs.index_bytes,
    };
    row + inputs.messages * inputs.message_bytes
}

/// The share of all conversations up to a year that this year created.
fn share_of_last_year(inputs: &Inputs, year: f64) -> f64 {
    let years = whole(year);
    let created = |year: usize| inputs.growth.powi(i32::try_from(year).unwrap_or(i32::MAX));
    created(years.saturating_sub(1)) / (0..years).map(created).sum::<f64>()
}

/// What limits a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Disk space.
    Disk,
    /// Processor time at the peak.
    Processor,
    /// WAL at the peak, to disk and standbys.
    Wal,
    /// Random reads of the disk at the peak.
    Reads,
    /// Writes of one lane at the peak: of the largest user, or of the file.
    Lane,
    /// The largest user, whose shard can have no other.
    LargestUser,
}

impl Limit {
    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk space",
            Self::Processor => "processor",
            Self::Wal => "WAL",
            Self::Reads => "disk reads",
            Self::Lane => "one lane",
            Self::LargestUser => "largest user",
        }
    }
}

/// A limit, and what is used of it: 1 is all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Use {
    /// The limit.
    pub limit: Limit,
    /// What is used, to what one shard has.
    pub used: f64,
}

/// The machines for a demand.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The kind.
    pub deployment: Deployment,
    /// The demand.
    pub demand: Demand,
    /// Bytes of one copy.
    pub bytes: f64,
    /// Primaries.
    pub shards: usize,
    /// Database nodes: primaries, standbys and coordinators with theirs.
    pub database_nodes: usize,
    /// HTTP servers.
    pub servers: usize,
    /// What all the demand uses of one shard, the most used limit first.
    pub uses: Vec<Use>,
    /// The limit that makes the plan impossible.
    pub breaks: Option<Use>,
}

impl Plan {
    /// Plans a deployment.
    #[must_use]
    pub fn new(inputs: &Inputs, deployment: Deployment, demand: Demand) -> Self {
        let bytes = demand.bytes(inputs, deployment);
        let uses = uses(inputs, deployment, &demand, bytes);
        let servers = servers(inputs, deployment, &demand);
        let (shards, breaks) = match deployment {
            Deployment::File | Deployment::OnePrimary => {
                (1, uses.first().copied().filter(|most| most.used > 1.0))
            }
            Deployment::Sharded => shards(&demand, &uses),
        };
        let database_nodes = match deployment {
            Deployment::File => 1,
            Deployment::OnePrimary => whole(inputs.copies),
            Deployment::Sharded => (shards + coordinators(inputs, &demand)) * whole(inputs.copies),
        };
        Self { deployment, bytes, shards, database_nodes, servers, uses, breaks, demand }
    }

    /// The limit that decides the number of shards, or that is nearest.
    #[must_use]
    pub fn first_limit(&self) -> Use {
        let none = Use { limit: Limit::Disk, used: 0.0 };
        self.breaks.or_else(|| self.uses.first().copied()).unwrap_or(none)
    }
}

/// What the demand uses of one shard, the most used limit first. A lane cannot be divided.
fn uses(inputs: &Inputs, deployment: Deployment, demand: &Demand, bytes: f64) -> Vec<Use> {
    let service = inputs.service(deployment);
    let in_memory = (inputs.memory * 1e9 / bytes).min(1.0);
    let cold = if in_memory < 1.0 { inputs.cold_share } else { 0.0 };
    let group_cpu = service.group_cpu + service.write_cpu + service.checkpoint_cpu;
    let http = if deployment == Deployment::File { inputs.request_ms / 1e3 } else { 0.0 };
    let cpu = demand.writes * (group_cpu + http) + demand.pages * service.page_cpu;
    let creates = demand.creates * inputs.peak;
    let reads =
        demand.pages * cold * inputs.cold_reads + creates * inputs.leaf_reads * (1.0 - in_memory);
    let lane_share = if deployment == Deployment::File { 1.0 } else { demand.largest_share };
    let mut uses = vec![
        Use { limit: Limit::Disk, used: bytes * inputs.disk_headroom / (inputs.disk * 1e12) },
        Use { limit: Limit::Processor, used: cpu / (inputs.cores * inputs.utilisation) },
        Use { limit: Limit::Reads, used: reads / inputs.disk_reads },
        Use {
            limit: Limit::Lane,
            used: demand.writes * lane_share / lane_rate(inputs, deployment),
        },
    ];
    if deployment != Deployment::File {
        let wal = demand.writes * inputs.wal_bytes / (inputs.wal_rate * 1e6);
        uses.push(Use { limit: Limit::Wal, used: wal });
    }
    uses.sort_by(|a, b| b.used.total_cmp(&a.used));
    uses
}

/// Writes a second of a lane whose groups are as large as they may be.
#[must_use]
pub fn lane_rate(inputs: &Inputs, deployment: Deployment) -> f64 {
    let service = inputs.service(deployment);
    let group = service.max_group as f64;
    group / service.group_time(group) * inputs.utilisation
}

/// The number of shards, and what breaks: a user's data and lane are on one shard.
fn shards(demand: &Demand, uses: &[Use]) -> (usize, Option<Use>) {
    let lane = uses.iter().find(|of| of.limit == Limit::Lane).copied();
    let most = uses.iter().filter(|of| of.limit != Limit::Lane).map(|of| of.used);
    let most = most.fold(0.0, f64::max);
    let largest = Use { limit: Limit::LargestUser, used: most * demand.largest_share };
    let breaks = lane.filter(|lane| lane.used > largest.used).unwrap_or(largest);
    let breaks = (breaks.used > 1.0).then_some(breaks);
    (whole(most.ceil()).max(1), breaks)
}

/// Coordinators, by their processor time; each has its standbys.
fn coordinators(inputs: &Inputs, demand: &Demand) -> usize {
    let busy = (demand.writes + demand.pages) * inputs.coordinator_ms / 1e3;
    whole((busy / (inputs.cores * inputs.utilisation)).ceil()).max(1)
}

/// HTTP servers, two at least: by processor time, and so that groups use half of the connections.
fn servers(inputs: &Inputs, deployment: Deployment, demand: &Demand) -> usize {
    if deployment == Deployment::File {
        return 0;
    }
    let busy = (demand.writes + demand.pages) * inputs.request_ms / 1e3;
    let by_processor = busy / (inputs.cores * inputs.utilisation);
    let connections = demand.writes * inputs.service(deployment).group_time(1.0);
    let by_connections = connections / (inputs.write_connections * 0.5);
    whole(by_processor.max(by_connections).ceil()).max(2)
}

/// A year of growth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Year {
    /// The year, from 1.
    pub year: usize,
    /// Conversations at its end.
    pub conversations: f64,
    /// Bytes of one copy.
    pub bytes: f64,
    /// Primaries.
    pub shards: usize,
    /// Bytes of one copy that new shards take over during the year.
    pub moved: f64,
    /// Days that this takes, one move at a time.
    pub move_days: f64,
}

/// The years until a number of conversations, on shards.
#[must_use]
pub fn years(inputs: &Inputs, conversations: f64) -> Vec<Year> {
    let mut years: Vec<Year> = Vec::new();
    for year in 1..=whole(inputs.years) {
        let created = |of: usize| inputs.growth.powi(i32::try_from(of).unwrap_or(i32::MAX));
        let all: f64 = (0..whole(inputs.years)).map(created).sum();
        let at_end = conversations * (0..year).map(created).sum::<f64>() / all;
        let creates = conversations * created(year - 1) / all / YEAR;
        let plan =
            Plan::new(inputs, Deployment::Sharded, Demand::with_creates(inputs, at_end, creates));
        let before = years.last().map_or(plan.shards, |before| before.shards);
        let added = plan.shards.saturating_sub(before) as f64 / plan.shards as f64;
        let moved = years.last().map_or(0.0, |before| before.bytes) * added;
        let move_days = moved / (inputs.move_rate * 1e6) / 86_400.0;
        let (bytes, shards) = (plan.bytes, plan.shards);
        years.push(Year { year, conversations: at_end, bytes, shards, moved, move_days });
    }
    years
}

/// A count; fractions are dropped.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
pub(crate) fn whole(count: f64) -> usize {
    count as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(deployment: Deployment, conversations: f64) -> Plan {
        let inputs = Inputs::default();
        Plan::new(&inputs, deployment, Demand::new(&inputs, conversations))
    }

    #[test]
    fn all_conversations_in_one_year_give_the_rates_by_hand() {
        let mut inputs = Inputs::default();
        inputs.set("years", 1.0).expect("in range");
        let demand = Demand::new(&inputs, 1e10);
        assert!((demand.creates - 317.1).abs() < 0.1, "{}", demand.creates);
        assert!((demand.writes - 317.1 * 9.0 * 5.0).abs() < 5.0, "{}", demand.writes);
        // 730 bytes of row and index entries, 8 messages of 280 bytes.
        assert_eq!(conversation_bytes(&inputs, Deployment::Sharded), 2_970.0);
    }

    #[test]
    fn growth_by_two_creates_four_sevenths_in_the_third_year() {
        let inputs = Inputs::default();
        assert!((share_of_last_year(&inputs, 3.0) - 4.0 / 7.0).abs() < 1e-12);
        let years = years(&inputs, 7e9);
        let conversations: Vec<f64> = years.iter().map(|year| year.conversations.round()).collect();
        assert_eq!(conversations, [1e9, 3e9, 7e9]);
        assert!(years[0].moved == 0.0 && years[1].moved < years[0].bytes);
    }

    #[test]
    fn changes_of_a_large_user_are_bounded() {
        let inputs = Inputs::default();
        let demand = Demand::new(&inputs, 1e10);
        let written = demand.writes / inputs.peak * inputs.change_days * 86_400.0;
        assert!(demand.changes < written && demand.changes > 1e6, "{}", demand.changes);
        assert!(demand.shares[0] * written > inputs.retained_changes);
    }

    #[test]
    fn one_machine_breaks_where_its_disk_is_full() {
        assert!(plan(Deployment::File, 1e8).breaks.is_none());
        for deployment in [Deployment::File, Deployment::OnePrimary] {
            let breaks = plan(deployment, 1e10).breaks.expect("too large");
            assert!(breaks.used > 10.0, "{breaks:?}");
        }
    }

    #[test]
    fn shards_are_as_many_as_the_most_used_limit_needs() {
        let plan = plan(Deployment::Sharded, 1e10);
        let most = plan.uses.iter().filter(|of| of.limit != Limit::Lane);
        let most = most.map(|of| of.used).fold(0.0, f64::max);
        assert!(plan.shards as f64 >= most && (plan.shards as f64) < most + 1.0);
    }

    #[test]
    fn a_user_beyond_a_shard_breaks_the_plan() {
        let mut inputs = Inputs::default();
        inputs.set("skew", 1.2).expect("in range");
        let plan = Plan::new(&inputs, Deployment::Sharded, Demand::new(&inputs, 1e10));
        let breaks = plan.breaks.expect("a fifth of all is one user's");
        assert_eq!(breaks.limit, Limit::LargestUser);
    }
}
