//! Fuzz target: cursor tokens and the payloads inside them.
#![no_main]

use convodb::fuzzing::{cursor_payload, cursor_token};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    cursor_payload(data);
    if let Ok(text) = str::from_utf8(data) {
        cursor_token(text);
    }
});
