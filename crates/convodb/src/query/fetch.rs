//! The rows of a run of positions: from the cache of rows, or from the table. A get is a descent; where the wanted rows lie close together, a
//! few steps of a cursor from one to the next are cheaper. A customer's rows never do. A type's, an
//! assistant's or a sender's may, and whether they do shows at once: the walk takes at most
//! [`MAX_STRIDE`] steps to a row, and the first row that is farther ends stepping for the page. So a
//! page costs at most `MAX_STRIDE` steps and one descent a row, whatever the data.

use std::cmp::Ordering;

use crate::encoding::index_term::Field;
use crate::encoding::key::RowKey;
use crate::encoding::record::Body;
use crate::encoding::row::Row;
use crate::error::Result;
use crate::kv::cursor::{Gap, MergeCursor, ScanDirection};
use crate::kv::row_cache::CachedRows;
use crate::kv::value::ValueRef;
use crate::model::id::UserId;
use crate::model::position::Position;
use crate::tables::conversations::{damaged, decode_row, verify};
use crate::tables::{Records, Tables};

/// The most steps to a row that are tried before a descent. Measured on a million rows, 8 takes a
/// fifth to a quarter off a list of every second row and adds a twentieth at most to a sparse one;
/// 16 gains little more.
pub(crate) const MAX_STRIDE: usize = 8;

type Record<'t> = ValueRef<'t, &'static [u8]>;

/// Reads the rows of positions that are given in the order of travel.
pub(crate) struct Fetch<'t> {
    rows: &'t Records<RowKey>,
    cached: CachedRows<'t>,
    /// Whether the rows of this page are looked for in the cache, and kept there; unknown before
    /// the first of them.
    use_cache: Option<bool>,
    owner: UserId,
    direction: ScanDirection,
    access: Access<'t>,
    /// How many rows were read, passed ones included.
    pub(crate) rows_read: usize,
    /// Those of them that were in the cache.
    pub(crate) rows_cached: usize,
}

enum Access<'t> {
    Undecided,
    Stepping(MergeCursor<'t, RowKey, &'static [u8]>),
    Lookup,
}

impl<'t> Fetch<'t> {
    /// For the rows of a list that `leading` leads.
    pub(crate) fn new(
        tables: &'t Tables,
        owner: UserId,
        leading: Field,
        direction: ScanDirection,
    ) -> Self {
        let access = match leading {
            Field::Kind | Field::Assistant | Field::Sender => Access::Undecided,
            Field::Customer | Field::External => Access::Lookup,
        };
        let (rows, cached) = (&tables.rows, tables.cached_rows());
        Self {
            rows,
            cached,
            use_cache: None,
            owner,
            direction,
            access,
            rows_read: 0,
            rows_cached: 0,
        }
    }

    /// Shows the row at `position` and its texts.
    pub(crate) fn row<T>(
        &mut self,
        position: Position,
        mut show: impl FnMut(&Row, &str) -> T,
    ) -> Result<T> {
        let key = RowKey::new(self.owner, position);
        if let Some(slot) = self.rows.slot(key) {
            self.rows_read += 1;
            let record = slot.as_ref().ok_or_else(|| damaged("an index entry leads to no row"))?;
            let (row, texts) = decode_row(key, record)?;
            return Ok(show(&row, texts));
        }
        if self.use_cache != Some(false) {
            let decoded = |body: Body<'_>| {
                let (row, texts) = Row::decode(body, position).map_err(damaged)?;
                Ok(show(&row, texts))
            };
            if let Some(shown) = self.cached.get(key, decoded) {
                self.use_cache = Some(true);
                self.rows_read += 1;
                self.rows_cached += 1;
                return shown;
            }
            self.use_cache.get_or_insert_with(|| self.cached.miss(key));
        }
        let record = self.read(position)?;
        let body = verify(key, record.value())?;
        if self.use_cache == Some(true) {
            self.cached.insert(key, body);
        }
        let (row, texts) = Row::decode(body, position).map_err(damaged)?;
        Ok(show(&row, texts))
    }

    /// The record of the row at `position`, from the table.
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
        let found = self.rows.get(RowKey::new(self.owner, position))?;
        found.ok_or_else(|| damaged("an index entry leads to no row"))
    }

    /// A descent that leaves a walk behind.
    fn seek(&mut self, position: Position) -> Result<Record<'t>> {
        let key = RowKey::new(self.owner, position);
        let gap = match self.direction {
            ScanDirection::Ascending => Gap::Before(key),
            ScanDirection::Descending => Gap::After(key),
        };
        let mut cursor = self.rows.cursor(gap, self.direction)?;
        let found = cursor.step()?;
        self.rows_read += 1;
        self.access = Access::Stepping(cursor);
        match found {
            Some((found, record)) if found == key => Ok(record),
            _ => Err(damaged("an index entry leads to no row")),
        }
    }

    /// The row at `position`, if the walk meets it within its stride.
    fn step_to(&mut self, position: Position) -> Result<Option<Record<'t>>> {
        let Access::Stepping(cursor) = &mut self.access else {
            return Ok(None);
        };
        for _ in 0..MAX_STRIDE {
            let Some((key, record)) = cursor.step()? else {
                return Ok(None);
            };
            self.rows_read += 1;
            match self.direction.order(&key.position, &position) {
                _ if key.owner != self.owner => return Ok(None),
                Ordering::Less => {}
                Ordering::Equal => return Ok(Some(record)),
                Ordering::Greater => return Ok(None),
            }
        }
        Ok(None)
    }
}
