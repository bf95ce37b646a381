//! Health: what the database says of its settings and plans.

use convodb::Store;
use convodb_postgres::{Cluster, ClusterDurability, ClusterOptions};

use crate::{execute, imported, url};

/// A store whose sessions have these settings.
async fn opened(schema: &str, settings: &str) -> Cluster {
    let url = format!("{} options='{settings}'", url());
    let options = ClusterOptions::new(&url).unwrap().schema(schema).unwrap();
    Cluster::open(&options.connections(1).unwrap()).await.unwrap()
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn commits_that_wait_for_no_standby_are_a_warning() {
    imported("health", &Store::in_memory().unwrap()).await;
    let unsynced = opened("health", "-c synchronous_commit=off").await.health().await.unwrap();
    assert_eq!(unsynced.durability, ClusterDurability::Memory);
    assert!(unsynced.standbys.is_empty() && unsynced.slow_plan.is_none(), "{unsynced:?}");
    assert!(unsynced.warnings()[0].contains("a crash loses acknowledged writes"));
}

/// A connection that was checked stays open while an index is dropped.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_plan_that_became_slow_is_a_warning() {
    imported("health_plan", &Store::in_memory().unwrap()).await;
    let cluster = opened("health_plan", "-c synchronous_commit=off").await;
    assert_eq!(cluster.health().await.unwrap().slow_plan, None);
    execute("health_plan", "drop index conversation_ak").await;
    let health = cluster.health().await.unwrap();
    assert!(health.slow_plan.as_ref().is_some_and(|plan| plan.contains("conversation_ak")));
    assert!(health.warnings().iter().any(|warning| warning.contains("conversation_ak")));
}
