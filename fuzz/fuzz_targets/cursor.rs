//! Fuzz target: cursor tokens and the payloads inside them.
#![no_main]

use convodb_fuzz::cursors::{check_payload, check_token};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    check_payload(data);
    if let Ok(text) = str::from_utf8(data) {
        check_token(text);
    }
});
