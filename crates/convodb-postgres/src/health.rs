//! Health: what a database promises of an acknowledged write, how far its standbys are, and whether it
//! reads lists by their indexes.

use tokio_postgres::Row;

use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::plan_check;
use crate::rows::Columns;

/// The state of the database of a [`Cluster`], from [`Cluster::health`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterHealth {
    /// Where an acknowledged write is.
    pub durability: ClusterDurability,
    /// The standbys that are connected to the primary.
    pub standbys: Vec<Standby>,
    /// The list that a plan reads by anything but its index, with the step: see [`Error::SlowPlan`].
    /// New connections are refused until it is repaired.
    pub slow_plan: Option<String>,
}

/// Where a write is when it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterDurability {
    /// In memory: a crash of the primary loses it (`fsync` or `synchronous_commit` is off).
    Memory,
    /// On the disk of the primary, and on no other (`synchronous_standby_names` is empty, or
    /// `synchronous_commit` is `local`). A failover loses what no standby has received.
    Primary,
    /// On the disk of the primary and on a standby, or more. A failover to one of those loses nothing.
    Quorum,
}

/// A standby, as its primary sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standby {
    /// Its `application_name`; Patroni names the member.
    pub name: String,
    /// Whether commits wait for it, or for it or others.
    pub is_synchronous: bool,
    /// The bytes of WAL that it has not replayed; `None` if the role may not see it: grant it
    /// `pg_monitor`.
    pub lag_bytes: Option<u64>,
}

impl ClusterHealth {
    /// What an operator should change, as sentences for a log or a probe; empty if nothing.
    ///
    /// That no standby is connected is a warning only where commits wait for one: elsewhere it is a
    /// choice.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        match self.durability {
            ClusterDurability::Memory => warnings.push(
                "fsync or synchronous_commit is off: a crash loses acknowledged writes".to_owned(),
            ),
            ClusterDurability::Primary => warnings.push(
                "no strict quorum, synchronous_standby_names is empty or synchronous_commit local: \
                 a failover can lose acknowledged writes"
                    .to_owned(),
            ),
            ClusterDurability::Quorum => {
                if !self.standbys.iter().any(|standby| standby.is_synchronous) {
                    warnings.push("no synchronous standby is connected: writes wait".to_owned());
                }
            }
        }
        warnings.extend(self.slow_plan.clone());
        warnings
    }
}

impl Cluster {
    /// The state of the database now. Three round trips to the primary. The last explains every
    /// page statement (some milliseconds of its CPU); so ask at most every few seconds.
    ///
    /// # Errors
    /// [`Error::ReadTimedOut`], [`Error::Unavailable`] or a fault of the database: writes fail, too.
    pub async fn health(&self) -> Result<ClusterHealth> {
        let settings = "select current_setting('fsync'), current_setting('synchronous_commit'), \
                        current_setting('synchronous_standby_names')";
        let standbys = "select coalesce(application_name, ''), \
                        coalesce(sync_state in ('sync', 'quorum'), false), \
                        pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint \
                        from pg_stat_replication order by application_name, pid";
        let session = self.pool.get().await?;
        let durability = durability(&session.query_one(settings, &[]).await?)?;
        let standbys = session.query(standbys, &[]).await?;
        let standbys = standbys.iter().map(standby).collect::<Result<Vec<_>>>()?;
        let slow_plan = match session.run(plan_check::check).await {
            Ok(()) => None,
            Err(error @ Error::SlowPlan { .. }) => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        Ok(ClusterHealth { durability, standbys, slow_plan })
    }
}

fn durability(row: &Row) -> Result<ClusterDurability> {
    let mut columns = Columns::new(row, 0, "settings");
    let (fsync, commit): (&str, &str) = (columns.next()?, columns.next()?);
    let standbys: &str = columns.next()?;
    Ok(match (fsync, commit) {
        ("off", _) | (_, "off") => ClusterDurability::Memory,
        (_, "local") => ClusterDurability::Primary,
        _ if standbys.is_empty() => ClusterDurability::Primary,
        _ => ClusterDurability::Quorum,
    })
}

fn standby(row: &Row) -> Result<Standby> {
    let mut columns = Columns::new(row, 0, "pg_stat_replication");
    let (name, is_synchronous) = (columns.next()?, columns.next()?);
    let lag: Option<i64> = columns.next()?;
    // It is negative when the standby has replayed more than was current a moment before.
    Ok(Standby { name, is_synchronous, lag_bytes: lag.map(|lag| lag.max(0).unsigned_abs()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_say_what_is_missing() {
        let standby = |is_synchronous| Standby {
            name: "node1".to_owned(),
            is_synchronous,
            lag_bytes: Some(0),
        };
        let health = |durability, standbys: &[Standby]| ClusterHealth {
            durability,
            standbys: standbys.to_vec(),
            slow_plan: None,
        };
        let warnings = |health: &ClusterHealth| health.warnings().join("; ");
        let strict = health(ClusterDurability::Quorum, &[standby(true)]);
        assert_eq!(warnings(&strict), "");
        let waiting = health(ClusterDurability::Quorum, &[standby(false)]);
        assert!(warnings(&waiting).contains("writes wait"));
        let alone = health(ClusterDurability::Primary, &[standby(false)]);
        assert!(warnings(&alone).contains("no strict quorum"));
        let memory = health(ClusterDurability::Memory, &[]);
        assert!(warnings(&memory).contains("fsync"));
        let slow = ClusterHealth { slow_plan: Some("a sort".to_owned()), ..strict };
        assert_eq!(warnings(&slow), "a sort");
    }
}
