//! Scenario definition: a promise of convodb, the number of trials, and the function that runs one.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use clap::ValueEnum;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// A promise, and how it is tested.
pub(crate) struct Scenario {
    /// The name on the command line.
    pub(crate) name: &'static str,
    /// Its row in the table of `docs/testing.md`.
    pub(crate) row: u32,
    /// The promise, in one sentence.
    pub(crate) promise: &'static str,
    /// What one trial does.
    pub(crate) trial: &'static str,
    /// The number of trials at each scale.
    pub(crate) trials: Trials,
    /// The number of concurrent trials.
    pub(crate) parallelism: Parallelism,
    /// Runs one trial.
    pub(crate) run: fn(&mut Trial) -> Result<(), Violation>,
}

/// The number of trials at each scale.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trials {
    pub(crate) smoke: u64,
    pub(crate) ci: u64,
    pub(crate) release: u64,
}

impl Trials {
    pub(crate) const fn at(self, scale: Scale) -> u64 {
        match scale {
            Scale::Smoke => self.smoke,
            Scale::Ci => self.ci,
            Scale::Release => self.release,
        }
    }
}

/// The size of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scale {
    /// About a second per scenario: part of the tests of the workspace
    Smoke,
    /// Minutes: continuous integration
    Ci,
    /// Hours: before a release
    Release,
}

impl Scale {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Scale::Smoke => "smoke",
            Scale::Ci => "ci",
            Scale::Release => "release",
        }
    }
}

/// The number of concurrent trials of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parallelism {
    /// One per processor core.
    PerCore,
    /// One: the trial measures time, or uses all cores itself.
    Single,
}

/// A promise that does not hold, as text.
#[derive(Debug)]
pub(crate) struct Violation(String);

impl Violation {
    pub(crate) fn new(what: impl Display) -> Self {
        Self(what.to_string())
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Violation {
    fn from(error: E) -> Self {
        Self(format!("unexpected error: {error}"))
    }
}

/// Returns a violation unless the condition holds.
pub(crate) fn ensure<T: Display>(
    condition: bool,
    what: impl FnOnce() -> T,
) -> Result<(), Violation> {
    if condition { Ok(()) } else { Err(Violation::new(what())) }
}

/// One trial: its seed and its results.
pub(crate) struct Trial {
    /// A trial follows from its seed.
    pub(crate) seed: u64,
    /// Determines the amount of data in scenarios whose trials differ in size.
    pub(crate) scale: Scale,
    /// Random numbers from the seed.
    pub(crate) random: ChaCha8Rng,
    /// How often each outcome occurred, by its name.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// Measured values. The report has the highest of all trials.
    pub(crate) figures: BTreeMap<&'static str, f64>,
    /// What happened, for a scenario that shows it. The report has that of the last trial.
    pub(crate) transcript: Vec<String>,
    /// Why the trial was skipped, if it was.
    pub(crate) skipped: Option<String>,
}

impl Trial {
    pub(crate) fn new(seed: u64, scale: Scale) -> Self {
        Self {
            seed,
            scale,
            random: ChaCha8Rng::seed_from_u64(seed),
            counts: BTreeMap::new(),
            figures: BTreeMap::new(),
            transcript: Vec::new(),
            skipped: None,
        }
    }

    /// Counts an outcome.
    pub(crate) fn count(&mut self, outcome: &'static str) {
        self.add(outcome, 1);
    }

    /// Counts an outcome several times.
    pub(crate) fn add(&mut self, outcome: &'static str, count: u64) {
        *self.counts.entry(outcome).or_default() += count;
    }

    /// Records a measured value. The name contains the unit.
    pub(crate) fn figure(&mut self, name: &'static str, value: f64) {
        self.figures.insert(name, value);
    }

    /// Skips the trial, because this machine cannot run it. The report warns about it.
    pub(crate) fn skip(&mut self, why: impl Display) {
        self.skipped = Some(why.to_string());
    }
}
