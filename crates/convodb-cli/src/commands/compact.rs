//! `convodb compact`: rewrites the store without free pages and deleted data.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use convodb::CompactReport;
use serde::Serialize;

use crate::args::{DbFlag, JsonFlag};
use crate::console::{bytes, entries_bar, say};
use crate::open_store::{SMALL_CACHE_BYTES, WhileServed, check};

/// Rewrite the store without free pages and deleted data
///
/// Writes a second, compact file, which then replaces the first atomically: after a crash, either
/// is complete. Needs free disk space for it. No byte of deleted data remains. Finishes erasures that
/// were interrupted. A server must be stopped first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: convodb compact --db chats.convodb")]
pub(crate) struct Args {
    #[command(flatten)]
    db: DbFlag,
    #[command(flatten)]
    json: JsonFlag,
}

/// A finished compaction as JSON.
#[derive(Serialize)]
struct Line {
    bytes_before: u64,
    bytes_after: u64,
    seconds: f64,
}

/// Compacts the store and prints its size before and after.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let started = Instant::now();
    let CompactReport { bytes_before, bytes_after } = compact(&args.db.db)?;
    let seconds = started.elapsed().as_secs_f64();
    if args.json.json {
        let line = Line { bytes_before, bytes_after, seconds };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    say(format_args!(
        "compacted from {} to {} ({seconds:.1} s)",
        bytes(bytes_before),
        bytes(bytes_after)
    ));
    Ok(())
}

/// Compacts the store at `path` with a progress bar.
pub(crate) fn compact(path: &Path) -> Result<CompactReport> {
    // Opening it first reports a missing file or one in use as every verb does.
    check(path, SMALL_CACHE_BYTES, WhileServed::Stop)?;
    let (bar, progress) = entries_bar();
    let compacted =
        convodb::compact_with(path, convodb::MaintenanceOptions::new().progress(progress));
    bar.finish_and_clear();
    compacted.with_context(|| format!("cannot compact {}", path.display()))
}
