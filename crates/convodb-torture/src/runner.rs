//! Scenario runner: distributes trials over the cores, and stops at the first violation.
//!
//! A panic is a violation.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::scenario::{Parallelism, Scale, Scenario, Trial};

/// The trials of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) scale: Scale,
    /// The seed of the first trial. The seed of each following trial is one higher.
    pub(crate) seed: u64,
    pub(crate) trials: u64,
}

/// The result of a scenario.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) row: u32,
    pub(crate) plan: Plan,
    /// The number of finished trials.
    pub(crate) done: u64,
    pub(crate) took: Duration,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) figures: BTreeMap<&'static str, f64>,
    pub(crate) transcript: Vec<String>,
    pub(crate) skipped: Option<String>,
    pub(crate) violation: Option<FailedTrial>,
}

/// A violation, and the seed of its trial.
#[derive(Debug)]
pub(crate) struct FailedTrial {
    pub(crate) seed: u64,
    pub(crate) what: String,
}

impl Outcome {
    /// The command that repeats the failed trial.
    pub(crate) fn repeat_command(&self, failed: &FailedTrial) -> String {
        let (name, scale) = (self.name, self.plan.scale.as_str());
        format!("just torture {name} --scale {scale} --seed {} --trials 1", failed.seed)
    }

    fn merge(&mut self, trial: Trial) {
        self.done += 1;
        for (what, count) in trial.counts {
            *self.counts.entry(what).or_default() += count;
        }
        for (what, figure) in trial.figures {
            let highest = self.figures.entry(what).or_insert(figure);
            *highest = highest.max(figure);
        }
        if !trial.transcript.is_empty() {
            self.transcript = trial.transcript;
        }
        self.skipped = self.skipped.take().or(trial.skipped);
    }
}

/// Runs the trials of a plan until all are finished or one fails.
pub(crate) fn run(scenario: &Scenario, plan: &Plan) -> Outcome {
    let began = Instant::now();
    let outcome = Mutex::new(Outcome {
        name: scenario.name,
        row: scenario.row,
        plan: *plan,
        done: 0,
        took: Duration::ZERO,
        counts: BTreeMap::new(),
        figures: BTreeMap::new(),
        transcript: Vec::new(),
        skipped: None,
        violation: None,
    });
    let (next, stop, bar) = (AtomicU64::new(0), AtomicBool::new(false), progress(scenario, plan));
    let worker = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= plan.trials {
                return;
            }
            let mut trial = Trial::new(plan.seed.wrapping_add(number), plan.scale);
            let result = run_trial(scenario, &mut trial);
            let seed = trial.seed;
            let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
            outcome.merge(trial);
            bar.inc(1);
            if let Err(what) = result {
                stop.store(true, Ordering::Relaxed);
                outcome.violation.get_or_insert(FailedTrial { seed, what });
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let workers = if scenario.parallelism == Parallelism::PerCore { cores } else { 1 };
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(worker);
        }
    });
    bar.finish_and_clear();
    let outcome = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    Outcome { took: began.elapsed(), ..outcome }
}

/// Runs one trial. Converts a panic to a violation.
fn run_trial(scenario: &Scenario, trial: &mut Trial) -> Result<(), String> {
    LAST_PANIC.with_borrow_mut(|last| *last = None);
    match catch_unwind(AssertUnwindSafe(|| (scenario.run)(trial))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(violation)) => Err(violation.to_string()),
        Err(payload) => {
            Err(format!("panic: {}", last_panic().unwrap_or_else(|| message(&*payload))))
        }
    }
}

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Records the message and location of panics for violations, instead of printing them.
pub(crate) fn record_panics() {
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(|at| format!("{}:{}", at.file(), at.line()));
        let text = format!("{} at {}", message(panic.payload()), location.unwrap_or_default());
        LAST_PANIC.with_borrow_mut(|last| *last = Some(text));
    }));
}

/// Takes the message and location of the last panic of this thread, for scenarios that catch panics
/// themselves.
pub(crate) fn last_panic() -> Option<String> {
    LAST_PANIC.with_borrow_mut(Option::take)
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}

/// A progress bar, which is visible only on a terminal.
fn progress(scenario: &Scenario, plan: &Plan) -> ProgressBar {
    let template = "{msg:<12} {bar:30} {human_pos} of {human_len}, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|error| unreachable!("{template}: {error}"));
    let bar = ProgressBar::new(plan.trials).with_style(style.progress_chars("=> "));
    bar.set_message(scenario.name);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Trials, Violation};

    const PLANTED: Scenario = Scenario {
        name: "planted",
        row: 0,
        promise: "No seed is 5.",
        trial: "a seed",
        trials: Trials { smoke: 10, ci: 10, release: 10 },
        parallelism: Parallelism::PerCore,
        run: |trial| {
            trial.count("run");
            if trial.seed == 5 { Err(Violation::new("seed is 5")) } else { Ok(()) }
        },
    };

    const PLAN: Plan = Plan { scale: Scale::Smoke, seed: 0, trials: 5 };

    #[test]
    fn outcomes_are_counted_and_a_violation_has_its_seed() {
        let passed = run(&PLANTED, &PLAN);
        assert!(passed.violation.is_none());
        assert_eq!((passed.done, passed.counts["run"]), (5, 5));

        let failed = run(&PLANTED, &Plan { seed: 3, trials: 1_000_000, ..PLAN });
        let found = failed.violation.as_ref().unwrap();
        assert_eq!((found.seed, found.what.as_str()), (5, "seed is 5"));
        assert_eq!(
            failed.repeat_command(found),
            "just torture planted --scale smoke --seed 5 --trials 1"
        );
        assert!(failed.done < 1_000, "stops at the first violation");
    }

    #[test]
    fn panics_and_errors_are_violations() {
        let panics = Scenario { run: |_| panic!("a bug"), ..PLANTED };
        let found = run(&panics, &PLAN).violation.unwrap();
        assert!(found.what.starts_with("panic: a bug"), "{}", found.what);
        let fails = Scenario { run: |_| Err(std::io::Error::other("no disk").into()), ..PLANTED };
        let found = run(&fails, &PLAN).violation.unwrap();
        assert_eq!(found.what, "unexpected error: no disk");
    }

    #[test]
    fn random_numbers_follow_from_the_seed() {
        use rand::RngExt;
        let numbers = |seed| {
            let mut trial = Trial::new(seed, Scale::Smoke);
            [0; 8].map(|_: u64| trial.random.random::<u64>())
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }
}
