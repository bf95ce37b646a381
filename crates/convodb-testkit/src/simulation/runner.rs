//! Playing a script on a store until it ends or the power goes, and what the store may then hold.

use std::sync::Arc;

use convodb::{Durability, Error, Store, StoreOptions};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::oracle::Oracle;
use crate::simulation::disk::SimulatedDisk;
use crate::simulation::workload::Step;

/// Where the store is on every disk.
pub(super) const PATH: &str = "/store";

/// Opens the store of a disk.
pub(super) fn open(disk: &SimulatedDisk, options: &StoreOptions) -> Result<Store, Error> {
    Store::open_on(Arc::new(disk.clone()), PATH, options)
}

/// Options that make everything happen on few rows.
pub(super) fn options(random: &mut ChaCha8Rng, durability: Durability) -> StoreOptions {
    StoreOptions {
        cache_bytes: [64 << 10, 1 << 20][random.random_range(0..2)],
        row_cache_bytes: [0, 1 << 16][random.random_range(0..2)],
        tail_bytes: [0, 1_000, 6_000, 1 << 20][random.random_range(0..4)],
        fast_recovery: random.random_bool(0.7),
        durability,
        ..StoreOptions::default()
    }
}

/// What came of a script.
#[derive(Debug, Default)]
pub(super) struct Played {
    /// The states that the store may be in, oldest first; the last is the one that was shown, or
    /// would have been.
    pub(super) candidates: Vec<Oracle>,
    /// Whether the users may be missing.
    pub(super) may_be_empty: bool,
    /// The store, unless opening it failed.
    pub(super) store: Option<Store>,
}

/// Which states a store may fall back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// The last that was acknowledged, and the one that was being written.
    Acknowledged,
    /// Any since it was last closed.
    SinceClosed,
    /// Any.
    All,
}

impl Played {
    fn new() -> Self {
        Self { candidates: vec![Oracle::default()], may_be_empty: true, store: None }
    }

    fn acknowledge(&mut self, step: &Step, state: Oracle, memory: Memory) {
        if memory == Memory::Acknowledged {
            self.candidates.clear();
            self.may_be_empty &= !matches!(step, Step::SetUp);
        }
        self.candidates.push(state);
    }

    /// Does a step to the store; tells whether it was acknowledged.
    ///
    /// # Errors
    /// A violation.
    pub(super) fn take(
        &mut self,
        disk: &SimulatedDisk,
        step: &Step,
        memory: Memory,
    ) -> Result<bool, String> {
        let Some(store) = &self.store else { return Ok(false) };
        let mut after = self.candidates.last().cloned().unwrap_or_default();
        step.apply(&mut after);
        match step.run(store) {
            Ok(()) => {
                self.acknowledge(step, after, memory);
                Ok(true)
            }
            Err(error) => {
                expected(disk, "a write", &error)?;
                if !matches!(error, Error::GivenUp { .. }) {
                    self.candidates.push(after);
                }
                Ok(false)
            }
        }
    }

    fn closed(&mut self, memory: Memory) {
        if memory == Memory::SinceClosed {
            let first = self.candidates.len() - 1;
            self.candidates.drain(..first);
            self.may_be_empty = false;
        }
    }
}

/// A violation unless the power is off.
pub(super) fn expected(disk: &SimulatedDisk, what: &str, error: &Error) -> Result<(), String> {
    match disk.is_off() {
        true => Ok(()),
        false => Err(format!("{what} failed while the disk was well: {error}")),
    }
}

/// Plays a script on the disk's store. An error is a violation.
pub(super) fn play(
    disk: &SimulatedDisk,
    options: &StoreOptions,
    steps: &[Step],
    memory: Memory,
) -> Result<Played, String> {
    let mut played = Played::new();
    match open(disk, options) {
        Ok(store) => played.store = Some(store),
        Err(error) => return expected(disk, "opening", &error).map(|()| played),
    }
    for step in steps {
        let Some(store) = &played.store else { break };
        if matches!(step, Step::Restart) {
            let closed = store.clone().close();
            played.store = None;
            match closed.and_then(|()| {
                played.closed(memory);
                open(disk, options)
            }) {
                Ok(store) => played.store = Some(store),
                Err(error) => expected(disk, "closing or opening", &error)?,
            }
            continue;
        }
        if !played.take(disk, step, memory)? {
            break;
        }
    }
    Ok(played)
}
