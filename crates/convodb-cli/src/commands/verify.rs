//! `convodb verify`: reads the whole store and reports every inconsistency.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use convodb::{Finding, VerifyReport};
use serde::Serialize;

use crate::args::{DbFlag, JsonFlag};
use crate::console::{entries_bar, grouped};
use crate::open_store::existing_checked;

/// Read the whole store and check that records, indexes, counters and messages agree
///
/// Also verifies the checksum of every page. The exit status is 1 if anything is inconsistent. A
/// warning is a value that was imported but that an update refuses; it changes no exit status.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: convodb verify --db chats.convodb")]
pub(crate) struct Args {
    #[command(flatten)]
    db: DbFlag,
    /// Give up the write-ahead log: the store opens as of its last checkpoint, and the writes of
    /// about the last second before it stopped are lost
    ///
    /// For a store whose log (FILE-log.*) is lost or damaged; otherwise it does not open. Removes
    /// what is left of the log. Every change cursor expires.
    #[arg(long)]
    without_wal: bool,
    #[command(flatten)]
    json: JsonFlag,
}

/// What was read and found, as JSON.
#[derive(Serialize)]
struct Line {
    conversations: u64,
    messages: u64,
    index_entries: u64,
    counters: u64,
    fault_count: u64,
    faults: Vec<FindingLine>,
    warning_count: u64,
    warnings: Vec<FindingLine>,
}

#[derive(Serialize)]
struct FindingLine {
    table: &'static str,
    what: &'static str,
    user: u32,
}

/// Verifies the store; any finding is a failure.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let path = &args.db.db;
    let store = existing_checked(path, args.without_wal)?;
    let (bar, progress) = entries_bar();
    let found = store
        .snapshot()
        .verify_with_progress(progress)
        .with_context(|| format!("cannot read {}", path.display()))?;
    bar.finish_and_clear();
    store.close()?;
    print(&found, &args.json, out)
}

/// Prints the result of a verification and returns the exit status.
pub(crate) fn print(
    found: &VerifyReport,
    json: &JsonFlag,
    out: &mut dyn Write,
) -> Result<ExitCode> {
    let write = if json.json { write_json } else { write_summary };
    write(found, out).context("cannot print the findings")?;
    Ok(if found.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_summary(found: &VerifyReport, out: &mut dyn Write) -> Result<()> {
    let counts = [
        ("conversations", found.conversations),
        ("messages", found.messages),
        ("index entries", found.entries),
        ("counters", found.counters),
        ("findings", found.finding_count),
        ("warnings", found.warning_count),
    ];
    for (what, count) in counts {
        writeln!(out, "{what:<14}{:>14}", grouped(count))?;
    }
    write_findings("finding", &found.findings, found.finding_count, out)?;
    write_findings("warning", &found.warnings, found.warning_count, out)
}

fn write_findings(kind: &str, listed: &[Finding], count: u64, out: &mut dyn Write) -> Result<()> {
    for finding in listed {
        writeln!(out, "{kind}: {finding}")?;
    }
    let unlisted = count - listed.len() as u64;
    if unlisted > 0 {
        writeln!(out, "and {} more {kind}s", grouped(unlisted))?;
    }
    Ok(())
}

fn write_json(found: &VerifyReport, out: &mut dyn Write) -> Result<()> {
    let line = |found: &Finding| {
        let user = found.user.get();
        FindingLine { table: found.table, what: found.what, user }
    };
    let line = Line {
        conversations: found.conversations,
        messages: found.messages,
        index_entries: found.entries,
        counters: found.counters,
        fault_count: found.finding_count,
        faults: found.findings.iter().map(line).collect(),
        warning_count: found.warning_count,
        warnings: found.warnings.iter().map(line).collect(),
    };
    Ok(writeln!(out, "{}", serde_json::to_string(&line)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use convodb::UserId;

    #[test]
    fn findings_beyond_the_listed_ones_are_counted() {
        let fault = Finding { table: "conversations", what: "has no id", user: UserId::new(7) };
        let found = VerifyReport {
            conversations: 1234,
            findings: vec![fault],
            finding_count: 3,
            ..VerifyReport::default()
        };
        let mut out = Vec::new();
        write_summary(&found, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with("conversations          1,234\n"), "{out}");
        assert!(
            out.ends_with("finding: conversations: has no id (user 7)\nand 2 more findings\n"),
            "{out}"
        );
    }
}
