//! Users, assistants and access tokens. A token is never stored: only its SHA-256, which is also
//! its key, so a look-up compares digests of 256 random bits and tells nothing of a token by time.

use std::ops::RangeInclusive;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::encoding::key::{DigestKey, NumberKey, UuidKey};
use crate::encoding::record::{AccountV1, decode_small, encode_small};
use crate::error::{Error, Result};
use crate::model::account::{Assistant, User};
use crate::model::id::{AssistantId, UserId};
use crate::model::text::Name;
use crate::model::timestamp::Timestamp;
use crate::tables::{Records, Tables};
use crate::tables::{schema, sequences};

/// The key of a token or of a user's name.
pub(crate) fn digest(text: &str) -> DigestKey {
    DigestKey(Sha256::digest(text).into())
}

/// The user of this number. One descent.
pub(crate) fn user(users: &Records<UserId>, id: UserId) -> Result<Option<User>> {
    let Some(record) = users.get(id)? else {
        return Ok(None);
    };
    user_of(id, record.value()).map(Some)
}

fn user_of(id: UserId, record: &[u8]) -> Result<User> {
    let damaged = |what| Error::Corrupted { table: schema::names::USERS, what };
    let account: AccountV1<'_> = decode_small(&id, record).map_err(damaged)?;
    Ok(User {
        id,
        name: stored_name(account.name, schema::names::USERS)?,
        created_at: Timestamp::from_millis(account.created_at)
            .map_err(|_| damaged("a time is out of range"))?,
    })
}

fn stored_name(name: &str, table: &'static str) -> Result<Name> {
    Name::new(name.to_owned())
        .map_err(|_| Error::Corrupted { table, what: "a name is out of bounds" })
}

/// All users, by number.
pub(crate) fn users(users: &Records<UserId>) -> Result<Vec<User>> {
    users
        .iter()?
        .map(|entry| {
            let (id, record) = entry?;
            user_of(id, record.value())
        })
        .collect()
}

/// The user of this name. Two descents: the number that a name leads to has no checksum, so the
/// user's own name is compared.
pub(crate) fn user_of_name(
    users: &Records<UserId>,
    names: &Records<DigestKey>,
    name: &Name,
) -> Result<Option<UserId>> {
    let damaged = |what| Error::Corrupted { table: schema::names::USER_NAMES, what };
    let Some(stored) = names.get(digest(name.as_str()))? else { return Ok(None) };
    let number = stored.value().try_into();
    let number = number.map_err(|_| damaged("a user's number is not 4 bytes"))?;
    let id = UserId::new(u32::from_be_bytes(number));
    match user(users, id)? {
        Some(user) if user.name == *name => Ok(Some(id)),
        _ => Err(damaged("a name leads to no user of it")),
    }
}

/// Puts a user, new or with a new record.
pub(crate) fn put_user(tables: &mut Tables, user: &User) {
    let account =
        AccountV1 { name: user.name.as_str(), number: 0, created_at: user.created_at.millis() };
    tables.users.put(user.id, &encode_small(&user.id, account));
    tables.user_names.put(digest(user.name.as_str()), &user.id.get().to_be_bytes());
}

/// The user's assistant of this id. One descent.
pub(crate) fn assistant(
    assistants: &Records<UuidKey>,
    user: UserId,
    id: AssistantId,
) -> Result<Option<Assistant>> {
    let key = UuidKey { user, uuid: id.uuid() };
    let Some(record) = assistants.get(key)? else {
        return Ok(None);
    };
    assistant_of(key, record.value()).map(Some)
}

/// Appends the name of the user's assistant to `out`, and tells whether there is one. One descent.
pub(crate) fn assistant_name(
    tables: &Tables,
    user: UserId,
    id: AssistantId,
    out: &mut String,
) -> Result<bool> {
    let key = UuidKey { user, uuid: id.uuid() };
    if tables.assistant_names().append(key, out) {
        return Ok(true);
    }
    let Some(record) = tables.assistants.get(key)? else { return Ok(false) };
    let name = assistant_account(key, record.value())?.name;
    tables.assistant_names().insert(key, name);
    out.push_str(name);
    Ok(true)
}

fn assistant_of(key: UuidKey, record: &[u8]) -> Result<Assistant> {
    let account = assistant_account(key, record)?;
    Ok(Assistant {
        id: AssistantId::new(key.uuid),
        number: account.number,
        name: stored_name(account.name, schema::names::ASSISTANTS)?,
    })
}

fn assistant_account(key: UuidKey, record: &[u8]) -> Result<AccountV1<'_>> {
    let table = schema::names::ASSISTANTS;
    decode_small(&key, record).map_err(|what| Error::Corrupted { table, what })
}

/// Whether the user has the assistant. One descent.
pub(crate) fn has_assistant(
    assistants: &Records<UuidKey>,
    user: UserId,
    id: AssistantId,
) -> Result<bool> {
    Ok(assistants.get(UuidKey { user, uuid: id.uuid() })?.is_some())
}

/// The user's assistant of this number. Two descents: the id that a number leads to has no
/// checksum, so the assistant's own number is compared.
pub(crate) fn assistant_of_number(
    assistants: &Records<UuidKey>,
    numbers: &Records<NumberKey>,
    user: UserId,
    number: u32,
) -> Result<Option<Assistant>> {
    let Some(stored) = numbers.get(NumberKey { user, number })? else { return Ok(None) };
    numbered(assistants, user, number, stored.value()).map(Some)
}

/// The assistant that the entry of a number leads to.
fn numbered(
    assistants: &Records<UuidKey>,
    user: UserId,
    number: u32,
    stored: &[u8],
) -> Result<Assistant> {
    let damaged = |what| Error::Corrupted { table: schema::names::ASSISTANT_NUMBERS, what };
    let uuid = Uuid::from_slice(stored).map_err(|_| damaged("an id is not 16 bytes"))?;
    match assistant(assistants, user, AssistantId::new(uuid))? {
        Some(assistant) if assistant.number == number => Ok(assistant),
        _ => Err(damaged("a number leads to no assistant of it")),
    }
}

/// The user's assistants with a number above `after`, in order of number, at most `limit`.
pub(crate) fn assistants_after(
    assistants: &Records<UuidKey>,
    numbers: &Records<NumberKey>,
    user: UserId,
    after: u32,
    limit: usize,
) -> Result<Vec<Assistant>> {
    let Some(first) = after.checked_add(1) else {
        return Ok(Vec::new());
    };
    let range = NumberKey { user, number: first }..=NumberKey { user, number: u32::MAX };
    numbers
        .range(range)?
        .take(limit)
        .map(|entry| {
            let (key, stored) = entry?;
            numbered(assistants, user, key.number, stored.value())
        })
        .collect()
}

/// The number of the user's newest assistant, which may be deleted; 0 before the first. Two B-tree
/// lookups.
pub(crate) fn last_assistant_number(tables: &Tables, user: UserId) -> Result<u32> {
    let newest = tables.assistant_numbers.last(all_numbers(user))?.map_or(0, |(key, _)| key.number);
    Ok(newest.max(sequences::last_deleted_assistant(&tables.sequences, user)?))
}

/// How many assistants the user has. One B-tree lookup, then a step each.
pub(crate) fn assistant_count(numbers: &Records<NumberKey>, user: UserId) -> Result<u32> {
    numbers.range(all_numbers(user))?.try_fold(0, |count, entry| entry.map(|_| count + 1))
}

fn all_numbers(user: UserId) -> RangeInclusive<NumberKey> {
    NumberKey { user, number: 0 }..=NumberKey { user, number: u32::MAX }
}

/// Removes an assistant. Its number is recorded, so that it is not assigned again.
pub(crate) fn remove_assistant(
    tables: &mut Tables,
    user: UserId,
    assistant: &Assistant,
) -> Result<()> {
    tables.assistants.remove(UuidKey { user, uuid: assistant.id.uuid() })?;
    tables.assistant_numbers.remove(NumberKey { user, number: assistant.number })?;
    let last = sequences::last_deleted_assistant(&tables.sequences, user)?;
    sequences::put_last_deleted_assistant(tables, user, last.max(assistant.number));
    Ok(())
}

/// Puts an assistant, new or renamed.
pub(crate) fn put_assistant(tables: &mut Tables, user: UserId, assistant: &Assistant) {
    let key = UuidKey { user, uuid: assistant.id.uuid() };
    let account =
        AccountV1 { name: assistant.name.as_str(), number: assistant.number, created_at: 0 };
    tables.assistants.put(key, &encode_small(&key, account));
    let number = NumberKey { user, number: assistant.number };
    tables.assistant_numbers.put(number, assistant.id.uuid().as_bytes());
}

/// The user of a token. One descent.
pub(crate) fn user_of_token(tokens: &Records<DigestKey>, token: &str) -> Result<Option<UserId>> {
    user_of_digest(tokens, digest(token))
}

/// The user of the token of this digest.
pub(crate) fn user_of_digest(
    tokens: &Records<DigestKey>,
    key: DigestKey,
) -> Result<Option<UserId>> {
    let Some(record) = tokens.get(key)? else { return Ok(None) };
    let account: AccountV1<'_> = decode_small(&key, record.value())
        .map_err(|what| Error::Corrupted { table: schema::names::TOKENS, what })?;
    Ok(Some(UserId::new(account.number)))
}

/// Puts a token of a user.
pub(crate) fn put_token(tables: &mut Tables, token: &str, user: UserId, created_at: Timestamp) {
    let key = digest(token);
    let account = AccountV1 { name: "", number: user.get(), created_at: created_at.millis() };
    tables.tokens.put(key, &encode_small(&key, account));
}
