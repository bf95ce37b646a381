//! The rows of the measured owners in memory: what tells which lists there are, and what "no
//! engine" reads: the records in order of position, found by direct index.

use std::collections::HashMap;

use anyhow::{Context, Result};

use crate::dataset::corpus;
use crate::dataset::record;
use crate::dataset::row::Row;
use crate::filter::Wanted;

/// The rows of some owners.
pub(crate) struct Held {
    owners: Vec<(u32, Rows)>,
}

/// One owner's rows, oldest first.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) positions: Vec<u64>,
    records: Vec<u8>,
    /// Where each record begins, and the end of the last.
    starts: Vec<usize>,
}

impl Rows {
    /// The record of the row of this number.
    pub(crate) fn record(&self, number: usize) -> &[u8] {
        &self.records[self.starts[number]..self.starts[number + 1]]
    }
}

impl Held {
    /// Collects the owners' rows from the corpus. `progress` is told how many rows went by.
    pub(crate) fn collect(
        rows: u64,
        owners: &[u32],
        mut progress: impl FnMut(u64),
    ) -> Result<Self> {
        let mut held: HashMap<u32, Rows> =
            owners.iter().map(|owner| (*owner, Rows::default())).collect();
        for (number, placed) in (0..).zip(corpus(rows)) {
            if number % 10_000 == 0 {
                progress(number);
            }
            let Some(rows) = held.get_mut(&placed.owner) else { continue };
            rows.positions.push(placed.position);
            rows.starts.push(rows.records.len());
            record::encode(placed.owner, placed.position, &placed.row(), &mut rows.records)?;
        }
        for rows in held.values_mut() {
            rows.starts.push(rows.records.len());
            rows.records.shrink_to_fit();
        }
        Ok(Self { owners: held.into_iter().collect() })
    }

    /// One owner's rows.
    pub(crate) fn of(&self, owner: u32) -> Result<&Rows> {
        let found = self.owners.iter().find(|(held, _)| *held == owner);
        found.map(|(_, rows)| rows).context("an owner whose rows are not held")
    }

    fn rows(&self, owner: u32) -> Result<impl DoubleEndedIterator<Item = (usize, Result<Row>)>> {
        let rows = self.of(owner)?;
        Ok(rows.positions.iter().enumerate().map(move |(number, position)| {
            (number, record::decode(owner, *position, rows.record(number)))
        }))
    }

    /// The positions of a list, newest first.
    pub(crate) fn positions(&self, owner: u32, wanted: &Wanted) -> Result<Vec<u64>> {
        let rows = self.of(owner)?;
        let numbers = self.numbers(owner, wanted)?;
        Ok(numbers.into_iter().rev().map(|number| rows.positions[number as usize]).collect())
    }

    /// The numbers of the rows of a list, oldest first.
    pub(crate) fn numbers(&self, owner: u32, wanted: &Wanted) -> Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for (number, row) in self.rows(owner)? {
            if wanted.admits(&row?) {
                numbers.push(u32::try_from(number)?);
            }
        }
        Ok(numbers)
    }

    /// The most common text of the owner's rows; of several the first in their order.
    pub(crate) fn most_common(
        &self,
        owner: u32,
        text: impl Fn(&Row) -> Option<&str>,
    ) -> Result<Option<String>> {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for (_, row) in self.rows(owner)? {
            if let Some(text) = text(&row?) {
                *counts.entry(text.to_owned()).or_default() += 1;
            }
        }
        let most = counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
        Ok(most.map(|(text, _)| text))
    }
}
