//! Index terms of the key-value engines.

use convodb_bench::filter::{Field, Value};
use xxhash_rust::xxh3::xxh3_64;

/// The index term of a set of fields, as wide as convodb's and with the same layout: 24 bits of the
/// leading value, which places the lists of one value side by side, then 40 bits of all values.
/// `None` if the set is empty or a field has no value.
pub(crate) fn term<'v>(
    shape: &[Field],
    value: impl Fn(Field) -> Option<Value<'v>>,
) -> Option<(Field, u64)> {
    let leading = *shape.last()?;
    let mut hashed = [0; 1 + 8 * Field::ALL.len()];
    let mut end = 1;
    let mut family = 0;
    for field in shape {
        family = fingerprint(*field, value(*field)?);
        hashed[0] |= 1 << *field as u8;
        hashed[end..end + 8].copy_from_slice(&family.to_le_bytes());
        end += 8;
    }
    let low = (1 << 40) - 1;
    Some((leading, (family & !low) | (xxh3_64(&hashed[..end]) & low)))
}

fn fingerprint(field: Field, value: Value<'_>) -> u64 {
    let hash = match value {
        Value::Kind(kind) => xxh3_64(&[kind]),
        Value::Assistant(id) => xxh3_64(id.as_bytes()),
        Value::Text(text) => xxh3_64(text.as_bytes()),
        Value::AiOff => xxh3_64(&[]),
    };
    hash ^ (field as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
