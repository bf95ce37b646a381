//! Sorting any number of entries by key in bounded memory. Entries gather in a buffer; a full buffer
//! is sorted and becomes a run in a temporary file; at the end the runs and what is still in the
//! buffer are merged. Entries of equal keys come out in the order in which they went in.
//!
//! A run in the file is, entry after entry, `key | length u32, little-endian | value`. The file
//! loses its name as soon as it is open, where the system allows it, and else when it is dropped.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::encoding::key::FixedKey;
use crate::error::{Error, Result};
use crate::io::system::create_private;

/// What an entry takes in the buffer beside its value.
const ENTRY_BYTES: usize = 48;
/// How much of a run is read at a time when runs are merged.
const READ_BYTES: usize = 64 * 1024;

/// Gathers entries, and sorts them.
pub(crate) struct ExternalSorter<K> {
    entries: Vec<(K, Range<usize>)>,
    values: Vec<u8>,
    budget_bytes: usize,
    directory: PathBuf,
    spill: Option<Spill>,
    /// A run was not written whole, and entries with it: nothing right can come of the rest.
    failed: bool,
}

/// The runs on disk.
struct Spill {
    file: File,
    /// The path, where the file still has its name.
    path: Option<PathBuf>,
    runs: Vec<Range<u64>>,
}

impl<K: FixedKey + Ord> ExternalSorter<K> {
    /// A sorter that holds about `budget_bytes` and puts the rest into a file in `directory`.
    pub(crate) fn new(budget_bytes: usize, directory: &Path) -> Self {
        Self {
            entries: Vec::new(),
            values: Vec::new(),
            budget_bytes,
            directory: directory.to_owned(),
            spill: None,
            failed: false,
        }
    }

    /// Adds an entry, whose value `write` appends.
    pub(crate) fn push(&mut self, key: K, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        self.check()?;
        let start = self.values.len();
        write(&mut self.values);
        self.entries.push((key, start..self.values.len()));
        if self.values.len() + self.entries.len() * ENTRY_BYTES > self.budget_bytes {
            self.spill()?;
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.failed {
            return Err(Error::Storage(
                "entries were lost when they were sorted on disk".to_owned(),
            ));
        }
        Ok(())
    }

    /// Turns the buffer into a run on disk.
    fn spill(&mut self) -> Result<()> {
        self.failed = true;
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill::create(&self.directory)?),
        };
        self.entries.sort_by_key(|(key, _)| *key);
        let start = spill.runs.last().map_or(0, |run| run.end);
        let mut end = start;
        let mut file = BufWriter::with_capacity(READ_BYTES, &mut spill.file);
        for (key, value) in self.entries.drain(..) {
            let value = &self.values[value];
            let length = u32::try_from(value.len()).map_err(io::Error::other)?;
            file.write_all(key.encode().as_ref())?;
            file.write_all(&length.to_le_bytes())?;
            file.write_all(value)?;
            end += (K::WIDTH + size_of::<u32>()) as u64 + u64::from(length);
        }
        file.flush()?;
        drop(file);
        spill.runs.push(start..end);
        self.values.clear();
        self.failed = false;
        Ok(())
    }

    /// The entries in order of key.
    pub(crate) fn sorted(mut self) -> Result<SortedEntries<K>> {
        self.check()?;
        self.entries.sort_by_key(|(key, _)| *key);
        let mut runs: Vec<Run> = match &self.spill {
            Some(spill) => spill.runs.iter().cloned().map(Run::new).collect(),
            None => Vec::new(),
        };
        let mut heads = BinaryHeap::with_capacity(runs.len() + 1);
        if let Some(spill) = &mut self.spill {
            for (number, run) in runs.iter_mut().enumerate() {
                heads.extend(run.key::<K>(&mut spill.file)?.map(|key| Reverse((key, number))));
            }
        }
        // The buffer is the last run: its entries came last.
        heads.extend(self.entries.first().map(|(key, _)| Reverse((*key, runs.len()))));
        Ok(SortedEntries { sorter: self, taken: 0, runs, heads })
    }
}

impl Spill {
    fn create(directory: &Path) -> Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| Error::Storage(error.to_string()))?;
        let path = directory.join(format!(".convodb-{:016x}.run", u64::from_le_bytes(random)));
        let file = create_private(&path)?;
        let named = fs::remove_file(&path).is_err();
        Ok(Self { file, path: named.then_some(path), runs: Vec::new() })
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // A file that cannot be removed is left in a directory for temporary files.
            let _ = fs::remove_file(path);
        }
    }
}

/// A run that is being read.
struct Run {
    /// What is not read yet.
    rest: Range<u64>,
    buffer: Vec<u8>,
    /// Where in the buffer the next byte is.
    at: usize,
}

impl Run {
    const fn new(rest: Range<u64>) -> Self {
        Self { rest, buffer: Vec::new(), at: 0 }
    }

    /// The next `length` bytes.
    fn take(&mut self, file: &mut File, length: usize) -> Result<&[u8]> {
        if self.buffer.len() - self.at < length {
            self.buffer.drain(..self.at);
            self.at = 0;
            let held = self.buffer.len();
            let left = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
            let wanted = READ_BYTES.max(length - held).min(left);
            self.buffer.resize(held + wanted, 0);
            file.seek(SeekFrom::Start(self.rest.start))?;
            file.read_exact(&mut self.buffer[held..])?;
            self.rest.start += wanted as u64;
        }
        let start = self.at;
        self.at += length;
        self.buffer.get(start..self.at).ok_or_else(|| {
            Error::Io(io::Error::new(io::ErrorKind::UnexpectedEof, "a sorted run ends early"))
        })
    }

    /// The next entry's key; none at the end of the run.
    fn key<K: FixedKey>(&mut self, file: &mut File) -> Result<Option<K>> {
        if self.at == self.buffer.len() && self.rest.is_empty() {
            return Ok(None);
        }
        self.take(file, K::WIDTH).map(|bytes| Some(K::decode(bytes)))
    }

    /// The value of the entry whose key was read.
    fn value(&mut self, file: &mut File) -> Result<Vec<u8>> {
        let length = self.take(file, size_of::<u32>())?.try_into().unwrap_or([0; 4]);
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        self.take(file, length).map(<[u8]>::to_vec)
    }
}

/// The entries of a [`ExternalSorter`], in order of key.
pub(crate) struct SortedEntries<K> {
    sorter: ExternalSorter<K>,
    /// How many entries of the buffer were given.
    taken: usize,
    runs: Vec<Run>,
    /// The next key of each run, with the run's number.
    heads: BinaryHeap<Reverse<(K, usize)>>,
}

impl<K: FixedKey + Ord> SortedEntries<K> {
    fn entry(&mut self) -> Result<Option<(K, Vec<u8>)>> {
        let Some(Reverse((key, number))) = self.heads.pop() else { return Ok(None) };
        let (value, following) = match (self.runs.get_mut(number), &mut self.sorter.spill) {
            (Some(run), Some(spill)) => {
                let value = run.value(&mut spill.file)?;
                (value, run.key::<K>(&mut spill.file)?)
            }
            _ => {
                let (_, value) = &self.sorter.entries[self.taken];
                let value = self.sorter.values[value.clone()].to_vec();
                self.taken += 1;
                (value, self.sorter.entries.get(self.taken).map(|(key, _)| *key))
            }
        };
        self.heads.extend(following.map(|key| Reverse((key, number))));
        Ok(Some((key, value)))
    }
}

impl<K: FixedKey + Ord> Iterator for SortedEntries<K> {
    type Item = Result<(K, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entry().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::key::NumberKey;
    use crate::model::id::UserId;
    use proptest::prelude::*;

    fn key(number: u32) -> NumberKey {
        NumberKey { owner: UserId::new(number % 3), number }
    }

    #[test]
    fn after_a_run_that_was_not_written_nothing_is_sorted() {
        let mut sorter = ExternalSorter::new(1, Path::new("/no/such/directory"));
        assert!(sorter.push(key(1), |_| {}).is_err());
        assert!(sorter.push(key(2), |_| {}).is_err());
        assert!(sorter.sorted().is_err());
    }

    #[test]
    fn a_value_longer_than_what_is_read_at_a_time_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut sorter = ExternalSorter::new(1, directory.path());
        for number in [2, 1] {
            let value = vec![u8::try_from(number).unwrap(); READ_BYTES * 3 + 1];
            sorter.push(key(number * 3), |bytes| bytes.extend(value)).unwrap();
        }
        let lengths: Vec<(u32, usize)> = sorter
            .sorted()
            .unwrap()
            .map(|entry| entry.map(|(key, value)| (key.number, value.len())).unwrap())
            .collect();
        assert_eq!(lengths, [(3, READ_BYTES * 3 + 1), (6, READ_BYTES * 3 + 1)]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "no file is left");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever fits into memory, the entries come out as a stable sort would give them.
        #[test]
        fn entries_come_out_in_stable_order(
            entries in prop::collection::vec((0..40_u32, prop::collection::vec(any::<u8>(), 0..40)), 0..300),
            budget in prop_oneof![Just(1), 100..5_000_usize, Just(1 << 20)],
        ) {
            let mut sorter = ExternalSorter::new(budget, &std::env::temp_dir());
            for (number, value) in &entries {
                sorter.push(key(*number), |bytes| bytes.extend(value)).unwrap();
            }
            let mut expected: Vec<(NumberKey, Vec<u8>)> =
                entries.into_iter().map(|(number, value)| (key(number), value)).collect();
            expected.sort_by_key(|(key, _)| *key);
            let sorted: Vec<_> = sorter.sorted().unwrap().map(|entry| entry.unwrap()).collect();
            prop_assert_eq!(sorted, expected);
        }
    }
}
