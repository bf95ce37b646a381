//! Row 5: bytes that are not what was written are told, never served.
//!
//! A small store is built once for each lane, its answers are kept, and then its file, or its log as a
//! crash leaves it, is damaged in a copy. A process of its own reads the copy, because what meets
//! damage may end its process, another audits it, a third writes to it. An answer may be right, an
//! error, or lack something; never wrong, and never a panic. What is not right the audit must find;
//! what ends a process, or keeps it, is refused by `check_on_open`.
//!
//! The end of a log that is damaged cannot be told from one that a power cut tore: what it held is
//! missing then, and nothing else.

mod fixtures;
mod writes;

use std::cell::RefCell;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use convodb::{Store, StoreOptions};
use serde::{Deserialize, Serialize};

use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};
use crate::scenarios::damage::fixtures::{DamageFixtures, Expected, STORE, copy_files, options};
use crate::scenarios::model::in_memory_directory;
use crate::store_dump::{self, Difference};
use crate::subprocess;

pub(super) const DAMAGE: Scenario = Scenario {
    name: "damage",
    row: 5,
    promise: "Of a damaged file no wrong row is served; what the damage changed, the audit finds.",
    trial: "one damaged copy, read, audited and written to by processes of their own",
    trials: Trials { smoke: 10, ci: 2_000, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run,
};

const PATIENCE: Duration = Duration::from_secs(10);
/// How a process ends that panicked.
const PANICKED: i32 = 101;

/// What the process that reads tells.
#[derive(Serialize, Deserialize)]
struct Reading {
    /// Whether it could not be opened.
    refused: bool,
    difference: Difference,
}

thread_local! {
    static ORIGINALS: RefCell<Option<DamageFixtures>> = const { RefCell::new(None) };
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    ORIGINALS.with_borrow_mut(|originals| {
        let originals = match originals {
            Some(originals) => originals,
            none => none.insert(DamageFixtures::build()?),
        };
        let copy = in_memory_directory()?;
        let (of_log, what) = originals.damaged_copy(copy.path(), &mut trial.random)?;
        trial.count(what);
        // Who opens it changes it.
        let before = in_memory_directory()?;
        copy_files(copy.path(), before.path())?;
        let judged = judge(copy.path(), before.path(), of_log, trial)
            .and_then(|()| written(copy.path(), before.path(), trial));
        judged.map_err(|violation| {
            let kept = before.keep();
            Violation::new(format!("{what}: {violation}; the files are in {}", kept.display()))
        })
    })
}

/// Reads and audits what is damaged, and as it is `before`.
fn judge(
    directory: &Path,
    before: &Path,
    of_log: bool,
    trial: &mut Trial,
) -> Result<(), Violation> {
    let read = subprocess::run(DAMAGE.name, directory, "read", PATIENCE)?;
    let Some(status) = read.status else {
        return refused_before(before, "reading never ended", trial);
    };
    ensure(status.code() != Some(PANICKED), || "reading panicked".to_owned())?;
    let reading: Option<Reading> = serde_json::from_str(&read.out).ok();
    let Some(Reading { refused, difference }) = reading.filter(|_| status.success()) else {
        return refused_before(before, "the process that read was ended", trial);
    };
    ensure(difference.wrong.is_empty(), || format!("served wrongly: {:?}", difference.wrong))?;
    if refused {
        trial.count("could not be opened");
        return Ok(());
    }
    if difference.is_none() {
        trial.count("changed nothing that was asked");
        return Ok(());
    }
    if difference.errors > 0 {
        trial.count("told by an error");
    }
    if difference.errors == 0 && of_log {
        // Opening told nothing, so it was the end of the log.
        trial.count("the end of the log was passed over");
        return Ok(());
    }
    if !difference.lacking.is_empty() {
        trial.count("answers that lack something");
    }
    audited(directory, &format!("{difference:?}"), trial)
}

/// Whoever writes to it is told, or is not harmed. Changes the files. What cannot be caught is counted:
/// redb may go round in a damaged tree until the stack or the patience ends, or panic as it unwinds.
fn written(directory: &Path, before: &Path, trial: &mut Trial) -> Result<(), Violation> {
    let write = subprocess::run(DAMAGE.name, directory, "write", PATIENCE)?;
    let Some(status) = write.status else {
        return refused_before(before, "writing never ended", trial);
    };
    match status.code() {
        None => return refused_before(before, "the process that wrote was ended", trial),
        Some(0) if write.out.trim() == "0" => {}
        Some(0) => trial.count("told when written to"),
        Some(PANICKED) => return Err(Violation::new(format!("writing panicked: {}", write.out))),
        Some(_) => return Err(Violation::new(format!("the writer ended: {}", write.out))),
    }
    Ok(())
}

/// Who has the file checked when it is opened is spared the harm, which is counted.
fn refused_before(before: &Path, harm: &'static str, trial: &mut Trial) -> Result<(), Violation> {
    trial.count(harm);
    let checked = audit(before)?;
    ensure(checked == "refused", || format!("{harm}; checked when opened: {checked}"))
}

/// The audit finds what was harmful.
fn audited(directory: &Path, harm: &str, trial: &mut Trial) -> Result<(), Violation> {
    let told = audit(directory)?;
    ensure(matches!(told.as_str(), "refused" | "faults"), || format!("the audit: {told}; {harm}"))?;
    trial.count("found by the audit");
    Ok(())
}

/// What `convodb verify` makes of it: "refused", "faults", "clean", or how it failed.
fn audit(directory: &Path) -> Result<String, Violation> {
    let audit = subprocess::run(DAMAGE.name, directory, "verify", PATIENCE)?;
    Ok(match audit.status {
        None => "never ends".to_owned(),
        Some(status) if status.success() => audit.out.trim().to_owned(),
        Some(status) => format!("ended by {status}"),
    })
}

/// What a process of its own does in a directory.
pub(super) fn take_part(
    out: &mut dyn Write,
    part: &str,
    directory: &Path,
) -> Result<(), Violation> {
    // The engine makes errors of redb's panics, not of its own.
    std::panic::set_hook(Box::new(|panic| {
        if panic.location().is_none_or(|place| place.file().contains("crates/convodb")) {
            std::process::exit(PANICKED);
        }
    }));
    let path = directory.join(STORE);
    if part == "verify" {
        // As `convodb verify` does.
        let options = StoreOptions { check_on_open: true, ..StoreOptions::default() };
        let told = match Store::open_with(&path, &options) {
            Err(_) => "refused",
            Ok(store) => match store.snapshot().verify(|_, _| {}) {
                Ok(audit) if audit.is_clean() => "clean",
                _ => "faults",
            },
        };
        return Ok(writeln!(out, "{told}")?);
    }
    let expected = Expected::of(directory)?;
    if part == "write" {
        let failed = writes::try_all(&path, open, &expected.known)?;
        return Ok(writeln!(out, "{failed}")?);
    }
    let reading = match open(&path) {
        Err(_) => Reading { refused: true, difference: Difference::default() },
        Ok(store) => {
            let difference = store_dump::compare(&store, &expected.known, &expected.answers);
            Reading { refused: false, difference }
        }
    };
    Ok(writeln!(out, "{}", serde_json::to_string(&reading)?)?)
}

fn open(path: &Path) -> convodb::Result<Store> {
    Store::open_with(path, &options())
}
