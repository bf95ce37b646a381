//! A disk in memory, below everything that the engine does with files, that loses its power at a
//! given change, lies about syncs from a given one on, or fails at a given call.

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convodb::simulation::{Access, Disk, DiskFile};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use super::directory::Directory;
use super::inode::{Inode, Luck, PAGE};
use crate::simulation::fault::{Call, InjectedFault, InjectedFault::Short, Schedule};

/// See the head of this file. A clone is the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    /// Whether checkpoints may be written while groups go on.
    beside: bool,
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    names: Directory,
    random: ChaCha8Rng,
    /// Changes so far: writes, sizes, names and syncs.
    changes: u64,
    /// The power goes at this change.
    cut_at: Option<u64>,
    /// Syncs do nothing from this change on.
    lies_from: Option<u64>,
    off: bool,
    schedule: Option<Schedule>,
    /// How many pages it can hold.
    room: Option<usize>,
    tells_room: bool,
    trace: Vec<(&'static str, usize, u64, u64)>,
}

impl SimulatedDisk {
    /// An empty disk, whose chance is this seed's. Where `beside` is not given, the same calls give
    /// the same disk.
    #[must_use]
    pub fn new(seed: u64, beside: bool) -> Self {
        Self::holding(Vec::new(), Directory::default(), seed, beside)
    }

    fn holding(inodes: Vec<Inode>, names: Directory, seed: u64, beside: bool) -> Self {
        let state = State {
            inodes,
            names,
            random: ChaCha8Rng::seed_from_u64(seed),
            changes: 0,
            cut_at: None,
            lies_from: None,
            off: false,
            schedule: None,
            room: None,
            tells_room: true,
            trace: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), beside }
    }

    /// The power goes in the middle of the change with this number, from now on.
    pub fn cut_at(&self, change: u64) {
        let mut state = self.state();
        state.cut_at = Some(state.changes + change);
    }

    /// From this change on, syncs succeed and do nothing.
    pub fn lies_from(&self, change: u64) {
        let mut state = self.state();
        state.lies_from = Some(state.changes + change);
    }

    /// Fails as the schedule says.
    pub fn fail(&self, schedule: Schedule) {
        self.state().schedule = Some(schedule);
    }

    /// Nothing fails any more; tells whether anything did.
    pub fn lift(&self) -> bool {
        let mut state = self.state();
        state.room = None;
        state.schedule.take().is_some_and(|schedule| schedule.has_struck())
    }

    /// Whether the scheduled fault came up.
    #[must_use]
    pub fn has_struck(&self) -> bool {
        self.state().schedule.as_ref().is_some_and(Schedule::has_struck)
    }

    /// How many calls there were that the scheduled fault concerns.
    #[must_use]
    pub fn concerned(&self) -> u64 {
        self.state().schedule.as_ref().map_or(0, Schedule::concerned)
    }

    /// Leaves room for so many more pages of 4 KiB, and tells so when it is asked, or does not.
    pub fn leave_room(&self, pages: usize, tells: bool) {
        let mut state = self.state();
        state.room = Some(state.used() + pages);
        state.tells_room = tells;
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// How many changes there were.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Turns the power off, and gives the disk that is found when it is on again: of what was not
    /// durable, what chance left.
    #[must_use]
    pub fn power_cut(&self) -> Self {
        self.survivor(Luck::new)
    }

    /// As [`SimulatedDisk::power_cut`], but nothing is left of what was not durable.
    #[must_use]
    pub fn worst_cut(&self) -> Self {
        self.survivor(Luck::none)
    }

    fn survivor(&self, luck: impl FnOnce(ChaCha8Rng) -> Luck) -> Self {
        let mut state = self.state();
        state.off = true;
        let seed = state.random.next_u64();
        let mut luck = luck(ChaCha8Rng::seed_from_u64(seed));
        let names = state.names.survivor(&mut luck);
        let inodes = state.inodes.iter().map(|inode| inode.survivor(&mut luck)).collect();
        Self::holding(inodes, names, luck.seed(), self.beside)
    }

    /// What was done to the disk, one operation a line.
    #[must_use]
    pub fn trace(&self) -> String {
        let mut out = String::new();
        for (at, (what, file, offset, length)) in self.state().trace.iter().enumerate() {
            let _ = writeln!(out, "{at:5} {what} file {file} at {offset} for {length}");
        }
        out
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a call.
enum Verdict {
    Done,
    Short,
}

impl State {
    fn used(&self) -> usize {
        self.inodes.iter().map(|inode| inode.live.pages()).sum()
    }

    fn check_room(&self, pages: usize) -> io::Result<()> {
        match self.room {
            Some(room) if pages > 0 && self.used() + pages > room => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    /// Before a call that changes nothing.
    fn call(&mut self, call: Call) -> io::Result<Verdict> {
        if self.off {
            return Err(power_is_off());
        }
        match self.schedule.as_mut().and_then(|schedule| schedule.strike(call)) {
            None => Ok(Verdict::Done),
            Some(Short) => Ok(Verdict::Short),
            Some(fault) => Err(fault.error()),
        }
    }

    /// Before a call that changes something.
    fn change(
        &mut self,
        call: Call,
        (what, file): (&'static str, usize),
        (offset, length): (u64, u64),
    ) -> io::Result<Verdict> {
        let verdict = self.call(call)?;
        self.trace.push((what, file, offset, length));
        self.changes += 1;
        self.off = self.cut_at.is_some_and(|cut| self.changes > cut);
        Ok(verdict)
    }

    /// After a change: fails if the power went in the middle of it.
    fn powered(&self) -> io::Result<()> {
        if self.off { Err(power_is_off()) } else { Ok(()) }
    }

    fn lies(&self) -> bool {
        self.lies_from.is_some_and(|from| self.changes > from)
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

impl Disk for SimulatedDisk {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.state();
        state.call(Call::Look)?;
        Ok(state.names.find(path).is_ok())
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.state();
        state.call(Call::Look)?;
        let inode = state.names.find(path)?;
        Ok(state.inodes[inode].live.size())
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut state = self.state();
        state.call(Call::Look)?;
        state.names.find(path).map(|_| path.to_owned())
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.call(Call::Look)?;
        let inode = state.names.find(path)?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), inode }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let inode = state.inodes.len();
        state.change(Call::Grow, ("create", inode), (0, 0))?;
        state.names.check_free(path)?;
        state.inodes.push(Inode::default());
        state.names.give(path, inode);
        state.powered()?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), inode }))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.names.find(from)?;
        state.change(Call::Grow, ("link", inode), (0, 0))?;
        state.names.check_free(to)?;
        state.names.give(to, inode);
        state.powered()
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.names.find(from)?;
        state.change(Call::Grow, ("replace", inode), (0, 0))?;
        state.names.replace(from, to, inode);
        state.powered()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Look)?;
        let inode = state.names.find(path)?;
        state.change(Call::Name, ("remove", inode), (0, 0))?;
        state.names.take(path);
        state.powered()
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let mut state = self.state();
        state.call(Call::Look)?;
        Ok(state.names.inside(directory))
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change(Call::Sync, ("sync directory", 0), (0, 0))?;
        state.powered()?;
        if !state.lies() {
            state.names.sync();
        }
        Ok(())
    }

    fn room(&self, _: &Path) -> io::Result<u64> {
        let mut state = self.state();
        state.call(Call::Look)?;
        let told = state.room.filter(|_| state.tells_room);
        let left = told.map(|room| room.saturating_sub(state.used()) * PAGE);
        Ok(left.map_or(u64::MAX, |bytes| bytes as u64))
    }

    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.state().random.fill_bytes(bytes);
        Ok(())
    }

    fn works_beside(&self) -> bool {
        self.beside
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    inode: usize,
}

impl DiskFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.call(Call::Look)?;
        Ok(state.inodes[self.inode].live.size())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let length = match state.call(Call::Read)? {
            Verdict::Done => out.len(),
            Verdict::Short => out.len().div_ceil(2),
        };
        Ok(state.inodes[self.inode].live.read(offset, &mut out[..length]))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let change = (offset, bytes.len() as u64);
        let length = match state.change(Call::Write, ("write", self.inode), change) {
            Ok(Verdict::Done) => bytes.len(),
            Ok(Verdict::Short) => bytes.len().div_ceil(2),
            Err(error) => {
                // Some of it was written all the same.
                if !state.off {
                    state.inodes[self.inode].write(offset, &bytes[..bytes.len() / 2]);
                }
                return Err(error);
            }
        };
        let needed = state.inodes[self.inode].live.pages_needed(offset, length);
        state.check_room(needed)?;
        state.inodes[self.inode].write(offset, &bytes[..length]);
        state.powered()?;
        Ok(length)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let grows = state.inodes[self.inode].live.size() < size;
        let call = if grows { Call::Grow } else { Call::Cut };
        state.change(call, ("set size", self.inode), (size, 0))?;
        state.inodes[self.inode].set_size(size);
        state.powered()
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let done = state.change(Call::Sync, ("sync", self.inode), (0, 0));
        if let (Err(_), Some(InjectedFault::Forgets)) =
            (&done, state.schedule.as_ref().map(Schedule::fault))
        {
            let mut luck = Luck::new(ChaCha8Rng::seed_from_u64(state.changes));
            state.inodes[self.inode].forget_pending(&mut luck);
        }
        done?;
        state.powered()?;
        if !state.lies() {
            state.inodes[self.inode].sync();
        }
        Ok(())
    }

    fn into_system(self: Box<Self>) -> Result<File, Box<dyn DiskFile>> {
        Err(self)
    }
}
