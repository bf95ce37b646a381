//! Keys: fixed-width, order-preserving encodings of the keys of all tables.
//!
//! Every part is big-endian, so the order of the bytes is the order of the values, part by part.
//! Every key of a user's data begins with the user and cannot be built without one, which isolates
//! users from each other by construction.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;

use uuid::Uuid;

use crate::encoding::index_term::Term;
use crate::encoding::time_bucket::TimeBucket;
use crate::model::channel::ChannelKind;
use crate::model::id::UserId;
use crate::model::position::{Position, SortKey};
use crate::model::timestamp::Timestamp;

/// A key of a fixed width. `decode` is the inverse of `encode` and never panics.
pub(crate) trait FixedKey: Copy + Debug + Ord + Send + Sync + 'static {
    /// An array of `WIDTH` bytes.
    type Bytes: AsRef<[u8]>;
    const WIDTH: usize;
    /// The name of the type on disk, which is part of the format.
    const NAME: &'static str;

    fn encode(&self) -> Self::Bytes;
    fn decode(bytes: &[u8]) -> Self;
}

/// The key of a conversation: `user u32 | position u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowKey {
    pub(crate) user: UserId,
    pub(crate) position: Position,
}

/// A key by UUID: `user u32 | uuid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UuidKey {
    pub(crate) user: UserId,
    pub(crate) uuid: Uuid,
}

impl Hash for UuidKey {
    /// Hashes two integers, which takes half as long as 20 bytes at once.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(*self.uuid.as_bytes()));
        state.write_u32(self.user.get());
    }
}

/// A key by number: `user u32 | number u32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NumberKey {
    pub(crate) user: UserId,
    pub(crate) number: u32,
}

/// The key of an index entry: `user u32 | term u64 | position u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct IndexKey {
    pub(crate) user: UserId,
    pub(crate) term: Term,
    pub(crate) position: Position,
}

/// The key of an entry of the index by last activity: `user u32 | term u64 | time of the last
/// activity u48, milliseconds | position u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ActivityKey {
    pub(crate) user: UserId,
    pub(crate) term: Term,
    /// Has an activity of at most 48 bits.
    pub(crate) at: SortKey,
}

/// The key of a message: `user u32 | position of the conversation u64 | number u32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MessageKey {
    pub(crate) user: UserId,
    pub(crate) position: Position,
    pub(crate) number: u32,
}

/// The key of a record of counters: `user u32 | time bucket u32 | assistant uuid | kind u32`. The kind
/// is 0; in formats 1 to 3 it is the number of the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CounterKey {
    pub(crate) user: UserId,
    pub(crate) bucket: TimeBucket,
    pub(crate) assistant: Uuid,
    pub(crate) kind: u32,
}

/// The key of a record of counters of a list: `user u32 | term u64 | month u32`. The month is a time
/// bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListCounterKey {
    pub(crate) user: UserId,
    pub(crate) term: Term,
    pub(crate) month: TimeBucket,
}

/// The key of a change in the change feed: `user u32 | number u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChangeKey {
    pub(crate) user: UserId,
    pub(crate) number: u64,
}

/// The sort key of a bulk-loaded row that has no position yet:
/// `user u32 | created_at u64 | arrival u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ArrivalKey {
    pub(crate) user: UserId,
    pub(crate) created_at: Timestamp,
    pub(crate) arrival: u64,
}

/// The sort key of the id of a bulk-loaded row: `user u32 | uuid | arrival u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IdArrivalKey {
    pub(crate) id: UuidKey,
    pub(crate) arrival: u64,
}

/// The SHA-256 of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DigestKey(pub(crate) [u8; 32]);

impl FixedKey for UserId {
    type Bytes = [u8; 4];
    const WIDTH: usize = 4;
    const NAME: &'static str = "convodb::UserKey";

    fn encode(&self) -> [u8; 4] {
        self.get().to_be_bytes()
    }

    fn decode(bytes: &[u8]) -> Self {
        user_at_start(bytes)
    }
}

impl RowKey {
    pub(crate) const fn new(user: UserId, position: Position) -> Self {
        Self { user, position }
    }
}

impl IndexKey {
    /// All entries of a list.
    pub(crate) const fn all_of(user: UserId, term: Term) -> RangeInclusive<Self> {
        let first = Self { user, term, position: Position::from_bits(0) };
        RangeInclusive::new(first, Self { position: Position::from_bits(u64::MAX), ..first })
    }
}

impl ActivityKey {
    /// The key of the row of the entry.
    pub(crate) const fn row(&self) -> RowKey {
        RowKey { user: self.user, position: self.at.position() }
    }
}

impl MessageKey {
    pub(crate) const fn new(row: RowKey, number: u32) -> Self {
        Self { user: row.user, position: row.position, number }
    }

    pub(crate) const fn row(&self) -> RowKey {
        RowKey { user: self.user, position: self.position }
    }
}

impl CounterKey {
    /// The first key of a user's time bucket.
    pub(crate) const fn first(user: UserId, bucket: TimeBucket) -> Self {
        Self { user, bucket, assistant: Uuid::nil(), kind: 0 }
    }

    /// The last key of a user's time bucket.
    pub(crate) const fn last(user: UserId, bucket: TimeBucket) -> Self {
        Self { user, bucket, assistant: Uuid::max(), kind: u32::MAX }
    }
}

/// The number of a channel kind on disk, which is part of the format.
pub(crate) const fn kind_number(kind: ChannelKind) -> u8 {
    match kind {
        ChannelKind::Test => 0,
        ChannelKind::Widget => 1,
        ChannelKind::Whatsapp => 2,
        ChannelKind::Api => 3,
    }
}

/// The channel kind with this number on disk.
pub(crate) fn kind_of_number(number: u32) -> Option<ChannelKind> {
    ChannelKind::ALL.into_iter().find(|kind| u32::from(kind_number(*kind)) == number)
}

/// The parts of a key, written one after the other into `N` bytes.
struct Parts<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Parts<N> {
    const fn new() -> Self {
        Self { bytes: [0; N], at: 0 }
    }

    fn put<const W: usize>(mut self, part: [u8; W]) -> Self {
        self.bytes[self.at..self.at + W].copy_from_slice(&part);
        self.at += W;
        self
    }

    fn user(self, user: UserId) -> Self {
        self.put(user.get().to_be_bytes())
    }
}

/// The `W` bytes at `at`, or zeros if a damaged file contains fewer.
fn part<const W: usize>(bytes: &[u8], at: usize) -> [u8; W] {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<W>()).copied().unwrap_or([0; W])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(part(bytes, at))
}

/// The user at the beginning of an encoded key.
pub(crate) fn user_at_start(bytes: &[u8]) -> UserId {
    UserId::new(u32_at(bytes, 0))
}

fn position_at(bytes: &[u8], at: usize) -> Position {
    Position::from_bits(u64::from_be_bytes(part(bytes, at)))
}

impl FixedKey for RowKey {
    type Bytes = [u8; 12];
    const WIDTH: usize = 12;
    const NAME: &'static str = "convodb::RowKey";

    fn encode(&self) -> [u8; 12] {
        Parts::new().user(self.user).put(self.position.bits().to_be_bytes()).bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        Self { user: user_at_start(bytes), position: position_at(bytes, 4) }
    }
}

impl FixedKey for UuidKey {
    type Bytes = [u8; 20];
    const WIDTH: usize = 20;
    const NAME: &'static str = "convodb::UuidKey";

    fn encode(&self) -> [u8; 20] {
        Parts::new().user(self.user).put(*self.uuid.as_bytes()).bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        Self { user: user_at_start(bytes), uuid: Uuid::from_bytes(part(bytes, 4)) }
    }
}

impl FixedKey for NumberKey {
    type Bytes = [u8; 8];
    const WIDTH: usize = 8;
    const NAME: &'static str = "convodb::NumberKey";

    fn encode(&self) -> [u8; 8] {
        Parts::new().user(self.user).put(self.number.to_be_bytes()).bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        Self { user: user_at_start(bytes), number: u32_at(bytes, 4) }
    }
}

impl FixedKey for IndexKey {
    type Bytes = [u8; 20];
    const WIDTH: usize = 20;
    const NAME: &'static str = "convodb::IndexKey";

    fn encode(&self) -> [u8; 20] {
        Parts::new()
            .user(self.user)
            .put(self.term.bits().to_be_bytes())
            .put(self.position.bits().to_be_bytes())
            .bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            user: user_at_start(bytes),
            term: Term::from_bits(u64::from_be_bytes(part(bytes, 4))),
            position: position_at(bytes, 12),
        }
    }
}

impl FixedKey for ActivityKey {
    type Bytes = [u8; 26];
    const WIDTH: usize = 26;
    const NAME: &'static str = "convodb::ActivityKey";

    fn encode(&self) -> [u8; 26] {
        let [_, _, activity @ ..] = self.at.activity().to_be_bytes();
        Parts::new()
            .user(self.user)
            .put(self.term.bits().to_be_bytes())
            .put(activity)
            .put(self.at.position().bits().to_be_bytes())
            .bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        let mut activity = [0; 8];
        activity[2..].copy_from_slice(&part::<6>(bytes, 12));
        Self {
            user: user_at_start(bytes),
            term: Term::from_bits(u64::from_be_bytes(part(bytes, 4))),
            at: SortKey::of_activity(u64::from_be_bytes(activity), position_at(bytes, 18)),
        }
    }
}

impl FixedKey for MessageKey {
    type Bytes = [u8; 16];
    const WIDTH: usize = 16;
    const NAME: &'static str = "convodb::MessageKey";

    fn encode(&self) -> [u8; 16] {
        Parts::new()
            .user(self.user)
            .put(self.position.bits().to_be_bytes())
            .put(self.number.to_be_bytes())
            .bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            user: user_at_start(bytes),
            position: position_at(bytes, 4),
            number: u32_at(bytes, 12),
        }
    }
}

impl FixedKey for CounterKey {
    type Bytes = [u8; 28];
    const WIDTH: usize = 28;
    const NAME: &'static str = "convodb::TotalKey";

    fn encode(&self) -> [u8; 28] {
        Parts::new()
            .user(self.user)
            .put(self.bucket.bits().to_be_bytes())
            .put(*self.assistant.as_bytes())
            .put(self.kind.to_be_bytes())
            .bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            user: user_at_start(bytes),
            bucket: TimeBucket::from_bits(u32_at(bytes, 4)),
            assistant: Uuid::from_bytes(part(bytes, 8)),
            kind: u32_at(bytes, 24),
        }
    }
}

impl FixedKey for ListCounterKey {
    type Bytes = [u8; 16];
    const WIDTH: usize = 16;
    const NAME: &'static str = "convodb::ListCounterKey";

    fn encode(&self) -> [u8; 16] {
        Parts::new()
            .user(self.user)
            .put(self.term.bits().to_be_bytes())
            .put(self.month.bits().to_be_bytes())
            .bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            user: user_at_start(bytes),
            term: Term::from_bits(u64::from_be_bytes(part(bytes, 4))),
            month: TimeBucket::from_bits(u32_at(bytes, 12)),
        }
    }
}

impl FixedKey for ChangeKey {
    type Bytes = [u8; 12];
    const WIDTH: usize = 12;
    const NAME: &'static str = "convodb::ChangeKey";

    fn encode(&self) -> [u8; 12] {
        Parts::new().user(self.user).put(self.number.to_be_bytes()).bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        Self { user: user_at_start(bytes), number: u64::from_be_bytes(part(bytes, 4)) }
    }
}

impl FixedKey for ArrivalKey {
    type Bytes = [u8; 20];
    const WIDTH: usize = 20;
    const NAME: &'static str = "convodb::ArrivalKey";

    fn encode(&self) -> [u8; 20] {
        Parts::new()
            .user(self.user)
            .put(self.created_at.millis().to_be_bytes())
            .put(self.arrival.to_be_bytes())
            .bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        let millis = u64::from_be_bytes(part(bytes, 4));
        Self {
            user: user_at_start(bytes),
            created_at: Timestamp::from_millis(millis).unwrap_or(Timestamp::MAX),
            arrival: u64::from_be_bytes(part(bytes, 12)),
        }
    }
}

impl FixedKey for IdArrivalKey {
    type Bytes = [u8; 28];
    const WIDTH: usize = 28;
    const NAME: &'static str = "convodb::IdArrivalKey";

    fn encode(&self) -> [u8; 28] {
        Parts::new().put(self.id.encode()).put(self.arrival.to_be_bytes()).bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        let arrival = u64::from_be_bytes(part(bytes, UuidKey::WIDTH));
        Self { id: UuidKey::decode(bytes), arrival }
    }
}

impl FixedKey for DigestKey {
    type Bytes = [u8; 32];
    const WIDTH: usize = 32;
    const NAME: &'static str = "convodb::DigestKey";

    fn encode(&self) -> [u8; 32] {
        self.0
    }

    fn decode(bytes: &[u8]) -> Self {
        Self(part(bytes, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::redb_key::compare_words;
    use proptest::prelude::*;

    /// Checks that bytes and words order as the values do, and that decoding is the inverse.
    #[track_caller]
    fn check<K: FixedKey + Ord>(a: K, b: K) {
        let (x, y) = (a.encode(), b.encode());
        let (x, y) = (x.as_ref(), y.as_ref());
        assert_eq!(x.len(), K::WIDTH);
        assert_eq!(x.cmp(y), a.cmp(&b), "{a:?} {b:?}");
        assert_eq!(compare_words(x, y), a.cmp(&b), "{a:?} {b:?}");
        assert_eq!(K::decode(x), a);
    }

    /// Few values for each part, so that equal and adjacent parts are common.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..4u64, any::<u64>(), Just(u64::MAX), Just(1 << 32)]
    }

    fn narrow(n: u64) -> u32 {
        u32::try_from(n & 0xffff_ffff).unwrap()
    }

    proptest! {
        #[test]
        fn keys_order_as_their_values(a in [number(), number(), number(), number()],
                                      b in [number(), number(), number(), number()]) {
            let user = |v: &[u64; 4]| UserId::new(narrow(v[0]));
            let position = |v: &[u64; 4]| Position::from_bits(v[1]);
            let uuid = |v: &[u64; 4]| Uuid::from_u64_pair(v[1], v[2]);
            let row = |v: &[u64; 4]| RowKey::new(user(v), position(v));
            check(row(&a), row(&b));
            let message = |v: &[u64; 4]| MessageKey::new(row(v), narrow(v[2]));
            check(message(&a), message(&b));
            let index = |v: &[u64; 4]| IndexKey {
                user: user(v), term: Term::from_bits(v[2]), position: position(v) };
            check(index(&a), index(&b));
            let activity = |v: &[u64; 4]| ActivityKey {
                user: user(v), term: Term::from_bits(v[2]),
                at: SortKey::of_activity(v[3] >> 16, position(v)) };
            check(activity(&a), activity(&b));
            let id = |v: &[u64; 4]| UuidKey { user: user(v), uuid: uuid(v) };
            check(id(&a), id(&b));
            let count = |v: &[u64; 4]| NumberKey { user: user(v), number: narrow(v[1]) };
            check(count(&a), count(&b));
            let total = |v: &[u64; 4]| CounterKey {
                user: user(v), bucket: TimeBucket::from_bits(narrow(v[3])), assistant: uuid(v),
                kind: narrow(v[1]) };
            check(total(&a), total(&b));
            let list = |v: &[u64; 4]| ListCounterKey {
                user: user(v), term: Term::from_bits(v[1]),
                month: TimeBucket::from_bits(narrow(v[2])) };
            check(list(&a), list(&b));
            let change = |v: &[u64; 4]| ChangeKey { user: user(v), number: v[1] };
            check(change(&a), change(&b));
            // A key contains only times within the range of `Timestamp`.
            let at = |v: &[u64; 4]| Timestamp::from_millis(v[1]).unwrap_or(Timestamp::MAX);
            let arrival = |v: &[u64; 4]| ArrivalKey {
                user: user(v), created_at: at(v), arrival: v[2] };
            check(arrival(&a), arrival(&b));
            let id_arrival = |v: &[u64; 4]| IdArrivalKey { id: id(v), arrival: v[3] };
            check(id_arrival(&a), id_arrival(&b));
        }

        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            RowKey::decode(&bytes);
            UuidKey::decode(&bytes);
            IndexKey::decode(&bytes);
            ActivityKey::decode(&bytes);
            CounterKey::decode(&bytes);
            DigestKey::decode(&bytes);
        }
    }
}
