//! Fuzz target: records of conversations, messages, users and tokens, counters, changes and
//! idempotency keys.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| convodb::fuzzing::records(data));
