//! Bounds of the lists of the optional indexes, among rows that are deleted, changed and moved.

use convodb_testkit::list_bounds::{Scale, measure};

/// The worst page and the worst count of each list keep their bounds, and the patterns come near
/// them.
#[test]
fn the_worst_page_and_count_of_each_list_keep_their_bounds() {
    let scale = Scale { rows: 128, page_sizes: vec![1, 15], max_pages: 6 };
    let report = measure(&scale);
    for page in report.pages.iter().chain(&report.pages_that_read_messages) {
        assert!(page.total() <= page.bound(), "{} of {page:?}", page.bound());
        // More than a page reads without removals: its rows, and an entry beyond both ends.
        assert!(page.cost.entries > page.page_size.get() + 2, "no removed entry in {page:?}");
    }
    for page in &report.pages {
        assert_eq!(page.messages, 0, "{page:?}");
    }
    for page in &report.pages_that_read_messages {
        assert_eq!(page.messages, 2 * page.page_size.get(), "{page:?}");
    }
    for worst in &report.counts {
        let read = worst.count.entries_read;
        assert!((1..=worst.bound).contains(&read), "{worst:?}");
    }
}
