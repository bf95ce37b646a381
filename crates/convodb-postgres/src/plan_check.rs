//! Plan check: that PostgreSQL reads each list by its own index and nothing else.
//!
//! The settings belong to the session, so the check runs on each new connection, in one round trip.
//! A connection that a proxy or a role's settings made unfit is refused: its pages would be right,
//! but they would cost more with each conversation.
//!
//! Of tables that Citus distributes, the plan of the worker is checked, and that it is the only task.

use serde_json::Value as Json;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::error::{Error, Result};
use crate::page_statement::PageStatement;

/// What a session sets: the settings of the planner, and one plan a statement for all parameters. Citus
/// plans by the owner, so there each call is planned.
pub(crate) fn settings() -> String {
    format!(
        "{PLANNER_SETTINGS} set plan_cache_mode = force_generic_plan; \
         select set_config('plan_cache_mode', 'force_custom_plan', false) \
         from pg_extension where extname = 'citus';"
    )
}

/// The settings of the planner. Sorts, scans and joins that no page needs cannot be turned off
/// altogether; they cost so much that every other plan is preferred. No compilation, which such costs
/// would trigger.
pub(crate) const PLANNER_SETTINGS: &str = "
set enable_sort = off; set enable_incremental_sort = off; set enable_seqscan = off;
set enable_bitmapscan = off; set enable_hashjoin = off; set enable_mergejoin = off;
set enable_material = off; set enable_memoize = off; set jit = off;
set max_parallel_workers_per_gather = 0;";

/// Checks the plans of all page statements.
///
/// # Errors
/// [`Error::SlowPlan`] for the first statement whose plan reads anything but its index.
pub(crate) async fn check(client: &Client) -> Result<()> {
    let statements: Vec<PageStatement> = PageStatement::all().collect();
    let mut script = String::new();
    for statement in &statements {
        let sql = statement.sql();
        let arguments = sql.examples(statement.is_union);
        script.push_str(&explained(&sql.text, &arguments, "costs off"));
    }
    let plans = plans(client, &script).await?;
    if plans.len() != statements.len() {
        return Err(Error::Unavailable("EXPLAIN returned too few plans".to_owned()));
    }
    for (statement, plan) in statements.iter().zip(&plans) {
        if let Some(found) = other_read(plan, *statement) {
            let list = format!("{statement:?}");
            return Err(Error::SlowPlan { list, index: statement.shape.index(), found });
        }
    }
    Ok(())
}

/// A script that explains a statement as it runs when it is prepared.
pub(crate) fn explained(sql: &str, arguments: &str, options: &str) -> String {
    format!(
        "prepare explained_page as {sql}; \
         explain (format json, {options}) execute explained_page({arguments}); \
         deallocate explained_page;"
    )
}

/// A script that explains a statement with these parameters in its text. Citus explains what workers
/// do as JSON only so.
pub(crate) fn explained_inline(sql: &str, arguments: &[String], options: &str) -> String {
    let mut text = sql.to_owned();
    for (at, argument) in arguments.iter().enumerate().rev() {
        text = text.replace(&format!("${}", at + 1), argument);
    }
    format!("explain (format json, {options}) {text}")
}

/// Whether a plan is of tables that Citus distributes.
pub(crate) fn is_distributed(plan: &Json) -> bool {
    plan.get("Distributed Query").is_some()
}

/// The plans that a script of `explain` statements returns.
pub(crate) async fn plans(client: &Client, script: &str) -> Result<Vec<Json>> {
    let mut plans = Vec::new();
    for message in client.simple_query(script).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let plan = row.get(0).and_then(|text| serde_json::from_str::<Json>(text).ok());
            let plan = plan.and_then(|plan| plan.get(0)?.get("Plan").cloned());
            let unreadable = || Error::Unavailable("EXPLAIN returned no plan".to_owned());
            plans.push(plan.ok_or_else(unreadable)?);
        }
    }
    Ok(plans)
}

/// The first step of a plan that reads other entries than those of the range.
fn other_read(plan: &Json, statement: PageStatement) -> Option<String> {
    let text = |name| plan.get(name).and_then(Json::as_str).unwrap_or_default();
    let node = text("Node Type");
    let is_index_scan = matches!(node, "Index Scan" | "Index Only Scan");
    let (index, table) = (logical_name(text("Index Name")), logical_name(text("Relation Name")));
    let describe = || Some(format!("{node} {index} of {table}"));
    if plan.get("Relation Name").is_some() && (!is_index_scan || plan.get("Filter").is_some()) {
        return describe();
    }
    if table == "conversation" && index != statement.shape.index() {
        return describe();
    }
    if let Some(distributed) = plan.get("Distributed Query") {
        let tasks = distributed.pointer("/Job/Task Count").and_then(Json::as_u64);
        if tasks != Some(1) || distributed.get("Subplans").is_some() {
            return Some(format!("{} tasks, or subplans", tasks.unwrap_or_default()));
        }
    }
    if node.contains("Sort") && !statement.is_union {
        return describe();
    }
    children(plan).find_map(|child| other_read(child, statement))
}

/// The number of entries of conversations that an executed plan read.
pub(crate) fn entries_read(plan: &Json) -> u64 {
    let number = |name| plan.get(name).and_then(Json::as_f64).unwrap_or_default();
    let table = plan.get("Relation Name").and_then(Json::as_str).unwrap_or_default();
    let of_list = logical_name(table) == "conversation";
    let discarded = number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
    let rows = (number("Actual Rows") + discarded) * number("Actual Loops");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of rows")]
    let own = if of_list { rows.round() as u64 } else { 0 };
    own + children(plan).map(entries_read).sum::<u64>()
}

/// The steps below a step: of the plan itself, and of the tasks on workers.
fn children(plan: &Json) -> impl Iterator<Item = &Json> {
    let tasks = items(plan.pointer("/Distributed Query/Job/Tasks"));
    let remote = tasks.flat_map(|task| items(task.get("Remote Plan")));
    let remote = remote.flat_map(|plans| items(Some(plans))).filter_map(|plan| plan.get("Plan"));
    items(plan.get("Plans")).chain(remote)
}

fn items(list: Option<&Json>) -> impl Iterator<Item = &Json> {
    list.and_then(Json::as_array).into_iter().flatten()
}

/// The name of a table or index, without the number of its shard.
fn logical_name(name: &str) -> &str {
    let shard = name.rsplit_once('_').filter(|(_, number)| number.parse::<u64>().is_ok());
    shard.map_or(name, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::INDEXES;
    use crate::shape::Shape;
    use serde_json::json;

    fn statement() -> PageStatement {
        let shape = Shape(&[crate::shape::Column::Kind]);
        PageStatement { shape, is_union: false, is_ascending: true, looks_behind: false }
    }

    #[track_caller]
    fn check(scan: &Json, expected: Option<&str>) {
        let plan = json!({ "Node Type": "Limit", "Plans": [scan] });
        assert_eq!(other_read(&plan, statement()).as_deref(), expected);
    }

    #[test]
    fn only_the_index_of_the_list_is_accepted() {
        let scan = |node: &str, index: &str| {
            json!({ "Node Type": node, "Relation Name": "conversation", "Index Name": index,
                    "Actual Rows": 4, "Actual Loops": 2 })
        };
        let right = scan("Index Scan", "conversation_k");
        check(&right, None);
        let other = "Index Scan conversation_pkey of conversation";
        check(&scan("Index Scan", "conversation_pkey"), Some(other));
        check(&scan("Seq Scan", ""), Some("Seq Scan  of conversation"));
        check(&json!({ "Node Type": "Sort", "Plans": [right] }), Some("Sort  of "));
        let mut filtered = right.clone();
        filtered["Filter"] = json!("(kind = 1)");
        check(&filtered, Some("Index Scan conversation_k of conversation"));
        filtered["Rows Removed by Filter"] = json!(10);
        assert_eq!(entries_read(&right), 8);
        assert_eq!(entries_read(&json!({ "Plans": [filtered] })), 28);
    }

    #[test]
    fn the_plan_of_a_worker_is_checked_and_is_the_only_task() {
        let on_worker = |index: &str, tasks: u64| {
            let scan = json!({ "Node Type": "Index Scan", "Relation Name": "conversation_102008",
                "Index Name": index, "Actual Rows": 3, "Actual Loops": 1 });
            let task = json!({ "Node": "worker1", "Remote Plan": [[{ "Plan": scan }]] });
            json!({ "Node Type": "Custom Scan",
                "Distributed Query": { "Job": { "Task Count": tasks, "Tasks": [task] } } })
        };
        let right = on_worker("conversation_k_102008", 1);
        check(&right, None);
        assert_eq!(entries_read(&right), 3);
        let other = "Index Scan conversation_pkey of conversation";
        check(&on_worker("conversation_pkey_102008", 1), Some(other));
        check(&on_worker("conversation_k_102008", 32), Some("32 tasks, or subplans"));
    }

    #[test]
    fn a_shard_has_the_name_of_its_table_and_a_number() {
        assert_eq!(logical_name("conversation_ca_102008"), "conversation_ca");
        assert_eq!(logical_name("conversation_102008"), "conversation");
        for name in INDEXES.split("index ").skip(1) {
            let name = name.split(' ').next().unwrap_or_default();
            assert_eq!(logical_name(name), name);
        }
    }
}
