//! What a file holds: as the running system sees it, and as a power cut would leave it.
//!
//! Changes are durable from the next sync on. Of those that came later a power cut leaves any: each
//! is kept, dropped, or torn at sectors, and they may have reached the disk in any order.

use std::sync::Arc;

use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
pub(super) const PAGE: usize = 4096;

/// Bytes, most of which may never have been written: those are zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    size: u64,
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
}

fn page_of(offset: u64) -> (usize, usize) {
    let page = usize::try_from(offset / PAGE as u64).unwrap_or(usize::MAX);
    (page, usize::try_from(offset % PAGE as u64).unwrap_or(0))
}

impl Image {
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// How many pages hold anything.
    pub(super) fn pages(&self) -> usize {
        self.pages.iter().flatten().count()
    }

    /// How many more pages a write would take.
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

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.size = self.size.max(offset + bytes.len() as u64);
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

/// A file, whatever names it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) live: Image,
    durable: Image,
    /// What is not durable yet, in order.
    pending: Vec<Change>,
}

impl Inode {
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.live.write(offset, bytes);
        self.pending.push(Change::Write(offset, bytes.to_vec()));
    }

    pub(super) fn set_size(&mut self, size: u64) {
        self.live.set_size(size);
        self.pending.push(Change::SetSize(size));
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            self.durable.apply(&change);
        }
    }

    /// A sync that failed: the system takes what it could not write for written.
    pub(super) fn forget_pending(&mut self, luck: &mut Luck) {
        let kept = std::mem::take(&mut self.pending).into_iter().filter(|_| luck.keeps());
        kept.for_each(|change| self.durable.apply(&change));
    }

    /// What a power cut leaves of it.
    pub(super) fn survivor(&self, luck: &mut Luck) -> Self {
        let mut image = self.durable.clone();
        let mut pending: Vec<&Change> = self.pending.iter().collect();
        luck.order(&mut pending);
        for change in pending {
            match change {
                _ if luck.keeps() => image.apply(change),
                Change::Write(offset, bytes) if luck.tears() => {
                    tear(&mut image, *offset, bytes, luck);
                }
                _ => {}
            }
        }
        Self { live: image.clone(), durable: image, pending: Vec::new() }
    }
}

/// Writes some sectors of what a write wrote.
fn tear(image: &mut Image, offset: u64, bytes: &[u8], luck: &mut Luck) {
    let mut start = 0;
    while start < bytes.len() {
        let in_sector = usize::try_from((offset + start as u64) % SECTOR as u64).unwrap_or(0);
        let end = (start + SECTOR - in_sector).min(bytes.len());
        if luck.coin() {
            image.write(offset + start as u64, &bytes[start..end]);
        }
        start = end;
    }
}

/// What chance makes of things that are not durable.
#[derive(Debug)]
pub(super) struct Luck {
    random: ChaCha8Rng,
    keep: f64,
    tear: f64,
    shuffle: bool,
}

impl Luck {
    /// From all is kept to nothing is.
    pub(super) fn new(mut random: ChaCha8Rng) -> Self {
        let keep = [0.0, 0.1, 0.5, 0.9, 1.0][random.random_range(0..5)];
        let tear = [0.0, 0.3, 0.8][random.random_range(0..3)];
        let shuffle = random.random();
        Self { random, keep, tear, shuffle }
    }

    /// Nothing is kept.
    pub(super) const fn none(random: ChaCha8Rng) -> Self {
        Self { random, keep: 0.0, tear: 0.0, shuffle: false }
    }

    pub(super) fn keeps(&mut self) -> bool {
        self.random.random_bool(self.keep)
    }

    fn tears(&mut self) -> bool {
        self.random.random_bool(self.tear)
    }

    fn coin(&mut self) -> bool {
        self.random.random()
    }

    fn order<T>(&mut self, items: &mut [T]) {
        if self.shuffle {
            items.shuffle(&mut self.random);
        }
    }

    /// Randomness for what comes after the cut.
    pub(super) fn seed(&mut self) -> u64 {
        self.random.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn bytes(image: &Image) -> Vec<u8> {
        let mut out = vec![9; usize::try_from(image.size()).unwrap()];
        assert_eq!(image.read(0, &mut out), out.len());
        out
    }

    #[test]
    fn an_image_is_a_file() {
        let (mut image, mut file) = (Image::default(), Vec::<u8>::new());
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..500 {
            let offset = random.random_range(0..20_000_usize);
            if random.random_bool(0.2) {
                image.set_size(offset as u64);
                file.resize(offset, 0);
            } else {
                let write = vec![random.random::<u8>(); random.random_range(1..9_000)];
                image.write(offset as u64, &write);
                file.resize(file.len().max(offset + write.len()), 0);
                file[offset..offset + write.len()].copy_from_slice(&write);
            }
            assert!(bytes(&image) == file);
        }
    }

    #[test]
    fn a_cut_leaves_what_was_synced_and_any_sectors_of_the_rest() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..2_000 {
            let mut inode = Inode::default();
            inode.write(0, &[1; 3 * SECTOR]);
            inode.sync();
            inode.write(0, &[2; 2 * SECTOR]);
            inode.set_size(2 * SECTOR as u64);
            let left = inode.survivor(&mut Luck::new(ChaCha8Rng::seed_from_u64(seed)));
            let left = bytes(&left.live);
            let sectors: Vec<u8> = left.chunks(SECTOR).map(|sector| sector[0]).collect();
            assert!(left.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            seen.insert(sectors);
        }
        // Two sectors, old or new, and the third or none.
        assert_eq!(seen.len(), 8, "{seen:?}");
        let mut inode = Inode::default();
        inode.write(0, &[1; 7]);
        inode.forget_pending(&mut Luck::none(ChaCha8Rng::seed_from_u64(0)));
        inode.sync();
        assert_eq!(inode.live.size(), 7);
        assert_eq!(inode.survivor(&mut Luck::new(ChaCha8Rng::seed_from_u64(4))).live.size(), 0);
    }
}
