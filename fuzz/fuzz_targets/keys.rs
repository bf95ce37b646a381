//! Fuzz target: encoded keys sort like their values and decode to the same values.
#![no_main]

use convodb_fuzz::keys::check_keys;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (a, b) = data.split_at(data.len() / 2);
    check_keys(a, b);
});
