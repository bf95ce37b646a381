//! Damaged files: a read returns correct data or an error, never wrong data.
//!
//! Each thread creates a small store once and dumps it. A trial damages a copy of its database
//! file, or of its WAL as a crash leaves it. One subprocess reads the copy, another verifies it,
//! and a third writes to it, because damage may crash or hang a process. A result may be correct,
//! an error, or lack conversations, but never be wrong, and nothing may panic. A conversation that
//! is found has all its messages or an error, and a backup is complete or fails. `verify` must find
//! the cause of an incorrect result, and `check_on_open` must reject a file that crashes or hangs a
//! process.
//!
//! A damaged end of the WAL looks like the end that a power cut tears. Recovery drops its writes,
//! and only those.

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
use crate::store_dump::{self, Difference};
use crate::subprocess;
use crate::temporary_directory::temporary_directory;

pub(super) const DAMAGE: Scenario = Scenario {
    name: "damage",
    row: 5,
    promise: "A damaged file never causes a wrong result, and verify finds what the damage \
              changed.",
    trial: "one damaged copy; subprocesses read, verify and write to it",
    trials: Trials { smoke: 10, ci: 2_000, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run,
};

/// The time after which a subprocess counts as hanging.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The exit status of a subprocess that panicked.
const PANICKED: i32 = 101;

/// The result of the subprocess that reads.
#[derive(Serialize, Deserialize)]
struct Reading {
    /// Whether the store could not be opened.
    rejected: bool,
    difference: Difference,
    /// What a backup that succeeded contains.
    backup: Option<Difference>,
}

thread_local! {
    static FIXTURES: RefCell<Option<DamageFixtures>> = const { RefCell::new(None) };
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    FIXTURES.with_borrow_mut(|fixtures| {
        let fixtures = match fixtures {
            Some(fixtures) => fixtures,
            none => none.insert(DamageFixtures::build()?),
        };
        let copy = temporary_directory()?;
        let (damages_wal, damage) = fixtures.damaged_copy(copy.path(), &mut trial.random)?;
        trial.count(damage);
        // Opening a store changes its files.
        let original = temporary_directory()?;
        copy_files(copy.path(), original.path())?;
        let checked = check_reads(copy.path(), original.path(), damages_wal, trial)
            .and_then(|()| check_writes(copy.path(), original.path(), trial));
        checked.map_err(|violation| {
            let files = original.keep();
            Violation::new(format!("{damage}: {violation}; files in {}", files.display()))
        })
    })
}

/// Reads and verifies the copy. `original` has the damaged files before the first open.
fn check_reads(
    directory: &Path,
    original: &Path,
    damages_wal: bool,
    trial: &mut Trial,
) -> Result<(), Violation> {
    let read = subprocess::run(DAMAGE.name, directory, "read", TIMEOUT)?;
    let Some(status) = read.status else {
        return must_be_rejected(original, "reading process hung", trial);
    };
    ensure(status.code() != Some(PANICKED), || "reading panicked")?;
    let reading: Option<Reading> = serde_json::from_str(&read.stdout).ok();
    let reading = reading.filter(|_| status.success());
    let Some(Reading { rejected, difference, backup }) = reading else {
        return must_be_rejected(original, "reading process crashed", trial);
    };
    ensure(difference.wrong.is_empty(), || format!("wrong results: {:?}", difference.wrong))?;
    ensure(difference.shortened.is_empty(), || {
        format!("conversations lack messages: {:?}", difference.shortened)
    })?;
    if let Some(backup) = backup {
        trial.count("backups made");
        // Damage may be copied and reported by errors: some tables have no checksums. Writes that the end
        // of the WAL lost are in no backup.
        let is_complete = backup.finds_all() && backup.wrong.is_empty();
        ensure(is_complete || damages_wal, || format!("a backup differs: {backup:?}"))?;
    }
    if rejected {
        trial.count("rejected by open");
        return Ok(());
    }
    if difference.is_none() {
        trial.count("no result changed");
        return Ok(());
    }
    if difference.errors > 0 {
        trial.count("reported by an error");
    }
    if difference.errors == 0 && damages_wal {
        // Open reported nothing, so the damage looks like a torn end of the WAL.
        trial.count("dropped the end of the WAL");
        return Ok(());
    }
    if !difference.finds_all() {
        trial.count("incomplete results");
    }
    must_be_found(directory, &format!("{difference:?}"), trial)
}

/// Writes to the copy: the writes succeed or fail, and the writer thread survives. What cannot be
/// caught is counted: redb may recurse in a damaged tree until the stack or the timeout ends, or
/// panic while it unwinds.
fn check_writes(directory: &Path, original: &Path, trial: &mut Trial) -> Result<(), Violation> {
    let write = subprocess::run(DAMAGE.name, directory, "write", TIMEOUT)?;
    let Some(status) = write.status else {
        return must_be_rejected(original, "writing process hung", trial);
    };
    match status.code() {
        None => must_be_rejected(original, "writing process crashed", trial),
        Some(0) if write.stdout.trim() == "0" => Ok(()),
        Some(0) => {
            trial.count("reported by a write");
            Ok(())
        }
        Some(PANICKED) => Err(Violation::new(format!("writing panicked: {}", write.stdout))),
        Some(_) => Err(Violation::new(format!("writer thread ended: {}", write.stdout))),
    }
}

/// Counts a crash or a hang, which `check_on_open` must prevent.
fn must_be_rejected(
    original: &Path,
    harm: &'static str,
    trial: &mut Trial,
) -> Result<(), Violation> {
    trial.count(harm);
    let verdict = verify(original)?;
    ensure(verdict == "rejected", || format!("{harm}; check_on_open: {verdict}"))
}

/// Checks that `verify` finds damage that changed results.
fn must_be_found(directory: &Path, harm: &str, trial: &mut Trial) -> Result<(), Violation> {
    let verdict = verify(directory)?;
    ensure(matches!(verdict.as_str(), "rejected" | "findings"), || {
        format!("verify: {verdict}; {harm}")
    })?;
    trial.count("found by verify");
    Ok(())
}

/// Runs the equivalent of `convodb verify` in a subprocess. Returns `rejected`, `findings` or
/// `clean`, or how the subprocess ended.
fn verify(directory: &Path) -> Result<String, Violation> {
    let verify = subprocess::run(DAMAGE.name, directory, "verify", TIMEOUT)?;
    Ok(match verify.status {
        None => "hung".to_owned(),
        Some(status) if status.success() => verify.stdout.trim().to_owned(),
        Some(status) => format!("ended with {status}"),
    })
}

/// Runs a task of a subprocess in a directory.
pub(super) fn run_task(out: &mut dyn Write, task: &str, directory: &Path) -> Result<(), Violation> {
    // The engine converts panics of redb to errors, but not its own panics.
    std::panic::set_hook(Box::new(|panic| {
        if panic.location().is_none_or(|at| at.file().contains("crates/convodb")) {
            std::process::exit(PANICKED);
        }
    }));
    let path = directory.join(STORE);
    if task == "verify" {
        let options = StoreOptions::new().check_on_open(true);
        let verdict = match Store::open_with(&path, &options) {
            Err(_) => "rejected",
            Ok(store) => match store.snapshot().verify() {
                Ok(verified) if verified.is_clean() => "clean",
                _ => "findings",
            },
        };
        return Ok(writeln!(out, "{verdict}")?);
    }
    let expected = Expected::read(directory)?;
    if task == "write" {
        let failed = writes::run_all(&path, open, &expected.known)?;
        return Ok(writeln!(out, "{failed}")?);
    }
    let reading = match open(&path) {
        Err(_) => Reading { rejected: true, difference: Difference::default(), backup: None },
        Ok(store) => {
            let compare = |store| store_dump::compare(store, &expected.known, &expected.results);
            let difference = compare(&store);
            let backup = directory.join("backup");
            let backup = match store.snapshot().backup(&backup) {
                Err(_) => None,
                Ok(_) => Some(compare(&open(&backup)?)),
            };
            Reading { rejected: false, difference, backup }
        }
    };
    Ok(writeln!(out, "{}", serde_json::to_string(&reading)?)?)
}

fn open(path: &Path) -> convodb::Result<Store> {
    Store::open_with(path, &options())
}
