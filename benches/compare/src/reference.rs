//! The rows of the measured users in memory: what tells which lists there are, and what "no
//! engine" reads: the records in order of position, found by direct index.

use std::collections::HashMap;

use anyhow::{Context, Result};

use crate::dataset::all_rows;
use crate::dataset::record;
use crate::dataset::row::Row;
use crate::filter::ListFilter;

/// The rows of some users.
pub(crate) struct Reference {
    users: Vec<(u32, UserRows)>,
}

/// One user's rows, oldest first.
#[derive(Default)]
pub(crate) struct UserRows {
    pub(crate) positions: Vec<u64>,
    records: Vec<u8>,
    /// Where each record begins, and the end of the last.
    starts: Vec<usize>,
}

impl UserRows {
    /// The record of the row of this number.
    pub(crate) fn record(&self, number: usize) -> &[u8] {
        &self.records[self.starts[number]..self.starts[number + 1]]
    }
}

impl Reference {
    /// Collects the users' rows from the corpus. `progress` is told how many rows went by.
    pub(crate) fn collect(rows: u64, users: &[u32], mut progress: impl FnMut(u64)) -> Result<Self> {
        let mut reference: HashMap<u32, UserRows> =
            users.iter().map(|user| (*user, UserRows::default())).collect();
        for (number, placed) in (0..).zip(all_rows(rows)) {
            if number % 10_000 == 0 {
                progress(number);
            }
            let Some(rows) = reference.get_mut(&placed.user) else { continue };
            rows.positions.push(placed.position);
            rows.starts.push(rows.records.len());
            record::encode(placed.user, placed.position, &placed.row(), &mut rows.records)?;
        }
        for rows in reference.values_mut() {
            rows.starts.push(rows.records.len());
            rows.records.shrink_to_fit();
        }
        Ok(Self { users: reference.into_iter().collect() })
    }

    /// One user's rows.
    pub(crate) fn of(&self, user: u32) -> Result<&UserRows> {
        let found = self.users.iter().find(|(reference, _)| *reference == user);
        found.map(|(_, rows)| rows).context("an user whose rows are not reference")
    }

    fn rows(&self, user: u32) -> Result<impl DoubleEndedIterator<Item = (usize, Result<Row>)>> {
        let rows = self.of(user)?;
        Ok(rows.positions.iter().enumerate().map(move |(number, position)| {
            (number, record::decode(user, *position, rows.record(number)))
        }))
    }

    /// The positions of a list, newest first.
    pub(crate) fn positions(&self, user: u32, filter: &ListFilter) -> Result<Vec<u64>> {
        let rows = self.of(user)?;
        let numbers = self.numbers(user, filter)?;
        Ok(numbers.into_iter().rev().map(|number| rows.positions[number as usize]).collect())
    }

    /// The numbers of the rows of a list, oldest first.
    pub(crate) fn numbers(&self, user: u32, filter: &ListFilter) -> Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for (number, row) in self.rows(user)? {
            if filter.matches(&row?) {
                numbers.push(u32::try_from(number)?);
            }
        }
        Ok(numbers)
    }

    /// The most common text of the user's rows; of several the first in their order.
    pub(crate) fn most_common(
        &self,
        user: u32,
        text: impl Fn(&Row) -> Option<&str>,
    ) -> Result<Option<String>> {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for (_, row) in self.rows(user)? {
            if let Some(text) = text(&row?) {
                *counts.entry(text.to_owned()).or_default() += 1;
            }
        }
        let most = counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
        Ok(most.map(|(text, _)| text))
    }
}
