//! Unsigned integers of variable length ([LEB128](https://en.wikipedia.org/wiki/LEB128)): groups of
//! seven bits, the lowest first; every byte but the last has its highest bit set.

use crate::encoding::record::Damage;

/// The bytes of the longest integer, of 128 bits.
const MAX_BYTES: usize = 19;

/// Appends an integer.
pub(crate) fn append(mut bits: u128, record: &mut Vec<u8>) {
    while bits >= 0x80 {
        record.push(bits.to_le_bytes()[0] | 0x80);
        bits >>= 7;
    }
    record.push(bits.to_le_bytes()[0]);
}

/// Takes an integer from the front of `rest`.
///
/// # Errors
/// It ends early, or has more than 128 bits.
pub(crate) fn take(rest: &mut &[u8]) -> Result<u128, Damage> {
    // Nearly all integers have few bytes: those of 9 or fewer are decoded in 64 bits.
    let (mut bits, mut at) = (0_u64, 0);
    while at < 9 {
        let byte = *rest.get(at).ok_or(TOO_SHORT)?;
        bits |= u64::from(byte & 0x7f) << (7 * at);
        at += 1;
        if byte < 0x80 {
            *rest = &rest[at..];
            return Ok(u128::from(bits));
        }
    }
    take_long(rest)
}

#[cold]
fn take_long(rest: &mut &[u8]) -> Result<u128, Damage> {
    let mut bits = 0_u128;
    for at in 0..MAX_BYTES {
        let (byte, after) = rest.split_first().ok_or(TOO_SHORT)?;
        *rest = after;
        let group = u128::from(byte & 0x7f);
        bits |= group << (7 * at);
        if group << (7 * at) >> (7 * at) != group {
            break;
        }
        if *byte < 0x80 {
            return Ok(bits);
        }
    }
    Err("a counter is out of range")
}

const TOO_SHORT: Damage = "a record is too short";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_read_back() {
        for bits in 0..=128_u32 {
            for value in
                [u128::MAX.checked_shr(bits), 1_u128.checked_shl(bits)].into_iter().flatten()
            {
                let mut record = Vec::new();
                append(value, &mut record);
                assert!(record.len() <= MAX_BYTES);
                let mut rest = &*record;
                assert_eq!((take(&mut rest), rest.len()), (Ok(value), 0));
                for end in 0..record.len() {
                    assert_eq!(take(&mut &record[..end]), Err(TOO_SHORT));
                }
            }
        }
    }

    #[test]
    fn more_than_128_bits_are_refused() {
        let too_long = [0x80; MAX_BYTES];
        assert!(take(&mut &too_long[..]).is_err());
        let too_large = [&[0xff; MAX_BYTES - 1][..], &[0x04]].concat();
        assert!(take(&mut &*too_large).is_err());
    }
}
