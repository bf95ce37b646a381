//! Prints the worst page and the worst count of each list of the optional indexes, among
//! conversations that are deleted, changed and moved.
//!
//! Everything is a count, so another run prints the same, except for a few entries at the ends of
//! ranges. Its argument is the number of conversations of each store; 2,000 takes a minute.

use std::io::Write;
use std::process::ExitCode;

use convodb_testkit::list_bounds::{Scale, measure};

fn main() -> ExitCode {
    let rows = std::env::args().nth(1).map_or(Ok(2_000), |rows| rows.parse());
    let Ok(rows @ 100..) = rows else {
        let _ = writeln!(std::io::stderr(), "the number of conversations must be at least 100");
        return ExitCode::FAILURE;
    };
    let report = measure(&Scale { rows, page_sizes: vec![15, 100], max_pages: usize::MAX });
    match write!(std::io::stdout().lock(), "{report}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
