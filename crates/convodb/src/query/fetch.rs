//! Row fetch: reads the rows of index entries.
//!
//! Reading a row by its key costs a B-tree lookup. If the rows of a page are close together in the
//! table, a few cursor steps from one to the next are cheaper. Rows of one customer or one external
//! identifier never are close together. Rows of a type, an assistant or a sender may be, and the
//! first rows show it: the cursor takes at most [`MAX_STRIDE`] steps to the next row, and the first
//! row that is farther away ends stepping for this page, and so does the first run of removed rows.
//! So a page costs at most `MAX_STRIDE` steps and one lookup for each row, whatever the data.

use std::cmp::Ordering;

use crate::encoding::index_term::Field;
use crate::encoding::key::RowKey;
use crate::error::Result;
use crate::kv::cursor::MergeCursor;
use crate::kv::gap::{Gap, ScanDirection};
use crate::kv::value::ValueRef;
use crate::model::id::UserId;
use crate::model::position::{Position, SortKey};
use crate::query::page_buffer::PageBuffer;
use crate::query::recheck::Recheck;
use crate::tables::Tables;
use crate::tables::conversations::{StoredRow, damaged};
use crate::tables::schema::{BytesTable, INDEX_ACTIVITY};

/// Maximum number of cursor steps to the next row before a B-tree lookup. Measured on a million
/// rows, 8 makes a list of every second row 20-25% faster and a sparse list at most 5% slower; 16
/// gains little more.
pub(crate) const MAX_STRIDE: usize = 8;

type Record<'t> = ValueRef<'t, &'static [u8]>;

/// Reads rows by position.
pub(crate) struct Fetch<'t> {
    rows: &'t BytesTable<RowKey>,
    user: UserId,
    direction: ScanDirection,
    access: Access<'t>,
    /// Whether the entries are sorted by last activity.
    by_activity: bool,
    /// Number of rows read, including those that the cursor stepped over.
    pub(crate) rows_read: usize,
}

/// How rows are read from the table.
#[expect(clippy::large_enum_variant, reason = "there is one on the stack for each page")]
enum Access<'t> {
    /// Before the first row.
    Undecided,
    /// By steps of a cursor, which is at the row read last.
    Stepping(MergeCursor<'t, RowKey, &'static [u8]>),
    /// By a B-tree lookup for each row.
    Lookup,
}

impl<'t> Fetch<'t> {
    /// Reads rows of the index whose leading field is `leading`. Positions must arrive in scan order.
    pub(crate) fn new(
        tables: &'t Tables,
        user: UserId,
        leading: Field,
        direction: ScanDirection,
    ) -> Self {
        let access = match leading {
            Field::Kind | Field::Assistant | Field::Sender | Field::AiOff => Access::Undecided,
            Field::Customer | Field::External => Access::Lookup,
        };
        Self::with_access(tables, user, access, direction)
    }

    /// Reads rows of the index by last activity: by lookups, because its order is not that of the
    /// rows.
    pub(crate) fn by_activity(tables: &'t Tables, user: UserId, direction: ScanDirection) -> Self {
        let fetch = Self::with_access(tables, user, Access::Lookup, direction);
        Self { by_activity: true, ..fetch }
    }

    fn with_access(
        tables: &'t Tables,
        user: UserId,
        access: Access<'t>,
        direction: ScanDirection,
    ) -> Self {
        Self {
            rows: &tables.conversations.rows,
            user,
            direction,
            access,
            by_activity: false,
            rows_read: 0,
        }
    }

    /// Calls `visit` with the row at `position`, and returns its result.
    pub(crate) fn row<T>(
        &mut self,
        position: Position,
        visit: impl FnOnce(&StoredRow<'_>) -> T,
    ) -> Result<T> {
        let key = RowKey::new(self.user, position);
        if let Some(written) = self.rows.in_memtable(key) {
            self.rows_read += 1;
            let record = written.ok_or_else(|| damaged("an index entry leads to no row"))?;
            return StoredRow::decode(key, record).map(|stored| visit(&stored));
        }
        let record = self.read(position)?;
        StoredRow::decode(key, record.value()).map(|stored| visit(&stored))
    }

    /// Copies the row of the entry `key` to `rows` if it passes `recheck`, and returns whether it
    /// does.
    ///
    /// # Errors
    /// [`Error::Corrupted`](crate::Error::Corrupted) also if the entry is sorted by another time than
    /// the row's.
    pub(crate) fn matching(
        &mut self,
        key: SortKey,
        recheck: &mut Recheck<'_>,
        rows: &mut PageBuffer<'_>,
    ) -> Result<bool> {
        let by_activity = self.by_activity;
        self.row(key.position(), |stored| {
            let (row, texts) = stored.parts();
            if by_activity && row.updated_at().millis() != key.activity() {
                let what = "an entry is sorted by another time than that of its row";
                return Err(INDEX_ACTIVITY.corrupted(what));
            }
            let matches = recheck.matches_row(row, texts);
            if matches {
                rows.push(stored)?;
            }
            Ok(matches)
        })?
    }

    /// Reads the record at `position` from the table.
    fn read(&mut self, position: Position) -> Result<Record<'t>> {
        match &mut self.access {
            Access::Undecided => self.seek(position),
            Access::Stepping(_) => match self.step_to(position)? {
                Some(record) => Ok(record),
                None => {
                    self.access = Access::Lookup;
                    self.look_up(position)
                }
            },
            Access::Lookup => self.look_up(position),
        }
    }

    fn look_up(&mut self, position: Position) -> Result<Record<'t>> {
        self.rows_read += 1;
        let record = self.rows.get(RowKey::new(self.user, position))?;
        record.ok_or_else(|| damaged("an index entry leads to no row"))
    }

    /// Reads the first row by opening a cursor at it: one B-tree lookup.
    fn seek(&mut self, position: Position) -> Result<Record<'t>> {
        let key = RowKey::new(self.user, position);
        let gap = match self.direction {
            ScanDirection::Ascending => Gap::Before(key),
            ScanDirection::Descending => Gap::After(key),
        };
        let mut cursor = self.rows.cursor(gap, self.direction)?;
        let entry = cursor.step()?;
        self.rows_read += 1 + cursor.hidden_read();
        self.access = Access::Stepping(cursor);
        match entry {
            Some((at, record)) if at == key => Ok(record),
            _ => Err(damaged("an index entry leads to no row")),
        }
    }

    /// The record at `position` if the cursor reaches it within [`MAX_STRIDE`] steps and has met no
    /// hidden row, which may cost as much as a lookup.
    fn step_to(&mut self, position: Position) -> Result<Option<Record<'t>>> {
        let Access::Stepping(cursor) = &mut self.access else {
            return Ok(None);
        };
        for _ in 0..MAX_STRIDE {
            if cursor.hidden_read() > 0 {
                return Ok(None);
            }
            let entry = cursor.step()?;
            self.rows_read += usize::from(entry.is_some()) + cursor.hidden_read();
            let Some((key, record)) = entry else { return Ok(None) };
            match self.direction.order(&key.position, &position) {
                _ if key.user != self.user => return Ok(None),
                Ordering::Less => {}
                Ordering::Equal => return Ok(Some(record)),
                Ordering::Greater => return Ok(None),
            }
        }
        Ok(None)
    }
}
