//! `convodb compact`: the store written anew, without what was deleted.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use convodb::Compaction;
use serde::Serialize;

use crate::console::{bytes, entries_bar, say};
use crate::open_store::{SMALL_CACHE_BYTES, WhileServed, existing};
use crate::upkeep::Compact;

/// What a compaction did, as JSON.
#[derive(Serialize)]
struct Line {
    bytes_before: u64,
    bytes_after: u64,
    seconds: f64,
}

/// Compacts the store.
pub(crate) fn run(verb: &Compact, out: &mut dyn Write) -> Result<()> {
    let started = Instant::now();
    let Compaction { bytes_before, bytes_after } = compact(&verb.db.db)?;
    let seconds = started.elapsed().as_secs_f64();
    if verb.json.json {
        let line = Line { bytes_before, bytes_after, seconds };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    say(format_args!(
        "{} before, {} after ({seconds:.1} s)",
        bytes(bytes_before),
        bytes(bytes_after)
    ));
    Ok(())
}

/// Compacts the store at `path`, with a bar and errors that help.
pub(crate) fn compact(path: &Path) -> Result<Compaction> {
    // Who may not have it, or mistyped it, is told so by the same words as everywhere.
    existing(path, SMALL_CACHE_BYTES, WhileServed::Stop)?.close()?;
    let (bar, follow) = entries_bar();
    let done = convodb::compact(path, follow);
    bar.finish_and_clear();
    done.with_context(|| format!("cannot compact {}", path.display()))
}
