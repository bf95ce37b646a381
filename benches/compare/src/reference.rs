//! Reference data: the rows of the measured users in memory, as records ordered by position.
//!
//! It defines the expected content of every list, and it is what the engine `memory` reads by
//! direct index.

use std::collections::HashMap;

use anyhow::{Context, Result};
use convodb::Sort;
use convodb_bench::filter::ListFilter;
use convodb_bench::row::Row;
use convodb_bench::sql::Key;

use crate::dataset::{all_rows, record};

/// The rows of the measured users.
pub(crate) struct Reference {
    users: Vec<(u32, UserRows)>,
}

/// One user's rows, oldest first.
#[derive(Default)]
pub(crate) struct UserRows {
    pub(crate) positions: Vec<u64>,
    records: Vec<u8>,
    /// The offset of each record in `records`, then the end of the last record.
    starts: Vec<usize>,
}

impl UserRows {
    /// The record at an index.
    pub(crate) fn record(&self, at: usize) -> &[u8] {
        &self.records[self.starts[at]..self.starts[at + 1]]
    }
}

impl Reference {
    /// Collects the users' rows from the dataset. Calls `progress` with the number of rows read.
    pub(crate) fn collect(rows: u64, users: &[u32], mut progress: impl FnMut(u64)) -> Result<Self> {
        let mut collected: HashMap<u32, UserRows> =
            users.iter().map(|user| (*user, UserRows::default())).collect();
        for (number, placed) in (0..).zip(all_rows(rows)) {
            if number % 10_000 == 0 {
                progress(number);
            }
            let Some(rows) = collected.get_mut(&placed.user) else { continue };
            rows.positions.push(placed.position);
            rows.starts.push(rows.records.len());
            record::encode(placed.user, placed.position, &placed.row(), &mut rows.records)?;
        }
        for rows in collected.values_mut() {
            rows.starts.push(rows.records.len());
            rows.records.shrink_to_fit();
        }
        Ok(Self { users: collected.into_iter().collect() })
    }

    /// One user's rows.
    pub(crate) fn rows_of(&self, user: u32) -> Result<&UserRows> {
        let found = self.users.iter().find(|(collected, _)| *collected == user);
        found.map(|(_, rows)| rows).context("the rows of this user were not collected")
    }

    fn rows(&self, user: u32) -> Result<impl DoubleEndedIterator<Item = (usize, Result<Row>)>> {
        let rows = self.rows_of(user)?;
        Ok(rows.positions.iter().enumerate().map(move |(number, position)| {
            (number, record::decode(user, *position, rows.record(number)))
        }))
    }

    /// The sort key of each row of a list with its index among the user's rows, newest first.
    pub(crate) fn list(
        &self,
        user: u32,
        filter: &ListFilter,
        sort: Sort,
    ) -> Result<Vec<(Key, u32)>> {
        let positions = &self.rows_of(user)?.positions;
        let mut list = Vec::new();
        for (number, row) in self.rows(user)? {
            let row = row?;
            if filter.matches(&row) {
                let key = Key::of(sort, row.updated_at, positions[number]);
                list.push((key, u32::try_from(number)?));
            }
        }
        list.sort_unstable_by(|a, b| b.cmp(a));
        Ok(list)
    }

    /// The most common value of a text field in the user's rows; on a tie, the smallest.
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
