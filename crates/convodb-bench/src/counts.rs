//! Page cost in counts: the most entries and rows that any page of a list reads.

use anyhow::{Result, ensure};
use convodb::{ListRequest, Page, PageCost, PageSize, Snapshot, UserId};

use crate::lists::List;

/// What the pages of one list read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The rows of the list.
    pub rows: u64,
    /// The pages that were read, forward and backward.
    pub pages: u64,
    /// The page that read the most: its index entries, or rows if the list has no filter.
    pub entries: usize,
    /// Its rows, including those that were stepped over.
    pub rows_read: usize,
}

/// Reads a list from its first page to its last and back, and counts what each page reads.
///
/// # Errors
/// An error of the store, or a page that reads more than [`PageCost::bound`].
pub fn count(
    snapshot: &Snapshot,
    user: UserId,
    list: &List,
    page_size: PageSize,
) -> Result<Counts> {
    let mut counts = Counts::default();
    let bound = PageCost::bound(page_size);
    let mut visit = |page: &Page| {
        let PageCost { entries, rows, .. } = page.cost();
        ensure!(
            entries + rows <= bound,
            "a page of {} by {} read {} entries and rows; the bound is {bound}",
            page_size.get(),
            list.name,
            entries + rows
        );
        counts.pages += 1;
        if entries + rows > counts.entries + counts.rows_read {
            (counts.entries, counts.rows_read) = (entries, rows);
        }
        Ok(())
    };
    let request = ListRequest::new().filter(list.filter.clone());
    let mut page = snapshot.list(user, &request.page_size(page_size.get() as u64)?)?;
    visit(&page)?;
    let mut rows = page.len() as u64;
    while let Some(next) = page.next_cursor() {
        page = snapshot.list(user, &ListRequest::at(*next))?;
        visit(&page)?;
        rows += page.len() as u64;
    }
    while let Some(prev) = page.prev_cursor() {
        page = snapshot.list(user, &ListRequest::at(*prev))?;
        visit(&page)?;
    }
    counts.rows = rows;
    Ok(counts)
}
