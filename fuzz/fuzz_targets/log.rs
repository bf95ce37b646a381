//! Segments of the log: any bytes, and whole records of any bytes.
#![no_main]

use convodb::fuzzing::Replayed;
use convodb_fuzz::Place;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static PLACE: Place = Place::new();
    static EMPTY: Replayed = Replayed::new();
}

fuzz_target!(|data: &[u8]| {
    PLACE.with(|place| {
        EMPTY.with(|empty| {
            empty.raw(&place.path("store"), data);
            let groups: Vec<&[u8]> = data.split(|byte| *byte == 0xfe).take(8).collect();
            empty.groups(&place.path("store"), &groups);
        });
    });
});
