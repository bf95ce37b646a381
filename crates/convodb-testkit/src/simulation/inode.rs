//! Inode of a simulated disk: the bytes of a file in memory, and the bytes that a power cut leaves.
//!
//! A sync makes changes durable. A power cut retains, drops or tears each later change, in any
//! order. A torn write leaves any subset of its sectors.

use std::sync::Arc;

use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

/// The number of bytes that a disk writes atomically.
const SECTOR: usize = 512;
pub(super) const PAGE: usize = 4096;

/// The bytes of a sparse file: pages that were never written read as zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    size: u64,
    /// The number of pages up to the last written one.
    written: usize,
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
}

fn page_of(offset: u64) -> (usize, usize) {
    let page = usize::try_from(offset / PAGE as u64).unwrap_or(usize::MAX);
    (page, usize::try_from(offset % PAGE as u64).unwrap_or(0))
}

impl Content {
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// The number of allocated pages.
    pub(super) fn pages(&self) -> usize {
        self.pages.iter().flatten().count()
    }

    /// The number of pages that a write would allocate.
    pub(super) fn pages_needed(&self, offset: u64, length: usize) -> usize {
        let (first, _) = page_of(offset);
        let (end, _) = page_of(offset + length as u64 + PAGE as u64 - 1);
        (first..end).filter(|page| !matches!(self.pages.get(*page), Some(Some(_)))).count()
    }

    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = out.len().min(left);
        let mut done = 0;
        while done < length {
            let (page, start) = page_of(offset + done as u64);
            let part = (PAGE - start).min(length - done);
            match self.pages.get(page) {
                Some(Some(bytes)) => {
                    out[done..done + part].copy_from_slice(&bytes[start..start + part]);
                }
                _ => out[done..done + part].fill(0),
            }
            done += part;
        }
        length
    }

    /// The numbers of the pages in which `needle` begins.
    pub(super) fn pages_with(&self, needle: &[u8]) -> Vec<usize> {
        let mut bytes = vec![0; usize::try_from(self.size).unwrap_or(0)];
        self.read(0, &mut bytes);
        let found = bytes.windows(needle.len().max(1)).enumerate();
        let mut pages: Vec<usize> =
            found.filter(|(_, part)| *part == needle).map(|(at, _)| at / PAGE).collect();
        pages.dedup();
        pages
    }

    /// The pages without content that must be allocated so that every page before the last written
    /// one, and `count` pages behind it, are.
    pub(super) fn unreserved(&self, count: usize) -> Vec<usize> {
        let all = 0..self.written + count;
        all.filter(|page| !matches!(self.pages.get(*page), Some(Some(_)))).collect()
    }

    /// Allocates pages. Their content stays: zeros.
    pub(super) fn reserve(&mut self, pages: &[usize]) {
        let zeros = Arc::new([0; PAGE]);
        for page in pages {
            if self.pages.len() <= *page {
                self.pages.resize(*page + 1, None);
            }
            self.pages[*page].get_or_insert_with(|| zeros.clone());
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.size = self.size.max(offset + bytes.len() as u64);
        let (end, _) = page_of(offset + bytes.len() as u64 + PAGE as u64 - 1);
        self.written = self.written.max(end);
        let mut done = 0;
        while done < bytes.len() {
            let (page, start) = page_of(offset + done as u64);
            let part = (PAGE - start).min(bytes.len() - done);
            if self.pages.len() <= page {
                self.pages.resize(page + 1, None);
            }
            let slot = self.pages[page].get_or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(slot)[start..start + part].copy_from_slice(&bytes[done..done + part]);
            done += part;
        }
    }

    fn set_size(&mut self, size: u64) {
        if size < self.size {
            let (page, start) = page_of(size);
            self.pages.truncate(if start == 0 { page } else { page + 1 });
            if let Some(Some(last)) = self.pages.get_mut(page) {
                Arc::make_mut(last)[start..].fill(0);
            }
            self.written = self.written.min(self.pages.len());
        }
        self.size = size;
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write(offset, bytes) => self.write(*offset, bytes),
            Change::SetSize(size) => self.set_size(*size),
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetSize(u64),
}

/// A file, independent of its names.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) current: Content,
    durable: Content,
    /// Changes since the last sync, in order.
    unsynced: Vec<Change>,
}

impl Inode {
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.current.write(offset, bytes);
        self.unsynced.push(Change::Write(offset, bytes.to_vec()));
    }

    pub(super) fn set_size(&mut self, size: u64) {
        self.current.set_size(size);
        self.unsynced.push(Change::SetSize(size));
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            self.durable.apply(&change);
        }
    }

    /// After a failed sync: the system marks unwritten changes as written, and drops some of them.
    pub(super) fn drop_unsynced(&mut self, survival: &mut Survival) {
        let written =
            std::mem::take(&mut self.unsynced).into_iter().filter(|_| survival.keeps_change());
        written.for_each(|change| self.durable.apply(&change));
    }

    /// The file after a power cut.
    pub(super) fn after_power_cut(&self, survival: &mut Survival) -> Self {
        let mut content = self.durable.clone();
        let mut unsynced: Vec<&Change> = self.unsynced.iter().collect();
        survival.order(&mut unsynced);
        for change in unsynced {
            match change {
                _ if survival.keeps_change() => content.apply(change),
                Change::Write(offset, bytes) if survival.tears_write() => {
                    tear(&mut content, *offset, bytes, survival);
                }
                _ => {}
            }
        }
        Self { current: content.clone(), durable: content, unsynced: Vec::new() }
    }
}

/// Applies a random subset of the sectors of a write.
fn tear(content: &mut Content, offset: u64, bytes: &[u8], survival: &mut Survival) {
    let mut start = 0;
    while start < bytes.len() {
        let in_sector = usize::try_from((offset + start as u64) % SECTOR as u64).unwrap_or(0);
        let end = (start + SECTOR - in_sector).min(bytes.len());
        if survival.keeps_sector() {
            content.write(offset + start as u64, &bytes[start..end]);
        }
        start = end;
    }
}

/// Random decisions about which unsynced changes survive.
#[derive(Debug)]
pub(super) struct Survival {
    random: ChaCha8Rng,
    keep: f64,
    tear: f64,
    shuffle: bool,
}

impl Survival {
    /// Random probabilities, from none to all.
    pub(super) fn random(mut random: ChaCha8Rng) -> Self {
        let keep = [0.0, 0.1, 0.5, 0.9, 1.0][random.random_range(0..5)];
        let tear = [0.0, 0.3, 0.8][random.random_range(0..3)];
        let shuffle = random.random();
        Self { random, keep, tear, shuffle }
    }

    /// Nothing survives.
    pub(super) const fn none(random: ChaCha8Rng) -> Self {
        Self { random, keep: 0.0, tear: 0.0, shuffle: false }
    }

    /// Everything survives.
    pub(super) const fn all(random: ChaCha8Rng) -> Self {
        Self { random, keep: 1.0, tear: 0.0, shuffle: false }
    }

    pub(super) fn keeps_change(&mut self) -> bool {
        self.random.random_bool(self.keep)
    }

    fn tears_write(&mut self) -> bool {
        self.random.random_bool(self.tear)
    }

    fn keeps_sector(&mut self) -> bool {
        self.random.random()
    }

    fn order<T>(&mut self, items: &mut [T]) {
        if self.shuffle {
            items.shuffle(&mut self.random);
        }
    }

    /// A seed for the disk after the power cut.
    pub(super) fn seed(&mut self) -> u64 {
        self.random.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn bytes(content: &Content) -> Vec<u8> {
        let mut out = vec![9; usize::try_from(content.size()).unwrap()];
        assert_eq!(content.read(0, &mut out), out.len());
        out
    }

    #[test]
    fn content_reads_like_a_byte_vector() {
        let (mut content, mut file) = (Content::default(), Vec::<u8>::new());
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..500 {
            let offset = random.random_range(0..20_000_usize);
            if random.random_bool(0.2) {
                content.set_size(offset as u64);
                file.resize(offset, 0);
            } else {
                let write = vec![random.random::<u8>(); random.random_range(1..9_000)];
                content.write(offset as u64, &write);
                file.resize(file.len().max(offset + write.len()), 0);
                file[offset..offset + write.len()].copy_from_slice(&write);
            }
            assert!(bytes(&content) == file);
        }
    }

    #[test]
    fn power_cut_leaves_synced_bytes_and_any_subset_of_unsynced_sectors() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..2_000 {
            let mut inode = Inode::default();
            inode.write(0, &[1; 3 * SECTOR]);
            inode.sync();
            inode.write(0, &[2; 2 * SECTOR]);
            inode.set_size(2 * SECTOR as u64);
            let left =
                inode.after_power_cut(&mut Survival::random(ChaCha8Rng::seed_from_u64(seed)));
            let left = bytes(&left.current);
            let sectors: Vec<u8> = left.chunks(SECTOR).map(|sector| sector[0]).collect();
            assert!(left.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            seen.insert(sectors);
        }
        // Two sectors, each old or new, with or without the third.
        assert_eq!(seen.len(), 8, "{seen:?}");
        let mut inode = Inode::default();
        inode.write(0, &[1; 7]);
        inode.drop_unsynced(&mut Survival::none(ChaCha8Rng::seed_from_u64(0)));
        inode.sync();
        assert_eq!(inode.current.size(), 7);
        assert_eq!(
            inode
                .after_power_cut(&mut Survival::random(ChaCha8Rng::seed_from_u64(4)))
                .current
                .size(),
            0
        );
    }
}
