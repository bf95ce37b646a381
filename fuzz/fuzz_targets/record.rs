//! Records of conversations, messages, accounts and counters.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| convodb::fuzzing::records(data));
