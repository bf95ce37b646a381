//! The command `convodb-prove`: runs the proofs of what convodb promises, at the size that is asked
//! for. `just prove NAME`, `just prove all`, `just prove list`.

mod clients;
mod report;
mod runner;
mod scenario;
mod scenarios;
mod store_dump;
mod subprocess;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::runner::{Outcome, Plan};
use crate::scenario::{Scale, Scenario};
use crate::scenarios::ALL;

/// Prove what convodb promises: many seeded trials, the first violation ends them
#[derive(Debug, Parser)]
#[command(name = "convodb-prove", version, max_term_width = 100)]
struct Arguments {
    /// The proof to run, `all`, or `list` to see them
    name: String,
    /// How many trials: for a test, for continuous integration, or before a release
    #[arg(long, value_enum, default_value_t = Scale::Ci)]
    scale: Scale,
    /// The seed of the first trial; each further one has the next number
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Another number of trials than the scale's
    #[arg(long)]
    trials: Option<u64>,
    /// Print the summary as JSON, an object a proof
    #[arg(long)]
    json: bool,
    /// What a process that a proof starts is to do
    #[arg(long, hide = true, requires = "directory")]
    part: Option<String>,
    /// Where it is to do it
    #[arg(long, hide = true)]
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let out = &mut io::stdout().lock();
    if let (Some(part), Some(directory)) = (&arguments.part, &arguments.directory) {
        return scenarios::take_part(out, &arguments.name, part, directory);
    }
    let done = match arguments.name.as_str() {
        "list" => report::write_list(out, ALL).map(|()| ExitCode::SUCCESS),
        "all" => prove(out, &arguments, ALL),
        name => match ALL.iter().find(|proof| proof.name == name) {
            Some(proof) => prove(out, &arguments, std::slice::from_ref(proof)),
            None => {
                let _ = writeln!(io::stderr(), "there is no proof {name}; see: just prove list");
                Ok(ExitCode::from(2))
            }
        },
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "{error}");
        ExitCode::FAILURE
    })
}

/// Runs the proofs one after the other, all of them even where one fails.
fn prove(out: &mut dyn Write, arguments: &Arguments, proofs: &[Scenario]) -> io::Result<ExitCode> {
    runner::record_panics();
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(proofs.len());
    for proof in proofs {
        let Arguments { scale, seed, trials, .. } = *arguments;
        let plan = Plan { scale, seed, trials: trials.unwrap_or(proof.trials.at(scale)) };
        let outcome = runner::run(proof, &plan);
        report::tell(&outcome)?;
        if scale == Scale::Release {
            report::keep(&outcome)?;
        }
        outcomes.push(outcome);
    }
    if arguments.json {
        report::write_json(out, &outcomes)?;
    } else {
        report::write_table(out, &outcomes)?;
    }
    let held = outcomes.iter().all(|outcome| outcome.violation.is_none());
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
