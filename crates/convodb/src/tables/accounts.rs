//! Accounts: users, assistants and access tokens.
//!
//! A token is never stored: the table has its SHA-256 as the key. A lookup compares digests of 256
//! random bits, so its duration reveals nothing about a token.

use std::ops::RangeInclusive;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::encoding::key::{DigestKey, FixedKey, NumberKey, UuidKey};
use crate::encoding::record::{
    self, AccountV1, Body, Damage, TokenV2, decode_small, encode_small, encode_small_v2,
};
use crate::error::Result;
use crate::kv::table_spec::TableSpec;
use crate::model::account::{Assistant, User};
use crate::model::id::{AssistantId, UserId};
use crate::model::text::Name;
use crate::model::timestamp::Timestamp;
use crate::model::token::{
    Access, Scopes, Token, TokenId, TokenOptions, TokenPrefix, TokenSelector,
};
use crate::tables::name_cache::AssistantNameCache;
use crate::tables::schema::{
    ASSISTANT_NUMBERS, ASSISTANTS, Accounts, Bytes, Sequences, TOKENS, USER_NAMES, USERS,
};

/// The key of a token or of a user's name: the SHA-256 of its text.
pub(crate) fn digest(text: &str) -> DigestKey {
    DigestKey(Sha256::digest(text).into())
}

/// Users.
impl Accounts {
    /// The user with this number. One B-tree lookup.
    pub(crate) fn user(&self, id: UserId) -> Result<Option<User>> {
        let record = self.users.get(id)?;
        record.map(|record| decode_user(id, record.value())).transpose()
    }

    /// Whether the user exists. One B-tree lookup.
    pub(crate) fn has_user(&self, id: UserId) -> Result<bool> {
        Ok(self.users.get(id)?.is_some())
    }

    /// Whether the user exists and is being erased. One B-tree lookup.
    pub(crate) fn is_closed(&self, id: UserId) -> Result<bool> {
        let Some(record) = self.users.get(id)? else { return Ok(false) };
        let account: AccountV1<'_> =
            decode_small(&id, record.value()).map_err(|what| USERS.corrupted(what))?;
        decode_closed(account.number)
    }

    /// All users, by number.
    pub(crate) fn users(&self) -> Result<Vec<User>> {
        let entries = self.users.iter()?;
        entries
            .map(|entry| entry.and_then(|(id, record)| decode_user(id, record.value())))
            .collect()
    }

    /// The user with this name. Two B-tree lookups: numbers in the name table have no checksum, so
    /// the name in the user's record is compared.
    pub(crate) fn user_by_name(&self, name: &Name) -> Result<Option<UserId>> {
        let Some(stored) = self.user_names.get(digest(name.as_str()))? else { return Ok(None) };
        let number = stored.value().try_into();
        let number = number.map_err(|_| USER_NAMES.corrupted("a user's number is not 4 bytes"))?;
        let id = UserId::new(u32::from_be_bytes(number));
        match self.user(id)? {
            Some(user) if user.name == *name => Ok(Some(id)),
            _ => Err(USER_NAMES.corrupted("a name leads to no user with this name")),
        }
    }

    /// Puts a new or changed user, and its lookup by name.
    pub(crate) fn put_user(&mut self, user: &User) {
        let created_at = user.created_at.millis();
        let number = u32::from(user.closed);
        let account = AccountV1 { name: user.name.as_str(), number, created_at };
        self.users.put(user.id, &encode_small(&user.id, account));
        self.user_names.put(digest(user.name.as_str()), &user.id.get().to_be_bytes());
    }

    /// Removes the lookup of a user by its name.
    pub(crate) fn remove_name(&mut self, name: &Name) -> Result<()> {
        self.user_names.remove(digest(name.as_str()))
    }
}

/// Assistants.
impl Accounts {
    /// The user's assistant `id`. One B-tree lookup.
    pub(crate) fn assistant(&self, user: UserId, id: AssistantId) -> Result<Option<Assistant>> {
        let key = UuidKey { user, uuid: id.uuid() };
        let record = self.assistants.get(key)?;
        record.map(|record| decode_assistant(key, record.value())).transpose()
    }

    /// Whether the user has the assistant. One B-tree lookup.
    pub(crate) fn has_assistant(&self, user: UserId, id: AssistantId) -> Result<bool> {
        Ok(self.assistants.get(UuidKey { user, uuid: id.uuid() })?.is_some())
    }

    /// Appends the name of the user's assistant to `out`, and returns whether the assistant exists.
    /// One B-tree lookup if `cache` does not have the name.
    pub(crate) fn assistant_name(
        &self,
        cache: &AssistantNameCache,
        user: UserId,
        id: AssistantId,
        out: &mut String,
    ) -> Result<bool> {
        let key = UuidKey { user, uuid: id.uuid() };
        if cache.append(key, out) {
            return Ok(true);
        }
        let Some(record) = self.assistants.get(key)? else { return Ok(false) };
        let name = decode_account(key, record.value())?.name;
        cache.insert(key, name);
        out.push_str(name);
        Ok(true)
    }

    /// The user's assistant with this number. Two B-tree lookups: ids in the number table have no
    /// checksum, so the number in the assistant's record is compared.
    pub(crate) fn assistant_by_number(
        &self,
        user: UserId,
        number: u32,
    ) -> Result<Option<Assistant>> {
        let stored = self.assistant_numbers.get(NumberKey { user, number })?;
        stored.map(|stored| self.numbered(user, number, stored.value())).transpose()
    }

    /// The assistant of an entry of the number table.
    fn numbered(&self, user: UserId, number: u32, stored: &[u8]) -> Result<Assistant> {
        let uuid = Uuid::from_slice(stored);
        let uuid = uuid.map_err(|_| ASSISTANT_NUMBERS.corrupted("an id is not 16 bytes"))?;
        match self.assistant(user, AssistantId::new(uuid))? {
            Some(assistant) if assistant.number == number => Ok(assistant),
            _ => {
                Err(ASSISTANT_NUMBERS.corrupted("a number leads to no assistant with this number"))
            }
        }
    }

    /// The user's assistants by number, without the first `offset`, at most `limit`. One B-tree
    /// lookup, then a step for each that is skipped, and a step and a lookup for each returned.
    pub(crate) fn assistants(
        &self,
        user: UserId,
        offset: u32,
        limit: usize,
    ) -> Result<Vec<Assistant>> {
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        let entries = self.assistant_numbers.range(all_numbers(user))?.skip(skipped).take(limit);
        entries
            .map(|entry| entry.and_then(|(key, id)| self.numbered(user, key.number, id.value())))
            .collect()
    }

    /// The number of the user's newest assistant, which may be deleted; 0 before the first. Two
    /// B-tree lookups.
    pub(crate) fn last_assistant_number(&self, sequences: &Sequences, user: UserId) -> Result<u32> {
        let newest = self.assistant_numbers.last(all_numbers(user))?;
        let newest = newest.map_or(0, |(key, _)| key.number);
        Ok(newest.max(sequences.last_deleted_assistant(user)?))
    }

    /// The number of the user's assistants. One B-tree lookup, then a step for each.
    pub(crate) fn assistant_count(&self, user: UserId) -> Result<u32> {
        let mut numbers = self.assistant_numbers.range(all_numbers(user))?;
        numbers.try_fold(0, |count, entry| entry.map(|_| count + 1))
    }

    /// Puts a new or renamed assistant, and its lookup by number.
    pub(crate) fn put_assistant(&mut self, user: UserId, assistant: &Assistant) {
        let key = UuidKey { user, uuid: assistant.id.uuid() };
        let name = assistant.name.as_str();
        let account = AccountV1 { name, number: assistant.number, created_at: 0 };
        self.assistants.put(key, &encode_small(&key, account));
        let number = NumberKey { user, number: assistant.number };
        self.assistant_numbers.put(number, assistant.id.uuid().as_bytes());
    }

    /// Removes an assistant, and records its number so that it is not reused.
    pub(crate) fn remove_assistant(
        &mut self,
        sequences: &mut Sequences,
        user: UserId,
        assistant: &Assistant,
    ) -> Result<()> {
        self.assistants.remove(UuidKey { user, uuid: assistant.id.uuid() })?;
        self.assistant_numbers.remove(NumberKey { user, number: assistant.number })?;
        let last = sequences.last_deleted_assistant(user)?;
        sequences.put_last_deleted_assistant(user, last.max(assistant.number));
        Ok(())
    }
}

/// Access tokens.
impl Accounts {
    /// The token with this text. One B-tree lookup.
    pub(crate) fn token(&self, text: &str) -> Result<Option<TokenRecord>> {
        let key = digest(text);
        let record = self.tokens.get(key)?;
        record.map(|record| decode_token(key, record.value())).transpose()
    }

    /// The token with this id. One B-tree lookup.
    pub(crate) fn token_by_id(&self, id: TokenId) -> Result<Option<TokenRecord>> {
        self.tokens_with_id(id)?.next().transpose()
    }

    /// The tokens with this id: one at most, because ids have 64 bits of a hash.
    fn tokens_with_id(&self, id: TokenId) -> Result<impl Iterator<Item = Result<TokenRecord>>> {
        let [mut first, mut last] = [[0; 32], [0xff; 32]];
        first[..8].copy_from_slice(&id.bytes());
        last[..8].copy_from_slice(&id.bytes());
        let entries = self.tokens.range(DigestKey(first)..=DigestKey(last))?;
        Ok(entries.map(|entry| entry.and_then(|(key, record)| decode_token(key, record.value()))))
    }

    /// All tokens, in the order of their ids.
    pub(crate) fn tokens(&self) -> Result<impl Iterator<Item = Result<TokenRecord>>> {
        let entries = self.tokens.iter()?;
        Ok(entries.map(|entry| entry.and_then(|(key, record)| decode_token(key, record.value()))))
    }

    /// Puts a new token of a user, and returns its id.
    pub(crate) fn put_new_token(
        &mut self,
        text: &str,
        user: UserId,
        created_at: Timestamp,
        options: TokenOptions,
    ) -> TokenId {
        let key = digest(text);
        let TokenOptions { name, scopes, assistant, expires_at } = options;
        let prefix = text.parse().ok().map(|prefix: TokenPrefix| prefix.as_str().to_owned());
        let token = Token {
            id: token_id(key),
            user,
            name,
            prefix,
            scopes,
            assistant,
            created_at,
            expires_at,
            last_used_at: None,
        };
        self.put_token(key, &token);
        token.id
    }

    /// Puts a token by its hash.
    pub(crate) fn put_token(&mut self, key: DigestKey, token: &Token) {
        let record = TokenV2 {
            user: token.user.get(),
            created_at: token.created_at.millis(),
            name: token.name.as_ref().map_or("", Name::as_str),
            prefix: token.prefix.as_deref().unwrap_or_default(),
            scopes: token.scopes.bits(),
            assistant: token.assistant.map(|id| id.uuid().into_bytes()),
            expires_at: token.expires_at.map(Timestamp::millis),
            last_used_at: token.last_used_at.map(Timestamp::millis),
        };
        self.tokens.put(key, &encode_small_v2(&key, record));
    }

    /// Records a use of a token, unless a later one is recorded. One B-tree lookup, and a write.
    pub(crate) fn record_token_use(&mut self, id: TokenId, at: Timestamp) -> Result<()> {
        match self.token_by_id(id)? {
            Some(TokenRecord { key, token }) if token.last_used_at < Some(at) => {
                self.put_token(key, &Token { last_used_at: Some(at), ..token });
            }
            _ => {}
        }
        Ok(())
    }

    /// Replaces the token of a record.
    pub(crate) fn replace_token(&mut self, record: &TokenRecord, token: &Token) {
        self.put_token(record.key, token);
    }

    /// Removes a token.
    pub(crate) fn remove_token(&mut self, text: &str) -> Result<()> {
        self.tokens.remove(digest(text))
    }

    /// Removes the selected tokens, and returns how many. One B-tree lookup for an id, else a step
    /// for each token of any user.
    pub(crate) fn remove_tokens(&mut self, selector: &TokenSelector) -> Result<u64> {
        let selected = |token: &Token| match selector {
            TokenSelector::Id(id) => token.id == *id,
            TokenSelector::Prefix(prefix) => token.prefix.as_deref() == Some(prefix.as_str()),
            TokenSelector::User(user) => token.user == *user,
            TokenSelector::All => true,
        };
        let all: Vec<TokenRecord> = match selector {
            TokenSelector::Id(id) => self.tokens_with_id(*id)?.collect::<Result<_>>()?,
            _ => self.tokens()?.collect::<Result<_>>()?,
        };
        let keys: Vec<DigestKey> =
            all.iter().filter(|found| selected(&found.token)).map(|found| found.key).collect();
        keys.iter().try_for_each(|key| self.tokens.remove(*key))?;
        Ok(keys.len() as u64)
    }
}

/// An access token with its key.
pub(crate) struct TokenRecord {
    key: DigestKey,
    pub(crate) token: Token,
}

impl TokenRecord {
    /// The SHA-256 of the token.
    pub(crate) const fn digest(&self) -> [u8; 32] {
        self.key.0
    }

    /// What the token allows; `None` if it has expired at `now`.
    pub(crate) fn access(&self, now: Timestamp) -> Option<Access> {
        let Token { id, user, scopes, assistant, expires_at, last_used_at, .. } = self.token;
        let access = Access { token: id, user, scopes, assistant, last_used_at };
        access.valid_at(now, expires_at)
    }
}

/// The public id of a token: the first bytes of its hash.
pub(crate) fn token_id(key: DigestKey) -> TokenId {
    let DigestKey([a, b, c, d, e, f, g, h, ..]) = key;
    TokenId::new([a, b, c, d, e, f, g, h])
}

fn all_numbers(user: UserId) -> RangeInclusive<NumberKey> {
    NumberKey { user, number: 0 }..=NumberKey { user, number: u32::MAX }
}

fn decode_user(id: UserId, record: &[u8]) -> Result<User> {
    let damaged = |what| USERS.corrupted(what);
    let account: AccountV1<'_> = decode_small(&id, record).map_err(damaged)?;
    let created_at = Timestamp::from_millis(account.created_at);
    Ok(User {
        id,
        name: decode_name(&USERS, account.name)?,
        created_at: created_at.map_err(|_| damaged("a time is out of range"))?,
        closed: decode_closed(account.number)?,
    })
}

/// Whether a user is closed, by the number in the user's record.
fn decode_closed(number: u32) -> Result<bool> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(USERS.corrupted("a user is neither open nor closed")),
    }
}

fn decode_assistant(key: UuidKey, record: &[u8]) -> Result<Assistant> {
    let account = decode_account(key, record)?;
    Ok(Assistant {
        id: AssistantId::new(key.uuid),
        number: account.number,
        name: decode_name(&ASSISTANTS, account.name)?,
    })
}

/// The length of the record of an assistant.
pub(crate) fn assistant_record_len(assistant: &Assistant) -> usize {
    // The name with its length, the number, and a time.
    record::sealed_len(size_of::<u64>() + assistant.name.as_str().len() + 4 + 8)
}

fn decode_account(key: UuidKey, record: &[u8]) -> Result<AccountV1<'_>> {
    decode_small(&key, record).map_err(|what| ASSISTANTS.corrupted(what))
}

fn decode_name<K: FixedKey>(table: &TableSpec<K, Bytes>, name: &str) -> Result<Name> {
    Name::new(name.to_owned()).map_err(|_| table.corrupted("a name is out of bounds"))
}

fn decode_token(key: DigestKey, record: &[u8]) -> Result<TokenRecord> {
    let token = record::open_any(&key, record).and_then(|body| decode_token_body(key, body));
    Ok(TokenRecord { key, token: token.map_err(|what| TOKENS.corrupted(what))? })
}

/// Decodes the two versions of a token. One of version 1 reaches all data and never expires.
pub(crate) fn decode_token_body(key: DigestKey, body: Body<'_>) -> Result<Token, Damage> {
    let stored = match body.version() {
        record::V1 => {
            let AccountV1 { name, number, created_at } = body.decode()?;
            TokenV2 {
                user: number,
                created_at,
                name,
                prefix: "",
                scopes: Scopes::DATA.bits(),
                assistant: None,
                expires_at: None,
                last_used_at: None,
            }
        }
        _ => body.decode::<TokenV2<'_>>()?,
    };
    let name = match stored.name {
        "" => None,
        name => Some(Name::new(name).map_err(|_| "a token's name is out of bounds")?),
    };
    let time = |millis: Option<u64>| millis.map(record::instant).transpose();
    let prefix = match stored.prefix {
        "" => None,
        prefix => Some(prefix.parse::<TokenPrefix>().ok().filter(|known| known.as_str() == prefix)),
    };
    let prefix = prefix.map(|known| known.ok_or("a token's prefix is malformed")).transpose()?;
    Ok(Token {
        id: token_id(key),
        user: UserId::new(stored.user),
        name,
        prefix: prefix.map(|prefix| prefix.as_str().to_owned()),
        scopes: Scopes::from_bits(stored.scopes).ok_or("a token has no known scopes")?,
        assistant: stored.assistant.map(|id| AssistantId::new(Uuid::from_bytes(id))),
        created_at: record::instant(stored.created_at)?,
        expires_at: time(stored.expires_at)?,
        last_used_at: time(stored.last_used_at)?,
    })
}
