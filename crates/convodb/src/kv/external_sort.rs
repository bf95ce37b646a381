//! External merge sort: sorts any number of entries by key in bounded memory.
//!
//! Entries collect in a buffer. A full buffer is sorted and written as a run to a temporary file.
//! At the end the runs and the rest of the buffer are merged. The sort is stable: entries of equal
//! keys stay in the order of insertion.
//!
//! A run is a sequence of entries `key | value`, where bytes of any length are preceded by `length
//! u32, little-endian`. The file is unlinked as soon as it is open if the system allows that,
//! otherwise when the sorter is dropped.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::encoding::key::FixedKey;
use crate::error::{Error, Result};
use crate::io::system::create_private;

/// Read and write buffer of a run, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// A value that is sorted along with its key.
pub(crate) trait SortedValue: Sized {
    /// What a buffered entry has of the value.
    type Slot: Copy;

    /// The value of a buffered entry.
    fn load(slot: Self::Slot, values: &[u8]) -> Self;
    /// Writes the value of a buffered entry into a run, and returns its length there.
    fn spill(slot: Self::Slot, values: &[u8], run: &mut impl Write) -> io::Result<u64>;
    /// Reads the next value of a run.
    fn read(run: &mut Run, file: &mut File) -> Result<Self>;
}

/// Nothing: the keys alone are sorted.
impl SortedValue for () {
    type Slot = ();

    fn load((): (), _: &[u8]) {}

    fn spill((): (), _: &[u8], _: &mut impl Write) -> io::Result<u64> {
        Ok(0)
    }

    fn read(_: &mut Run, _: &mut File) -> Result<()> {
        Ok(())
    }
}

/// A number, encoded.
impl SortedValue for [u8; 8] {
    type Slot = Self;

    fn load(slot: Self, _: &[u8]) -> Self {
        slot
    }

    fn spill(slot: Self, _: &[u8], run: &mut impl Write) -> io::Result<u64> {
        run.write_all(&slot)?;
        Ok(slot.len() as u64)
    }

    fn read(run: &mut Run, file: &mut File) -> Result<Self> {
        Ok(run.take(file, size_of::<Self>())?.try_into().unwrap_or_default())
    }
}

/// Bytes of any length, which all entries keep in one buffer.
impl SortedValue for Vec<u8> {
    /// Start and end in the buffer.
    type Slot = (usize, usize);

    fn load((start, end): (usize, usize), values: &[u8]) -> Self {
        values[start..end].to_vec()
    }

    fn spill((start, end): (usize, usize), values: &[u8], run: &mut impl Write) -> io::Result<u64> {
        let length = u32::try_from(end - start).map_err(io::Error::other)?;
        run.write_all(&length.to_le_bytes())?;
        run.write_all(&values[start..end])?;
        Ok(size_of::<u32>() as u64 + u64::from(length))
    }

    fn read(run: &mut Run, file: &mut File) -> Result<Self> {
        let length = run.take(file, size_of::<u32>())?.try_into().unwrap_or([0; 4]);
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        run.take(file, length).map(<[u8]>::to_vec)
    }
}

/// Collects entries and sorts them by key, on disk if they exceed a memory budget.
pub(crate) struct ExternalSorter<K, V: SortedValue> {
    entries: Vec<(K, V::Slot)>,
    /// What the slots of the entries refer to.
    values: Vec<u8>,
    budget_bytes: usize,
    directory: PathBuf,
    spill: Option<Spill>,
    /// Writing a run failed and its entries are lost, so every later call fails.
    failed: bool,
}

/// The runs on disk.
struct Spill {
    file: File,
    /// The path, if the file could not be unlinked while open.
    path: Option<PathBuf>,
    runs: Vec<Range<u64>>,
}

impl<K: FixedKey + Ord> ExternalSorter<K, Vec<u8>> {
    /// Adds an entry; `write` appends its value to a buffer.
    ///
    /// # Errors
    /// Fails if a run cannot be written, and on every call after that.
    pub(crate) fn push_with(&mut self, key: K, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let start = self.values.len();
        write(&mut self.values);
        self.add(key, (start, self.values.len()))
    }
}

impl<K: FixedKey + Ord, V: SortedValue<Slot = V>> ExternalSorter<K, V> {
    /// Adds an entry.
    ///
    /// # Errors
    /// Fails if a run cannot be written, and on every call after that.
    pub(crate) fn push(&mut self, key: K, value: V) -> Result<()> {
        self.add(key, value)
    }
}

impl<K: FixedKey + Ord, V: SortedValue> ExternalSorter<K, V> {
    /// A sorter that buffers about `budget_bytes` in memory and spills the rest to a file in
    /// `directory`.
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

    fn add(&mut self, key: K, slot: V::Slot) -> Result<()> {
        self.check()?;
        self.entries.push((key, slot));
        let entry_bytes = size_of::<(K, V::Slot)>();
        if self.values.len() + self.entries.len() * entry_bytes > self.budget_bytes {
            self.spill()?;
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.failed {
            return Err(Error::Storage(
                "entries were lost: writing a sorted run failed".to_owned(),
            ));
        }
        Ok(())
    }

    /// Sorts the buffer and writes it to disk as a run.
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
        for (key, slot) in self.entries.drain(..) {
            file.write_all(key.encode().as_ref())?;
            end += K::WIDTH as u64 + V::spill(slot, &self.values, &mut file)?;
        }
        file.flush()?;
        drop(file);
        spill.runs.push(start..end);
        self.values.clear();
        self.failed = false;
        Ok(())
    }

    /// The entries in ascending key order.
    pub(crate) fn sorted(mut self) -> Result<SortedEntries<K, V>> {
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
        // The buffer counts as the last run: its entries were inserted last.
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
            // If the removal fails, the file stays behind in a directory for temporary files.
            let _ = fs::remove_file(path);
        }
    }
}

/// The read position in a run.
pub(crate) struct Run {
    /// The part of the file that is not in the buffer yet.
    rest: Range<u64>,
    buffer: Vec<u8>,
    /// The index of the next byte in the buffer.
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
            let buffered = self.buffer.len();
            let left = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
            let added = READ_BYTES.max(length - buffered).min(left);
            self.buffer.resize(buffered + added, 0);
            file.seek(SeekFrom::Start(self.rest.start))?;
            file.read_exact(&mut self.buffer[buffered..])?;
            self.rest.start += added as u64;
        }
        let start = self.at;
        self.at += length;
        self.buffer.get(start..self.at).ok_or_else(|| {
            io::Error::new(io::ErrorKind::UnexpectedEof, "sorted run is truncated").into()
        })
    }

    /// The key of the next entry; `None` at the end of the run.
    fn key<K: FixedKey>(&mut self, file: &mut File) -> Result<Option<K>> {
        if self.at == self.buffer.len() && self.rest.is_empty() {
            return Ok(None);
        }
        self.take(file, K::WIDTH).map(|bytes| Some(K::decode(bytes)))
    }
}

/// Iterator over the entries of an [`ExternalSorter`] in ascending key order.
pub(crate) struct SortedEntries<K, V: SortedValue> {
    sorter: ExternalSorter<K, V>,
    /// Number of entries of the in-memory buffer already returned.
    taken: usize,
    runs: Vec<Run>,
    /// The next key of each run with the number of the run.
    heads: BinaryHeap<Reverse<(K, usize)>>,
}

impl<K: FixedKey + Ord, V: SortedValue> SortedEntries<K, V> {
    fn entry(&mut self) -> Result<Option<(K, V)>> {
        // Runs hardly overlap if what is sorted comes in an order that is nearly right. Then the next
        // key of the run stays at the top, which replacing costs two comparisons.
        let Some(mut head) = self.heads.peek_mut() else { return Ok(None) };
        let Reverse((key, number)) = *head;
        let (value, following) = match (self.runs.get_mut(number), &mut self.sorter.spill) {
            (Some(run), Some(spill)) => {
                let value = V::read(run, &mut spill.file)?;
                (value, run.key::<K>(&mut spill.file)?)
            }
            _ => {
                let (_, slot) = self.sorter.entries[self.taken];
                let value = V::load(slot, &self.sorter.values);
                self.taken += 1;
                (value, self.sorter.entries.get(self.taken).map(|(key, _)| *key))
            }
        };
        match following {
            Some(following) => *head = Reverse((following, number)),
            None => {
                PeekMut::pop(head);
            }
        }
        Ok(Some((key, value)))
    }
}

impl<K: FixedKey + Ord, V: SortedValue> Iterator for SortedEntries<K, V> {
    type Item = Result<(K, V)>;

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
        NumberKey { user: UserId::new(number % 3), number }
    }

    #[test]
    fn a_failed_run_fails_all_later_calls() {
        let mut sorter = ExternalSorter::new(1, Path::new("/no/such/directory"));
        assert!(sorter.push(key(1), ()).is_err());
        assert!(sorter.push(key(2), ()).is_err());
        assert!(sorter.sorted().is_err());
    }

    #[test]
    fn a_value_longer_than_the_read_buffer_is_returned_whole() {
        let directory = tempfile::tempdir().unwrap();
        let mut sorter = ExternalSorter::new(1, directory.path());
        for number in [2, 1] {
            let value = vec![u8::try_from(number).unwrap(); READ_BYTES * 3 + 1];
            sorter.push_with(key(number * 3), |bytes| bytes.extend(value)).unwrap();
        }
        let lengths: Vec<(u32, usize)> = sorter
            .sorted()
            .unwrap()
            .map(|entry| entry.map(|(key, value)| (key.number, value.len())).unwrap())
            .collect();
        assert_eq!(lengths, [(3, READ_BYTES * 3 + 1), (6, READ_BYTES * 3 + 1)]);
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            0,
            "the temporary file is removed"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The result equals a stable sort, for any memory budget.
        #[test]
        fn it_equals_a_stable_sort_for_any_budget(
            entries in prop::collection::vec((0..40_u32, prop::collection::vec(any::<u8>(), 0..40)), 0..300),
            budget in prop_oneof![Just(1), 100..5_000_usize, Just(1 << 20)],
        ) {
            let mut sorter = ExternalSorter::new(budget, &std::env::temp_dir());
            let mut keys = ExternalSorter::new(budget, &std::env::temp_dir());
            let mut numbers = ExternalSorter::new(budget, &std::env::temp_dir());
            for (index, (number, value)) in (0_u64..).zip(&entries) {
                sorter.push_with(key(*number), |bytes| bytes.extend(value)).unwrap();
                keys.push(key(*number), ()).unwrap();
                numbers.push(key(*number), index.to_be_bytes()).unwrap();
            }
            let mut expected: Vec<(NumberKey, Vec<u8>)> =
                entries.iter().map(|(number, value)| (key(*number), value.clone())).collect();
            let order = (0_u64..).zip(&entries);
            let mut order: Vec<_> = order.map(|(at, (number, _))| (key(*number), at.to_be_bytes())).collect();
            expected.sort_by_key(|(key, _)| *key);
            order.sort_by_key(|(key, _)| *key);
            let sorted: Vec<_> = sorter.sorted().unwrap().map(|entry| entry.unwrap()).collect();
            let keys: Vec<_> = keys.sorted().unwrap().map(|entry| entry.unwrap().0).collect();
            prop_assert!(keys.iter().eq(expected.iter().map(|(key, _)| key)));
            prop_assert_eq!(sorted, expected);
            let numbers: Vec<_> = numbers.sorted().unwrap().map(|entry| entry.unwrap()).collect();
            prop_assert_eq!(numbers, order);
        }
    }
}
