//! Statements of a group of writes.
//!
//! Each is prepared once for a connection, takes whole columns as arrays, and names the owner. An insert
//! takes the owner from the user's head, which is locked: so Citus knows that it is of the same shard
//! and leaves it to its worker, instead of copying the rows there and committing in two phases.

use tokio_postgres::types::ToSql;

use crate::conversation_row::ConversationRow;
use crate::error::{Error, Result};
use crate::page_statement::{ASSISTANT, COLUMNS};
use crate::rows::ACCESS_COLUMNS;
use crate::values::SqlValue;

/// A statement of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sql {
    Begin,
    /// Waits for the group of the user that runs, on whatever server. First, because in `read
    /// committed` each later statement sees what was committed before the lock was obtained.
    LockHead,
    Account,
    Tokens,
    Rows,
    MessageBytes,
    Assistants,
    Taken,
    Responses,
    DeleteRows,
    DeleteMessages,
    InsertRows,
    UpdateRows,
    InsertMessages,
    AddCounters,
    DeleteCounters,
    InsertChanges,
    TrimChanges,
    TrimMarks,
    InsertAssistants,
    RenameAssistants,
    DeleteAssistants,
    InsertResponses,
    UpdateHead,
    /// The origin of a change, to learn whether a group was committed.
    ChangeOrigin,
    Commit,
    Rollback,
}

/// The text of each statement. Words in braces stand for lists of columns.
const TEXTS: [(Sql, &str); 27] = [
    (Sql::Begin, "begin isolation level read committed, read write"),
    (
        Sql::LockHead,
        "select feed, trimmed, assistants, conversations, bytes, \
         max_conversations, max_bytes, origin from head where owner = $1 for no key update",
    ),
    (Sql::Account, "select closed from account where id = $1"),
    (
        Sql::Tokens,
        "select t.* from unnest($1::bytea[], $2::bytea[]) w (first, last) \
         cross join lateral (select {ACCESS_COLUMNS} from token where digest >= w.first \
         and digest <= w.last order by digest limit 1) t",
    ),
    (
        Sql::Rows,
        "select {COLUMNS}, c.stored, c.assistant from unnest($2::uuid[]) w (id) \
         cross join lateral (select * from conversation where owner = $1 and id = w.id \
         limit 1) c {ASSISTANT}",
    ),
    (
        Sql::MessageBytes,
        "select c.id, m.count, m.calls, m.bytes from unnest($2::uuid[]) \
         w (id) cross join lateral (select pos, id from conversation where owner = $1 \
         and id = w.id limit 1) c cross join lateral (select count(*) as count, count(calls) \
         as calls, coalesce(sum(octet_length(content) + coalesce(octet_length(calls), 0)), 0) \
         as bytes from message where owner = $1 and pos = c.pos) m",
    ),
    (
        Sql::Assistants,
        "select w.id, a.number, a.name, (select true from conversation \
         where owner = $1 and assistant = a.number limit 1) is not null \
         from unnest($2::uuid[]) w (id) cross join lateral (select number, name \
         from assistant where owner = $1 and id = w.id limit 1) a",
    ),
    (
        Sql::Taken,
        "select w.first, c.pos from unnest($2::bigint[], $3::bigint[]) \
         w (first, last) cross join lateral (select pos from conversation \
         where owner = $1 and pos >= w.first and pos <= w.last \
         order by owner desc, pos desc limit $4) c",
    ),
    (
        Sql::Responses,
        "select w.key, a.request, a.answer from unnest($2::uuid[]) w (key) \
         cross join lateral (select request, answer from answer where owner = $1 \
         and key = w.key limit 1) a",
    ),
    (Sql::DeleteRows, "delete from conversation where owner = $1 and pos = any ($2::bigint[])"),
    (Sql::DeleteMessages, "delete from message where owner = $1 and pos = any ($2::bigint[])"),
    (
        Sql::InsertRows,
        "insert into conversation (owner, {NAMES}) select h.owner, w.* from head h \
         cross join unnest({ARRAYS}) w where h.owner = $1",
    ),
    (
        Sql::UpdateRows,
        "update conversation c set {ASSIGNMENTS} from unnest({ARRAYS}) w ({NAMES}) \
         where c.owner = $1 and c.pos = w.pos",
    ),
    (
        Sql::InsertMessages,
        "insert into message (owner, pos, number, role, content, calls, \
         cost, created_ms) select h.owner, w.* from head h cross join unnest($2::bigint[], \
         $3::bigint[], $4::smallint[], $5::bytea[], $6::bytea[], $7::bigint[], $8::bigint[]) w \
         where h.owner = $1",
    ),
    (
        Sql::AddCounters,
        "insert into total (owner, span, assistant, kind, conversations, \
         messages, cost) select h.owner, w.* from head h cross join unnest($2::bigint[], $3::uuid[], \
         $4::smallint[], $5::bigint[], $6::bigint[], $7::numeric[]) w where h.owner = $1 \
         on conflict (owner, span, assistant, kind) do update set \
         conversations = total.conversations + excluded.conversations, \
         messages = total.messages + excluded.messages, cost = total.cost + excluded.cost",
    ),
    (
        Sql::DeleteCounters,
        "delete from total t using unnest($2::bigint[], $3::uuid[], \
         $4::smallint[]) w (span, assistant, kind) where t.owner = $1 and t.span = w.span \
         and t.assistant = w.assistant and t.kind = w.kind and t.conversations = 0 \
         and t.messages = 0 and t.cost = 0",
    ),
    (
        Sql::InsertChanges,
        "insert into change (owner, number, kind, id, pos, \
         left_assistant, origin) select h.owner, w.*, $7::bigint from head h \
         cross join unnest($2::bigint[], $3::smallint[], $4::uuid[], $5::bigint[], $6::uuid[]) w \
         where h.owner = $1",
    ),
    (Sql::TrimChanges, "delete from change where owner = $1 and number > $2 and number <= $3"),
    (Sql::TrimMarks, "delete from change_mark where owner = $1 and number <= $2"),
    (
        Sql::InsertAssistants,
        "insert into assistant (owner, number, id, fp, name) \
         select h.owner, w.* from head h cross join unnest($2::integer[], $3::uuid[], \
         $4::bigint[], $5::bytea[]) w where h.owner = $1",
    ),
    (
        Sql::RenameAssistants,
        "update assistant a set name = w.name \
         from unnest($2::integer[], $3::bytea[]) w (number, name) \
         where a.owner = $1 and a.number = w.number",
    ),
    (Sql::DeleteAssistants, "delete from assistant where owner = $1 and id = any ($2::uuid[])"),
    (
        Sql::InsertResponses,
        "insert into answer (owner, key, request, answer, at_ms) \
         select h.owner, w.* from head h cross join unnest($2::uuid[], $3::bytea[], \
         $4::bytea[], $5::bigint[]) w where h.owner = $1",
    ),
    (
        Sql::UpdateHead,
        "update head set feed = $2, trimmed = $3, assistants = $4, \
         conversations = $5, bytes = $6, origin = $7 where owner = $1",
    ),
    (Sql::ChangeOrigin, "select origin from change where owner = $1 and number = $2"),
    (Sql::Commit, "commit"),
    (Sql::Rollback, "rollback"),
];

impl Sql {
    /// Every statement, in the order of their numbers, with its text.
    pub(crate) fn all() -> impl Iterator<Item = (Sql, String)> {
        TEXTS.into_iter().map(|(sql, text)| {
            let names = row_columns(|name, _, _| name.to_owned());
            let arrays = row_columns(|_, ty, number| format!("${number}::{ty}[]"));
            let assignments = row_columns(|name, _, _| format!("{name} = w.{name}"));
            let text = text.replace("{COLUMNS}", COLUMNS).replace("{ASSISTANT}", ASSISTANT);
            let text = text.replace("{ACCESS_COLUMNS}", ACCESS_COLUMNS);
            let text = text.replace("{NAMES}", &names).replace("{ARRAYS}", &arrays);
            (sql, text.replace("{ASSIGNMENTS}", &assignments))
        })
    }
}

/// The columns of a conversation after the owner, each as `of` writes its name, its type and the
/// number of its parameter.
fn row_columns(of: impl Fn(&str, &str, usize) -> String) -> String {
    let columns = ConversationRow::COLUMNS.iter().zip(1..).skip(1);
    let columns: Vec<String> =
        columns.map(|((name, ty), number)| of(name, ty.name(), number)).collect();
    columns.join(", ")
}

/// A statement with its parameters.
pub(crate) struct Command {
    pub(crate) sql: Sql,
    pub(crate) values: Vec<SqlValue>,
}

impl Command {
    pub(crate) const fn bare(sql: Sql) -> Self {
        Self { sql, values: Vec::new() }
    }

    pub(crate) fn new(sql: Sql, values: Vec<SqlValue>) -> Self {
        Self { sql, values }
    }
}

/// A parameter.
pub(crate) fn value<T: ToSql + Send + Sync + 'static>(value: T) -> SqlValue {
    Box::new(value)
}

/// A column of parameters.
pub(crate) fn column<T, V>(of: &[T], value: impl Fn(&T) -> V) -> SqlValue
where
    V: ToSql + Send + Sync + 'static,
{
    Box::new(of.iter().map(value).collect::<Vec<V>>())
}

/// A number as `bigint`.
pub(crate) fn bigint(number: u64, what: &'static str) -> Result<i64> {
    i64::try_from(number).map_err(|_| Error::TooLarge(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_numbered_in_their_order() {
        assert!(Sql::all().enumerate().all(|(at, (sql, _))| sql as usize == at));
    }

    #[test]
    fn a_row_is_written_column_by_column() {
        let (_, sql) = Sql::all().find(|(sql, _)| *sql == Sql::UpdateRows).unwrap();
        assert!(sql.contains("c set pos = w.pos, id = w.id, kind = w.kind"), "{sql}");
        assert!(sql.contains("from unnest($2::int8[], $3::uuid[]"), "{sql}");
        assert!(sql.contains("$19::bytea[]) w (pos, id, kind"), "{sql}");
    }
}
