//! Simulated disk: a file system in memory that loses power, drops syncs, fails, or runs full.
//!
//! It implements the interface through which the engine reaches all files, so tables, WAL, backups
//! and checksums are below it alike.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convodb::vfs::{Access, FileId, Vfs, VfsFile};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use super::directory::Directory;
use super::fault::{Call, InjectedFault, Schedule};
use super::inode::{Inode, PAGE, Survival};

/// A disk in memory. A clone is a handle of the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    background_checkpoints: bool,
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    directory: Directory,
    random: ChaCha8Rng,
    /// The number of changes so far: writes, sizes, names and syncs.
    changes: u64,
    /// The change during which the power goes off.
    power_off_at: Option<u64>,
    /// The change from which syncs do nothing.
    syncs_dropped_from: Option<u64>,
    off: bool,
    schedule: Option<Schedule>,
    /// The capacity in pages of 4 KiB.
    capacity: Option<usize>,
    /// Whether the engine can query the free space.
    reports_free_space: bool,
    /// Pages that cannot be read: an inode and the number of its page.
    unreadable: BTreeSet<(usize, usize)>,
    trace: Vec<(&'static str, usize, u64, u64)>,
}

impl SimulatedDisk {
    /// Creates an empty disk whose random decisions follow from the seed. The same calls have the
    /// same results, unless [background checkpoints](Self::with_background_checkpoints) change the
    /// order of the calls.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from_parts(Vec::new(), Directory::default(), seed)
    }

    /// Sets whether the engine writes checkpoints in a background thread, as on a real disk.
    #[must_use]
    pub fn with_background_checkpoints(mut self, enabled: bool) -> Self {
        self.background_checkpoints = enabled;
        self
    }

    /// Whether stores on this disk run checkpoints in the background.
    pub(crate) const fn background_checkpoints(&self) -> bool {
        self.background_checkpoints
    }

    fn from_parts(inodes: Vec<Inode>, directory: Directory, seed: u64) -> Self {
        let state = State {
            inodes,
            directory,
            random: ChaCha8Rng::seed_from_u64(seed),
            changes: 0,
            power_off_at: None,
            syncs_dropped_from: None,
            off: false,
            schedule: None,
            capacity: None,
            reports_free_space: true,
            unreadable: BTreeSet::new(),
            trace: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), background_checkpoints: false }
    }

    /// Turns the power off during the change with this number, counted from now.
    pub fn power_off_at(&self, change: u64) {
        let mut state = self.state();
        state.power_off_at = Some(state.changes + change);
    }

    /// Makes syncs succeed without effect from this change, counted from now.
    pub fn drop_syncs_from(&self, change: u64) {
        let mut state = self.state();
        state.syncs_dropped_from = Some(state.changes + change);
    }

    /// Injects a fault according to a schedule.
    pub fn inject(&self, schedule: Schedule) {
        self.state().schedule = Some(schedule);
    }

    /// Makes every 4 KiB page unreadable in which `needle` begins, in the file at `path`, and
    /// returns their number. Reads of such a page fail with an I/O error.
    ///
    /// # Errors
    /// There is no such file.
    pub fn break_pages_with(&self, path: &Path, needle: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        let inode = state.directory.find(path)?;
        let pages = state.inodes[inode].current.pages_with(needle);
        state.unreadable.extend(pages.iter().map(|page| (inode, *page)));
        Ok(pages.len())
    }

    /// Ends the injected fault, the limit of space and the unreadable pages. Returns whether the
    /// fault occurred.
    pub fn clear_faults(&self) -> bool {
        let mut state = self.state();
        state.capacity = None;
        state.unreadable.clear();
        state.schedule.take().is_some_and(|schedule| schedule.has_occurred())
    }

    /// Whether the injected fault has occurred.
    #[must_use]
    pub fn fault_has_occurred(&self) -> bool {
        self.state().schedule.as_ref().is_some_and(Schedule::has_occurred)
    }

    /// The number of calls that the injected fault affects, whether they failed or not.
    #[must_use]
    pub fn affected_calls(&self) -> u64 {
        self.state().schedule.as_ref().map_or(0, Schedule::affected_calls)
    }

    /// Limits the free space to this number of 4 KiB pages. If `reported`, the engine can query it;
    /// otherwise the disk reports unlimited space and writes fail when it is full.
    pub fn limit_free_pages(&self, pages: usize, reported: bool) {
        let mut state = self.state();
        state.capacity = Some(state.used_pages() + pages);
        state.reports_free_space = reported;
    }

    /// Whether the power is off. Every call fails then.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// The number of changes so far: writes, sizes, names and syncs.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Turns the power off, and returns the disk as it is after power-on: unsynced changes survive
    /// at random.
    #[must_use]
    pub fn power_cut(&self) -> Self {
        self.after_power_cut(Survival::random)
    }

    /// As [`power_cut`](Self::power_cut), but no unsynced change survives.
    #[must_use]
    pub fn worst_power_cut(&self) -> Self {
        self.after_power_cut(Survival::none)
    }

    /// Ends the process that uses the disk, and returns the disk as it is then: all changes survive,
    /// synced or not.
    #[must_use]
    pub fn kill(&self) -> Self {
        self.after_power_cut(Survival::all)
    }

    fn after_power_cut(&self, survival: impl FnOnce(ChaCha8Rng) -> Survival) -> Self {
        let mut state = self.state();
        state.off = true;
        let seed = state.random.next_u64();
        let mut survival = survival(ChaCha8Rng::seed_from_u64(seed));
        let directory = state.directory.after_power_cut(&mut survival);
        let inodes =
            state.inodes.iter().map(|inode| inode.after_power_cut(&mut survival)).collect();
        Self::from_parts(inodes, directory, survival.seed())
            .with_background_checkpoints(self.background_checkpoints)
    }

    /// The changes that the disk received, one per line.
    #[must_use]
    pub fn trace(&self) -> String {
        let mut out = String::new();
        for (at, (what, file, offset, length)) in self.state().trace.iter().enumerate() {
            let _ = writeln!(out, "{at:5} {what}, file {file}, offset {offset}, length {length}");
        }
        out
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a successful call transfers its bytes.
enum Transfer {
    Complete,
    /// Half of the bytes.
    Short,
}

impl State {
    /// The pages of files that have a name.
    fn used_pages(&self) -> usize {
        let named = self.inodes.iter().enumerate().filter(|(at, _)| self.directory.has(*at));
        named.map(|(_, inode)| inode.current.pages()).sum()
    }

    fn check_space(&self, pages: usize) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if pages > 0 && self.used_pages() + pages > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    /// Fails if one of the bytes is in an unreadable page.
    fn check_readable(&self, inode: usize, offset: u64, length: usize) -> io::Result<()> {
        if self.unreadable.is_empty() || length == 0 {
            return Ok(());
        }
        let page = |offset: u64| usize::try_from(offset / PAGE as u64).unwrap_or(usize::MAX);
        let pages = page(offset)..=page(offset + length as u64 - 1);
        match pages.into_iter().any(|page| self.unreadable.contains(&(inode, page))) {
            true => Err(io::Error::other("simulated unreadable page")),
            false => Ok(()),
        }
    }

    /// Runs before a call that changes nothing.
    fn call(&mut self, call: Call) -> io::Result<Transfer> {
        if self.off {
            return Err(power_is_off());
        }
        match self.schedule.as_mut().and_then(|schedule| schedule.fault_at(call)) {
            None => Ok(Transfer::Complete),
            Some(InjectedFault::ShortTransfer) => Ok(Transfer::Short),
            Some(fault) => Err(fault.error()),
        }
    }

    /// Runs before a call that changes something.
    fn change(
        &mut self,
        call: Call,
        (what, file): (&'static str, usize),
        (offset, length): (u64, u64),
    ) -> io::Result<Transfer> {
        let transfer = self.call(call)?;
        self.trace.push((what, file, offset, length));
        self.changes += 1;
        self.off = self.power_off_at.is_some_and(|cut| self.changes > cut);
        Ok(transfer)
    }

    /// Runs after a change: fails if the power went off during it.
    fn check_power(&self) -> io::Result<()> {
        if self.off { Err(power_is_off()) } else { Ok(()) }
    }

    fn drops_syncs(&self) -> bool {
        self.syncs_dropped_from.is_some_and(|from| self.changes > from)
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("simulated power is off")
}

impl Vfs for SimulatedDisk {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.state();
        state.call(Call::Inspect)?;
        Ok(state.directory.find(path).is_ok())
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.state();
        state.call(Call::Inspect)?;
        let inode = state.directory.find(path)?;
        Ok(state.inodes[inode].current.size())
    }

    fn file_id(&self, path: &Path) -> io::Result<FileId> {
        let mut state = self.state();
        state.call(Call::Inspect)?;
        Ok(id_of(state.directory.find(path)?))
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        let mut state = self.state();
        state.call(Call::Inspect)?;
        state.directory.find(path).map(|_| path.to_owned())
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Box<dyn VfsFile>> {
        let mut state = self.state();
        state.call(Call::Inspect)?;
        let inode = state.directory.find(path)?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), inode }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let mut state = self.state();
        let inode = state.inodes.len();
        state.change(Call::Grow, ("create", inode), (0, 0))?;
        state.directory.check_absent(path)?;
        state.inodes.push(Inode::default());
        state.directory.link(path, inode);
        state.check_power()?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), inode }))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.directory.find(from)?;
        state.change(Call::Grow, ("link", inode), (0, 0))?;
        state.directory.check_absent(to)?;
        state.directory.link(to, inode);
        state.check_power()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.directory.find(from)?;
        state.change(Call::Grow, ("rename", inode), (0, 0))?;
        state.directory.rename(from, to, inode);
        state.check_power()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Inspect)?;
        let inode = state.directory.find(path)?;
        state.change(Call::Unlink, ("remove", inode), (0, 0))?;
        state.directory.unlink(path);
        state.check_power()
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let mut state = self.state();
        state.call(Call::Inspect)?;
        Ok(state.directory.list(directory))
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change(Call::Sync, ("sync directory", 0), (0, 0))?;
        state.check_power()?;
        if !state.drops_syncs() {
            state.directory.sync();
        }
        Ok(())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        let mut state = self.state();
        state.call(Call::Inspect)?;
        let capacity = state.capacity.filter(|_| state.reports_free_space);
        let free = capacity.map(|capacity| capacity.saturating_sub(state.used_pages()) * PAGE);
        Ok(free.map_or(u64::MAX, |bytes| bytes as u64))
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.directory.find(path)?;
        state.call(Call::Grow)?;
        let count = usize::try_from(bytes.div_ceil(PAGE as u64)).unwrap_or(usize::MAX);
        let pages = state.inodes[inode].current.unreserved(count);
        state.check_space(pages.len())?;
        state.inodes[inode].current.reserve(&pages);
        Ok(())
    }

    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.state().random.fill_bytes(bytes);
        Ok(())
    }
}

const fn id_of(inode: usize) -> FileId {
    FileId { device: 0, inode: inode as u64 }
}

/// An open file.
#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    inode: usize,
}

impl VfsFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.call(Call::Inspect)?;
        Ok(state.inodes[self.inode].current.size())
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(id_of(self.inode))
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let length = match state.call(Call::Read)? {
            Transfer::Complete => out.len(),
            Transfer::Short => out.len().div_ceil(2),
        };
        let read = state.inodes[self.inode].current.read(offset, &mut out[..length]);
        state.check_readable(self.inode, offset, read)?;
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let change = (offset, bytes.len() as u64);
        let content = &state.inodes[self.inode].current;
        let needs_space = content.pages_needed(offset, bytes.len()) > 0;
        let call = if needs_space { Call::Write } else { Call::Overwrite };
        let length = match state.change(call, ("write", self.inode), change) {
            Ok(Transfer::Complete) => bytes.len(),
            Ok(Transfer::Short) => bytes.len().div_ceil(2),
            Err(error) => {
                // A failed write may have written a part.
                if !state.off {
                    state.inodes[self.inode].write(offset, &bytes[..bytes.len() / 2]);
                }
                return Err(error);
            }
        };
        let needed = state.inodes[self.inode].current.pages_needed(offset, length);
        state.check_space(needed)?;
        state.inodes[self.inode].write(offset, &bytes[..length]);
        state.check_power()?;
        Ok(length)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let grows = state.inodes[self.inode].current.size() < size;
        let call = if grows { Call::Grow } else { Call::Truncate };
        state.change(call, ("set size", self.inode), (size, 0))?;
        state.inodes[self.inode].set_size(size);
        state.check_power()
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.set_size(size)?;
        let mut state = self.disk.state();
        let count = usize::try_from(size.div_ceil(PAGE as u64)).unwrap_or(usize::MAX);
        let pages = state.inodes[self.inode].current.unreserved(count);
        state.check_space(pages.len())?;
        state.inodes[self.inode].current.reserve(&pages);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let synced = state.change(Call::Sync, ("sync", self.inode), (0, 0));
        if let (Err(_), Some(InjectedFault::SyncDropsChanges)) =
            (&synced, state.schedule.as_ref().map(Schedule::fault))
        {
            let mut survival = Survival::random(ChaCha8Rng::seed_from_u64(state.changes));
            state.inodes[self.inode].drop_unsynced(&mut survival);
        }
        synced?;
        state.check_power()?;
        if !state.drops_syncs() {
            state.inodes[self.inode].sync();
        }
        Ok(())
    }

    fn into_std(self: Box<Self>) -> Result<File, Box<dyn VfsFile>> {
        Err(self)
    }
}
