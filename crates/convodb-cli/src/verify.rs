//! `convodb verify`: reads everything and lists what does not hold.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use convodb::{Audit, Fault, Store};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::args::Verify;
use crate::console::{grouped, progress_style};
use crate::open::{LARGE_CACHE_BYTES, WhileServed, existing};

/// How often the bar is told where the audit is, in entries.
const STEP: u64 = 1 << 12;

/// What an audit found, as JSON.
#[derive(Serialize)]
struct Line {
    conversations: u64,
    messages: u64,
    index_entries: u64,
    counters: u64,
    fault_count: u64,
    faults: Vec<FaultLine>,
}

#[derive(Serialize)]
struct FaultLine {
    table: &'static str,
    what: &'static str,
    user: u32,
}

/// Audits the store; a store with faults is a failure.
pub(crate) fn run(verb: &Verify, out: &mut dyn Write) -> Result<ExitCode> {
    let path = &verb.db.db;
    existing(path, LARGE_CACHE_BYTES, WhileServed::Stop)?.close()?;
    Store::check_pages(path)
        .with_context(|| format!("{} is damaged or cannot be read", path.display()))?;
    let store = existing(path, LARGE_CACHE_BYTES, WhileServed::Stop)?;
    let bar = ProgressBar::new(0).with_style(progress_style(
        "{bar:40} {human_pos} of {human_len} entries, {per_sec}, {eta} to go",
    ));
    let audit = store
        .snapshot()
        .verify(|done, of| {
            if done.is_multiple_of(STEP) || done == of {
                bar.set_length(of);
                bar.set_position(done);
            }
        })
        .with_context(|| format!("cannot read {}", path.display()))?;
    bar.finish_and_clear();
    store.close()?;

    let write = if verb.json.json { write_json } else { write_summary };
    write(&audit, out).context("cannot print what was found")?;
    Ok(if audit.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_summary(audit: &Audit, out: &mut dyn Write) -> Result<()> {
    let counts = [
        ("conversations", audit.conversations),
        ("messages", audit.messages),
        ("index entries", audit.entries),
        ("counters", audit.counters),
        ("faults", audit.fault_count),
    ];
    for (what, count) in counts {
        writeln!(out, "{what:<14}{:>14}", grouped(count))?;
    }
    for fault in &audit.faults {
        writeln!(out, "fault: {fault}")?;
    }
    let unlisted = audit.fault_count - audit.faults.len() as u64;
    if unlisted > 0 {
        writeln!(out, "and {} more", grouped(unlisted))?;
    }
    Ok(())
}

fn write_json(audit: &Audit, out: &mut dyn Write) -> Result<()> {
    let fault =
        |fault: &Fault| FaultLine { table: fault.table, what: fault.what, user: fault.owner.get() };
    let line = Line {
        conversations: audit.conversations,
        messages: audit.messages,
        index_entries: audit.entries,
        counters: audit.counters,
        fault_count: audit.fault_count,
        faults: audit.faults.iter().map(fault).collect(),
    };
    Ok(writeln!(out, "{}", serde_json::to_string(&line)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use convodb::UserId;

    #[test]
    fn faults_are_listed_and_the_rest_counted() {
        let fault = Fault { table: "conversations", what: "has no id", owner: UserId::new(7) };
        let audit =
            Audit { conversations: 1234, faults: vec![fault], fault_count: 3, ..Audit::default() };
        let mut out = Vec::new();
        write_summary(&audit, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with("conversations          1,234\n"), "{out}");
        assert!(out.ends_with("fault: conversations: has no id (user 7)\nand 2 more\n"), "{out}");
    }
}
