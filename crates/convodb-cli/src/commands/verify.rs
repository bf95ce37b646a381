//! `convodb verify`: reads everything and lists what does not hold.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use convodb::{Audit, Fault};
use serde::Serialize;

use crate::args::{Json, Verify};
use crate::console::{entries_bar, grouped};
use crate::open_store::{LARGE_CACHE_BYTES, WhileServed, existing_checked};

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
    let store = existing_checked(path, LARGE_CACHE_BYTES, WhileServed::Stop)?;
    let (bar, follow) = entries_bar();
    let audit = store
        .snapshot()
        .verify(follow)
        .with_context(|| format!("cannot read {}", path.display()))?;
    bar.finish_and_clear();
    store.close()?;
    tell(&audit, &verb.json, out)
}

/// Prints what an audit found, and gives the status to exit with.
pub(crate) fn tell(audit: &Audit, json: &Json, out: &mut dyn Write) -> Result<ExitCode> {
    let write = if json.json { write_json } else { write_summary };
    write(audit, out).context("cannot print what was found")?;
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
