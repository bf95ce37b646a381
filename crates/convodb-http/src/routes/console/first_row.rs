//! First row of a rendered page, and how many rows its list has got above it since.

use std::fmt;

use convodb::{ConversationId, ConversationRef, Page, Sort, Timestamp};

/// The row that was the first one of a page: `1737800001000-` and its id. The number is the time
/// that sorts the list, in milliseconds, which an activity of the row may have changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstRow {
    at: Timestamp,
    id: ConversationId,
}

impl FirstRow {
    /// The first row of a page; `None` if the page has none.
    pub(super) fn of(page: &Page, sort: Sort) -> Option<Self> {
        page.conversations().next().map(|row| Self { at: time(&row, sort), id: row.id })
    }

    /// Parses what `Display` prints; `None` if it is anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (millis, id) = text.split_once('-')?;
        let at = Timestamp::from_millis(millis.parse().ok()?).ok()?;
        Some(Self { at, id: id.parse().ok()? })
    }
}

impl fmt::Display for FirstRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at.millis(), self.id)
    }
}

/// The time that sorts a list.
const fn time(row: &ConversationRef<'_>, sort: Sort) -> Timestamp {
    match sort {
        Sort::CreatedAt => row.created_at,
        Sort::LastActivity => row.updated_at,
    }
}

/// The number of rows of a list's first page above the row that was its first one. If that row is
/// gone, those that are later than it was.
pub(super) fn new_rows(page: &Page, first: Option<FirstRow>, sort: Sort) -> usize {
    let Some(first) = first else { return page.len() };
    let is_first = |row: ConversationRef<'_>| row.id == first.id && time(&row, sort) == first.at;
    page.conversations().position(is_first).unwrap_or_else(|| {
        page.conversations().take_while(|row| time(row, sort) > first.at).count()
    })
}
