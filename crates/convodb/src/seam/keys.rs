//! The secrets of a store and what depends on them: cursors and fingerprints.

use std::fmt;

use crate::encoding::index_term::{Field, Fingerprinter};
use crate::encoding::key::{self, DigestKey};
use crate::encoding::token::Sealer;
use crate::error::Result;
use crate::model::channel::{Channel, ChannelKind};
use crate::model::id::{AssistantId, UserId};
use crate::model::timestamp::Timestamp;
use crate::model::token::{Access, Scopes, TokenId, TokenText};
use crate::query::changes::ChangeCursor;
use crate::query::cursor::PageCursor;
use crate::seam::corrupted;
use crate::tables::accounts::{self, digest};

/// The secrets of a store. The `Debug` output omits them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    /// The key of all fingerprints.
    pub fingerprints: [u8; 32],
    /// The keys that seal cursors, oldest first; the last one seals. At least one.
    pub cursors: Vec<[u8; 32]>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// Seals cursors and computes fingerprints with the secrets of a store.
pub struct Keys {
    pub(super) fingerprinter: Fingerprinter,
    sealer: Sealer,
}

/// The terms of a row, one for each field that a list can be filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The number of the type: see [`kind_number`].
    pub kind: u8,
    /// The fingerprint of the assistant's id.
    pub assistant: u64,
    /// The fingerprint of the sender's phone.
    pub sender: Option<u64>,
    /// The fingerprint of the customer's phone.
    pub customer: Option<u64>,
    /// The fingerprint of the external identifier.
    pub external: Option<u64>,
}

impl Keys {
    /// The keys of these secrets.
    #[must_use]
    pub fn new(secrets: Secrets) -> Self {
        let Secrets { fingerprints, cursors } = secrets;
        Self { fingerprinter: Fingerprinter::new(fingerprints), sealer: Sealer::new(cursors) }
    }

    /// As [`Snapshot::seal_cursor`](crate::Snapshot::seal_cursor).
    #[must_use]
    pub fn seal_cursor(&self, cursor: &PageCursor) -> String {
        cursor.seal(&self.sealer)
    }

    /// As [`Snapshot::open_cursor`](crate::Snapshot::open_cursor).
    ///
    /// # Errors
    /// [`Error::InvalidCursor`](crate::Error::InvalidCursor).
    pub fn open_cursor(&self, user: UserId, token: &str) -> Result<PageCursor> {
        PageCursor::open(token, user, &self.sealer, &self.fingerprinter)
    }

    /// As [`Snapshot::seal_change_cursor`](crate::Snapshot::seal_change_cursor).
    #[must_use]
    pub fn seal_change_cursor(&self, cursor: &ChangeCursor) -> String {
        cursor.seal(&self.sealer)
    }

    /// As [`Snapshot::open_change_cursor`](crate::Snapshot::open_change_cursor).
    ///
    /// # Errors
    /// [`Error::InvalidCursor`](crate::Error::InvalidCursor) or
    /// [`Error::ChangesExpired`](crate::Error::ChangesExpired).
    pub fn open_change_cursor(&self, user: UserId, token: &str) -> Result<ChangeCursor> {
        ChangeCursor::open(token, user, &self.sealer)
    }

    /// The fingerprint of an assistant's id. About 80 ns.
    #[must_use]
    pub fn assistant(&self, id: AssistantId) -> u64 {
        self.fingerprinter.assistant(id).bits()
    }

    /// The terms of a row. One to three hashes, about 80 ns each.
    #[must_use]
    pub fn terms<S: AsRef<str>>(&self, assistant: AssistantId, channel: &Channel<S>) -> Terms {
        let row = self.fingerprinter.row(assistant, channel, true);
        let bits = |field| row.get(field).map(crate::encoding::index_term::Fingerprint::bits);
        Terms {
            kind: kind_number(channel.kind()),
            assistant: bits(Field::Assistant).unwrap_or_default(),
            sender: bits(Field::Sender),
            customer: bits(Field::Customer),
            external: bits(Field::External),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// What is stored of an access token that a client may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredAccess {
    /// The SHA-256 of the token.
    pub digest: [u8; 32],
    /// The user.
    pub user: UserId,
    /// The scopes, one bit each.
    pub scopes: u8,
    /// The only assistant that the token reaches.
    pub assistant: Option<AssistantId>,
    /// The time from which on it is refused.
    pub expires_at: Option<Timestamp>,
    /// The last recorded use.
    pub last_used_at: Option<Timestamp>,
}

impl StoredAccess {
    /// What the token allows; `None` if it has expired at `now`.
    ///
    /// # Errors
    /// [`Error::Corrupted`](crate::Error::Corrupted) if the scopes cannot be.
    pub fn access(self, now: Timestamp) -> Result<Option<Access>> {
        let Self { digest, user, scopes, assistant, expires_at, last_used_at } = self;
        let scopes = Scopes::from_bits(scopes);
        let scopes = scopes.ok_or_else(|| corrupted("token", "a token has unknown scopes"))?;
        let token = token_id(digest);
        let access = Access { token, user, scopes, assistant, last_used_at };
        Ok(access.valid_at(now, expires_at))
    }
}

/// The text of a new access token with these random bytes.
#[must_use]
pub fn token_text(secret: &[u8; 32]) -> String {
    TokenText::new(secret).into_string()
}

/// The public id of the token with this SHA-256.
#[must_use]
pub fn token_id(digest: [u8; 32]) -> TokenId {
    accounts::token_id(DigestKey(digest))
}

/// The scopes of a token as they are stored, one bit each.
#[must_use]
pub const fn scope_bits(scopes: Scopes) -> u8 {
    scopes.bits()
}

/// The scopes with these bits; `None` if there are none, or unknown ones.
#[must_use]
pub const fn scopes_of_bits(bits: u8) -> Option<Scopes> {
    Scopes::from_bits(bits)
}

/// The first and the last digest of tokens with this id.
#[must_use]
pub fn token_digests(token: TokenId) -> ([u8; 32], [u8; 32]) {
    let of = |rest: u8| {
        let mut digest = [rest; 32];
        digest.iter_mut().zip(token.bytes()).for_each(|(to, byte)| *to = byte);
        digest
    };
    (of(0), of(u8::MAX))
}

/// The number of a type as it is stored: 0 test, 1 widget, 2 whatsapp, 3 api.
#[must_use]
pub const fn kind_number(kind: ChannelKind) -> u8 {
    key::kind_number(kind)
}

/// The type with this number.
#[must_use]
pub fn channel_kind(number: u8) -> Option<ChannelKind> {
    key::kind_of_number(u32::from(number))
}

/// The SHA-256 of an access token, which is stored in its place.
#[must_use]
pub fn token_digest(token: &str) -> [u8; 32] {
    digest(token).0
}
