//! Export into an embedded store: each table in the order of its key, as of one moment.
//!
//! The inverse of an import. Index entries, counters and quotas are computed anew from the rows, and
//! the audit of the new store compares them.

use std::path::Path;
use std::pin::pin;

use convodb::seam::{
    FeedRecord, Response, Secrets, StoreLoader, StoredConversation, StoredItem, StoredToken,
};
use convodb::{Assistant, AssistantId};
use futures_util::TryStreamExt;
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Row, Transaction};
use uuid::Uuid;

use crate::accounts::{decode_token, decode_user, decode_user_id};
use crate::citus::ONE_SNAPSHOT;
use crate::cluster::Cluster;
use crate::connection::ClusterOptions;
use crate::copying::{CopyProgress, CopyReport, ROWS_PER_CALL};
use crate::error::{Error, Result, corrupted};
use crate::feed::decode_change;
use crate::page_statement::COLUMNS;
use crate::rows::{self, ACCESS_COLUMNS, Columns, decode_name};
use crate::values::position;
use crate::writes::lookups::decode_head;

/// Rows of one write of the new store.
const BATCH: usize = 1_000;

impl Cluster {
    /// Copies the store into a new embedded store at `target`, as of one moment: all that an
    /// [import](Self::import) copies, with the same secrets, positions and numbers. So tokens, cursors
    /// and idempotency keys of clients stay valid there. What is written to the database during or
    /// after the export is not copied, so stop writing first.
    ///
    /// Writes the store on the calling task, in batches of 1,000 rows. It has no optional indexes.
    ///
    /// # Errors
    /// [`Error::NoStore`]; [`convodb::Error::FileExists`]; [`Error::Inconsistent`] if the rows do not
    /// agree; a fault of the database; or a fault of the new store. There is no file then.
    pub async fn export(
        options: &ClusterOptions,
        target: &Path,
        progress: impl FnMut(CopyProgress) + Send,
    ) -> Result<CopyReport> {
        let cluster = Self::open(options).await?;
        let mut client = options.connect().await?;
        client.batch_execute(ONE_SNAPSHOT).await?;
        let transaction =
            client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
        let transaction = transaction.read_only(true).start().await?;
        let row = transaction.query_one("select coalesce(max(feed), 0) from head", &[]).await?;
        let last_change = Columns::new(&row, 0, "head").unsigned()?;
        let secrets: Secrets = cluster.secrets().clone();
        let loader = StoreLoader::create(target, secrets, cluster.history(), last_change)?;
        let mut export = Export { transaction: &transaction, loader: &loader, progress };
        export.store().await?;
        let report = CopyReport {
            users: export.users().await?,
            tokens: export.tokens().await?,
            assistants: export.assistants().await?,
            conversations: export.conversations().await?,
            messages: export.messages().await?,
            changes: export.changes().await?,
            responses: export.responses().await?,
        };
        export.time_marks().await?;
        export.limits().await?;
        transaction.commit().await?;
        let audit = loader.finish()?;
        match audit.findings.first() {
            Some(finding) => Err(Error::Inconsistent(finding.to_string())),
            None => Ok(report),
        }
    }
}

struct Export<'t, P> {
    transaction: &'t Transaction<'t>,
    loader: &'t StoreLoader,
    progress: P,
}

impl<P: FnMut(CopyProgress) + Send> Export<'_, P> {
    /// Copies the rows of a query, and returns their number.
    async fn copy(
        &mut self,
        table: &'static str,
        sql: &str,
        item: impl Fn(&Row) -> Result<StoredItem>,
    ) -> Result<u64> {
        let none: [&(dyn ToSql + Sync); 0] = [];
        let mut rows = pin!(self.transaction.query_raw(sql, none).await?);
        let (mut items, mut copied) = (Vec::with_capacity(BATCH), 0);
        loop {
            let row = rows.try_next().await?;
            let is_last = row.is_none();
            if let Some(row) = row {
                items.push(item(&row)?);
            }
            if items.len() == BATCH || is_last {
                copied += items.len() as u64;
                self.loader.load(std::mem::take(&mut items))?;
                if is_last || copied % ROWS_PER_CALL == 0 {
                    (self.progress)(CopyProgress { table, rows: copied });
                }
            }
            if is_last {
                return Ok(copied);
            }
        }
    }

    async fn store(&mut self) -> Result<u64> {
        let sql = "select last_user, retention_ms, retention_until_ms from store";
        self.copy("store", sql, |row| {
            let mut columns = Columns::new(row, 0, "store");
            let last_user = columns.unsigned()?;
            let retention = (columns.optional_time()?, columns.optional_time()?);
            Ok(StoredItem::Store { last_user, retention })
        })
        .await
    }

    async fn users(&mut self) -> Result<u64> {
        let sql = "select a.id, a.name, a.created_ms, a.closed, h.trimmed from account a \
                   join head h on h.owner = a.id order by a.id";
        self.copy("account", sql, |row| {
            let mut columns = Columns::new(row, 0, "account");
            Ok(StoredItem::User(decode_user(&mut columns)?, columns.unsigned()?))
        })
        .await
    }

    async fn tokens(&mut self) -> Result<u64> {
        let sql =
            format!("select {ACCESS_COLUMNS}, name, prefix, created_ms from token order by digest");
        self.copy("token", &sql, |row| {
            let access = rows::stored_access(row)?;
            let (digest, scopes) = (access.digest, access.scopes);
            Ok(StoredItem::Token(StoredToken { digest, token: decode_token(row)?, scopes }))
        })
        .await
    }

    async fn assistants(&mut self) -> Result<u64> {
        let sql = "select owner, id, number::bigint, name from assistant order by owner, number";
        self.copy("assistant", sql, |row| {
            let mut columns = Columns::new(row, 0, "assistant");
            let user = decode_user_id(&mut columns)?;
            let id = AssistantId::new(columns.next()?);
            let number = decode_number(&mut columns)?;
            let name = decode_name(&mut columns)?;
            Ok(StoredItem::Assistant(user, Assistant { id, number, name }))
        })
        .await
    }

    async fn conversations(&mut self) -> Result<u64> {
        let sql = format!(
            "select c.owner, c.stored, {COLUMNS} from conversation c left join assistant a \
             on a.owner = c.owner and a.number = c.assistant order by c.owner, c.pos"
        );
        self.copy("conversation", &sql, |row| {
            let mut columns = Columns::new(row, 0, "conversation");
            let (user, stored) = (decode_user_id(&mut columns)?, decode_number(&mut columns)?);
            let missing = || corrupted("conversation", "a row has no position");
            let (position, conversation) = rows::conversation(row, 2)?.ok_or_else(missing)?;
            let row = StoredConversation { position, conversation, stored };
            Ok(StoredItem::Conversation(user, row))
        })
        .await
    }

    async fn messages(&mut self) -> Result<u64> {
        let sql = "select owner, pos, number, role, content, calls, cost, created_ms from message \
                   order by owner, pos, number";
        self.copy("message", sql, |row| {
            let mut columns = Columns::new(row, 0, "message");
            let (user, position) = (decode_user_id(&mut columns)?, position(columns.next()?));
            let damaged = || corrupted("message", "a number is out of range");
            let (number, message) = rows::message(row, 2)?.ok_or_else(damaged)?;
            let number = u32::try_from(number).map_err(|_| damaged())?;
            Ok(StoredItem::Message(user, position, number, message))
        })
        .await
    }

    async fn changes(&mut self) -> Result<u64> {
        let sql = "select owner, number, kind, id, pos, left_assistant from change \
                   order by owner, number";
        self.copy("change", sql, |row| {
            let user = decode_user_id(&mut Columns::new(row, 0, "change"))?;
            let missing = || corrupted("change", "a change has no number");
            let change: FeedRecord = decode_change(row, 1)?.ok_or_else(missing)?;
            Ok(StoredItem::Change(user, change))
        })
        .await
    }

    async fn responses(&mut self) -> Result<u64> {
        let sql = "select owner, key, request, answer, at_ms from answer order by owner, key";
        self.copy("answer", sql, |row| {
            let mut columns = Columns::new(row, 0, "answer");
            let (user, key): (_, Uuid) = (decode_user_id(&mut columns)?, columns.next()?);
            let damaged = |_| corrupted("answer", "a request is not 32 bytes");
            let request = columns.next::<&[u8]>()?.try_into().map_err(damaged)?;
            let (response, at) = (columns.next::<&[u8]>()?.to_vec(), columns.time()?);
            Ok(StoredItem::Response(user, Response { key, request, response, at }))
        })
        .await
    }

    async fn time_marks(&mut self) -> Result<u64> {
        let sql = "select owner, hour, number from change_mark order by owner, hour";
        self.copy("change_mark", sql, |row| {
            let mut columns = Columns::new(row, 0, "change_mark");
            let (user, hour) = (decode_user_id(&mut columns)?, decode_number(&mut columns)?);
            Ok(StoredItem::TimeMark(user, hour, columns.unsigned()?))
        })
        .await
    }

    async fn limits(&mut self) -> Result<u64> {
        let sql = "select feed, trimmed, assistants, conversations, bytes, max_conversations, \
                   max_bytes, origin, owner from head order by owner";
        self.copy("head", sql, |row| {
            let head = decode_head(row)?;
            let user = decode_user_id(&mut Columns::new(row, 8, "head"))?;
            Ok(StoredItem::Limits(user, head.last_assistant, head.quota))
        })
        .await
    }
}

/// A number that an embedded store has in 32 bits.
fn decode_number(columns: &mut Columns<'_>) -> Result<u32> {
    u32::try_from(columns.unsigned()?).map_err(|_| corrupted("store", "a number is out of range"))
}
