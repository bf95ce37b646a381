//! Page cursors: keyset pagination in both directions, sealed into opaque tokens.
//!
//! A client reads a long list page by page. With `OFFSET` ("15 rows from row 1000") the store reads
//! and discards all rows before the page, so a page becomes slower with its depth. A row inserted
//! or deleted in an earlier page also shifts all later ones, so the client gets rows twice or
//! never. *Keyset pagination* avoids both: each page comes with a cursor, which names the key in
//! the order of the list where the page ends. The client sends it back for the next page, and the
//! store continues there after one B-tree lookup, at any depth.
//!
//! These cursors add four properties:
//!
//! - *A gap, not a row.* A cursor denotes the boundary directly below one position. It stays valid
//!   when the rows around it are deleted or new ones are inserted.
//! - *Bidirectional.* A cursor has a direction: the page after the gap, or the page before it.
//! - *Exact at both ends.* A page has a next or previous cursor if and only if its snapshot has
//!   more rows on that side. No cursor leads to an empty page of an unchanged list.
//! - *Self-contained and sealed.* A token contains the whole list (filter, bounds and order) and
//!   the page size. It is enciphered and authenticated for one store, user and endpoint, so a
//!   client can neither read nor change it.
//!
//! ```text
//! payload = flags u16 | page size u8 | position of the gap u64
//!         | from u48, to u48: the bounds that are set
//!         | fingerprint u64 of assistant, sender, customer, external: those with one value
//!         | of a union: behind u8 | types u8 | number of assistants u8 | fingerprint u64 of each
//!         | by last activity: activity of the gap u48 | change cursor 3 u64 | ceiling u48 if set
//! flags = direction 1 bit | order 1 | shape 5 | type 2 | has from 1 | has to 1 | is union 1
//!         | AI is off 1 | is by last activity 1 | has ceiling 1
//! ```
//!
//! A union is a list with several types or assistants. `behind` is the number of the range that had
//! the row behind the gap, a hint that saves reads. `types` has a bit for each type; the number of
//! assistants is 0 if there are not several.
//!
//! A list by last activity reorders while it is read. Its cursors carry what all pages of one walk
//! share: the cursor of the change feed at the beginning, and in ascending order the ceiling, the
//! newest activity at that time. Rows that move beyond it are left to the feed, so that the walk
//! ends and does not read them again.
//!
//! All integers are big-endian. `encoding/token.rs` describes the token around the payload.

use crate::encoding::index_term::{Field, Fingerprint, Fingerprinter, Fingerprints, Shape};
use crate::encoding::key::{kind_number, kind_of_number};
use crate::encoding::token::{Endpoint, Payload, Reader, Sealer};
use crate::error::{Error, Result};
use crate::model::choice::ChannelKinds;
use crate::model::id::UserId;
use crate::model::position::{Position, SortKey};
use crate::model::timestamp::Timestamp;
use crate::query::changes::ChangeCursor;
use crate::query::list_spec::{Direction, FingerprintSet, ListSpec, Order, Sort};
use crate::query::page_size::PageSize;

/// Separates these tokens from those of other endpoints, which refuse them.
const ENDPOINT: Endpoint = Endpoint(b"conversations");

/// A position between two conversations of a list, where the list continues in one direction.
///
/// A cursor contains the user, the list (filter, sort, bounds and order), the page size, the
/// direction and the position; of a list by last activity also where its change feed was when the
/// walk began. A [`Page`](crate::Page) returns cursors. A [`Snapshot`](crate::Snapshot) seals
/// them into tokens for clients and opens those. A cursor never expires and grants no access: each
/// request reads only its own user's conversations.
///
/// Conversations inserted, deleted or moved elsewhere in the list do not affect a cursor. One
/// exception: after the last conversation of a millisecond is deleted, the next one inserted with the same
/// `created_at` takes its position. If a cursor is at that position, the new conversation may be
/// listed on either side of it.
///
/// A request that continues at a cursor is checked before anything is read:
/// [`Error::InvalidCursor`] if the cursor belongs to another user, then [`Error::CursorConflict`]
/// with the first field that differs from the cursor's list, in this order: filter fields, sort,
/// bounds, order.
///
/// ```
/// # use convodb::*;
/// # let store = Store::in_memory()?;
/// # let at: Timestamp = "2025-01-25".parse()?;
/// # let user = store.create_user("Acme", at)?.id;
/// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
/// for _ in 0..20 {
///     let id = ConversationId::generate(at);
///     store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new())?;
/// }
/// let snapshot = store.snapshot();
/// let first = snapshot.list(user, &ListRequest::default())?;
/// let token = snapshot.seal_cursor(first.next_cursor().expect("15 of 20"));
///
/// // Later, possibly in another process: the token is sufficient.
/// let snapshot = store.snapshot();
/// let cursor = snapshot.open_cursor(user, &token)?;
/// let second = snapshot.list(user, &ListRequest::at(cursor))?;
/// assert_eq!((second.len(), second.next_cursor()), (5, None));
/// let prev = *second.prev_cursor().expect("it was the second page");
/// let back = snapshot.list(user, &ListRequest::at(prev))?;
/// assert!(back.conversations().eq(first.conversations()));
/// // Another user cannot open it.
/// assert!(matches!(snapshot.open_cursor(UserId::new(9), &token), Err(Error::InvalidCursor)));
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageCursor {
    pub(crate) user: UserId,
    pub(crate) list: ListSpec,
    pub(crate) page_size: PageSize,
    pub(crate) direction: Direction,
    pub(crate) gap: SortKey,
    /// Of a union, the number of the range that had the row behind the gap: where to look first for
    /// a row there. Any number is right.
    pub(crate) behind: u8,
    /// Present if and only if the list is sorted by last activity.
    pub(crate) walk: Option<Walk>,
}

/// What all pages of a walk through a list by last activity share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    /// The user's change feed when the walk began.
    pub(crate) changes: ChangeCursor,
    /// In ascending order, the newest activity of the list when the walk began, if it had any: the
    /// walk ends there.
    pub(crate) ceiling: Option<Timestamp>,
}

/// The fields whose fingerprints the payload contains. The others are in the flags.
const FINGERPRINTED: [Field; 4] =
    [Field::Assistant, Field::Sender, Field::Customer, Field::External];

impl PageCursor {
    /// Seals the cursor into a token. About 0.3 us.
    pub(crate) fn seal(&self, sealer: &Sealer) -> String {
        let mut payload = Payload::default();
        self.write(&mut payload);
        sealer.seal(ENDPOINT, self.user, payload)
    }

    /// Opens a token that this store sealed for `user`. Reads nothing from the store.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for any other text.
    pub(crate) fn open(
        token: &str,
        user: UserId,
        sealer: &Sealer,
        fingerprinter: &Fingerprinter,
    ) -> Result<PageCursor> {
        let payload = sealer.open(ENDPOINT, user, token).ok_or(Error::InvalidCursor)?;
        Self::read(payload.bytes(), user, fingerprinter).ok_or(Error::InvalidCursor)
    }

    fn write(&self, payload: &mut Payload) {
        let ListSpec { kinds, filter, assistants, sort: _, from, to, order } = self.list;
        let ceiling = self.walk.and_then(|walk| walk.ceiling);
        let shape = filter.shape();
        let is_union = self.list.shape() != shape || !assistants.is_empty();
        let flags = u16::from(self.direction == Direction::Prev)
            | u16::from(order == Order::Ascending) << 1
            | u16::from(shape.without(Field::AiOff).bits()) << 2
            | u16::from(kinds.single().map_or(0, kind_number)) << 7
            | u16::from(from.is_some()) << 9
            | u16::from(to.is_some()) << 10
            | u16::from(is_union) << 11
            | u16::from(shape.has(Field::AiOff)) << 12
            | u16::from(self.walk.is_some()) << 13
            | u16::from(ceiling.is_some()) << 14;
        payload.put(&flags.to_be_bytes());
        payload.put(&[self.page_size.byte()]);
        payload.put(&self.gap.position().bits().to_be_bytes());
        for bound in [from, to].into_iter().flatten() {
            put_millis(payload, bound.millis());
        }
        for field in FINGERPRINTED {
            if let Some(fingerprint) = filter.get(field) {
                payload.put(&fingerprint.bits().to_be_bytes());
            }
        }
        if is_union {
            let count = u8::try_from(assistants.as_slice().len()).unwrap_or(u8::MAX);
            payload.put(&[self.behind, kinds.bits(), count]);
            for fingerprint in assistants.as_slice() {
                payload.put(&fingerprint.bits().to_be_bytes());
            }
        }
        if let Some(walk) = self.walk {
            put_millis(payload, self.gap.activity());
            walk.changes.write(payload);
        }
        if let Some(ceiling) = ceiling {
            put_millis(payload, ceiling.millis());
        }
    }

    /// Decodes a payload; `None` if it is malformed. Does not trust its origin.
    pub(crate) fn read(
        payload: &[u8],
        user: UserId,
        fingerprinter: &Fingerprinter,
    ) -> Option<Self> {
        let mut reader = Reader(payload);
        let flags = u16::from_be_bytes(reader.take()?);
        let [page_size] = reader.take()?;
        let position = Position::from_bits(reader.u64()?);
        let shape = Shape::from_bits((flags >> 2 & 0x1f) as u8);
        let ai_off = flags >> 12 & 1 == 1;
        let from = if flags >> 9 & 1 == 1 { Some(reader.millis()?) } else { None };
        let to = if flags >> 10 & 1 == 1 { Some(reader.millis()?) } else { None };
        let mut filter = Fingerprints::default();
        let mut kinds = ChannelKinds::ALL;
        if ai_off {
            filter.set(Field::AiOff, fingerprinter.ai_off());
        }
        if shape.has(Field::Kind) {
            let decoded = kind_of_number(u32::from(flags >> 7 & 3))?;
            filter.set(Field::Kind, fingerprinter.kind(decoded));
            kinds = ChannelKinds::from(decoded);
        }
        for field in FINGERPRINTED {
            if shape.has(field) {
                filter.set(field, Fingerprint::from_bits(reader.u64()?));
            }
        }
        let (mut behind, mut assistants) = (0, FingerprintSet::default());
        if flags >> 11 & 1 == 1 {
            let [number, types, count] = reader.take()?;
            let several = (0..count).map(|_| Some(Fingerprint::from_bits(reader.u64()?)));
            assistants = FingerprintSet::new(several.collect::<Option<Vec<_>>>()?)?;
            let types = ChannelKinds::from_bits(types)?;
            let one_kind = types.single().is_some();
            let several_kinds = !one_kind && types != ChannelKinds::ALL;
            let is_union = several_kinds || count > 0;
            let has_kind_once = if shape.has(Field::Kind) { types == kinds } else { !one_kind };
            let has_each_once = has_kind_once && !(shape.has(Field::Assistant) && count > 0);
            (is_union && has_each_once).then_some(())?;
            (behind, kinds) = (number, types);
        }
        let order = if flags >> 1 & 1 == 1 { Order::Ascending } else { Order::Descending };
        let (mut sort, mut gap, mut walk) = (Sort::CreatedAt, SortKey::of_position(position), None);
        let has_ceiling = flags >> 14 & 1 == 1;
        if flags >> 13 & 1 == 1 {
            gap = SortKey::of_activity(reader.u48()?, position);
            let changes = ChangeCursor::read(&mut reader, user)?;
            let ceiling = if has_ceiling { Some(reader.millis()?) } else { None };
            (sort, walk) = (Sort::LastActivity, Some(Walk { changes, ceiling }));
        }
        (reader.0.is_empty() && (walk.is_some() || !has_ceiling)).then_some(())?;
        Some(PageCursor {
            user,
            list: ListSpec { kinds, filter, assistants, sort, from, to, order },
            page_size: PageSize::new(u64::from(page_size)).ok()?,
            direction: if flags & 1 == 1 { Direction::Prev } else { Direction::Next },
            gap,
            behind,
            walk,
        })
    }
}

/// Appends a time of 6 bytes.
fn put_millis(payload: &mut Payload, millis: u64) {
    let [_, _, millis @ ..] = millis.to_be_bytes();
    payload.put(&millis);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::channel::ChannelKind;
    use crate::query::filter::Filter;
    use data_encoding::BASE64URL_NOPAD;
    use proptest::prelude::*;

    fn fingerprinter() -> Fingerprinter {
        Fingerprinter::new([7; 32])
    }

    fn sealer() -> Sealer {
        Sealer::new(vec![[1; 32], [2; 32]])
    }

    /// A cursor with the fields whose bits are set.
    fn cursor(fields: u8) -> PageCursor {
        let has = |bit: u8| fields & (1 << bit) != 0;
        let filter = Filter {
            kind: has(0).then_some(ChannelKind::Whatsapp),
            assistant: has(1).then(|| "7c9e6679-7425-40de-944b-e07fc1f90ae7".parse().unwrap()),
            sender_phone: has(2).then(|| "+14155551234".parse().unwrap()),
            customer_phone: has(3).then(|| "+14155559876".parse().unwrap()),
            external_identifier: has(4).then(|| "crm-1".parse().unwrap()),
            ..Filter::default()
        };
        PageCursor {
            user: UserId::new(5),
            list: ListSpec {
                kinds: filter.passing_kinds(),
                filter: filter.fingerprints(&fingerprinter()),
                assistants: FingerprintSet::default(),
                sort: Sort::CreatedAt,
                from: has(5).then_some(Timestamp::MIN),
                to: has(6).then_some(Timestamp::MAX),
                order: if has(7) { Order::Ascending } else { Order::Descending },
            },
            page_size: PageSize::MAX,
            direction: Direction::Prev,
            gap: SortKey::of_position(position()),
            behind: 0,
            walk: None,
        }
    }

    fn position() -> Position {
        Position::first_at(Timestamp::from_millis(1_737_800_000_123).unwrap())
    }

    /// The cursor of the same list by last activity.
    fn by_activity(cursor: PageCursor, ceiling: Option<Timestamp>) -> PageCursor {
        let mut reader = Reader(&[7; 24]);
        let changes = ChangeCursor::read(&mut reader, cursor.user).unwrap();
        PageCursor {
            list: ListSpec { sort: Sort::LastActivity, ..cursor.list },
            gap: SortKey::of_activity((1 << 48) - 1, position()),
            walk: Some(Walk { changes, ceiling }),
            ..cursor
        }
    }

    #[test]
    fn every_cursor_round_trips_through_a_short_token() {
        let (sealer, fingerprinter) = (sealer(), fingerprinter());
        for fields in 0..=u8::MAX {
            let cursor = cursor(fields);
            let token = cursor.seal(&sealer);
            assert!(token.len() <= 98, "{} characters", token.len());
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
            assert_eq!(token, cursor.seal(&sealer), "sealing is deterministic");
            assert_eq!(
                PageCursor::open(&token, cursor.user, &sealer, &fingerprinter).unwrap(),
                cursor
            );
        }
    }

    /// The cursor of a union: of 1 to 4 types by the bits of `types`, with `assistants` assistants
    /// and, of the other fields, those whose bits are set.
    fn union(types: u8, assistants: u64, fields: u8) -> PageCursor {
        let several = (0..assistants).map(|number| Fingerprint::from_bits(number * 7_919));
        let mut cursor = cursor(fields & !0b11);
        cursor.list.kinds = ChannelKinds::from_bits(types).unwrap();
        if let Some(kind) = cursor.list.kinds.single() {
            cursor.list.filter.set(Field::Kind, fingerprinter().kind(kind));
        }
        cursor.list.assistants = FingerprintSet::new(several).unwrap();
        cursor.behind = 59;
        cursor
    }

    #[test]
    fn every_cursor_of_a_union_round_trips_through_its_token() {
        let (sealer, fingerprinter) = (sealer(), fingerprinter());
        let mut longest = 0;
        for (types, assistants) in (1..=15).flat_map(|types| [0, 2, 20].map(|n| (types, n))) {
            let several_types = !matches!(types, 1 | 2 | 4 | 8 | 15);
            if !several_types && assistants == 0 {
                continue;
            }
            for fields in [0b0, 0b1_1100, 0b1111_1100] {
                let cursor = union(types, assistants, fields);
                let token = cursor.seal(&sealer);
                longest = longest.max(token.len());
                let opened = PageCursor::open(&token, cursor.user, &sealer, &fingerprinter);
                assert_eq!(opened.unwrap(), cursor);
                let mut ai_off = cursor;
                ai_off.list.filter.set(Field::AiOff, fingerprinter.ai_off());
                let token = ai_off.seal(&sealer);
                longest = longest.max(token.len());
                let opened = PageCursor::open(&token, cursor.user, &sealer, &fingerprinter);
                assert_eq!(opened.unwrap(), ai_off);
            }
        }
        assert_eq!(longest, 304, "as the documentation says");
        // Clients store tokens, so a change of this text requires a new version.
        assert_eq!(
            union(0b1100, 2, 0).seal(&sealer),
            "AQKq3johLdzcdvvIjZe2Kcck83WRxZJ3K-FFez1aZdm6R0iTxRL-myImn_9DWd9I"
        );
    }

    #[test]
    fn every_cursor_by_last_activity_round_trips_through_its_token() {
        let (sealer, fingerprinter) = (sealer(), fingerprinter());
        let check = |cursor: PageCursor| {
            let token = cursor.seal(&sealer);
            let opened = PageCursor::open(&token, cursor.user, &sealer, &fingerprinter);
            assert_eq!(opened.unwrap(), cursor);
            token.len()
        };
        for ceiling in [None, Some(Timestamp::MAX)] {
            for fields in 0..=u8::MAX {
                check(by_activity(cursor(fields), ceiling));
            }
        }
        let longest = by_activity(union(0b1100, 20, 0b1110_0000), Some(Timestamp::MIN));
        assert_eq!(check(longest), 320, "as the documentation says");
        // Clients store tokens, so a change of these bytes requires a new version.
        let mut payload = Payload::default();
        by_activity(cursor(0), Some(Timestamp::MAX)).write(&mut payload);
        let hex: String = payload.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let (start, feed, end) =
            ("60016465273ce89ec00000ffffffffffff", "07".repeat(24), "03fffffffffe");
        assert_eq!(hex, format!("{start}{feed}{end}"));
    }

    #[test]
    fn a_ceiling_without_a_walk_and_a_walk_that_is_cut_off_are_refused() {
        let read = |flags: u16, rest: usize| {
            let mut payload = flags.to_be_bytes().to_vec();
            payload.push(15);
            payload.resize(payload.len() + 8 + rest, 0);
            PageCursor::read(&payload, UserId::new(5), &fingerprinter()).is_some()
        };
        let (walk, ceiling) = (1 << 13, 1 << 14);
        assert!(read(0, 0) && read(walk, 6 + 24) && read(walk | ceiling, 6 + 24 + 6));
        assert!(!read(ceiling, 0) && !read(ceiling, 6), "a ceiling alone");
        assert!(!read(walk, 6 + 23) && !read(walk, 6 + 25) && !read(walk | ceiling, 6 + 24));
    }

    #[test]
    fn payloads_that_describe_no_union_are_refused() {
        let read = |types: u8, count: u8, fingerprints: usize, shape: u16| {
            let flags: u16 = 1 << 11 | shape << 2;
            let mut payload = flags.to_be_bytes().to_vec();
            payload.push(15);
            payload.extend([0; 8]);
            for number in 0..fingerprints as u64 + u64::from(shape >> 1 & 1) {
                payload.extend(number.to_be_bytes());
            }
            let at = payload.len() - 8 * fingerprints;
            payload.splice(at..at, [0, types, count]);
            PageCursor::read(&payload, UserId::new(5), &fingerprinter()).is_some()
        };
        assert!(read(0b1100, 0, 0, 0) && read(0b1111, 2, 2, 0) && read(0b1100, 20, 20, 0));
        assert!(!read(0b1111, 0, 0, 0), "neither types nor assistants");
        assert!(!read(0, 2, 2, 0) && !read(0x10, 2, 2, 0), "no or unknown types");
        assert!(!read(0b0001, 2, 2, 0), "the shape has no type");
        assert!(!read(0b1100, 21, 21, 0), "too many assistants");
        assert!(!read(0b1100, 2, 1, 0) && !read(0b1100, 1, 2, 0), "another number of assistants");
        assert!(!read(0b1100, 2, 2, 0b10), "one assistant and several");
        assert!(
            read(0b0001, 2, 2, 0b1) && !read(0b0100, 2, 2, 0b1),
            "another type than the shape's"
        );
    }

    /// Clients store tokens, so a change of this text requires a new version.
    #[test]
    fn tokens_of_version_1_do_not_change() {
        assert_eq!(cursor(0).seal(&sealer()), "AQJEZrlNjyeEBSbVBZ-GWZFHg3bbZsFrT4UFDYI");
        assert_eq!(
            cursor(0x6b).seal(&sealer()),
            "AQKI_kiBqQHHsZd0GRasBielZ5SDKz5m2yMniniETBeEclNP3ED_CVM-7Yf29P1ayMzkYDpGGlwv"
        );
    }

    #[test]
    fn only_the_same_store_and_user_can_open_a_token() {
        let (sealer, fingerprinter) = (sealer(), fingerprinter());
        let token = cursor(3).seal(&sealer);
        let open = |sealer: &Sealer, user| {
            PageCursor::open(&token, UserId::new(user), sealer, &fingerprinter)
        };
        assert!(open(&sealer, 6).is_err());
        let other = Sealer::new(vec![[1; 32], [3; 32]]);
        assert!(open(&other, 5).is_err());
        let rotated = Sealer::new(vec![[1; 32], [2; 32], [9; 32]]);
        assert!(open(&rotated, 5).is_ok(), "older keys still open tokens");
        assert_ne!(cursor(3).seal(&rotated), token, "the newest key seals");
    }

    #[test]
    fn changed_truncated_and_extended_tokens_are_refused() {
        let (sealer, fingerprinter) = (sealer(), fingerprinter());
        let open = |token: &str| PageCursor::open(token, UserId::new(5), &sealer, &fingerprinter);
        let token = cursor(0xff).seal(&sealer);
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&BASE64URL_NOPAD.encode(&changed)).is_err(), "bit {bit}");
        }
        for cut in 0..token.len() {
            assert!(open(&token[..cut]).is_err(), "cut at {cut}");
        }
        for wrong in
            ["null", "AA==", "\0", &format!("{token}A"), &format!("{token}="), &"A".repeat(9999)]
        {
            assert!(open(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_refused_without_a_panic(text in "[A-Za-z0-9_=-]{0,140}|\\PC{0,60}") {
            let outcome = PageCursor::open(&text, UserId::new(5), &sealer(), &fingerprinter());
            prop_assert!(outcome.is_err());
        }

        /// Covers payloads that a holder of the key could forge.
        #[test]
        fn arbitrary_payloads_do_not_panic(payload in prop::collection::vec(any::<u8>(), 0..240)) {
            let _ = PageCursor::read(&payload, UserId::new(5), &fingerprinter());
        }
    }
}
