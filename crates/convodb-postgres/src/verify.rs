//! Verification: an audit of all rows as of one moment.
//!
//! What an embedded store verifies by checksums, the database verifies by its own. What is left are
//! the rules between tables, which a manual change of a table would break: fingerprints of rows,
//! numbers of messages, counters, quotas and the numbers of changes.

use std::collections::BTreeMap;

use convodb::seam::{Counter, Keys};
use convodb::{Conversation, UserId};
use futures_util::TryStreamExt;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};
use uuid::Uuid;

use crate::error::Result;
use crate::page_statement::{COLUMN_COUNT, COLUMNS};
use crate::rows::{self, Columns};

/// The result of [`Cluster::verify`](crate::Cluster::verify).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The number of users.
    pub users: u64,
    /// The number of conversations.
    pub conversations: u64,
    /// The number of messages.
    pub messages: u64,
    /// The number of changes in the feeds of all users.
    pub changes: u64,
    /// What is wrong: at most 100 findings.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The table.
    pub table: &'static str,
    /// What is wrong.
    pub what: String,
    /// The user whose data it is.
    pub user: UserId,
}

impl VerifyReport {
    /// The most findings of a report.
    pub const MAX_FINDINGS: usize = 100;

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn add(&mut self, table: &'static str, what: impl Into<String>, owner: i32) {
        if self.findings.len() < Self::MAX_FINDINGS {
            let user = UserId::new(u32::try_from(owner).unwrap_or_default());
            self.findings.push(Finding { table, what: what.into(), user });
        }
    }
}

/// Queries that return the owners of what is wrong: the table, what is wrong, and the query.
const RULES: [(&str, &str, &str); 7] = [
    (
        "head",
        "a user has no feed",
        "select a.id from account a left join head h on h.owner = a.id where h.owner is null",
    ),
    (
        "change",
        "changes are missing, or there are too many",
        "select h.owner from head h left join lateral (select count(*) n, min(number) first, \
         max(number) last from change where owner = h.owner) c on true \
         where c.n <> h.feed - h.trimmed or c.n > 0 and (c.first <> h.trimmed + 1 \
         or c.last <> h.feed)",
    ),
    (
        "change",
        "changes are of no user",
        "select distinct owner from change where not exists \
         (select from head h where h.owner = change.owner)",
    ),
    (
        "message",
        "a conversation has not as many messages as were stored",
        "select c.owner from conversation c left join lateral (select count(*) n, max(number) last \
         from message where owner = c.owner and pos = c.pos) m on true \
         where m.n <> c.stored or m.n > 0 and m.last <> c.stored or c.stored > c.message_count",
    ),
    (
        "message",
        "messages are of no conversation",
        "select distinct m.owner from message m where not exists \
         (select from conversation c where c.owner = m.owner and c.pos = m.pos)",
    ),
    (
        "head",
        "the number of conversations is wrong",
        "select h.owner from head h where h.conversations <> \
         (select count(*) from conversation c where c.owner = h.owner)",
    ),
    (
        "assistant",
        "an assistant has a number that was never assigned",
        "select a.owner from assistant a join head h on h.owner = a.owner \
         where a.number > h.assistants",
    ),
];

/// Audits the store.
pub(crate) async fn verify(client: &mut Client, keys: &Keys) -> Result<VerifyReport> {
    let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
    let transaction = transaction.read_only(true).start().await?;
    let mut report = VerifyReport::default();
    for (count, table) in [
        (&mut report.users, "account"),
        (&mut report.messages, "message"),
        (&mut report.changes, "change"),
    ] {
        let row = transaction.query_one(&format!("select count(*) from {table}"), &[]).await?;
        *count = Columns::new(&row, 0, table).unsigned()?;
    }
    for (table, what, sql) in RULES {
        for row in transaction.query(sql, &[]).await? {
            report.add(table, what, Columns::new(&row, 0, table).next()?);
        }
    }
    conversations(&transaction, keys, &mut report).await?;
    transaction.commit().await?;
    Ok(report)
}

/// The counters of a user, by bucket, assistant and type.
type Counters = BTreeMap<(u32, Uuid, u8), (i64, i64, i128)>;

/// Audits each conversation, and the counters of each user.
async fn conversations(
    transaction: &Transaction<'_>,
    keys: &Keys,
    report: &mut VerifyReport,
) -> Result<()> {
    let owners = "select owner from conversation union select owner from total order by owner";
    for owner in transaction.query(owners, &[]).await? {
        let owner: i32 = Columns::new(&owner, 0, "conversation").next()?;
        let counted = rows_of(transaction, keys, owner, report).await?;
        let sql = "select span, assistant, kind, conversations, messages, cost::text from total \
                   where owner = $1";
        let mut stored = Counters::new();
        for row in transaction.query(sql, &[&owner]).await? {
            match rows::counter(&row) {
                Ok(counter) => add(&mut stored, &counter),
                Err(error) => report.add("total", error.to_string(), owner),
            }
        }
        if stored != counted {
            report.add("total", "counters differ from the conversations", owner);
        }
    }
    Ok(())
}

/// Audits the conversations of a user, and counts them.
async fn rows_of(
    transaction: &Transaction<'_>,
    keys: &Keys,
    owner: i32,
    report: &mut VerifyReport,
) -> Result<Counters> {
    let sql = format!(
        "select {COLUMNS}, c.sender_fp, c.customer_fp, c.external_fp, a.fp from conversation c \
         left join assistant a on a.owner = c.owner and a.number = c.assistant where c.owner = $1"
    );
    let owner_value: &(dyn ToSql + Sync) = &owner;
    let mut found = std::pin::pin!(transaction.query_raw(&sql, [owner_value]).await?);
    let mut counted = Counters::new();
    while let Some(row) = found.try_next().await? {
        report.conversations += 1;
        match audited(&row, keys) {
            Ok((conversation, fingerprints_match)) => {
                for counter in Counter::of(&conversation.borrowed()) {
                    add(&mut counted, &counter);
                }
                if !fingerprints_match {
                    let what = "a conversation is not in the lists of its fields";
                    report.add("conversation", what, owner);
                }
            }
            Err(error) => report.add("conversation", error.to_string(), owner),
        }
    }
    Ok(counted)
}

/// The conversation of a row, and whether its fingerprints are those of its texts.
fn audited(row: &Row, keys: &Keys) -> Result<(Conversation, bool)> {
    let missing = || crate::error::corrupted("conversation", "a row has no position");
    let (_, conversation) = rows::conversation(row, 0)?.ok_or_else(missing)?;
    let mut columns = Columns::new(row, COLUMN_COUNT, "conversation");
    let terms = keys.terms(conversation.assistant, &conversation.channel);
    let expected = [terms.sender, terms.customer, terms.external, Some(terms.assistant)];
    let mut matches = true;
    for bits in expected {
        matches &= columns.next::<Option<i64>>()? == bits.map(u64::cast_signed);
    }
    Ok((conversation, matches))
}

fn add(counters: &mut Counters, counter: &Counter) {
    let sum = counters.entry((counter.bucket, counter.assistant, counter.kind)).or_default();
    // Sums of stored numbers cannot leave the range in a store, and wrong ones differ anyway.
    sum.0 = sum.0.wrapping_add(counter.conversations);
    sum.1 = sum.1.wrapping_add(counter.messages);
    sum.2 = sum.2.wrapping_add(counter.cost_nanos);
}
