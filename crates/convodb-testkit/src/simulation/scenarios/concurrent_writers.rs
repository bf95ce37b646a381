//! Several threads write to one store when the power goes. Each has conversations of its own, in
//! milliseconds of its own, so that what they may have left can be told apart: all that was
//! acknowledged to a thread, and the write that it was waiting for whole or not at all.
//!
//! The seed says what is written and at which change the power goes, not in which order the threads
//! come: the same seed gives similar trials, not the same.

use std::thread;

use convodb::{Conversation, ConversationId, Durability, Error, Store, Timestamp};
use rand::RngExt;
use uuid::Uuid;

use super::Counts;
use super::power_cut::Trial;
use crate::oracle::Oracle;
use crate::simulation::disk::SimulatedDisk;
use crate::simulation::runner::{Played, expected};
use crate::simulation::workload::{Operation, Step, script};

const THREADS: usize = 4;

/// What one thread knows of its writes.
struct Journal {
    steps: Vec<Step>,
    /// How many were acknowledged.
    acknowledged: usize,
    /// Whether the next may be there too.
    in_doubt: bool,
}

/// Four threads write until the power goes at any change. Everything that was acknowledged is there,
/// of each thread's further writes at most one, whole; the store goes on.
///
/// # Errors
/// A violation.
pub fn concurrent_writers(seed: u64) -> Result<Counts, String> {
    let mut trial = Trial::new(seed, Durability::Immediate);
    // Half of them with checkpoints that are written beside the groups, as on a disk of the system.
    trial.disk = SimulatedDisk::new(trial.random.random(), trial.random.random());
    let store = trial.open(&trial.disk)?;
    let set_up = Step::SetUp.run(&store);
    set_up.map_err(|error| trial.failed(&trial.disk, "setting up", &error))?;
    let scripts: Vec<Vec<Step>> = (0..THREADS).map(|thread| own(&mut trial, thread)).collect();
    trial.steps = scripts.concat();
    let cut_at = trial.some_changes();
    trial.disk.cut_at(cut_at);
    let journals = together(&store, &trial.disk, scripts);
    let journals = journals.map_err(|why| trial.violation(&trial.disk, &why))?;
    let in_flight = journals.iter().filter(|journal| journal.in_doubt).count();
    trial.count(match in_flight {
        0 => "cuts with none in flight",
        1 => "cuts with one in flight",
        _ => "cuts with several in flight",
    });
    let acknowledged: usize = journals.iter().map(|journal| journal.acknowledged).sum();
    *trial.counts.entry("acknowledged").or_default() += acknowledged as u64;
    let candidates = candidates(&journals);
    let mut played = Played { candidates, may_be_empty: false, store: Some(store) };
    let disk = trial.cut(&mut played);
    let (store, found) = trial.held(&disk, &played.candidates)?;
    trial.go_on(store, &disk, played.candidates.swap_remove(found))?;
    Ok(trial.counts)
}

/// A script of a thread's own conversations.
fn own(trial: &mut Trial, thread: usize) -> Vec<Step> {
    let mut steps = script(&mut trial.random, 24);
    steps.retain(|step| !matches!(step, Step::SetUp | Step::Restart));
    let thread = thread as u64;
    let moved = |id: &mut ConversationId| {
        *id =
            ConversationId::new(Uuid::from_u128(id.uuid().as_u128() + 1_000 * u128::from(thread)));
    };
    let moved_row = |row: &mut Conversation| {
        moved(&mut row.id);
        let at = row.created_at.millis() + thread;
        row.created_at = Timestamp::from_millis(at).unwrap_or(Timestamp::MIN);
        row.updated_at = row.created_at;
    };
    for step in &mut steps {
        match step {
            Step::Write(operations) | Step::TakenBack(operations) => {
                for operation in operations {
                    match operation {
                        Operation::Insert(_, row, _) => moved_row(row),
                        Operation::Change(_, id, ..)
                        | Operation::Append(_, id, _)
                        | Operation::Delete(_, id) => moved(id),
                    }
                }
            }
            Step::Bulk(_, rows) => rows.iter_mut().for_each(|(row, _)| moved_row(row)),
            Step::SetUp | Step::Rotate | Step::Restart => {}
        }
    }
    steps
}

/// Each script on a thread of its own. An error is a violation.
fn together(
    store: &Store,
    disk: &SimulatedDisk,
    scripts: Vec<Vec<Step>>,
) -> Result<Vec<Journal>, String> {
    thread::scope(|scope| {
        let begin = |steps| scope.spawn(move || write(store, disk, steps));
        let running: Vec<_> = scripts.into_iter().map(begin).collect();
        let ended = running.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err("a thread that writes panicked".to_owned()))
        });
        ended.collect()
    })
}

/// Writes until the end, or until the power is gone.
fn write(store: &Store, disk: &SimulatedDisk, steps: Vec<Step>) -> Result<Journal, String> {
    let mut journal = Journal { steps, acknowledged: 0, in_doubt: false };
    for step in &journal.steps {
        if let Err(error) = step.run(store) {
            expected(disk, "a write", &error)?;
            journal.in_doubt = !matches!(error, Error::GivenUp { .. });
            break;
        }
        journal.acknowledged += 1;
    }
    Ok(journal)
}

/// Every state that the store may be in: of each write that is in doubt, with it and without it.
fn candidates(journals: &[Journal]) -> Vec<Oracle> {
    let mut candidates = vec![Oracle::default()];
    for Journal { steps, acknowledged, in_doubt } in journals {
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
