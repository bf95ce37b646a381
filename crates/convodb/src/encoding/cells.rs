//! Cells: the content of a record of counters.
//!
//! ```text
//! for each cell, in ascending order: number of its place u8 | value
//! ```
//!
//! Values that are zero are left out. A change rewrites one cell and copies the others as they are.

use std::marker::PhantomData;

use crate::encoding::record::Damage;

/// The place of a value in its record.
pub(crate) trait Place: Copy + Ord {
    /// The place of this number; `None` if no place has it.
    fn from_number(number: u8) -> Option<Self>;

    fn number(self) -> u8;
}

/// What a cell counts. The default is zero.
pub(crate) trait CellValue: Copy + Default + PartialEq {
    type Place: Place;

    /// Takes a value from the front of `rest`.
    fn take(rest: &mut &[u8]) -> Result<Self, Damage>;

    fn append(&self, record: &mut Vec<u8>);
}

/// An iterator over cells, which ends after the first error.
pub(crate) struct Cells<'a, V: CellValue> {
    rest: &'a [u8],
    before: Option<V::Place>,
    value: PhantomData<V>,
}

impl<'a, V: CellValue> Cells<'a, V> {
    pub(crate) const fn new(cells: &'a [u8]) -> Self {
        Self { rest: cells, before: None, value: PhantomData }
    }

    fn decode(&mut self, number: u8) -> Result<(V::Place, V), Damage> {
        let follows = |place: &V::Place| self.before.is_none_or(|before| before < *place);
        let place = V::Place::from_number(number).filter(follows);
        let place = place.ok_or("counters are out of order")?;
        self.before = Some(place);
        Ok((place, V::take(&mut self.rest)?))
    }
}

impl<V: CellValue> Iterator for Cells<'_, V> {
    type Item = Result<(V::Place, V), Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let (number, rest) = self.rest.split_first()?;
        self.rest = rest;
        let decoded = self.decode(*number);
        if decoded.is_err() {
            self.rest = &[];
        }
        Some(decoded)
    }
}

/// Appends a cell.
pub(crate) fn append<V: CellValue>(place: V::Place, value: &V, record: &mut Vec<u8>) {
    record.push(place.number());
    value.append(record);
}

/// Cells with one change.
pub(crate) struct ChangedCells<'a, V: CellValue> {
    before: &'a [u8],
    place: V::Place,
    value: V,
    after: &'a [u8],
}

impl<'a, V: CellValue> ChangedCells<'a, V> {
    /// Cells in which the value at `place`, or zero, becomes what `change` returns.
    ///
    /// # Errors
    /// A cell up to that place is damaged, or `change` returns `None`: the value leaves its range.
    pub(crate) fn new(
        cells: &'a [u8],
        place: V::Place,
        change: impl FnOnce(V) -> Option<V>,
    ) -> Result<Self, Damage> {
        let mut read = Cells::<V>::new(cells);
        let (mut before, mut after) = (0, 0);
        let mut value = V::default();
        while let Some((found, counted)) = read.next().transpose()? {
            let end = cells.len() - read.rest.len();
            if found < place {
                (before, after) = (end, end);
                continue;
            }
            if found == place {
                (value, after) = (counted, end);
            }
            break;
        }
        let value = change(value).ok_or("a counter leaves its range")?;
        Ok(Self { before: &cells[..before], place, value, after: &cells[after..] })
    }

    /// Whether no cell is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.value == V::default() && self.before.is_empty() && self.after.is_empty()
    }

    pub(crate) fn append(&self, record: &mut Vec<u8>) {
        record.extend_from_slice(self.before);
        if self.value != V::default() {
            append(self.place, &self.value, record);
        }
        record.extend_from_slice(self.after);
    }
}
