//! Runs independent tasks on several threads, and passes their progress to the calling thread.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::error::Result;

/// Runs `work` for each task, on `threads` threads, or on the calling one if that is 1. Returns the
/// results in the order of the tasks. `work` reports its progress in numbers of entries, which
/// `progress` receives on the calling thread.
///
/// # Errors
/// An error of a task; tasks that have not begun are then left out. Or the system has no thread.
pub(crate) fn run<T: Sync, R: Send>(
    tasks: &[T],
    threads: usize,
    work: impl Fn(&T, &mut dyn FnMut(u64)) -> Result<R> + Sync,
    mut progress: impl FnMut(u64),
) -> Result<Vec<R>> {
    if threads <= 1 {
        return tasks.iter().map(|task| work(task, &mut progress)).collect();
    }
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let worker = |ticks: mpsc::Sender<u64>| -> Result<Vec<(usize, R)>> {
        let mut results = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(number) else { return Ok(results) };
            if stop.load(Ordering::Relaxed) {
                return Ok(results);
            }
            // The receiver is gone only if the caller unwinds.
            let done = work(task, &mut |ticked| {
                let _ = ticks.send(ticked);
            });
            stop.fetch_or(done.is_err(), Ordering::Relaxed);
            results.push((number, done?));
        }
    };
    thread::scope(|scope| {
        // Whatever ends this closure, the workers need not begin another task.
        let _stop = StopOnDrop(&stop);
        let (sender, ticks) = mpsc::channel();
        let mut workers = Vec::new();
        for _ in 0..threads.min(tasks.len()) {
            let (worker, sender) = (&worker, sender.clone());
            let builder = thread::Builder::new().name("convodb-worker".to_owned());
            workers.push(builder.spawn_scoped(scope, move || worker(sender))?);
        }
        drop(sender);
        // Ends when each worker has dropped its sender.
        for ticked in ticks {
            progress(ticked);
        }
        let mut results = Vec::new();
        for worker in workers {
            results.extend(worker.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        results.sort_unstable_by_key(|(number, _)| *number);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    })
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn results_are_in_order_and_progress_arrives() {
        let tasks: Vec<u64> = (0..100).collect();
        for threads in [1, 2, 7] {
            let mut ticked = 0;
            let work = |task: &u64, tick: &mut dyn FnMut(u64)| {
                tick(*task);
                Ok(task * 2)
            };
            let results = run(&tasks, threads, work, |ticks| ticked += ticks).unwrap();
            assert!(results.into_iter().eq((0..100).map(|task| task * 2)), "{threads} threads");
            assert_eq!(ticked, 4950);
        }
    }

    #[test]
    fn an_error_ends_the_run() {
        let tasks: Vec<u64> = (0..100).collect();
        for threads in [1, 2] {
            let work = |task: &u64, _: &mut dyn FnMut(u64)| match task {
                3 => Err(Error::Closed),
                _ => Ok(()),
            };
            let failed = run(&tasks, threads, work, |_| {});
            assert!(matches!(failed, Err(Error::Closed)), "{threads} threads");
        }
    }
}
