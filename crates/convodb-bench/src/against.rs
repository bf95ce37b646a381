//! SQLite beside convodb: loads the rows of a store, and reads the same pages by key and by `OFFSET`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};
use convodb::{ConversationId, ListRequest, Order, PageSize, Snapshot, UserId};
use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::engine::{Depth, Engine, FoundPage, PageQuery, Place, Visit};
use crate::filter::ListFilter;
use crate::lists::List;
use crate::result::EngineFigures;
use crate::row::{Row, next_position};
use crate::sql::{Key, ListStatements, Start};
use crate::sqlite::{self, Indexes, Locking, SqlPage};

/// SQLite's page cache, as big as convodb's.
const CACHE_BYTES: usize = 1 << 30;

/// How SQLite skips to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    /// By the key of the row before it.
    Key,
    /// By reading and dropping all rows before it.
    Offset,
}

/// A copy of a store's conversations in SQLite, with an ideal index for each list.
pub struct Copied {
    directory: Rc<TempDir>,
    path: PathBuf,
}

/// A connection to a copy.
pub struct Sqlite {
    connection: Connection,
    skip: Skip,
    /// The lists that were prepared, by the address of the measured list.
    lists: Vec<(*const List, ListStatements)>,
    keys: HashMap<ConversationId, Key>,
    // The last connection removes the copy.
    _directory: Rc<TempDir>,
}

impl Copied {
    /// Copies all conversations of a store into a new directory below `directory`. Calls `progress`
    /// with the number of copied rows.
    ///
    /// # Errors
    /// An error of the store, of SQLite or of the system.
    pub fn create(
        snapshot: &Snapshot,
        directory: TempDir,
        mut progress: impl FnMut(u64),
    ) -> Result<Self> {
        let path = directory.path().join("bench.sqlite");
        let users: Vec<UserId> = snapshot.users()?.into_iter().map(|user| user.id).collect();
        let mut done = 0;
        let rows = users.into_iter().flat_map(|user| rows_of(snapshot, user));
        let rows = rows.inspect(|_| {
            done += 1;
            if done % 4096 == 0 {
                progress(done);
            }
        });
        sqlite::load(&path, Indexes::Composite, rows).context("cannot copy the rows to SQLite")?;
        Ok(Self { directory: Rc::new(directory), path })
    }

    /// What the report says about it.
    ///
    /// # Errors
    /// The file is gone.
    pub fn figures(&self) -> Result<EngineFigures> {
        Ok(EngineFigures {
            engine: "sqlite",
            version: rusqlite::version().to_owned(),
            file_bytes: std::fs::metadata(&self.path)?.len(),
            compared_pages: 0,
        })
    }

    /// The engines that read it: by key and by `OFFSET`.
    ///
    /// # Errors
    /// An error of SQLite.
    pub fn engines(&self) -> Result<[Sqlite; 2]> {
        let open = |skip| Sqlite::open(&self.path, skip, self.directory.clone());
        Ok([open(Skip::Key)?, open(Skip::Offset)?])
    }
}

/// A user's rows, oldest first, with positions that order them as convodb does.
fn rows_of(snapshot: &Snapshot, user: UserId) -> impl Iterator<Item = Result<(u32, u64, Row)>> {
    let request = ListRequest {
        order: Some(Order::Ascending),
        page_size: Some(PageSize::MAX),
        ..ListRequest::default()
    };
    let mut last = 0;
    snapshot.conversations(user, &request).map(move |row| {
        let row = Row::from(&row?.borrowed());
        last = next_position(row.created_at, last);
        Ok((user.get(), last, row))
    })
}

impl Sqlite {
    fn open(path: &Path, skip: Skip, directory: Rc<TempDir>) -> Result<Self> {
        let connection = sqlite::open(path, CACHE_BYTES, Locking::Shared)?;
        sqlite::plan_once(&connection)?;
        let (lists, keys) = (Vec::new(), HashMap::new());
        Ok(Self { connection, skip, lists, keys, _directory: directory })
    }

    /// The page as SQLite reads it. Everything that it needs was prepared.
    fn sql_page<'a>(&'a self, query: &PageQuery<'_>) -> Result<SqlPage<'a>> {
        let list = self.lists.iter().find(|(of, _)| std::ptr::eq(*of, query.list));
        let (_, list) = list.context("the list was not prepared")?;
        let key = |id| self.keys.get(&id).copied().context("a place was not prepared");
        let start = match (query.place, self.skip) {
            (Place::First, Skip::Key) => Start::First,
            (Place::First, Skip::Offset) => Start::Offset(0),
            (Place::After(start), Skip::Key) => Start::After(key(start.row_before)?),
            (Place::After(start), Skip::Offset) => Start::Offset(start.rows_before),
            (Place::Before(start), _) => Start::Before(key(start.row_after)?),
        };
        Ok(SqlPage { user: query.user.get(), list, start, page_size: query.page_size.get() })
    }
}

impl Engine for Sqlite {
    fn name(&self) -> &'static str {
        match self.skip {
            Skip::Key => "sqlite",
            Skip::Offset => "sqlite-offset",
        }
    }

    fn reads(&self, depth: Depth) -> bool {
        match (self.skip, depth) {
            (Skip::Key, _) => true,
            (Skip::Offset, Depth::First | Depth::Row(_) | Depth::Last) => true,
            (Skip::Offset, Depth::Deep | Depth::Backward) => false,
        }
    }

    fn prepare(&mut self, query: &PageQuery<'_>) -> Result<()> {
        if !self.lists.iter().any(|(of, _)| std::ptr::eq(*of, query.list)) {
            let filter = ListFilter::from(&query.list.filter).without_implied_kind();
            self.lists
                .push((query.list, ListStatements::new(&filter, query.list.sort).for_sqlite()));
        }
        let id = match (query.place, self.skip) {
            (Place::First, _) | (Place::After(_), Skip::Offset) => return Ok(()),
            (Place::After(start), Skip::Key) => start.row_before,
            (Place::Before(start), _) => start.row_after,
        };
        let sql = "SELECT updated_at, position FROM conversations WHERE user_id = ?1 AND id = ?2";
        let (user, uuid) = (query.user.get(), id.uuid());
        let mut statement = self.connection.prepare_cached(sql)?;
        let (updated_at, position): (i64, i64) = statement
            .query_one(params![user, uuid.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (updated_at, position) = (u64::try_from(updated_at)?, u64::try_from(position)?);
        self.keys.insert(id, Key { updated_at, position });
        Ok(())
    }

    fn visit(&mut self, query: &PageQuery<'_>) -> Result<Visit> {
        let rows = sqlite::visit(&self.connection, self.sql_page(query)?)?;
        Ok(Visit { rows, cost: None })
    }

    fn page(&mut self, query: &PageQuery<'_>) -> Result<FoundPage> {
        sqlite::page(&self.connection, self.sql_page(query)?)
    }
}
