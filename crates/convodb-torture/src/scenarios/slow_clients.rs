//! Slow clients: the real server under idle, slow and non-reading connections.

use std::env;
use std::process::Command;
use std::time::Duration;

use convodb_testkit::slow_clients::{ClientCounts, Timing, measure};

use crate::scenario::{Parallelism, Scale, Scenario, Trial, Trials, Violation};

pub(super) const SLOW_CLIENTS: Scenario = Scenario {
    name: "slow-clients",
    row: 16,
    promise: "Idle and slow clients and clients that never read are disconnected; meanwhile a page \
              takes other clients at most twice as long, and the server uses at most 300 MB.",
    trial: "500 clients of each kind, or 10,000 idle, 1,000 slow and 1,000 non-reading ones",
    // No smoke trials: the timeouts alone take seconds. The tests of the command have a small
    // measurement.
    trials: Trials { smoke: 0, ci: 1, release: 1 },
    parallelism: Parallelism::Single,
    run,
};

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let (counts, timing) = match trial.scale {
        Scale::Smoke => (ClientCounts::SMOKE, Timing::SMOKE),
        Scale::Ci => (ClientCounts::CI, Timing::MEASURED),
        Scale::Release => (ClientCounts::RELEASE, Timing::LARGE),
    };
    // One socket per client, and the other files of a process.
    let needed = counts.total() as u64 + 500;
    if open_files_limit()?.is_some_and(|limit| limit < needed) {
        trial.skip(format!("this process may not open {needed} files; raise it with ulimit -n"));
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let binary = env::current_exe()?.with_file_name("convodb");
    let result = measure(&binary, counts, timing, directory.path(), &mut |_| {})?;
    trial.add("clients", counts.total() as u64);
    trial.add("pages without slow clients", result.pages.0 as u64);
    trial.add("pages with slow clients", result.pages.1 as u64);
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    trial.figure("p99 without slow clients ms", millis(result.p99.0));
    trial.figure("p99 with slow clients ms", millis(result.p99.1));
    trial.figure("disconnected after s", result.disconnected_after.as_secs_f64());
    if let Some(peak) = result.peak_bytes {
        trial.figure("peak MB", peak as f64 / 1e6);
    }
    result.violation().map_or(Ok(()), |violation| Err(Violation::new(violation)))
}

/// The number of files that this process may open, if it is limited.
fn open_files_limit() -> Result<Option<u64>, Violation> {
    let output = Command::new("sh").args(["-c", "ulimit -n"]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}
