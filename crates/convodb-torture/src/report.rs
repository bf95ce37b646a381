//! Results of a run: warnings as scenarios end, a table or JSON, and a file of release runs.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{HumanCount, HumanDuration};
use serde::Serialize;

use crate::runner::Outcome;
use crate::scenario::Scenario;

/// The file of release results, relative to the working directory.
const RELEASE_RESULTS: &str = "results/torture.jsonl";

/// The JSON object of an outcome.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    row: u32,
    scale: &'a str,
    seed: u64,
    trials: u64,
    done: u64,
    seconds: f64,
    counts: &'a BTreeMap<&'static str, u64>,
    figures: &'a BTreeMap<&'static str, f64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    transcript: &'a [String],
    skipped: Option<&'a str>,
    violation: Option<ViolationLine<'a>>,
}

#[derive(Serialize)]
struct ViolationLine<'a> {
    seed: u64,
    what: &'a str,
    again: String,
}

impl<'a> Line<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        let violation = outcome.violation.as_ref();
        Self {
            name: outcome.name,
            row: outcome.row,
            scale: outcome.plan.scale.as_str(),
            seed: outcome.plan.seed,
            trials: outcome.plan.trials,
            done: outcome.done,
            seconds: outcome.took.as_secs_f64(),
            counts: &outcome.counts,
            figures: &outcome.figures,
            transcript: &outcome.transcript,
            skipped: outcome.skipped.as_deref(),
            violation: violation.map(|found| ViolationLine {
                seed: found.seed,
                what: &found.what,
                again: outcome.repeat_command(found),
            }),
        }
    }
}

/// Prints skipped and failed scenarios to standard error.
pub(crate) fn warn(outcome: &Outcome) -> io::Result<()> {
    let mut err = io::stderr().lock();
    if let Some(why) = &outcome.skipped {
        writeln!(err, "SKIPPED, NOT TESTED: {}: {why}", outcome.name)?;
    }
    if let Some(found) = &outcome.violation {
        writeln!(err, "VIOLATED: {} with seed {}: {}", outcome.name, found.seed, found.what)?;
        writeln!(err, "repeat: {}", outcome.repeat_command(found))?;
    }
    Ok(())
}

/// Appends an outcome to the file of release results.
pub(crate) fn append_to_file(outcome: &Outcome) -> io::Result<()> {
    fs::create_dir_all("results")?;
    let mut file = OpenOptions::new().create(true).append(true).open(RELEASE_RESULTS)?;
    writeln!(file, "{}", serde_json::to_string(&Line::of(outcome))?)
}

/// Writes one JSON object per line and outcome.
pub(crate) fn write_json(out: &mut dyn Write, outcomes: &[Outcome]) -> io::Result<()> {
    for outcome in outcomes {
        writeln!(out, "{}", serde_json::to_string(&Line::of(outcome))?)?;
    }
    Ok(())
}

/// Writes a table of the outcomes, and the transcripts.
pub(crate) fn write_table(out: &mut dyn Write, outcomes: &[Outcome]) -> io::Result<()> {
    let mut table = empty_table();
    table.set_header(["scenario", "row", "trials", "time", "outcomes", "violations"]);
    for outcome in outcomes {
        let counts = outcome.counts.iter().map(|(what, n)| format!("{what} {}", HumanCount(*n)));
        let figures = outcome.figures.iter().map(|(what, figure)| format!("{what} {figure:.2}"));
        let skipped = outcome.skipped.iter().map(|_| "SKIPPED".to_owned());
        table.add_row([
            outcome.name.to_owned(),
            outcome.row.to_string(),
            HumanCount(outcome.done).to_string(),
            format!("{:.1} s", outcome.took.as_secs_f64()),
            skipped.chain(counts).chain(figures).collect::<Vec<_>>().join(", "),
            u32::from(outcome.violation.is_some()).to_string(),
        ]);
    }
    writeln!(out, "{table}")?;
    for line in outcomes.iter().flat_map(|outcome| &outcome.transcript) {
        writeln!(out, "{line}")?;
    }
    let total = outcomes.iter().map(|outcome| outcome.took).sum();
    writeln!(out, "{} scenarios in {}", outcomes.len(), HumanDuration(total))
}

/// Writes a table of all scenarios.
pub(crate) fn write_list(out: &mut dyn Write, scenarios: &[Scenario]) -> io::Result<()> {
    let mut table = empty_table();
    table.set_header(["scenario", "row", "promise", "trial", "smoke", "ci", "release"]);
    for scenario in scenarios {
        let trials = &scenario.trials;
        let [smoke, ci, release] =
            [trials.smoke, trials.ci, trials.release].map(|trials| HumanCount(trials).to_string());
        let row = scenario.row.to_string();
        table.add_row([
            scenario.name,
            &row,
            scenario.promise,
            scenario.trial,
            &smoke,
            &ci,
            &release,
        ]);
    }
    writeln!(out, "{table}")
}

fn empty_table() -> Table {
    let mut table = Table::new();
    // Without a terminal, the width of a page.
    if !io::stdout().is_terminal() {
        table.set_width(120);
    }
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table
}
