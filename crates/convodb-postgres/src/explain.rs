//! What PostgreSQL reads for a page, counted by itself.

use convodb::{ListRequest, UserId};

use crate::cluster::Cluster;
use crate::error::Result;
use crate::page_statement::PageStatement;
use crate::plan_check;
use crate::values::Value;

/// What PostgreSQL did for a page: see [`Cluster::explain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageExplanation {
    /// The number of entries of conversations that were read.
    pub entries: u64,
    /// The number of index ranges that the list is a union of; 0 if no conversation can match.
    pub ranges: usize,
}

impl Cluster {
    /// Executes the statement of a page and counts what it reads, by `EXPLAIN ANALYZE`.
    ///
    /// # Errors
    /// As [`Cluster::list`].
    pub async fn explain(&self, user: UserId, request: &ListRequest) -> Result<PageExplanation> {
        let plan = self.keys().plan(user, request, self.restriction)?;
        let ranges = plan.ranges().len();
        let Some(statement) = PageStatement::of(&plan)? else {
            return Ok(PageExplanation { entries: 0, ranges });
        };
        let sql = statement.sql();
        let values = sql.values(user, &plan, plan.gap(), plan.page_size() + 1)?;
        let values: Vec<String> = values.iter().map(Value::literal).collect();
        let session = self.pool.get().await?;
        let script = plan_check::explained(&sql.text, &values.join(", "), "costs off");
        let plans = session.run(|client| plan_check::plans(client, &script)).await?;
        let options = "analyze, timing off, costs off";
        let script = match plans.iter().any(plan_check::is_distributed) {
            true => plan_check::explained_inline(&sql.text, &values, options),
            false => plan_check::explained(&sql.text, &values.join(", "), options),
        };
        let plans = session.run(|client| plan_check::plans(client, &script)).await?;
        let entries = plans.iter().map(plan_check::entries_read).sum();
        Ok(PageExplanation { entries, ranges })
    }
}
