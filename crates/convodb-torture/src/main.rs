//! Command `convodb-torture`: randomized tests of what convodb promises, from seconds to hours.
//!
//! `just torture NAME`, `just torture all`, `just torture list`.

mod clients;
mod report;
mod runner;
mod scenario;
mod scenarios;
mod store_dump;
mod subprocess;
mod temporary_directory;
mod write_log;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::runner::{Outcome, Plan};
use crate::scenario::{Scale, Scenario};
use crate::scenarios::ALL;

/// Test the promises of convodb in many seeded trials, and stop at the first violation
#[derive(Debug, Parser)]
#[command(name = "convodb-torture", version, max_term_width = 100)]
struct Arguments {
    /// Scenario to run, `all` for every scenario, or `list` to print them
    name: String,
    /// Number of trials
    #[arg(long, value_enum, default_value_t = Scale::Ci)]
    scale: Scale,
    /// Seed of the first trial; the seed of each following trial is one higher
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of trials, instead of that of the scale
    #[arg(long)]
    trials: Option<u64>,
    /// Print the results as JSON, one object per scenario
    #[arg(long)]
    json: bool,
    /// With `cluster`: measure an embedded store, a PostgreSQL server and the cluster side by side,
    /// instead of a trial
    #[cfg(feature = "postgres")]
    #[arg(long)]
    compare: bool,
    /// Number of conversations that are compared
    #[cfg(feature = "postgres")]
    #[arg(long, requires = "compare", default_value_t = scenarios::Size::ROWS,
          value_parser = clap::value_parser!(u64).range(10_000..))]
    rows: u64,
    /// Task of a subprocess that a scenario starts
    #[arg(long, hide = true, requires = "directory")]
    task: Option<String>,
    /// Directory of the task
    #[arg(long, hide = true)]
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let out = &mut io::stdout().lock();
    if let (Some(task), Some(directory)) = (&arguments.task, &arguments.directory) {
        return scenarios::run_task(out, &arguments.name, task, directory);
    }
    #[cfg(feature = "postgres")]
    if arguments.compare {
        return compare(out, &arguments).unwrap_or_else(|error| {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        });
    }
    let result = match arguments.name.as_str() {
        "list" => report::write_list(out, ALL).map(|()| ExitCode::SUCCESS),
        "all" => run(out, &arguments, ALL),
        name => match ALL.iter().find(|scenario| scenario.name == name) {
            Some(scenario) => run(out, &arguments, std::slice::from_ref(scenario)),
            None => {
                let _ = writeln!(
                    io::stderr(),
                    "unknown scenario {name}; `just torture list` prints all scenarios"
                );
                Ok(ExitCode::from(2))
            }
        },
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "{error}");
        ExitCode::FAILURE
    })
}

/// Runs scenarios one after the other, and continues after one that fails.
fn run(out: &mut dyn Write, arguments: &Arguments, scenarios: &[Scenario]) -> io::Result<ExitCode> {
    runner::record_panics();
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(scenarios.len());
    for scenario in scenarios {
        let Arguments { scale, seed, trials, .. } = *arguments;
        let plan = Plan { scale, seed, trials: trials.unwrap_or(scenario.trials.at(scale)) };
        let outcome = runner::run(scenario, &plan);
        report::warn(&outcome)?;
        if scale == Scale::Release {
            report::append_to_file(&outcome)?;
        }
        outcomes.push(outcome);
    }
    if arguments.json {
        report::write_json(out, &outcomes)?;
    } else {
        report::write_table(out, &outcomes)?;
    }
    let passed = outcomes.iter().all(|outcome| outcome.violation.is_none());
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the comparison of the stores.
#[cfg(feature = "postgres")]
fn compare(out: &mut dyn Write, arguments: &Arguments) -> Result<ExitCode, scenario::Violation> {
    if arguments.name != "cluster" {
        let _ = writeln!(io::stderr(), "--compare is an option of `cluster`");
        return Ok(ExitCode::from(2));
    }
    let comparison = scenarios::compare(&scenarios::Size::full(arguments.rows))?;
    if arguments.json {
        comparison.write_json(out)?;
    } else {
        comparison.write_table(out)?;
    }
    Ok(ExitCode::SUCCESS)
}
