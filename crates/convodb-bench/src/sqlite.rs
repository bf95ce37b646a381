//! A table of conversations in SQLite, in three configurations.
//!
//! - Composite indexes, the best case: rows clustered by user and position (`WITHOUT ROWID`), so
//!   that the unfiltered list is one range, and one index per shape that ends with the primary key.
//! - The same with an exclusive lock on the file, which saves three system calls per page and
//!   excludes all other connections.
//! - Single-column indexes, as in most applications: a rowid table, one index per column, default
//!   planner settings.
//!
//! All use WAL mode, map the whole file, have a cache for more than is read, and prepare statements
//! once. Each page is one statement and so its own read transaction.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use convodb::Sort;
use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, OpenFlags, Rows};
use uuid::Uuid;

use crate::engine::FoundPage;
use crate::filter::Value;
use crate::row::{Row, created_at_millis, kind_number, kind_of};
use crate::sql::{self, ListStatements, Start};

/// The indexes of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexes {
    /// One index for each list.
    Composite,
    /// One index for each column.
    Single,
}

const ROW_COLUMNS: &str = "user_id INTEGER NOT NULL, position INTEGER NOT NULL, id BLOB NOT NULL, \
     assistant BLOB NOT NULL, kind INTEGER NOT NULL, sender_name TEXT, sender_phone TEXT, \
     customer_name TEXT, customer_phone TEXT, external_identifier TEXT, variables TEXT, \
     message_count INTEGER NOT NULL, cost_nanos INTEGER NOT NULL, ai_enabled INTEGER NOT NULL, \
     updated_at INTEGER NOT NULL";

/// Inserts one row; [`insert`] binds its parameters.
pub const INSERT: &str = "INSERT INTO conversations VALUES \
     (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

impl Indexes {
    fn schema(self) -> String {
        match self {
            Indexes::Composite => format!(
                "CREATE TABLE conversations ({ROW_COLUMNS}, PRIMARY KEY (user_id, position)) \
                 WITHOUT ROWID;"
            ),
            Indexes::Single => format!("CREATE TABLE conversations ({ROW_COLUMNS});"),
        }
    }

    fn statements(self) -> Vec<String> {
        let id = "CREATE UNIQUE INDEX by_id ON conversations (user_id, id)".to_owned();
        let others = match self {
            Indexes::Composite => sql::composite_indexes(),
            Indexes::Single => sql::single_indexes(),
        };
        std::iter::once(id).chain(others).collect()
    }
}

/// Whether other connections may use the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locking {
    /// They may.
    Shared,
    /// They may not. A page then takes no file lock, which saves three system calls.
    Exclusive,
}

/// Opens a store with the settings for reads and writes.
///
/// # Errors
/// An error of SQLite.
pub fn open(path: &Path, cache_bytes: usize, locking: Locking) -> Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let locking = match locking {
        Locking::Shared => "NORMAL",
        Locking::Exclusive => "EXCLUSIVE",
    };
    // The locking mode must be set before the first read of the file.
    connection.execute_batch(&format!(
        "PRAGMA locking_mode = {locking}; PRAGMA journal_mode = WAL; \
         PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; \
         PRAGMA cache_size = -{}; PRAGMA mmap_size = {};",
        cache_bytes / 1024,
        1u64 << 36
    ))?;
    connection.set_prepared_statement_cache_capacity(256);
    Ok(connection)
}

/// Configures SQLite to plan each statement once. With `STAT4` statistics, which the bundled build
/// has, it would plan again whenever the values change, which doubles the time of a short page.
///
/// # Errors
/// An error of SQLite.
pub fn plan_once(connection: &Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Loads rows, each with its user and position, in table order: in one transaction, then the indexes,
/// then the planner's statistics.
///
/// # Errors
/// An error of SQLite or of the rows.
pub fn load(
    path: &Path,
    indexes: Indexes,
    rows: impl Iterator<Item = Result<(u32, u64, Row)>>,
) -> Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1048576; \
         PRAGMA temp_store = MEMORY;",
    )?;
    connection.execute_batch(&indexes.schema())?;
    let transaction = connection.transaction()?;
    {
        let mut statement = transaction.prepare(INSERT)?;
        for row in rows {
            let (user, position, row) = row?;
            insert(&mut statement, user, position, &row)?;
        }
    }
    transaction.commit()?;
    for index in indexes.statements() {
        connection.execute_batch(&index)?;
    }
    connection.execute_batch("ANALYZE; PRAGMA journal_mode = WAL;")?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// Runs [`INSERT`] for one row.
///
/// # Errors
/// An error of SQLite, or a number beyond the range of its integers.
pub fn insert(
    statement: &mut rusqlite::Statement<'_>,
    user: u32,
    position: u64,
    row: &Row,
) -> Result<()> {
    statement.execute(rusqlite::params![
        user,
        i64::try_from(position)?,
        row.id.as_bytes(),
        row.assistant.as_bytes(),
        kind_number(row.kind),
        row.sender_name,
        row.sender_phone,
        row.customer_name,
        row.customer_phone,
        row.external_identifier,
        row.variables,
        row.message_count,
        row.cost_nanos,
        row.ai_enabled,
        i64::try_from(row.updated_at)?,
    ])?;
    Ok(())
}

/// One page of a list.
#[derive(Clone, Copy, Debug)]
pub struct SqlPage<'a> {
    /// The user's number.
    pub user: u32,
    /// The list.
    pub list: &'a ListStatements,
    /// Where it starts.
    pub start: Start,
    /// The most rows.
    pub page_size: usize,
}

/// Reads a page into rows with owned texts, and one row beyond it to learn whether more follow.
///
/// # Errors
/// An error of SQLite, or a row that it did not get from [`insert`].
pub fn page(connection: &Connection, page: SqlPage<'_>) -> Result<FoundPage> {
    let mut statement = connection.prepare_cached(page.list.statements.of(page.start))?;
    let mut found = bind(&mut statement, page)?;
    let mut rows = Vec::with_capacity(page.page_size);
    let mut more = false;
    while let Some(row) = found.next()? {
        if rows.len() == page.page_size {
            more = true;
            break;
        }
        rows.push(row_of(row)?);
    }
    if matches!(page.start, Start::Before(_)) {
        rows.reverse();
    }
    Ok(FoundPage { rows, more })
}

/// Reads each column of each row of a page in place, and one row beyond it. Returns the number of
/// rows.
///
/// # Errors
/// An error of SQLite.
pub fn visit(connection: &Connection, page: SqlPage<'_>) -> Result<usize> {
    let mut statement = connection.prepare_cached(page.list.statements.of(page.start))?;
    let columns = statement.column_count();
    let mut found = bind(&mut statement, page)?;
    let mut rows = 0;
    while let Some(row) = found.next()? {
        if rows == page.page_size {
            break;
        }
        for column in 0..columns {
            std::hint::black_box(row.get_ref(column)?);
        }
        rows += 1;
    }
    Ok(rows)
}

/// Counts the rows of a list between two positions.
///
/// # Errors
/// An error of SQLite.
pub fn count(
    connection: &Connection,
    user: u32,
    list: &ListStatements,
    positions: &Range<u64>,
) -> Result<u64> {
    let mut statement = connection.prepare_cached(&list.statements.count)?;
    let number = bind_list(&mut statement, user, list)?;
    statement.raw_bind_parameter(number + 1, i64::try_from(positions.start)?)?;
    statement.raw_bind_parameter(number + 2, i64::try_from(positions.end)?)?;
    let mut found = statement.raw_query();
    let row = found.next()?.context("a count without a row")?;
    Ok(u64::try_from(row.get::<_, i64>(0)?)?)
}

/// Binds the user and the values of a list, and returns the number of the last parameter.
fn bind_list(
    statement: &mut CachedStatement<'_>,
    user: u32,
    list: &ListStatements,
) -> Result<usize> {
    statement.raw_bind_parameter(1, user)?;
    let mut number = 1;
    for value in list.values() {
        number += 1;
        match value {
            Value::Kind(kind) => statement.raw_bind_parameter(number, kind)?,
            Value::Assistant(id) => {
                statement.raw_bind_parameter(number, id.as_bytes().as_slice())?;
            }
            Value::Text(text) => statement.raw_bind_parameter(number, text)?,
            Value::AiOff => number -= 1,
        }
    }
    Ok(number)
}

fn bind<'s>(statement: &'s mut CachedStatement<'_>, page: SqlPage<'_>) -> Result<Rows<'s>> {
    let mut number = bind_list(statement, page.user, page.list)?;
    let mut next = || {
        number += 1;
        number
    };
    if let Start::After(key) | Start::Before(key) = page.start {
        if page.list.sort == Sort::LastActivity {
            statement.raw_bind_parameter(next(), i64::try_from(key.updated_at)?)?;
        }
        statement.raw_bind_parameter(next(), i64::try_from(key.position)?)?;
    }
    statement.raw_bind_parameter(next(), i64::try_from(page.page_size + 1)?)?;
    if let Start::Offset(rows) = page.start {
        statement.raw_bind_parameter(next(), i64::try_from(rows)?)?;
    }
    Ok(statement.raw_query())
}

fn row_of(row: &rusqlite::Row<'_>) -> Result<Row> {
    let uuid = |at: usize| -> Result<Uuid> { Ok(Uuid::from_slice(row.get_ref(at)?.as_blob()?)?) };
    let text = |at: usize| -> Result<Option<String>> {
        Ok(row.get_ref(at)?.as_str_or_null()?.map(str::to_owned))
    };
    let position = u64::try_from(row.get::<_, i64>(0)?)?;
    Ok(Row {
        id: uuid(1)?,
        assistant: uuid(2)?,
        kind: kind_of(row.get(3)?)?,
        sender_name: text(4)?,
        sender_phone: text(5)?,
        customer_name: text(6)?,
        customer_phone: text(7)?,
        external_identifier: text(8)?,
        variables: text(9)?,
        message_count: row.get(10)?,
        cost_nanos: row.get(11)?,
        ai_enabled: row.get(12)?,
        created_at: created_at_millis(position),
        updated_at: u64::try_from(row.get::<_, i64>(13)?)?,
    })
}
