//! What tables hold as values: bytes, or nothing. How each is held in memory and put into the log.

use std::sync::Arc;

use redb::AccessGuard;

/// A kind of value of a table.
pub(crate) trait Content: redb::Value + 'static {
    /// The value as the tail holds it: cheap to clone.
    type Held: Clone + Send + Sync + 'static;

    fn show(held: &Self::Held) -> Self::SelfType<'_>;
    fn hold(value: Self::SelfType<'_>) -> Self::Held;
    /// How many bytes it has.
    fn weigh(held: &Self::Held) -> usize;
    /// Appends it.
    fn encode(held: &Self::Held, out: &mut Vec<u8>);
    /// The inverse of `encode`: takes the value off the front of `bytes`.
    fn decode(bytes: &mut &[u8]) -> Option<Self::Held>;
}

/// What the tail holds: a value, or that there is none any more.
pub(crate) type Newer<V> = Option<<V as Content>::Held>;

/// A value that a table holds, wherever it is.
pub(crate) enum Found<'t, V: Content> {
    Stored(AccessGuard<'t, V>),
    Recent(&'t V::Held),
}

impl<V: Content> Found<'_, V> {
    /// Looks at the value, where damage is expected, so that it can be looked at anywhere.
    pub(crate) fn looked_at(self) -> Self {
        let _ = self.value();
        self
    }

    pub(crate) fn value(&self) -> V::SelfType<'_> {
        match self {
            Found::Stored(guard) => guard.value(),
            Found::Recent(held) => V::show(held),
        }
    }
}

impl Content for &'static [u8] {
    type Held = Arc<[u8]>;

    fn show(held: &Self::Held) -> &[u8] {
        held
    }

    fn hold(value: &[u8]) -> Self::Held {
        value.into()
    }

    fn weigh(held: &Self::Held) -> usize {
        held.len()
    }

    /// Its length as u32, little-endian, and its bytes.
    fn encode(held: &Self::Held, out: &mut Vec<u8>) {
        // Limits on texts keep a record far below 4 GiB.
        let length = u32::try_from(held.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(held);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self::Held> {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        *bytes = rest;
        Some(value.into())
    }
}

impl Content for () {
    type Held = ();

    fn show((): &()) {}

    fn hold((): ()) {}

    fn weigh((): &()) -> usize {
        0
    }

    fn encode((): &(), _: &mut Vec<u8>) {}

    fn decode(_: &mut &[u8]) -> Option<()> {
        Some(())
    }
}
