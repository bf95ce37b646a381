//! Runs a proof: trials spread over the cores, until all are done or one is violated. A panic is a
//! violation.

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

/// What is asked of a proof.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) scale: Scale,
    /// The seed of the first trial; the n-th after it has the n-th number after it.
    pub(crate) seed: u64,
    pub(crate) trials: u64,
}

/// What came of a proof.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) row: u32,
    pub(crate) plan: Plan,
    /// How many trials were done.
    pub(crate) done: u64,
    pub(crate) took: Duration,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) figures: BTreeMap<&'static str, f64>,
    pub(crate) skipped: Option<String>,
    pub(crate) violation: Option<Found>,
}

/// A violation, and the seed of its trial.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) seed: u64,
    pub(crate) what: String,
}

impl Outcome {
    /// The command that does the violated trial again.
    pub(crate) fn again(&self, found: &Found) -> String {
        let (name, scale) = (self.name, self.plan.scale.as_str());
        format!("just prove {name} --scale {scale} --seed {} --trials 1", found.seed)
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
        self.skipped = self.skipped.take().or(trial.skipped);
    }
}

/// Runs the trials of a plan, and stops at the first violation.
pub(crate) fn run(proof: &Scenario, plan: &Plan) -> Outcome {
    let began = Instant::now();
    let outcome = Mutex::new(Outcome {
        name: proof.name,
        row: proof.row,
        plan: *plan,
        done: 0,
        took: Duration::ZERO,
        counts: BTreeMap::new(),
        figures: BTreeMap::new(),
        skipped: None,
        violation: None,
    });
    let (next, stop, bar) = (AtomicU64::new(0), AtomicBool::new(false), progress(proof, plan));
    let lane = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= plan.trials {
                return;
            }
            let mut trial = Trial::new(plan.seed.wrapping_add(number), plan.scale);
            let tried = attempt(proof, &mut trial);
            let seed = trial.seed;
            let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
            outcome.merge(trial);
            bar.inc(1);
            if let Err(what) = tried {
                stop.store(true, Ordering::Relaxed);
                outcome.violation.get_or_insert(Found { seed, what });
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let workers = if proof.parallelism == Parallelism::PerCore { cores } else { 1 };
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(lane);
        }
    });
    bar.finish_and_clear();
    let outcome = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    Outcome { took: began.elapsed(), ..outcome }
}

/// One trial; a panic is told as a violation is.
fn attempt(proof: &Scenario, trial: &mut Trial) -> Result<(), String> {
    LAST_PANIC.with_borrow_mut(|last| *last = None);
    match catch_unwind(AssertUnwindSafe(|| (proof.run)(trial))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(violation)) => Err(violation.to_string()),
        Err(payload) => {
            Err(format!("a panic: {}", last_panic().unwrap_or_else(|| message(&*payload))))
        }
    }
}

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps what panics say, and where, for those that become violations, instead of printing it.
pub(crate) fn record_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
        let told = format!("{} at {}", message(panic.payload()), place.unwrap_or_default());
        LAST_PANIC.with_borrow_mut(|last| *last = Some(told));
    }));
}

/// What the last panic of this thread said, and where. For proofs that catch panics themselves.
pub(crate) fn last_panic() -> Option<String> {
    LAST_PANIC.with_borrow_mut(Option::take)
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without words".to_owned())
}

/// On a terminal only.
fn progress(proof: &Scenario, plan: &Plan) -> ProgressBar {
    let template = "{msg:<12} {bar:30} {human_pos} of {human_len}, {per_sec}, {eta} to go";
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|error| unreachable!("{template}: {error}"));
    let bar = ProgressBar::new(plan.trials).with_style(style.progress_chars("=> "));
    bar.set_message(proof.name);
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
            trial.count("tried");
            if trial.seed == 5 { Err(Violation::new("it is 5")) } else { Ok(()) }
        },
    };

    const PLAN: Plan = Plan { scale: Scale::Smoke, seed: 0, trials: 5 };

    #[test]
    fn what_holds_is_counted_and_what_does_not_is_told_with_its_seed() {
        let held = run(&PLANTED, &PLAN);
        assert!(held.violation.is_none());
        assert_eq!((held.done, held.counts["tried"]), (5, 5));

        let violated = run(&PLANTED, &Plan { seed: 3, trials: 1_000_000, ..PLAN });
        let found = violated.violation.as_ref().unwrap();
        assert_eq!((found.seed, found.what.as_str()), (5, "it is 5"));
        assert_eq!(violated.again(found), "just prove planted --scale smoke --seed 5 --trials 1");
        assert!(violated.done < 1_000, "it stops at the first");
    }

    #[test]
    fn a_panic_and_an_error_are_violations() {
        let panics = Scenario { run: |_| panic!("a bug"), ..PLANTED };
        let found = run(&panics, &PLAN).violation.unwrap();
        assert!(found.what.starts_with("a panic: a bug"), "{}", found.what);
        let fails = Scenario { run: |_| Err(std::io::Error::other("no disk").into()), ..PLANTED };
        let found = run(&fails, &PLAN).violation.unwrap();
        assert_eq!(found.what, "an error where none may be: no disk");
    }

    #[test]
    fn a_seed_makes_the_same_numbers() {
        use rand::RngExt;
        let numbers = |seed| {
            let mut trial = Trial::new(seed, Scale::Smoke);
            [0; 8].map(|_: u64| trial.random.random::<u64>())
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }
}
