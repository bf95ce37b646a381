//! What tables hold as values: bytes, or nothing. How each is held in memory and put into the log.

use std::sync::Arc;

use redb::AccessGuard;

/// A kind of value of a table.
pub(crate) trait TableValue: redb::Value + 'static {
    /// The value as the tail holds it: cheap to clone.
    type Owned: Clone + Send + Sync + 'static;

    fn as_ref(held: &Self::Owned) -> Self::SelfType<'_>;
    fn to_owned_value(value: Self::SelfType<'_>) -> Self::Owned;
    /// How many bytes it has.
    fn pending(held: &Self::Owned) -> usize;
    /// Appends it.
    fn encode(held: &Self::Owned, out: &mut Vec<u8>);
    /// The inverse of `encode`: takes the value off the front of `bytes`.
    fn decode(bytes: &mut &[u8]) -> Option<Self::Owned>;
}

/// What the tail holds: a value, or that there is none any more.
pub(crate) type Slot<V> = Option<<V as TableValue>::Owned>;

/// A value that a table holds, wherever it is.
pub(crate) enum ValueRef<'t, V: TableValue> {
    Stored(AccessGuard<'t, V>),
    Memtable(&'t V::Owned),
}

impl<V: TableValue> ValueRef<'_, V> {
    /// Looks at the value, where damage is expected, so that it can be looked at anywhere.
    pub(crate) fn validated(self) -> Self {
        let _ = self.value();
        self
    }

    pub(crate) fn value(&self) -> V::SelfType<'_> {
        match self {
            ValueRef::Stored(guard) => guard.value(),
            ValueRef::Memtable(held) => V::as_ref(held),
        }
    }
}

impl TableValue for &'static [u8] {
    type Owned = Arc<[u8]>;

    fn as_ref(held: &Self::Owned) -> &[u8] {
        held
    }

    fn to_owned_value(value: &[u8]) -> Self::Owned {
        value.into()
    }

    fn pending(held: &Self::Owned) -> usize {
        held.len()
    }

    /// Its length as u32, little-endian, and its bytes.
    fn encode(held: &Self::Owned, out: &mut Vec<u8>) {
        // Limits on texts keep a record far below 4 GiB.
        let length = u32::try_from(held.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(held);
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

    fn pending((): &()) -> usize {
        0
    }

    fn encode((): &(), _: &mut Vec<u8>) {}

    fn decode(_: &mut &[u8]) -> Option<()> {
        Some(())
    }
}
