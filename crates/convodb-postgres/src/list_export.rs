//! Export of a list: all its conversations, and their messages if wanted, as of one moment.
//!
//! The rows are read by the statements of pages. One statement more reads the messages of a page's
//! conversations, whose rows are taken from the connection as they are needed: PostgreSQL waits for a
//! slow client, and a conversation with any number of messages takes bounded memory.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use convodb::seam::Keys;
use convodb::{AssistantId, Conversation, ListRequest, Message, Name, PageSize, UserId};
use convodb_json::Messages;
use convodb_service::ExportItem;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, RowStream, Statement};

use crate::cluster::{Cluster, decode_page};
use crate::error::{Error, Result, corrupted};
use crate::page_statement::{PageStatement, owner};
use crate::rows::{self, Columns};
use crate::snapshot_connection::SnapshotConnection;
use crate::values::{Value, stored_position};

/// The bytes of texts at which a part of an export is complete.
const PART_BYTES: usize = 64 << 10;
/// About as many bytes as an item takes beside its texts.
const ITEM_BYTES: usize = 128;

/// The number of each conversation of a page, how many messages it has, and each of its messages; one
/// row without a message for a conversation that has none. In the order of the page: the joins are
/// loops over the positions, and what a loop returns is in the order of a primary key.
const MESSAGES: &str = "select w.number, c.stored, m.number, m.role, m.content, m.calls, m.cost, \
     m.created_ms from unnest($2::bigint[]) with ordinality as w (pos, number) \
     cross join lateral (select stored from conversation where owner = $1 and (owner, pos) >= ($1, w.pos) \
     and (owner, pos) <= ($1, w.pos) order by owner, pos limit 1) c \
     left join lateral (select * from message where owner = $1 and pos = w.pos \
     order by owner, pos, number) m on true";

impl Cluster {
    /// Begins to read a whole list as of the moment of this call: all conversations that
    /// [`convodb::Snapshot::conversations`] returns, each with all its messages or without them.
    ///
    /// Uses a connection of its own, to the primary, in one transaction. It is closed when the export
    /// ends or is dropped, and at `deadline`, whether or not anything is read: see
    /// [`ListExport::next`]. So bound the number of exports that run at once.
    ///
    /// # Errors
    /// Those of misuse of [`convodb::Snapshot::list`], or a fault of the database.
    pub async fn export_list(
        &self,
        user: UserId,
        request: &ListRequest,
        messages: Messages,
        deadline: Instant,
    ) -> Result<ListExport> {
        match self.begin_export(user, request, messages, deadline).await {
            Err(error) if error.is_of_connection() => {
                tracing::warn!(%error, "an export lost its connection at its beginning");
                self.begin_export(user, request, messages, deadline).await
            }
            begun => begun,
        }
    }

    async fn begin_export(
        &self,
        user: UserId,
        request: &ListRequest,
        messages: Messages,
        deadline: Instant,
    ) -> Result<ListExport> {
        let request =
            ListRequest { page_size: Some(PageSize::MAX), cursor: None, ..request.clone() };
        let (keys, restriction) = (self.shared_keys(), self.restriction);
        let plan = keys.plan(user, &request, restriction)?;
        let first = plan.gap();
        let is_empty = PageStatement::of(&plan)?.is_none();
        let connection = match is_empty {
            true => None,
            false => Some(self.snapshots().open(deadline).await?),
        };
        let mut export = ListExport {
            keys,
            user,
            restriction,
            request,
            messages,
            connection,
            statements: (None, None),
            gap: first,
            page: VecDeque::new(),
            rows: None,
            line: Line::default(),
            is_broken: false,
        };
        // Now, so that everything is as of this moment and a fault is one of the beginning.
        export.read_page().await?;
        Ok(export)
    }
}

/// An export in progress: see [`Cluster::export_list`].
pub struct ListExport {
    keys: Arc<Keys>,
    user: UserId,
    restriction: Option<AssistantId>,
    request: ListRequest,
    messages: Messages,
    /// `None` after the last page.
    connection: Option<SnapshotConnection>,
    /// Those of pages and of messages, when they are prepared.
    statements: (Option<Statement>, Option<Statement>),
    /// Where the next page begins.
    gap: u64,
    /// The conversations of the page that are not returned yet.
    page: VecDeque<(Conversation, Name)>,
    /// The rest of the messages of the page.
    rows: Option<Pin<Box<RowStream>>>,
    line: Line,
    /// Whether a call failed or was dropped.
    is_broken: bool,
}

/// The conversation whose messages are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    /// Its number on the page, from 1; 0 before the first.
    number: u64,
    /// The number of its messages.
    stored: u64,
    /// How many of them are read.
    read: u64,
}

impl Line {
    /// Checks that all messages are read.
    fn end(self) -> Result<()> {
        match self.read == self.stored {
            true => Ok(()),
            false => {
                let what = "a conversation has not as many messages as were stored";
                Err(corrupted("message", what))
            }
        }
    }
}

/// What a call returns.
#[derive(Default)]
struct Part {
    items: Vec<ExportItem>,
    bytes: usize,
}

impl Part {
    fn conversation(&mut self, (conversation, name): (Conversation, Name)) {
        let variables = conversation.borrowed().variables.map_or(0, |text| text.get().len());
        self.bytes += ITEM_BYTES + variables;
        self.items.push(ExportItem::Conversation(Box::new(conversation), name));
    }

    fn message(&mut self, message: Message) {
        let calls = message.function_calls().map_or(0, str::len);
        self.bytes += ITEM_BYTES + message.content().len() + calls;
        self.items.push(ExportItem::Message(message));
    }
}

impl ListExport {
    /// The next conversations and messages, some 64 KiB of texts, at least one item; `None` at the end.
    ///
    /// # Errors
    /// [`Error::ReadTimedOut`] after the deadline, and if the database does not answer within the read
    /// timeout; [`convodb::Error::Corrupted`]; or a fault of the database. After an error, or after a
    /// call whose future was dropped, all calls fail.
    pub async fn next(&mut self) -> Result<Option<Vec<ExportItem>>> {
        if std::mem::replace(&mut self.is_broken, true) {
            return Err(Error::Unavailable("the export was interrupted".to_owned()));
        }
        let mut part = Part::default();
        while part.bytes < PART_BYTES && self.step(&mut part).await? {}
        self.is_broken = false;
        Ok((!part.items.is_empty()).then_some(part.items))
    }

    /// Adds an item, or reads what comes next. Returns `false` at the end.
    async fn step(&mut self, part: &mut Part) -> Result<bool> {
        if let (Some(rows), Some(connection)) = (&mut self.rows, &self.connection) {
            match connection.next_row(rows).await? {
                Some(row) => self.take_row(&row, part)?,
                None => self.end_rows()?,
            }
            return Ok(true);
        }
        if let Some(next) = self.page.pop_front() {
            part.conversation(next);
            return Ok(true);
        }
        self.read_page().await
    }

    /// Reads the next page, and begins to read its messages. Returns `false` after the last one.
    async fn read_page(&mut self) -> Result<bool> {
        let plan = self.keys.plan(self.user, &self.request, self.restriction)?;
        let (Some(connection), Some(statement)) = (&self.connection, PageStatement::of(&plan)?)
        else {
            return Ok(false);
        };
        let (page_statement, message_statement) = &mut self.statements;
        let sql = statement.sql();
        let values = sql.values(self.user, &plan, self.gap, plan.page_size())?;
        let values: Vec<_> = values.iter().map(Value::as_sql).collect();
        let prepared = prepare_once(page_statement, connection, &sql.text).await?;
        let found = connection.query(prepared, &values).await?;
        let (mut names, mut checked) = (Vec::new(), plan.rows(&self.keys));
        rows::add_names(&found, 2, &mut names)?;
        let page = decode_page(&found, &plan)?;
        let is_last = page.len() < plan.page_size();
        let mut positions = Vec::with_capacity(page.len());
        for (range, position, conversation) in page {
            self.gap = if plan.is_ascending() { position.saturating_add(1) } else { position };
            // One of another list may have the same fingerprints.
            if !checked.push(range, position, &conversation.borrowed())? {
                continue;
            }
            let name = names.iter().find(|(id, _)| *id == conversation.assistant);
            let missing = || corrupted("assistant", "a name is missing");
            let name = name.map(|(_, name)| name.clone()).ok_or_else(missing)?;
            positions.push(stored_position(position));
            self.page.push_back((conversation, name));
        }
        if self.messages == Messages::Included && !positions.is_empty() {
            let values: [&(dyn ToSql + Sync); 2] = [&owner(self.user)?, &positions];
            let prepared = prepare_once(message_statement, connection, MESSAGES).await?;
            self.rows = Some(connection.stream(prepared, &values).await?);
            self.line = Line::default();
        } else if is_last {
            self.connection = None;
        }
        Ok(true)
    }

    /// Adds what a row of [`MESSAGES`] has: a message, and the conversation before its first one.
    fn take_row(&mut self, row: &Row, part: &mut Part) -> Result<()> {
        let mut columns = Columns::new(row, 0, "conversation");
        let (number, stored) = (columns.unsigned()?, columns.unsigned()?);
        if number != self.line.number {
            self.line.end()?;
            let next = self.page.pop_front().filter(|_| number == self.line.number + 1);
            let next = next.ok_or_else(|| corrupted("conversation", "a row is missing"))?;
            part.conversation(next);
            self.line = Line { number, stored, read: 0 };
        }
        if let Some((number, message)) = rows::message(row, 2)? {
            self.line.read += 1;
            if number != self.line.read {
                return Err(corrupted("message", "a message is missing"));
            }
            part.message(message);
        }
        Ok(())
    }

    /// Ends the messages of a page.
    fn end_rows(&mut self) -> Result<()> {
        self.rows = None;
        self.line.end()?;
        match self.page.is_empty() {
            true => Ok(()),
            false => Err(corrupted("conversation", "a row is missing")),
        }
    }
}

impl fmt::Debug for ListExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListExport").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A statement of an export, which is prepared when it is needed first.
async fn prepare_once<'s>(
    statement: &'s mut Option<Statement>,
    connection: &SnapshotConnection,
    sql: &str,
) -> Result<&'s Statement> {
    if statement.is_none() {
        *statement = Some(connection.prepare(sql).await?);
    }
    Ok(statement.as_ref().unwrap_or_else(|| unreachable!("it is prepared")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_after_its_last_message() {
        assert!(Line::default().end().is_ok());
        assert!(Line { number: 1, stored: 2, read: 2 }.end().is_ok());
        for read in [1, 3] {
            assert!(Line { number: 1, stored: 2, read }.end().is_err());
        }
    }
}
