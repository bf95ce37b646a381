//! What a proof is, as data: a promise, how often it is tried, and the function that tries it once.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use clap::ValueEnum;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// A promise, and how it is tried.
pub(crate) struct Scenario {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// Its row in the table of `docs/testing.md`.
    pub(crate) row: u32,
    /// What is promised, in one sentence.
    pub(crate) promise: &'static str,
    /// What one trial is.
    pub(crate) trial: &'static str,
    /// How many trials at each scale.
    pub(crate) trials: Trials,
    /// How many trials go on at a time.
    pub(crate) parallelism: Parallelism,
    /// One trial.
    pub(crate) run: fn(&mut Trial) -> Result<(), Violation>,
}

/// How many trials a proof has.
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

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scale {
    /// A second or so, in the tests
    Smoke,
    /// Minutes, in continuous integration
    Ci,
    /// Hours, before a release
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

/// How many trials of a proof go on at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parallelism {
    /// One on each processor core.
    PerCore,
    /// One: it measures time, or uses all cores by itself.
    Single,
}

/// A promise that did not hold.
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
        Self(format!("an error where none may be: {error}"))
    }
}

/// A violation unless the condition holds.
pub(crate) fn ensure<T: Display>(
    condition: bool,
    what: impl FnOnce() -> T,
) -> Result<(), Violation> {
    if condition { Ok(()) } else { Err(Violation::new(what())) }
}

/// One trial: a seed, and what came of it, in named counts.
pub(crate) struct Trial {
    /// The same seed makes the same trial.
    pub(crate) seed: u64,
    /// For proofs whose size is that of their data.
    pub(crate) scale: Scale,
    /// Random numbers from the seed.
    pub(crate) random: ChaCha8Rng,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// Figures that were measured; of several trials the highest is told.
    pub(crate) figures: BTreeMap<&'static str, f64>,
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
            skipped: None,
        }
    }

    /// Counts an outcome.
    pub(crate) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&mut self, what: &'static str, count: u64) {
        *self.counts.entry(what).or_default() += count;
    }

    /// A figure of this trial, in the unit that its name says.
    pub(crate) fn figure(&mut self, what: &'static str, value: f64) {
        self.figures.insert(what, value);
    }

    /// What is asked for cannot be tried on this machine; told loudly at the end.
    pub(crate) fn skip(&mut self, why: impl Display) {
        self.skipped = Some(why.to_string());
    }
}
