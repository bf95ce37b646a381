//! Numbers as texts, and what the parts of the page share.

use crate::chart::axis::{count_label, rounded, time_label};
use crate::result::BenchResult;

/// The list without a filter, by its name in results.
pub(super) const UNFILTERED: &str = "no filter";

/// The size of the pages that the headline is about.
pub(super) fn first_size(result: &BenchResult) -> usize {
    result.pages.first().map_or(15, |page| page.page_size)
}

pub(super) fn page_sizes(result: &BenchResult) -> Vec<usize> {
    let mut sizes: Vec<usize> = result.pages.iter().map(|page| page.page_size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

pub(super) fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

/// A duration with a unit, of three significant digits.
pub(super) fn time(nanos: u64) -> String {
    time_label(rounded(micros(nanos)))
}

pub(super) fn count(number: u64) -> String {
    count_label(number as f64)
}

/// A number of bytes with a binary unit.
pub(super) fn bytes(number: u64) -> String {
    match number as f64 {
        number @ ..1_048_576.0 => format!("{:.0} KiB", number / 1024.0),
        number @ ..1_073_741_824.0 => format!("{:.1} MiB", number / 1_048_576.0),
        number => format!("{:.2} GiB", number / 1_073_741_824.0),
    }
}
