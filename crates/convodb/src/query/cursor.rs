//! Cursors: a place between two rows of one list, sealed into a token that tells nothing and
//! cannot be changed.
//!
//! A cursor denotes a *gap*, not a row: the boundary below one position. Rows before and after it
//! may come and go. With a direction it means "the page after" or "the page before" the gap.
//!
//! ```text
//! payload = flags u16 | page size u8 | gap u64
//!         | created_from u48, created_to u48: those that are set
//!         | fingerprint u64 of assistant, sender, customer, external: those that are set
//! flags = direction 1 bit | order 1 | shape 5 | type 2 | has created_from 1 | has created_to 1
//! ```
//!
//! All integers are big-endian. The token around it is told of in `encoding/seal.rs`.

use crate::encoding::index_term::{Field, Fingerprint, Fingerprinter, Fingerprints, Shape};
use crate::encoding::key::{kind_number, kind_of_number};
use crate::encoding::token::{Endpoint, Payload, Reader, Sealer};
use crate::error::{Error, Result};
use crate::model::id::UserId;
use crate::model::position::Position;
use crate::query::list_spec::{Direction, ListSpec, Order};
use crate::query::page_size::PageSize;

/// The list that a token is for; another list has another word, and refuses it.
const ENDPOINT: Endpoint = Endpoint(b"conversations");

/// Where a list continues: which list, whose, between which rows, which way, how many a page.
///
/// A [`Page`](crate::Page) gives its cursors; a [`Snapshot`](crate::Snapshot) seals them into
/// tokens and opens those. A cursor never expires and grants nothing: each request is still
/// answered from its own user's rows.
///
/// ```
/// # use convodb::*;
/// # let store = Store::in_memory()?;
/// # let at: Timestamp = "2025-01-25".parse()?;
/// # let user = store.create_user("Acme".parse()?, at)?.id;
/// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot".parse()?)?.id;
/// for _ in 0..20 {
///     let id = ConversationId::generate(at);
///     store.insert(user, Conversation::new(id, bot, Channel::Widget, at))?;
/// }
/// let snapshot = store.snapshot();
/// let first = snapshot.list(user, &ListRequest::default())?;
/// let token = snapshot.seal_cursor(first.next_cursor().expect("15 of 20"));
///
/// // Later, and elsewhere: the token is all that is needed.
/// let snapshot = store.snapshot();
/// let cursor = snapshot.open_cursor(user, &token)?;
/// let second = snapshot.list(user, &ListRequest::at(cursor))?;
/// assert_eq!((second.len(), second.next_cursor()), (5, None));
/// let again = snapshot.list(user, &ListRequest::at(*second.prev_cursor().expect("it was the second")))?;
/// assert!(again.conversations().eq(first.conversations()));
/// // It is this user's alone.
/// assert!(matches!(snapshot.open_cursor(UserId::new(9), &token), Err(Error::InvalidCursor)));
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageCursor {
    pub(crate) owner: UserId,
    pub(crate) list: ListSpec,
    pub(crate) page_size: PageSize,
    pub(crate) direction: Direction,
    pub(crate) gap: Position,
}

/// The fields whose fingerprints a token carries; the type fits into the flags.
const CARRIED: [Field; 4] = [Field::Assistant, Field::Sender, Field::Customer, Field::External];

impl PageCursor {
    /// The cursor's token.
    pub(crate) fn seal(&self, sealer: &Sealer) -> String {
        let mut payload = Payload::default();
        self.write(&mut payload);
        sealer.seal(ENDPOINT, self.owner, payload)
    }

    /// The cursor of a token that this store gave to `owner`. Reads nothing from the store.
    pub(crate) fn open(
        token: &str,
        owner: UserId,
        sealer: &Sealer,
        fingerprinter: &Fingerprinter,
    ) -> Result<PageCursor> {
        let payload = sealer.open(ENDPOINT, owner, token).ok_or(Error::InvalidCursor)?;
        Self::read(payload.bytes(), owner, fingerprinter).ok_or(Error::InvalidCursor)
    }

    fn write(&self, payload: &mut Payload) {
        let ListSpec { kind, filter, created_from, created_to, order } = self.list;
        let flags = u16::from(self.direction == Direction::Prev)
            | u16::from(order == Order::Ascending) << 1
            | u16::from(filter.shape().bits()) << 2
            | u16::from(kind.map_or(0, kind_number)) << 7
            | u16::from(created_from.is_some()) << 9
            | u16::from(created_to.is_some()) << 10;
        payload.put(&flags.to_be_bytes());
        payload.put(&[self.page_size.byte()]);
        payload.put(&self.gap.bits().to_be_bytes());
        for bound in [created_from, created_to].into_iter().flatten() {
            let [_, _, millis @ ..] = bound.millis().to_be_bytes();
            payload.put(&millis);
        }
        for field in CARRIED {
            if let Some(fingerprint) = filter.get(field) {
                payload.put(&fingerprint.bits().to_be_bytes());
            }
        }
    }

    /// The cursor of a payload, whoever made it.
    pub(crate) fn read(
        payload: &[u8],
        owner: UserId,
        fingerprinter: &Fingerprinter,
    ) -> Option<Self> {
        let mut reader = Reader(payload);
        let flags = u16::from_be_bytes(reader.take()?);
        let [page_size] = reader.take()?;
        let gap = Position::from_bits(u64::from_be_bytes(reader.take()?));
        let shape = Shape::from_bits((flags >> 2 & 0x1f) as u8);
        let created_from = if flags >> 9 & 1 == 1 { Some(reader.millis()?) } else { None };
        let created_to = if flags >> 10 & 1 == 1 { Some(reader.millis()?) } else { None };
        let mut filter = Fingerprints::default();
        let mut kind = None;
        if shape.has(Field::Kind) {
            let asked = kind_of_number(u32::from(flags >> 7 & 3))?;
            filter.set(Field::Kind, fingerprinter.kind(asked));
            kind = Some(asked);
        }
        for field in CARRIED {
            if shape.has(field) {
                filter.set(field, Fingerprint::from_bits(u64::from_be_bytes(reader.take()?)));
            }
        }
        let order = if flags >> 1 & 1 == 1 { Order::Ascending } else { Order::Descending };
        reader.0.is_empty().then_some(())?;
        Some(PageCursor {
            owner,
            list: ListSpec { kind, filter, created_from, created_to, order },
            page_size: PageSize::new(u64::from(page_size)).ok()?,
            direction: if flags & 1 == 1 { Direction::Prev } else { Direction::Next },
            gap,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::channel::ChannelKind;
    use crate::model::timestamp::Timestamp;
    use crate::query::filter::Filter;
    use data_encoding::BASE64URL_NOPAD;
    use proptest::prelude::*;

    fn fingerprinter() -> Fingerprinter {
        Fingerprinter::new([7; 32])
    }

    fn sealer() -> Sealer {
        Sealer::new(vec![[1; 32], [2; 32]])
    }

    fn cursor(fields: u8) -> PageCursor {
        let asked = |bit: u8| fields & (1 << bit) != 0;
        let filter = Filter {
            kind: asked(0).then_some(ChannelKind::Whatsapp),
            assistant: asked(1).then(|| "7c9e6679-7425-40de-944b-e07fc1f90ae7".parse().unwrap()),
            sender_phone: asked(2).then(|| "+14155551234".parse().unwrap()),
            customer_phone: asked(3).then(|| "+14155559876".parse().unwrap()),
            external_identifier: asked(4).then(|| "crm-1".parse().unwrap()),
        };
        PageCursor {
            owner: UserId::new(5),
            list: ListSpec {
                kind: filter.kind,
                filter: filter.fingerprints(&fingerprinter()),
                created_from: asked(5).then_some(Timestamp::MIN),
                created_to: asked(6).then_some(Timestamp::MAX),
                order: if asked(7) { Order::Ascending } else { Order::Descending },
            },
            page_size: PageSize::MAX,
            direction: Direction::Prev,
            gap: Position::first_at(Timestamp::from_millis(1_737_800_000_123).unwrap()),
        }
    }

    #[test]
    fn every_cursor_comes_back_from_a_short_token() {
        let (sealer, fingerprinter) = (sealer(), fingerprinter());
        for fields in 0..=u8::MAX {
            let cursor = cursor(fields);
            let token = cursor.seal(&sealer);
            assert!(token.len() <= 98, "{} characters", token.len());
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
            assert_eq!(token, cursor.seal(&sealer), "sealing is deterministic");
            assert_eq!(
                PageCursor::open(&token, cursor.owner, &sealer, &fingerprinter).unwrap(),
                cursor
            );
        }
    }

    /// Tokens are in the hands of clients: a change of this text is a new version.
    #[test]
    fn the_tokens_of_version_1_are_frozen() {
        assert_eq!(cursor(0).seal(&sealer()), "AQJEZrlNjyeEBSbVBZ-GWZFHg3bbZsFrT4UFDYI");
        assert_eq!(
            cursor(0x6b).seal(&sealer()),
            "AQKI_kiBqQHHsZd0GRasBielZ5SDKz5m2yMniniETBeEclNP3ED_CVM-7Yf29P1ayMzkYDpGGlwv"
        );
    }

    #[test]
    fn only_the_same_store_and_user_can_open_it() {
        let (sealer, fingerprinter) = (sealer(), fingerprinter());
        let token = cursor(3).seal(&sealer);
        let open = |sealer: &Sealer, user| {
            PageCursor::open(&token, UserId::new(user), sealer, &fingerprinter)
        };
        assert!(open(&sealer, 6).is_err());
        let other = Sealer::new(vec![[1; 32], [3; 32]]);
        assert!(open(&other, 5).is_err());
        let rotated = Sealer::new(vec![[1; 32], [2; 32], [9; 32]]);
        assert!(open(&rotated, 5).is_ok(), "older keys open");
        assert_ne!(cursor(3).seal(&rotated), token, "the newest key seals");
    }

    #[test]
    fn every_flipped_bit_cut_and_extension_is_refused() {
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
        fn no_text_panics_and_none_opens(text in "[A-Za-z0-9_=-]{0,140}|\\PC{0,60}") {
            let recovered = PageCursor::open(&text, UserId::new(5), &sealer(), &fingerprinter());
            prop_assert!(recovered.is_err());
        }

        /// Even a payload that a key holder made up is read without a panic.
        #[test]
        fn any_payload_is_read_without_a_panic(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = PageCursor::read(&payload, UserId::new(5), &fingerprinter());
        }
    }
}
