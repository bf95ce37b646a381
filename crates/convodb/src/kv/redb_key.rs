//! Key adapter for redb: fixed width, compared as big-endian words.
//!
//! redb's own array keys would allocate on each encode and compare byte by byte.

use std::cmp::Ordering;
use std::marker::PhantomData;

use redb::TypeName;

use crate::encoding::key::FixedKey;

/// Makes a [`FixedKey`] usable as a key type of redb.
#[derive(Debug)]
pub(crate) struct RedbKey<K>(PhantomData<K>);

impl<K: FixedKey> redb::Value for RedbKey<K> {
    type SelfType<'a> = K;
    type AsBytes<'a> = K::Bytes;

    fn fixed_width() -> Option<usize> {
        Some(K::WIDTH)
    }

    fn from_bytes<'a>(data: &'a [u8]) -> K
    where
        Self: 'a,
    {
        K::decode(data)
    }

    fn as_bytes<'a, 'b: 'a>(value: &'a K) -> K::Bytes
    where
        Self: 'b,
    {
        value.encode()
    }

    fn type_name() -> TypeName {
        TypeName::new(K::NAME)
    }
}

impl<K: FixedKey> redb::Key for RedbKey<K> {
    fn compare(left: &[u8], right: &[u8]) -> Ordering {
        compare_words(left, right)
    }
}

/// A key with the address of its bytes in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located<K> {
    pub(crate) key: K,
    pub(crate) address: usize,
}

/// Reads the keys of a table of [`RedbKey`] as [`Located`] ones.
#[derive(Debug)]
pub(crate) struct LocatedKey<K>(PhantomData<K>);

impl<K: FixedKey> redb::Value for LocatedKey<K> {
    type SelfType<'a> = Located<K>;
    type AsBytes<'a> = K::Bytes;

    fn fixed_width() -> Option<usize> {
        Some(K::WIDTH)
    }

    fn from_bytes<'a>(data: &'a [u8]) -> Located<K>
    where
        Self: 'a,
    {
        Located { key: K::decode(data), address: data.as_ptr().addr() }
    }

    fn as_bytes<'a, 'b: 'a>(value: &'a Located<K>) -> K::Bytes
    where
        Self: 'b,
    {
        value.key.encode()
    }

    fn type_name() -> TypeName {
        RedbKey::<K>::type_name()
    }
}

impl<K: FixedKey> redb::Key for LocatedKey<K> {
    fn compare(left: &[u8], right: &[u8]) -> Ordering {
        compare_words(left, right)
    }
}

/// Compares two byte strings of equal length in words of eight bytes, then of four.
#[inline]
pub(crate) fn compare_words(mut left: &[u8], mut right: &[u8]) -> Ordering {
    while let (Some((l, left_rest)), Some((r, right_rest))) =
        (left.split_first_chunk::<8>(), right.split_first_chunk::<8>())
    {
        match u64::from_be_bytes(*l).cmp(&u64::from_be_bytes(*r)) {
            Ordering::Equal => (left, right) = (left_rest, right_rest),
            unequal => return unequal,
        }
    }
    match (left.first_chunk::<4>(), right.first_chunk::<4>()) {
        (Some(l), Some(r)) if left.len() == 4 && right.len() == 4 => {
            u32::from_be_bytes(*l).cmp(&u32::from_be_bytes(*r))
        }
        _ => left.cmp(right),
    }
}
