//! Count: the number of conversations of a list, from counters and from the ranges of indexes.
//!
//! As in an embedded store without the index family of counters: lists by type and assistant add up
//! the counters of whole days and count the rows of the days that their bounds cut; others count rows.
//! Rows are counted up to a limit, so a count of any list is bounded.

use convodb::seam::ListPlan;
use convodb::{AssistantId, AssistantIds, Count, ListRequest, StatsRequest, UserId};
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::error::{Result, corrupted};
use crate::page_statement::{PageStatement, owner};
use crate::pool::{Session, SessionTransaction, Statements};
use crate::rows::Columns;
use crate::values::Value;

impl Cluster {
    /// The number of conversations of a list, as [`convodb::Snapshot::count`] of a store without
    /// optional indexes. At most three statements, of one committed state: the counters of the days
    /// of the list, and the entries of its index ranges, up to [`Count::MAX_SCANNED`] and one more for
    /// each range.
    ///
    /// [`Count::entries_read`] is the number of conversations that were counted one by one.
    ///
    /// # Errors
    /// As [`Cluster::list`].
    pub async fn count(&self, user: UserId, request: &ListRequest) -> Result<Count> {
        let plan = self.keys().plan(user, request, self.restriction)?;
        let Some(statement) = PageStatement::of(&plan)? else {
            return Ok(Count { is_exact: true, ..Count::default() });
        };
        let readers = self.readers(user);
        readers.read(|session| self.count_in(session, user, &plan, &statement)).await
    }

    async fn count_in(
        &self,
        mut session: Session<'_>,
        user: UserId,
        plan: &ListPlan<'_>,
        statement: &PageStatement,
    ) -> Result<Count> {
        let mut count = Count { is_exact: true, ..Count::default() };
        let transaction = session.read_only_transaction().await?;
        let mut spans = vec![plan.span()];
        if let Some(days) = plan.counted_days() {
            count.conversations = self.count_days(&transaction, user, plan, days).await?;
            spans = plan.spans_around(days).to_vec();
        }
        spans.retain(|(start, end)| start < end);
        let sql = statement.count_sql();
        for span in spans {
            let left = usize::try_from(Count::MAX_SCANNED - count.entries_read);
            let left = left.unwrap_or(usize::MAX);
            let values = sql.values_within(user, plan, span.0, span, left + 1)?;
            let values: Vec<_> = values.iter().map(Value::as_sql).collect();
            let rows = transaction.rows(&sql.text, &values).await?;
            let row =
                rows.first().ok_or_else(|| corrupted("conversation", "a count is missing"))?;
            let found = Columns::new(row, 0, "conversation").unsigned()?;
            let counted = found.min(left as u64);
            count.conversations += counted;
            count.entries_read += counted;
            count.is_exact &= counted == found;
        }
        transaction.commit().await?;
        Ok(count)
    }

    /// The number of conversations of whole days, by counters.
    async fn count_days(
        &self,
        transaction: &SessionTransaction<'_>,
        user: UserId,
        plan: &ListPlan<'_>,
        (first, last): (convodb::Day, convodb::Day),
    ) -> Result<u64> {
        let mut request =
            StatsRequest { kinds: Some(plan.kinds()), ..StatsRequest::new(first, last) };
        let fingerprints: Vec<i64> =
            plan.ranges().filter_map(|terms| terms.assistant).map(u64::cast_signed).collect();
        if !fingerprints.is_empty() {
            let sql = "select id from assistant where owner = $1 and fp = any ($2)";
            let found = transaction.query(sql, &[&owner(user)?, &fingerprints]).await?;
            let ids = found.iter().map(|row| {
                let id: Uuid = Columns::new(row, 0, "assistant").next()?;
                Ok(AssistantId::new(id))
            });
            let ids = ids.collect::<Result<Vec<_>>>()?;
            if ids.is_empty() {
                return Ok(0);
            }
            request.assistants = Some(AssistantIds::new(ids)?);
        }
        Ok(self.sum_counters(transaction, user, &request).await?.total.conversations)
    }
}
