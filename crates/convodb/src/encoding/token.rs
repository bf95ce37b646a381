//! Cursor tokens: encrypted and authenticated payloads that clients store between requests.
//!
//! ```text
//! token = base64url( version u8 | key number u8 | seal 16 bytes | payload, encrypted )
//! ```
//!
//! The seal is a message authentication code: keyed BLAKE3 over version, key number, endpoint, user
//! and payload, so that a client can neither change a token nor use that of another user or
//! endpoint. The cipher is an exclusive-or with keyed BLAKE3 output for the seal, which serves as a
//! synthetic initialisation vector (SIV, RFC 5297). Equal payloads therefore have equal tokens, and
//! nothing else can be read from one. At most 73 bytes, 98 characters; of a list with several types
//! or assistants at most 228 bytes, 304 characters; and 36 bytes, 48 characters, more of a list by
//! last activity. About 0.3 us to seal or to open.

use data_encoding::BASE64URL_NOPAD;

use crate::model::choice::AssistantIds;
use crate::model::id::UserId;
use crate::model::timestamp::Timestamp;

const VERSION: u8 = 1;
const SEAL_BYTES: usize = 16;
const HEADER_BYTES: usize = 2 + SEAL_BYTES;
/// That of a list by last activity with three phones and identifiers and the most assistants.
const MAX_PAYLOAD_BYTES: usize = 2 + 1 + 8 + 2 * 6 + 3 * 8 + 3 + 8 * AssistantIds::MAX + 36;
/// The longest name of an endpoint.
const MAX_ENDPOINT_BYTES: usize = 16;
/// The most bytes that a seal authenticates.
const MAX_SEALED_BYTES: usize = 4 + 2 + 4 + MAX_ENDPOINT_BYTES + MAX_PAYLOAD_BYTES;
/// The longest token. A longer text is refused before it is decoded.
const MAX_TOKEN_CHARS: usize = (HEADER_BYTES + MAX_PAYLOAD_BYTES).div_ceil(3) * 4;

/// The endpoint of a token: every other endpoint refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(pub(crate) &'static [u8]);

/// Seals and opens tokens with the keys of one database.
#[derive(Clone)]
pub(crate) struct Sealer {
    /// Oldest first. The last key seals; all of them open.
    keys: Vec<[u8; 32]>,
}

impl Sealer {
    pub(crate) const fn new(keys: Vec<[u8; 32]>) -> Self {
        Self { keys }
    }

    /// Returns the token of the payload: at most 352 characters of `[A-Za-z0-9_-]`.
    pub(crate) fn seal(&self, endpoint: Endpoint, user: UserId, mut payload: Payload) -> String {
        let number = self.keys.len();
        let Some(key) = self.keys.last() else { unreachable!("a store has a cursor key") };
        let header = [VERSION, u8::try_from(number).unwrap_or(u8::MAX)];
        let seal = seal(key, header, endpoint, user, payload.bytes());
        let Some((seal, _)) = seal.as_bytes().split_first_chunk() else {
            unreachable!("a hash is longer than a seal")
        };
        payload.apply_cipher(key, seal);

        let mut token = [0; HEADER_BYTES + MAX_PAYLOAD_BYTES];
        token[..2].copy_from_slice(&header);
        token[2..HEADER_BYTES].copy_from_slice(seal);
        let end = HEADER_BYTES + payload.bytes().len();
        token[HEADER_BYTES..end].copy_from_slice(payload.bytes());
        BASE64URL_NOPAD.encode(&token[..end])
    }

    /// Returns the payload of a token that this store issued to `user` for `endpoint`, or `None`
    /// for any other text.
    pub(crate) fn open(&self, endpoint: Endpoint, user: UserId, token: &str) -> Option<Payload> {
        if token.len() > MAX_TOKEN_CHARS {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let (&[version, number], sealed) = bytes.split_first_chunk::<2>()?;
        let (stored_seal, encrypted) = sealed.split_first_chunk::<SEAL_BYTES>()?;
        let key = self.keys.get(usize::from(number).checked_sub(1)?)?;
        let mut payload = Payload::default();
        payload.try_put(encrypted)?;
        payload.apply_cipher(key, stored_seal);

        let expected = seal(key, [version, number], endpoint, user, payload.bytes());
        // Hashes compare in constant time, so the stored half is completed to a whole hash.
        let mut stored = *expected.as_bytes();
        stored[..SEAL_BYTES].copy_from_slice(stored_seal);
        let genuine = version == VERSION && expected == blake3::Hash::from_bytes(stored);
        genuine.then_some(payload)
    }
}

fn seal(
    key: &[u8; 32],
    header: [u8; 2],
    endpoint: Endpoint,
    user: UserId,
    payload: &[u8],
) -> blake3::Hash {
    // One call over one buffer: a hasher that is updated costs twice as much.
    let mut message = [0; MAX_SEALED_BYTES];
    let mut rest = &mut message[..];
    for part in [b"seal".as_slice(), &header, &user.get().to_be_bytes(), endpoint.0, payload] {
        let (place, after) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = after;
    }
    let unused = rest.len();
    blake3::keyed_hash(key, &message[..MAX_SEALED_BYTES - unused])
}

/// The plain content of a token.
pub(crate) struct Payload {
    bytes: [u8; MAX_PAYLOAD_BYTES],
    len: usize,
}

impl Default for Payload {
    fn default() -> Self {
        Self { bytes: [0; MAX_PAYLOAD_BYTES], len: 0 }
    }
}

impl Payload {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Appends `part`.
    ///
    /// # Panics
    /// Panics when the payload has no space left; the layouts of all cursors fit.
    pub(crate) fn put(&mut self, part: &[u8]) {
        let Some(()) = self.try_put(part) else { unreachable!("every cursor fits into a payload") };
    }

    /// Appends `part`, or returns `None` if it does not fit.
    fn try_put(&mut self, part: &[u8]) -> Option<()> {
        let end = self.len + part.len();
        self.bytes.get_mut(self.len..end)?.copy_from_slice(part);
        self.len = end;
        Some(())
    }

    /// Encrypts or decrypts; an exclusive-or is its own inverse.
    fn apply_cipher(&mut self, key: &[u8; 32], seal: &[u8; SEAL_BYTES]) {
        let mut message = [0; 6 + SEAL_BYTES];
        message[..6].copy_from_slice(b"stream");
        message[6..].copy_from_slice(seal);
        let mut stream = [0; MAX_PAYLOAD_BYTES];
        // The first bytes of the output are the hash, which one call returns.
        if self.len <= blake3::OUT_LEN {
            stream[..blake3::OUT_LEN].copy_from_slice(blake3::keyed_hash(key, &message).as_bytes());
        } else {
            let mut hasher = blake3::Hasher::new_keyed(key);
            hasher.update(&message);
            hasher.finalize_xof().fill(&mut stream[..self.len]);
        }
        for (byte, mask) in self.bytes[..self.len].iter_mut().zip(stream) {
            *byte ^= mask;
        }
    }
}

/// A reader of a payload. Each call consumes the next bytes, or returns `None` if too few remain.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (part, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*part)
    }

    /// Reads an integer of 8 bytes, big-endian.
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    /// Reads an integer of 6 bytes, big-endian.
    pub(crate) fn u48(&mut self) -> Option<u64> {
        let [a, b, c, d, e, f] = self.take::<6>()?;
        Some(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// Reads a timestamp of 6 bytes, big-endian milliseconds.
    pub(crate) fn millis(&mut self) -> Option<Timestamp> {
        Timestamp::from_millis(self.u48()?).ok()
    }
}
