//! Fuzz target: WAL segments of arbitrary bytes, and well-formed records of arbitrary bytes.
#![no_main]

use convodb::fuzzing::EmptyTables;
use convodb_fuzz::ScratchDirectory;
use convodb_fuzz::wal::{check_records, check_segment};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static DIRECTORY: ScratchDirectory = ScratchDirectory::new();
    static TABLES: EmptyTables = EmptyTables::new().expect("a store in memory");
}

fuzz_target!(|data: &[u8]| {
    DIRECTORY.with(|directory| {
        TABLES.with(|tables| {
            check_segment(tables, &directory.path("segment"), data);
            let records: Vec<&[u8]> = data.split(|byte| *byte == 0xfe).take(8).collect();
            check_records(tables, &directory.path("records"), &records);
        });
    });
});
