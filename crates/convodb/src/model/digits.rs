//! Decimal digits by table, two at a time.

/// A number below 100 in two digits.
#[inline]
pub(super) fn two_digits(number: u64) -> [u8; 2] {
    PAIRS[number.to_le_bytes()[0] as usize & (PAIRS.len() - 1)]
}

/// The numbers below 100 in two digits. Longer, a power of two, so that no index is out of bounds.
static PAIRS: [[u8; 2]; 128] = {
    let mut pairs = [[b'0'; 2]; 128];
    let mut number = 0_u8;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
};
