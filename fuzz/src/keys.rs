//! Properties of key encodings: fixed width, order of the values, lossless.

use std::cmp::Ordering;

use convodb::fuzzing::key_codecs;

/// Checks every type of key with two keys decoded from any bytes.
///
/// # Panics
/// Panics if an encoding has another width, sorts unlike its value, or decodes to another value.
pub fn check_keys(a: &[u8], b: &[u8]) {
    for codec in key_codecs() {
        let (x, y) = ((codec.reencode)(a), (codec.reencode)(b));
        let order = (codec.compare_values)(a, b);
        assert_eq!(x.len(), codec.width, "width of {}", codec.name);
        assert_eq!(x.cmp(&y), order, "byte order of {}", codec.name);
        assert_eq!((codec.compare_encoded)(&x, &y), order, "stored order of {}", codec.name);
        for (bytes, encoded) in [(a, &x), (b, &y)] {
            let same = (codec.compare_values)(bytes, encoded);
            assert_eq!(same, Ordering::Equal, "round trip of {}", codec.name);
        }
    }
}
