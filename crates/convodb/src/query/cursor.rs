//! Cursors: a place between two rows of one list, sealed into a token that tells nothing and
//! cannot be changed.
//!
//! A cursor denotes a *gap*, not a row: the boundary below one position. Rows before and after it
//! may come and go. With a direction it means "the page after" or "the page before" the gap.
//!
//! ```text
//! token = base64url( version u8 | key number u8 | seal 16 bytes | payload, enciphered )
//! payload = flags u16 | page size u8 | gap u64
//!         | created_from u48, created_to u48: those that are set
//!         | fingerprint u64 of assistant, sender, customer, external: those that are set
//! flags = direction 1 bit | order 1 | shape 5 | type 2 | has created_from 1 | has created_to 1
//! ```
//!
//! All integers are big-endian. The seal is keyed BLAKE3 over version, key number, endpoint, owner
//! and payload; the cipher is an exclusive-or with keyed BLAKE3 output for the seal (a synthetic
//! initialisation vector, as in RFC 5297), so equal cursors have equal tokens and nothing else can
//! be read from one. At most 73 bytes, 98 characters. About 0.3 us to seal or to open.

use data_encoding::BASE64URL_NOPAD;

use crate::encoding::key::{kind_number, kind_of_number};
use crate::encoding::term::{Field, Fingerprint, Fingerprinter, Fingerprints, Shape};
use crate::error::{Error, Result};
use crate::model::id::UserId;
use crate::model::position::Position;
use crate::model::timestamp::Timestamp;
use crate::query::list::{Direction, List, Order};
use crate::query::page_size::PageSize;

const VERSION: u8 = 1;
const SEAL_BYTES: usize = 16;
const HEADER_BYTES: usize = 2 + SEAL_BYTES;
const MAX_PAYLOAD_BYTES: usize = 2 + 1 + 8 + 2 * 6 + 4 * 8;
/// No token is longer; a longer text is refused before it is decoded.
const MAX_TOKEN_CHARS: usize = 128;
/// The list that a token is for; another list has another word, and refuses it.
const ENDPOINT: &[u8] = b"conversations";

/// Where a list continues: which list, whose, between which rows, which way, how many a page.
///
/// A [`Page`](crate::Page) gives its cursors; a [`Snapshot`](crate::Snapshot) seals them into
/// tokens and opens those. A cursor never expires and grants nothing: each request is still
/// answered from its own user's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageCursor {
    pub(crate) owner: UserId,
    pub(crate) list: List,
    pub(crate) page_size: PageSize,
    pub(crate) direction: Direction,
    pub(crate) gap: Position,
}

/// Seals and opens cursors, with the keys of one database.
#[derive(Clone)]
pub(crate) struct Sealer {
    /// Oldest first; the last one seals, all open.
    keys: Vec<[u8; 32]>,
}

impl Sealer {
    pub(crate) const fn new(keys: Vec<[u8; 32]>) -> Self {
        Self { keys }
    }

    /// The cursor's token: at most 98 characters of `[A-Za-z0-9_-]`.
    pub(crate) fn seal(&self, cursor: &PageCursor) -> String {
        let number = self.keys.len();
        let Some(key) = self.keys.last() else { unreachable!("a store has a cursor key") };
        let header = [VERSION, u8::try_from(number).unwrap_or(u8::MAX)];
        let mut payload = Payload::default();
        cursor.write(&mut payload);
        let seal = *seal(key, header, cursor.owner, payload.bytes()).as_bytes();
        let (seal, _) = seal.split_at(SEAL_BYTES);
        payload.encipher(key, seal);

        let mut token = [0; HEADER_BYTES + MAX_PAYLOAD_BYTES];
        token[..2].copy_from_slice(&header);
        token[2..HEADER_BYTES].copy_from_slice(seal);
        let end = HEADER_BYTES + payload.bytes().len();
        token[HEADER_BYTES..end].copy_from_slice(payload.bytes());
        BASE64URL_NOPAD.encode(&token[..end])
    }

    /// The cursor of a token that this store gave to `owner`. Reads nothing from the store.
    pub(crate) fn open(
        &self,
        token: &str,
        owner: UserId,
        fingerprinter: &Fingerprinter,
    ) -> Result<PageCursor> {
        self.try_open(token, owner, fingerprinter).ok_or(Error::InvalidCursor)
    }

    fn try_open(
        &self,
        token: &str,
        owner: UserId,
        fingerprinter: &Fingerprinter,
    ) -> Option<PageCursor> {
        if token.len() > MAX_TOKEN_CHARS {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let (&[version, number], sealed) = bytes.split_first_chunk::<2>()?;
        let (stored_seal, enciphered) = sealed.split_first_chunk::<SEAL_BYTES>()?;
        let key = self.keys.get(usize::from(number).checked_sub(1)?)?;
        let mut payload = Payload::default();
        payload.put(enciphered)?;
        payload.encipher(key, stored_seal);

        let expected = seal(key, [version, number], owner, payload.bytes());
        // The comparison of hashes takes constant time, so the stored half is made a whole one.
        let mut stored = *expected.as_bytes();
        stored[..SEAL_BYTES].copy_from_slice(stored_seal);
        let genuine = version == VERSION && expected == blake3::Hash::from_bytes(stored);
        genuine.then(|| PageCursor::read(payload.bytes(), owner, fingerprinter)).flatten()
    }
}

fn seal(key: &[u8; 32], header: [u8; 2], owner: UserId, payload: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(b"seal");
    hasher.update(&header);
    hasher.update(&owner.get().to_be_bytes());
    hasher.update(ENDPOINT);
    hasher.update(payload);
    hasher.finalize()
}

/// A payload being written.
struct Payload {
    bytes: [u8; MAX_PAYLOAD_BYTES],
    len: usize,
}

impl Default for Payload {
    fn default() -> Self {
        Self { bytes: [0; MAX_PAYLOAD_BYTES], len: 0 }
    }
}

impl Payload {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Appends `part`, if there is room for it.
    fn put(&mut self, part: &[u8]) -> Option<()> {
        let end = self.len + part.len();
        self.bytes.get_mut(self.len..end)?.copy_from_slice(part);
        self.len = end;
        Some(())
    }

    /// Enciphers or deciphers, which is the same.
    fn encipher(&mut self, key: &[u8; 32], seal: &[u8]) {
        let mut stream = [0; MAX_PAYLOAD_BYTES];
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(b"stream");
        hasher.update(seal);
        hasher.finalize_xof().fill(&mut stream);
        for (byte, mask) in self.bytes[..self.len].iter_mut().zip(stream) {
            *byte ^= mask;
        }
    }
}

/// A payload being read: each call takes the next bytes, if there are as many.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (part, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*part)
    }

    fn millis(&mut self) -> Option<Timestamp> {
        let [a, b, c, d, e, f] = self.take::<6>()?;
        Timestamp::from_millis(u64::from_be_bytes([0, 0, a, b, c, d, e, f])).ok()
    }
}

/// The fields whose fingerprints a token carries; the type fits into the flags.
const CARRIED: [Field; 4] = [Field::Assistant, Field::Sender, Field::Customer, Field::External];

impl PageCursor {
    fn write(&self, payload: &mut Payload) {
        let List { kind, wanted, created_from, created_to, order } = self.list;
        let flags = u16::from(self.direction == Direction::Prev)
            | u16::from(order == Order::Ascending) << 1
            | u16::from(wanted.shape().bits()) << 2
            | u16::from(kind.map_or(0, kind_number)) << 7
            | u16::from(created_from.is_some()) << 9
            | u16::from(created_to.is_some()) << 10;
        let mut put = |part: &[u8]| {
            let Some(()) = payload.put(part) else { unreachable!("a payload has room for all") };
        };
        put(&flags.to_be_bytes());
        put(&[self.page_size.byte()]);
        put(&self.gap.bits().to_be_bytes());
        for bound in [created_from, created_to].into_iter().flatten() {
            let [_, _, millis @ ..] = bound.millis().to_be_bytes();
            put(&millis);
        }
        for field in CARRIED {
            if let Some(fingerprint) = wanted.get(field) {
                put(&fingerprint.bits().to_be_bytes());
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
        let mut wanted = Fingerprints::default();
        let mut kind = None;
        if shape.has(Field::Kind) {
            let asked = kind_of_number(u32::from(flags >> 7 & 3))?;
            wanted.set(Field::Kind, fingerprinter.kind(asked));
            kind = Some(asked);
        }
        for field in CARRIED {
            if shape.has(field) {
                wanted.set(field, Fingerprint::from_bits(u64::from_be_bytes(reader.take()?)));
            }
        }
        let order = if flags >> 1 & 1 == 1 { Order::Ascending } else { Order::Descending };
        reader.0.is_empty().then_some(())?;
        Some(PageCursor {
            owner,
            list: List { kind, wanted, created_from, created_to, order },
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
    use crate::query::filter::Filter;
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
            list: List {
                kind: filter.kind,
                wanted: filter.fingerprints(&fingerprinter()),
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
            let token = sealer.seal(&cursor);
            assert!(token.len() <= 98, "{} characters", token.len());
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
            assert_eq!(token, sealer.seal(&cursor), "sealing is deterministic");
            assert_eq!(sealer.open(&token, cursor.owner, &fingerprinter).unwrap(), cursor);
        }
    }

    /// Tokens are in the hands of clients: a change of this text is a new version.
    #[test]
    fn the_tokens_of_version_1_are_frozen() {
        assert_eq!(sealer().seal(&cursor(0)), "AQJEZrlNjyeEBSbVBZ-GWZFHg3bbZsFrT4UFDYI");
        assert_eq!(
            sealer().seal(&cursor(0x6b)),
            "AQKI_kiBqQHHsZd0GRasBielZ5SDKz5m2yMniniETBeEclNP3ED_CVM-7Yf29P1ayMzkYDpGGlwv"
        );
    }

    #[test]
    fn only_the_same_store_and_user_can_open_it() {
        let (sealer, fingerprinter) = (sealer(), fingerprinter());
        let token = sealer.seal(&cursor(3));
        assert!(sealer.open(&token, UserId::new(6), &fingerprinter).is_err());
        let other = Sealer::new(vec![[1; 32], [3; 32]]);
        assert!(other.open(&token, UserId::new(5), &fingerprinter).is_err());
        let rotated = Sealer::new(vec![[1; 32], [2; 32], [9; 32]]);
        assert!(rotated.open(&token, UserId::new(5), &fingerprinter).is_ok(), "older keys open");
        assert_ne!(rotated.seal(&cursor(3)), token, "the newest key seals");
    }

    #[test]
    fn every_flipped_bit_cut_and_extension_is_refused() {
        let (sealer, fingerprinter) = (sealer(), fingerprinter());
        let open = |token: &str| sealer.open(token, UserId::new(5), &fingerprinter);
        let token = sealer.seal(&cursor(0xff));
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
            prop_assert!(sealer().open(&text, UserId::new(5), &fingerprinter()).is_err());
        }

        /// Even a payload that a key holder made up is read without a panic.
        #[test]
        fn any_payload_is_read_without_a_panic(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = PageCursor::read(&payload, UserId::new(5), &fingerprinter());
        }
    }
}
