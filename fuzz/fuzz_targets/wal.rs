//! Fuzz target: WAL segments of arbitrary bytes, and well-formed records of arbitrary bytes.
#![no_main]

use convodb::fuzzing::Replayed;
use convodb_fuzz::ScratchDirectory;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static DIRECTORY: ScratchDirectory = ScratchDirectory::new();
    static EMPTY: Replayed = Replayed::new();
}

fuzz_target!(|data: &[u8]| {
    DIRECTORY.with(|directory| {
        EMPTY.with(|empty| {
            empty.raw(&directory.path("store"), data);
            let groups: Vec<&[u8]> = data.split(|byte| *byte == 0xfe).take(8).collect();
            empty.groups(&directory.path("store"), &groups);
        });
    });
});
