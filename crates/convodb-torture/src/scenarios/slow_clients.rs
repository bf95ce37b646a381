//! Row 16: idle, slow and deaf clients beside good ones. A trial is one of the test kit's, on the
//! real server.

use std::env;
use std::process::Command;

use convodb_testkit::slow_clients::{self, Crowd, Pace};

use crate::scenario::{Parallelism, Scale, Scenario, Trial, Trials, Violation};

pub(super) const CROWD: Scenario = Scenario {
    name: "crowd",
    row: 16,
    promise: "Clients that are idle, slow or deaf are given up; meanwhile a page takes others at most \
              twice as long, and the server no more than 300 MB.",
    trial: "500 clients of each kind, or 10,000 idle, 1,000 slow and 1,000 deaf ones",
    // Clients are given up after seconds, which is too long for a test of all proofs; the command's
    // own tests have a small crowd.
    trials: Trials { smoke: 0, ci: 1, release: 1 },
    parallelism: Parallelism::Single,
    run,
};

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let (crowd, pace) = match trial.scale {
        Scale::Smoke => (Crowd::SMOKE, Pace::SMOKE),
        Scale::Ci => (Crowd::CI, Pace::MEASURED),
        Scale::Release => (Crowd::RELEASE, Pace::LARGE),
    };
    // A socket each, and what a process has beside.
    let needed = crowd.all() as u64 + 500;
    if open_files()?.is_some_and(|most| most < needed) {
        trial.skip(format!("this process may not open {needed} files; raise it with ulimit -n"));
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let binary = env::current_exe()?.with_file_name("convodb");
    let found = slow_clients::trial(&binary, crowd, pace, directory.path(), &mut |_| {})?;
    trial.add("clients", crowd.all() as u64);
    trial.add("pages alone", found.pages.0 as u64);
    trial.add("pages in the crowd", found.pages.1 as u64);
    let millis = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    trial.figure("p99 alone ms", millis(found.p99.0));
    trial.figure("p99 in the crowd ms", millis(found.p99.1));
    trial.figure("given up after s", found.given_up_after.as_secs_f64());
    if let Some(peak) = found.peak_bytes {
        trial.figure("peak MB", peak as f64 / 1e6);
    }
    found.violation().map_or(Ok(()), |why| Err(Violation::new(why)))
}

/// How many files this process may have open, where there is a bound.
fn open_files() -> Result<Option<u64>, Violation> {
    let told = Command::new("sh").args(["-c", "ulimit -n"]).output()?;
    Ok(String::from_utf8_lossy(&told.stdout).trim().parse().ok())
}
