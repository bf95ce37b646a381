//! Table values: byte strings, or nothing in index tables.
//!
//! Defines how each kind of value is stored in the memtable and encoded in the WAL.

use std::sync::Arc;

use redb::AccessGuard;

/// A type of table value.
pub(crate) trait TableValue: redb::Value + 'static {
    /// The value as the memtable stores it: cheap to clone.
    type Owned: Clone + Send + Sync + 'static;

    fn as_ref(owned: &Self::Owned) -> Self::SelfType<'_>;
    fn to_owned_value(value: Self::SelfType<'_>) -> Self::Owned;
    /// The length of the value in bytes, without the length prefix of [`TableValue::encode`].
    fn byte_len(owned: &Self::Owned) -> usize;
    /// Appends the value in the encoding of the WAL.
    fn encode(owned: &Self::Owned, out: &mut Vec<u8>);
    /// Removes an encoded value from the front of `bytes` and returns it; `None` if `bytes` is too
    /// short.
    fn decode(bytes: &mut &[u8]) -> Option<Self::Owned>;
}

/// What a write leaves of a key: a value, or `None` for a removal.
pub(crate) type Slot<V> = Option<<V as TableValue>::Owned>;

/// A value borrowed from a page of redb or from the memtable.
pub(crate) enum ValueRef<'t, V: TableValue> {
    Stored(AccessGuard<'t, V>),
    Memtable(&'t V::Owned),
}

impl<V: TableValue> ValueRef<'_, V> {
    /// Reads the value once, so that redb panics here if its page is damaged. Call it inside
    /// `catch_read_fault`; later reads cannot panic.
    pub(crate) fn validated(self) -> Self {
        let _ = self.value();
        self
    }

    pub(crate) fn value(&self) -> V::SelfType<'_> {
        match self {
            ValueRef::Stored(guard) => guard.value(),
            ValueRef::Memtable(owned) => V::as_ref(owned),
        }
    }
}

impl TableValue for &'static [u8] {
    type Owned = Arc<[u8]>;

    fn as_ref(owned: &Self::Owned) -> &[u8] {
        owned
    }

    fn to_owned_value(value: &[u8]) -> Self::Owned {
        value.into()
    }

    fn byte_len(owned: &Self::Owned) -> usize {
        owned.len()
    }

    /// `length u32, little-endian | bytes`
    fn encode(owned: &Self::Owned, out: &mut Vec<u8>) {
        // The limits on texts restrict a record to far less than 4 GiB.
        let length = u32::try_from(owned.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(owned);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self::Owned> {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        *bytes = rest;
        Some(value.into())
    }
}

impl TableValue for () {
    type Owned = ();

    fn as_ref((): &()) {}

    fn to_owned_value((): ()) {}

    fn byte_len((): &()) -> usize {
        0
    }

    fn encode((): &(), _: &mut Vec<u8>) {}

    fn decode(_: &mut &[u8]) -> Option<()> {
        Some(())
    }
}
