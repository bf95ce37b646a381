//! Power cuts while several threads write to one store.
//!
//! Each thread has its own conversations in its own milliseconds, so the state that each thread
//! left can be recognized: all its acknowledged writes, with or without the write in progress.
//!
//! The seed determines the writes and the change at which the power goes off, but not the order of
//! the threads: a seed repeats similar trials, not identical ones.

use std::thread;

use convodb::{Conversation, ConversationId, Durability, Error, Store, Timestamp};
use rand::RngExt;
use uuid::Uuid;

use super::Counts;
use crate::oracle::Oracle;
use crate::simulation::disk::SimulatedDisk;
use crate::simulation::runner::{Run, Trial, require_power_off};
use crate::simulation::workload::{Step, WriteOperation, workload};

const THREADS: usize = 4;

/// The writes of one thread.
struct ThreadLog {
    steps: Vec<Step>,
    /// The number of acknowledged steps.
    acknowledged: usize,
    /// Whether the next step may have been committed too.
    in_doubt: bool,
}

/// Four threads write until the power goes off during any change of the disk. All acknowledged
/// writes survive; of the other writes of each thread at most one survives, completely. The store
/// accepts writes again.
///
/// # Errors
/// A violation.
pub fn concurrent_writers(seed: u64) -> Result<Counts, String> {
    let mut trial = Trial::new(seed, Durability::Immediate);
    // Half of the trials write checkpoints in the background, as on a real disk.
    trial.disk = SimulatedDisk::new(trial.random.random())
        .with_background_checkpoints(trial.random.random());
    let store = trial.open(&trial.disk)?;
    let set_up = Step::SetUp.run(&store);
    set_up.map_err(|error| trial.unexpected(&trial.disk, "setup", &error))?;
    let workloads: Vec<Vec<Step>> =
        (0..THREADS).map(|thread| thread_workload(&mut trial, thread)).collect();
    trial.steps = workloads.concat();
    let cut_at = trial.random_change();
    trial.disk.power_off_at(cut_at);
    let logs = run_threads(&store, &trial.disk, workloads);
    let logs = logs.map_err(|violation| trial.violation(&trial.disk, &violation))?;
    let in_doubt = logs.iter().filter(|log| log.in_doubt).count();
    trial.count(match in_doubt {
        0 => "power cuts with no write in progress",
        1 => "power cuts with one write in progress",
        _ => "power cuts with several writes in progress",
    });
    let acknowledged: usize = logs.iter().map(|log| log.acknowledged).sum();
    trial.add("acknowledged", acknowledged as u64);
    let mut run = Run { candidates: candidates(&logs), may_be_empty: false, store: Some(store) };
    let disk = trial.cut_power(&mut run);
    let (store, found) = trial.open_and_check(&disk, &run.candidates)?;
    trial.check_writable(store, &disk, run.candidates.swap_remove(found))?;
    Ok(trial.counts)
}

/// A workload on conversations and timestamps that only this thread uses.
fn thread_workload(trial: &mut Trial, thread: usize) -> Vec<Step> {
    let mut steps = workload(&mut trial.random, 24);
    steps.retain(|step| !matches!(step, Step::SetUp | Step::Restart));
    let thread = thread as u64;
    let shift_id = |id: &mut ConversationId| {
        *id =
            ConversationId::new(Uuid::from_u128(id.uuid().as_u128() + 1_000 * u128::from(thread)));
    };
    let shift_row = |row: &mut Conversation| {
        shift_id(&mut row.id);
        let at = row.created_at.millis() + thread;
        row.created_at = Timestamp::from_millis(at).unwrap_or(Timestamp::MIN);
        row.updated_at = row.created_at;
    };
    for step in &mut steps {
        match step {
            Step::Write(operations) | Step::AbortedWrite(operations) => {
                for operation in operations {
                    match operation {
                        WriteOperation::Insert(_, row, _) => shift_row(row),
                        WriteOperation::Update(_, id, ..)
                        | WriteOperation::Append(_, id, _)
                        | WriteOperation::Delete(_, id) => shift_id(id),
                    }
                }
            }
            Step::BulkLoad(_, rows) => rows.iter_mut().for_each(|(row, _)| shift_row(row)),
            Step::SetUp | Step::ToggleIndexes | Step::RotateCursorKey | Step::Restart => {}
        }
    }
    steps
}

/// Runs each workload on its own thread.
///
/// # Errors
/// A step failed while the power was on, or a thread panicked.
fn run_threads(
    store: &Store,
    disk: &SimulatedDisk,
    workloads: Vec<Vec<Step>>,
) -> Result<Vec<ThreadLog>, String> {
    thread::scope(|scope| {
        let begin = |steps| scope.spawn(move || run_steps(store, disk, steps));
        let running: Vec<_> = workloads.into_iter().map(begin).collect();
        let ended = running.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err("writer thread panicked".to_owned()))
        });
        ended.collect()
    })
}

/// Runs steps until the end or until the power goes off.
fn run_steps(store: &Store, disk: &SimulatedDisk, steps: Vec<Step>) -> Result<ThreadLog, String> {
    let mut log = ThreadLog { steps, acknowledged: 0, in_doubt: false };
    for step in &log.steps {
        if let Err(error) = step.run(store) {
            require_power_off(disk, "write", &error)?;
            log.in_doubt = !matches!(error, Error::WriteAborted { .. });
            break;
        }
        log.acknowledged += 1;
    }
    Ok(log)
}

/// All states that the store may have: with and without each write in doubt.
fn candidates(logs: &[ThreadLog]) -> Vec<Oracle> {
    let mut candidates = vec![Oracle::default()];
    for ThreadLog { steps, acknowledged, in_doubt } in logs {
        for candidate in &mut candidates {
            steps[..*acknowledged].iter().for_each(|step| step.apply(candidate));
        }
        if *in_doubt {
            let mut with = candidates.clone();
            with.iter_mut().for_each(|candidate| steps[*acknowledged].apply(candidate));
            candidates.append(&mut with);
        }
    }
    candidates
}
