//! Optional indexes of an open store: which there are, and adding and dropping them.

use crate::error::Result;
use crate::model::index_family::{IndexFamilies, IndexFamily, IndexState};
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::tables::families::{self, FamilyState};
use crate::tables::index_build::{self, Step};

impl Snapshot {
    /// Whether the store has an optional index. Reads nothing from the store.
    ///
    /// ```
    /// use convodb::{IndexFamily, IndexState, Store};
    /// let store = Store::in_memory()?;
    /// assert_eq!(store.snapshot().index_state(IndexFamily::AiOff), IndexState::Absent);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn index_state(&self, family: IndexFamily) -> IndexState {
        self.state().tables.families.get(family).public()
    }
}

impl Store {
    /// Adds optional indexes, and returns when they are ready. Those that the store has stay as they
    /// are.
    ///
    /// From the first write on, every other write keeps the new indexes up. The conversations from
    /// before are read in steps of at most 4096, or about 1 MiB, with other writes between them. If
    /// this ends early, by an error, a crash or [`Store::close`], the build continues when the store is
    /// opened, or by [`Store::continue_indexes`]. About ten seconds for a million conversations.
    ///
    /// ```
    /// use convodb::{IndexFamilies, IndexFamily, IndexState, Store};
    /// let store = Store::in_memory()?;
    /// store.add_indexes(IndexFamilies::ALL)?;
    /// assert_eq!(store.snapshot().index_state(IndexFamily::AiOff), IndexState::Ready);
    /// store.drop_indexes(IndexFamilies::ALL)?;
    /// assert_eq!(store.snapshot().index_state(IndexFamily::AiOff), IndexState::Absent);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Corrupted`](crate::Error::Corrupted) at a conversation that is damaged, where the
    /// build stays; or as [`Store::write`].
    pub fn add_indexes(&self, families: IndexFamilies) -> Result<()> {
        self.add_indexes_with_progress(families, |_, _| {})
    }

    /// [`Store::add_indexes`], which calls `progress` after each step with the number of
    /// conversations and entries done, and an approximate total.
    ///
    /// # Errors
    /// As [`Store::add_indexes`].
    pub fn add_indexes_with_progress(
        &self,
        families: IndexFamilies,
        progress: impl FnMut(u64, u64),
    ) -> Result<()> {
        self.change_families(families, FamilyState::added)?;
        self.continue_indexes_with_progress(progress)
    }

    /// Drops optional indexes. The first write switches them off: no list uses them any more, and no
    /// write keeps them up. Then their entries are removed in steps of at most 8192, and previews by
    /// writing rows in steps as a build does, with other writes between them; an interrupted removal
    /// continues as a build does.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn drop_indexes(&self, families: IndexFamilies) -> Result<()> {
        self.drop_indexes_with_progress(families, |_, _| {})
    }

    /// [`Store::drop_indexes`], which calls `progress` as [`Store::add_indexes_with_progress`] does.
    ///
    /// # Errors
    /// As [`Store::drop_indexes`].
    pub fn drop_indexes_with_progress(
        &self,
        families: IndexFamilies,
        progress: impl FnMut(u64, u64),
    ) -> Result<()> {
        self.change_families(families, FamilyState::dropped)?;
        self.continue_indexes_with_progress(progress)
    }

    /// Finishes what building and dropping of indexes an earlier call or process has begun. The
    /// store does so by itself, more slowly, unless
    /// [`StoreOptions::background_checkpoints`](crate::StoreOptions::background_checkpoints) is off.
    ///
    /// # Errors
    /// As [`Store::add_indexes`].
    pub fn continue_indexes(&self) -> Result<()> {
        self.continue_indexes_with_progress(|_, _| {})
    }

    fn continue_indexes_with_progress(&self, mut progress: impl FnMut(u64, u64)) -> Result<()> {
        let total = self.snapshot().unfinished_entries()?;
        let mut done = 0;
        loop {
            if self.snapshot().state().tables.families.unfinished().next().is_none() {
                progress(total, total);
                return Ok(());
            }
            let step = self.write_through(|write, state| {
                index_build::step(write, &state.tables, state.fingerprinter())
            })?;
            match step {
                Step::Idle => {}
                Step::Done(number) => done += number,
                Step::Stopped(error) => return Err(error),
            }
            progress(done.min(total), total);
        }
    }

    /// Changes the states of families, in one write; writes nothing if none changes.
    pub(super) fn change_families(
        &self,
        families: IndexFamilies,
        change: fn(FamilyState) -> FamilyState,
    ) -> Result<()> {
        let changes = move |state: FamilyState| change(state) != state;
        let current = self.snapshot().state().tables.families;
        if !families.iter().any(|family| changes(current.get(family))) {
            return Ok(());
        }
        self.write_through(move |write, state| {
            families.iter().try_for_each(|family| {
                families::put(write, family, change(state.tables.families.get(family)))
            })
        })
    }
}

impl Snapshot {
    /// An upper bound of what unfinished builds read and unfinished drops remove.
    fn unfinished_entries(&self) -> Result<u64> {
        let tables = &self.state().tables;
        let mut total = 0;
        for (family, state) in tables.families.unfinished() {
            total += match state {
                FamilyState::Building(_) => tables.conversations.rows.estimate()?,
                _ => tables.estimate_of(family)?,
            };
        }
        Ok(total)
    }
}
