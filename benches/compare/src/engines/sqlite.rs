//! SQLite engine, in three configurations.
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

use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, OpenFlags};
use uuid::Uuid;

use crate::dataset::SortedRows;
use crate::dataset::record::{created_at, decode};
use crate::dataset::row::{Row, kind_number, kind_of};
use crate::engines::Engine;
use crate::engines::sql::{self, Statements};
use crate::filter::{Field, ListFilter, Value};
use crate::list::{List, Page, PageQuery, PageStart};

/// The indexes of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Indexes {
    Composite,
    Single,
}

const ROW_COLUMNS: &str = "user_id INTEGER NOT NULL, position INTEGER NOT NULL, id BLOB NOT NULL, \
     assistant BLOB NOT NULL, kind INTEGER NOT NULL, sender_name TEXT, sender_phone TEXT, \
     customer_name TEXT, customer_phone TEXT, external_identifier TEXT, variables TEXT, \
     message_count INTEGER NOT NULL, cost_nanos INTEGER NOT NULL, ai_enabled INTEGER NOT NULL, \
     updated_at INTEGER NOT NULL";

/// Inserts one row; [`insert`] binds its parameters.
pub(crate) const INSERT: &str = "INSERT INTO conversations VALUES \
     (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

/// A connection and its prepared lists.
pub(crate) struct Sqlite {
    connection: Connection,
    indexes: Indexes,
    lists: Vec<(ListFilter, Vec<Field>, Statements)>,
}

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
pub(crate) enum Locking {
    /// They may.
    Shared,
    /// They may not. A page then takes no file lock, which saves three system calls.
    Exclusive,
}

/// Opens a store with the settings for reads and writes.
pub(crate) fn open(path: &Path, cache_bytes: usize, locking: Locking) -> Result<Connection> {
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
pub(crate) fn plan_once(connection: &Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Loads the dataset: rows in table order in one transaction, then the indexes, then the planner's
/// statistics.
pub(crate) fn load(path: &Path, sorted: &SortedRows, indexes: Indexes) -> Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1048576; \
         PRAGMA temp_store = MEMORY;",
    )?;
    connection.execute_batch(&indexes.schema())?;
    let transaction = connection.transaction()?;
    {
        let mut statement = transaction.prepare(INSERT)?;
        for (user, position, record) in sorted.records() {
            insert(&mut statement, user, position, &decode(user, position, record)?)?;
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
pub(crate) fn insert(
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

impl Sqlite {
    pub(crate) const fn new(connection: Connection, indexes: Indexes) -> Self {
        Self { connection, indexes, lists: Vec::new() }
    }
}

impl Engine for Sqlite {
    fn prepare(&mut self, lists: &[List]) -> Result<()> {
        self.lists = lists
            .iter()
            .map(|list| {
                let filter = match self.indexes {
                    Indexes::Composite => sql::composite_filter(list),
                    Indexes::Single => list.filter.clone(),
                };
                let fields = filter.fields();
                let statements = Statements::new(&fields);
                (filter, fields, statements)
            })
            .collect();
        Ok(())
    }

    fn page(&mut self, query: &PageQuery<'_>) -> Result<Page> {
        let (filter, fields, statements) =
            self.lists.get(query.list.number).context("list not prepared")?;
        let mut statement = self.connection.prepare_cached(statements.of(query.start))?;
        bind(&mut statement, query, filter, fields)?;
        let mut found = statement.raw_query();
        let mut rows = Vec::with_capacity(query.page_size);
        let mut more = false;
        while let Some(row) = found.next()? {
            if rows.len() == query.page_size {
                more = true;
                break;
            }
            rows.push(row_of(row)?);
        }
        if matches!(query.start, PageStart::Before(_)) {
            rows.reverse();
        }
        Ok(Page { rows, more })
    }
}

fn bind(
    statement: &mut CachedStatement<'_>,
    query: &PageQuery<'_>,
    filter: &ListFilter,
    fields: &[Field],
) -> Result<()> {
    statement.raw_bind_parameter(1, query.list.user)?;
    let mut number = 1;
    let mut next = || {
        number += 1;
        number
    };
    for field in fields {
        match filter.value(*field) {
            Some(Value::Kind(kind)) => statement.raw_bind_parameter(next(), kind)?,
            Some(Value::Assistant(id)) => {
                statement.raw_bind_parameter(next(), id.as_bytes().as_slice())?;
            }
            Some(Value::Text(text)) => statement.raw_bind_parameter(next(), text)?,
            None => {}
        }
    }
    if let PageStart::After(position) | PageStart::Before(position) = query.start {
        statement.raw_bind_parameter(next(), i64::try_from(position)?)?;
    }
    statement.raw_bind_parameter(next(), i64::try_from(query.page_size + 1)?)?;
    if let PageStart::Offset { rows, .. } = query.start {
        statement.raw_bind_parameter(next(), i64::try_from(rows)?)?;
    }
    Ok(())
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
        created_at: created_at(position),
        updated_at: u64::try_from(row.get::<_, i64>(13)?)?,
    })
}
