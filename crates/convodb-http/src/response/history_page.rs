//! Page of a history: which messages it has, and its cursors.
//!
//! Messages are numbered from 1 and never renumbered, so a cursor names the message beside it:
//! `after-20` or `before-21`. It is of its conversation alone and grants no access.

use convodb::PageSize;

/// Where a page of a history begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistoryCursor {
    /// After the message with this number; 0 for the beginning.
    After(u32),
    /// Before the message with this number.
    Before(u32),
}

/// A requested page of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoryParams {
    pub(crate) cursor: HistoryCursor,
    pub(crate) size: PageSize,
}

/// A page of a history of `stored` messages: those after the first `skipped`, `len` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoryPage {
    pub(crate) size: PageSize,
    pub(crate) skipped: u32,
    pub(crate) len: u32,
    stored: u32,
}

impl HistoryCursor {
    /// Parses a cursor that [`HistoryPage`] has returned; `None` for any other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let number = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| plain)
        };
        match text.split_once('-')? {
            ("after", digits) => number(digits).map(HistoryCursor::After),
            ("before", digits) => number(digits).map(HistoryCursor::Before),
            _ => None,
        }
    }
}

impl HistoryPage {
    /// The requested page of a history of `stored` messages.
    pub(crate) fn of(params: HistoryParams, stored: u32) -> Self {
        let size = u32::try_from(params.size.get()).unwrap_or(u32::MAX);
        let (skipped, end) = match params.cursor {
            HistoryCursor::After(number) => {
                let skipped = number.min(stored);
                (skipped, skipped.saturating_add(size).min(stored))
            }
            HistoryCursor::Before(number) => {
                let end = number.saturating_sub(1).min(stored);
                (end.saturating_sub(size), end)
            }
        };
        Self { size: params.size, skipped, len: end - skipped, stored }
    }

    /// The cursor of the page after this one, if there is one.
    pub(crate) fn next_cursor(&self) -> Option<String> {
        let end = self.skipped + self.len;
        (end < self.stored).then(|| format!("after-{end}"))
    }

    /// The cursor of the page before this one, if there is one.
    pub(crate) fn prev_cursor(&self) -> Option<String> {
        (self.skipped > 0).then(|| format!("before-{}", u64::from(self.skipped) + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks a history of `stored` messages; returns the messages of each page as (skipped, len).
    fn walk(mut cursor: HistoryCursor, forward: bool, stored: u32) -> Vec<(u32, u32)> {
        let size = PageSize::new(10).unwrap();
        let mut pages = Vec::new();
        loop {
            let page = HistoryPage::of(HistoryParams { cursor, size }, stored);
            pages.push((page.skipped, page.len));
            let next = if forward { page.next_cursor() } else { page.prev_cursor() };
            match next {
                Some(text) => cursor = HistoryCursor::parse(&text).unwrap(),
                None => return pages,
            }
        }
    }

    #[test]
    fn pages_cover_a_history_both_ways() {
        use HistoryCursor::{After, Before};
        assert_eq!(walk(After(0), true, 25), [(0, 10), (10, 10), (20, 5)]);
        assert_eq!(walk(Before(u32::MAX), false, 25), [(15, 10), (5, 10), (0, 5)]);
        assert_eq!(walk(After(7), false, 25), [(7, 10), (0, 7)]);
        assert_eq!(walk(After(99), false, 25), [(25, 0), (15, 10), (5, 10), (0, 5)]);
        assert_eq!(walk(After(0), true, 0), [(0, 0)]);
        assert_eq!(walk(Before(0), true, 5), [(0, 0), (0, 5)]);
        assert_eq!(walk(After(u32::MAX), true, u32::MAX), [(u32::MAX, 0)]);
    }

    #[test]
    fn other_texts_are_no_cursors() {
        for text in ["", "after", "after-", "after--1", "after-+1", "before-4294967296", "1"] {
            assert_eq!(HistoryCursor::parse(text), None, "{text}");
        }
    }
}
