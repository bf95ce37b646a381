//! Fuzz target: records of conversations, messages, users and tokens, counters, changes and
//! idempotency keys.
#![no_main]

use convodb_fuzz::records::check_records;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| check_records(data));
