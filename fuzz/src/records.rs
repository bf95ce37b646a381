//! Properties of records: any bytes decode to a value or an error, and values survive a round trip.

use convodb::fuzzing::{
    decode_conversation, decode_message, encode_conversation, encode_message, record_codecs,
};

/// The bytes of an input before the body; the key is decoded from the whole input.
const KEY_BYTES: usize = 12;

/// Checks every kind of record, as it is and with a valid checksum.
///
/// # Panics
/// Panics if a decoder panics, or if a value changes when it is encoded and decoded again.
pub fn check_records(input: &[u8]) {
    let body = input.get(KEY_BYTES..).unwrap_or_default();
    for codec in record_codecs() {
        let _ = (codec.decode)(input, input);
        let sealed = (codec.seal)(input, body);
        let decoded = (codec.decode)(input, &sealed);
        match codec.name {
            "conversation" if decoded.is_ok() => check_conversation(input, &sealed),
            "message" if decoded.is_ok() => check_message(input, &sealed),
            _ => {}
        }
    }
}

fn check_conversation(key: &[u8], record: &[u8]) {
    let conversation = decode_conversation(key, record).expect("it decoded before");
    let again = encode_conversation(key, &conversation);
    let decoded = decode_conversation(key, &again).expect("an encoded conversation");
    assert!(decoded == conversation, "{conversation:?} changed to {decoded:?}");
}

fn check_message(key: &[u8], record: &[u8]) {
    let message = decode_message(key, record).expect("it decoded before");
    let again = encode_message(key, &message);
    let decoded = decode_message(key, &again).expect("an encoded message");
    assert!(decoded == message, "{message:?} changed to {decoded:?}");
}
