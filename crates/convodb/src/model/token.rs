//! Access tokens: what a token is, what it allows, and how an operator names it.
//!
//! The token itself is 256 random bits as text, which only its creation returns.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};

use crate::error::{Error, Result};
use crate::model::id::{AssistantId, UserId};
use crate::model::text::Name;
use crate::model::timestamp::Timestamp;

/// The public id of an access token: 16 hexadecimal digits.
///
/// It is the beginning of the token's SHA-256, which reveals nothing of the 256 random bits of the
/// token, so it may be shown and logged. Serde: a string.
///
/// ```
/// use convodb::TokenId;
/// let id: TokenId = "0123456789abcdef".parse()?;
/// assert_eq!(id.to_string(), "0123456789abcdef");
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; 8]);

impl TokenId {
    pub(crate) const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

impl FromStr for TokenId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(Error::Invalid {
            field: "token id",
            reason: "must be 16 hexadecimal digits in lower case, as the list of tokens shows it",
        })
    }
}

/// A kind of operation that an access token allows. Each is independent of the others: a token that
/// may write may not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Read conversations, changes, assistants and the user.
    Read,
    /// Create, change and delete conversations, messages and assistants.
    Write,
    /// Import conversations.
    Import,
    /// Export conversations.
    Export,
    /// Read statistics.
    Stats,
    /// List, create, narrow and revoke access tokens of the account.
    Tokens,
    /// Read how the server is doing, which concerns all its users.
    Health,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Scope; 7] = [
        Scope::Read,
        Scope::Write,
        Scope::Import,
        Scope::Export,
        Scope::Stats,
        Scope::Tokens,
        Scope::Health,
    ];

    /// The name: `read`, `write`, `import`, `export`, `stats`, `tokens` or `health`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Import => "import",
            Scope::Export => "export",
            Scope::Stats => "stats",
            Scope::Tokens => "tokens",
            Scope::Health => "health",
        }
    }

    /// The bit of the scope in a set, which is part of the format.
    const fn bit(self) -> u8 {
        match self {
            Scope::Read => 1,
            Scope::Write => 2,
            Scope::Import => 4,
            Scope::Export => 8,
            Scope::Stats => 16,
            Scope::Tokens => 32,
            Scope::Health => 64,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A set of at least one [`Scope`]. The text form lists them: `read,stats`. Serde: that text.
///
/// ```
/// use convodb::{Scope, Scopes};
/// let scopes: Scopes = "stats,read".parse()?;
/// assert!(scopes.contains(Scope::Read) && !scopes.contains(Scope::Write));
/// assert_eq!(scopes.to_string(), "read,stats");
/// assert!("".parse::<Scopes>().is_err());
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope.
    pub const ALL: Scopes = Scopes(127);

    /// The scopes of the data of an account: all but [`Scope::Tokens`] and [`Scope::Health`].
    pub const DATA: Scopes = Scopes(31);

    /// Whether the set contains the scope.
    #[must_use]
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// The scopes of the set, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }

    /// Whether every scope of the set is one of `other`.
    #[must_use]
    pub const fn is_subset(self, other: Scopes) -> bool {
        self.0 & !other.0 == 0
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// The set with these bits; `None` if it is empty or has an unknown scope.
    pub(crate) const fn from_bits(bits: u8) -> Option<Self> {
        if bits == 0 || bits & !Self::ALL.0 != 0 { None } else { Some(Self(bits)) }
    }
}

impl From<Scope> for Scopes {
    fn from(scope: Scope) -> Self {
        Self(scope.bit())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.iter().map(Scope::as_str).collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

impl FromStr for Scopes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bits = text.split(',').try_fold(0, |bits, word| {
            let scope = Scope::ALL.into_iter().find(|scope| scope.as_str() == word)?;
            Some(bits | scope.bit())
        });
        bits.and_then(Self::from_bits).ok_or(Error::Invalid {
            field: "scopes",
            reason: "must be a list of read, write, import, export, stats, tokens and health, as in \
                     read,stats",
        })
    }
}

/// Options of a new access token. The default reaches all data of the account and never expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOptions {
    /// A name for people; none by default.
    pub name: Option<Name>,
    /// What the token allows; [`Scopes::DATA`] by default.
    pub scopes: Scopes,
    /// The only assistant whose conversations the token reaches; all by default.
    pub assistant: Option<AssistantId>,
    /// The time from which on the token is refused; never by default.
    pub expires_at: Option<Timestamp>,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self { name: None, scopes: Scopes::DATA, assistant: None, expires_at: None }
    }
}

/// What narrows an access token. The default changes nothing.
///
/// A token can only become narrower: who has it never gains anything, so an operator may narrow a
/// token without asking its holder. More needs a new token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenNarrowing {
    /// The scopes that remain: some of those that the token has.
    pub scopes: Option<Scopes>,
    /// The only assistant that the token still reaches.
    pub assistant: Option<AssistantId>,
    /// The time from which on the token is refused: not later than before.
    pub expires_at: Option<Timestamp>,
}

/// The text of an access token before it is stored: `cvdb_` and 256 random bits. `Debug` does not
/// print it. [`Store::draw_token`](crate::Store::draw_token) returns one.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(String);

impl TokenText {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self(format!("{}{}", TokenPrefix::START, BASE64URL_NOPAD.encode(secret)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenText").finish_non_exhaustive()
    }
}

/// A new access token. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken {
    /// The token, which cannot be shown again: the store has only its hash.
    pub token: String,
    /// Its public id.
    pub id: TokenId,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").field("id", &self.id).finish_non_exhaustive()
    }
}

/// An access token, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Token {
    /// The public id.
    pub id: TokenId,
    /// The user whose data it reaches.
    pub user: UserId,
    /// The name for people.
    pub name: Option<Name>,
    /// The first characters of the token, by which a leaked token is recognized; `None` for a token
    /// of an older version, which did not store them.
    pub prefix: Option<String>,
    /// What it allows.
    pub scopes: Scopes,
    /// The only assistant whose conversations it reaches.
    pub assistant: Option<AssistantId>,
    /// The time of creation, as the caller gave it.
    pub created_at: Timestamp,
    /// The time from which on it is refused.
    pub expires_at: Option<Timestamp>,
    /// The last recorded use.
    pub last_used_at: Option<Timestamp>,
}

/// What a valid access token allows: the result of an authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The token's public id.
    pub token: TokenId,
    /// The user whose data it reaches.
    pub user: UserId,
    /// What it allows.
    pub scopes: Scopes,
    /// The only assistant whose conversations it reaches: see
    /// [`Snapshot::restricted_to`](crate::Snapshot::restricted_to).
    pub assistant: Option<AssistantId>,
    /// The last recorded use: see [`Transaction::record_token_use`](crate::Transaction::record_token_use).
    pub last_used_at: Option<Timestamp>,
}

impl Access {
    /// This access, if its token expires after `now` or never.
    pub(crate) fn valid_at(self, now: Timestamp, expires_at: Option<Timestamp>) -> Option<Self> {
        expires_at.is_none_or(|expires_at| now < expires_at).then_some(self)
    }
}

/// The first characters of a token, which tell it from others without revealing it: `cvdb_` and 4
/// of its 43 random characters.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenPrefix(String);

impl TokenPrefix {
    pub(crate) const START: &'static str = "cvdb_";
    /// 24 of the token's 256 random bits.
    const BYTES: usize = Self::START.len() + 4;

    /// The prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenPrefix({})", self.0)
    }
}

/// Takes the beginning of a token, or a whole one.
impl FromStr for TokenPrefix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let prefix = text.get(..Self::BYTES).filter(|text| text.starts_with(Self::START));
        prefix.map(|prefix| Self(prefix.to_owned())).ok_or(Error::Invalid {
            field: "prefix",
            reason: "must begin with cvdb_ and have at least the next 4 characters of the token",
        })
    }
}

/// The access tokens that [`Store::revoke_tokens`](crate::Store::revoke_tokens) revokes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSelector {
    /// The token with this id.
    Id(TokenId),
    /// All tokens that begin with this prefix; those of an older version do not store it.
    Prefix(TokenPrefix),
    /// All tokens of this user.
    User(UserId),
    /// All tokens of all users.
    All,
}

/// The text forms of [`TokenId`] and [`Scopes`].
#[cfg(feature = "serde")]
mod text_forms {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Scopes, TokenId};
    use crate::model::serialize::from_text;

    impl Serialize for TokenId {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for TokenId {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            from_text(deserializer)
        }
    }

    impl Serialize for Scopes {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for Scopes {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            from_text(deserializer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_a_list_of_known_words() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse::<Scopes>().unwrap(), Scopes::from(scope));
        }
        let all = "read,write,import,export,stats,tokens,health";
        assert_eq!(all.parse::<Scopes>().unwrap(), Scopes::ALL);
        assert_eq!(Scopes::ALL.to_string(), all);
        assert_eq!(Scopes::DATA.to_string(), "read,write,import,export,stats");
        for wrong in ["", ",", "read,", "Read", "read write", "admin"] {
            let error = wrong.parse::<Scopes>().unwrap_err().to_string();
            assert!(
                error.contains("read, write, import, export, stats, tokens and health"),
                "{error}"
            );
        }
    }

    /// The bits are on disk: a change of one is a change of the format.
    #[test]
    fn the_bits_of_the_scopes_are_frozen() {
        assert_eq!(Scope::ALL.map(Scope::bit), [1, 2, 4, 8, 16, 32, 64]);
        assert_eq!([0, 128, 255].map(Scopes::from_bits), [None; 3]);
    }

    #[test]
    fn an_id_is_16_hexadecimal_digits() {
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "x"] {
            assert!(wrong.parse::<TokenId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_prefix_is_the_beginning_of_a_token() {
        for text in ["cvdb_AbCd", "cvdb_AbCdEf"] {
            assert_eq!(text.parse::<TokenPrefix>().unwrap().as_str(), "cvdb_AbCd");
        }
        for wrong in ["", "cvdb_", "cvdb_AbC", "other_AbCd", "cvdb_AbCé"] {
            assert!(wrong.parse::<TokenPrefix>().is_err(), "{wrong}");
        }
    }
}
