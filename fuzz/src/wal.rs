//! Properties of the WAL: segments of any bytes replay or fail, and appended records are read back.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use convodb::fuzzing::{EmptyTables, WalWriter, read_wal};

const SEED: u64 = 77;

/// The path of the first segment of the store at `store`.
fn first_segment(store: &Path) -> PathBuf {
    let mut path = OsString::from(store);
    path.push("-log.00000000000000000001");
    path.into()
}

/// Replays a segment of any bytes, which may fail but must not panic.
///
/// # Panics
/// Panics if the segment cannot be written.
pub fn check_segment(tables: &EmptyTables, store: &Path, segment: &[u8]) {
    drop(WalWriter::new(store, SEED).expect("a WAL"));
    fs::write(first_segment(store), segment).expect("write the segment");
    let _ = tables.replay_wal(store, SEED);
}

/// Checks that appended records of any bytes are read back; then replays them, which may fail but
/// must not panic.
///
/// # Panics
/// Panics if the records that are read differ from those appended.
pub fn check_records(tables: &EmptyTables, store: &Path, records: &[&[u8]]) {
    let mut writer = WalWriter::new(store, SEED).expect("a WAL");
    for record in records {
        writer.append(record).expect("append a record");
    }
    drop(writer);
    let mut read = 0;
    let last = read_wal(store, SEED, |record| {
        assert_eq!(record, records[read]);
        read += 1;
        Some(())
    });
    assert_eq!(read, records.len());
    assert_eq!(last.expect("a valid segment"), records.len() as u64);
    let _ = tables.replay_wal(store, SEED);
}
