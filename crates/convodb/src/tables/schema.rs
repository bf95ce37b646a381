//! Every table on one page. All integers in keys are big-endian; every key of a user's data
//! begins with the user's number. `docs/format.md` tells the same to other programs.
//!
//! | table | key | value |
//! |---|---|---|
//! | `conversations.v1` | user u32, position u64 | record of a conversation |
//! | `conversation_ids.v1` | user u32, uuid | position u64 |
//! | `index_type.v1`, `index_assistant.v1`, `index_sender.v1`, `index_customer.v1`, `index_external.v1` | user u32, term u64, position u64 | none |
//! | `messages.v1` | user u32, position u64, number u32 | record of a message |
//! | `totals.v1` | user u32, span u32, assistant uuid, kind u32 | record of a counter |
//! | `users.v1` | user u32 | record of an account |
//! | `user_names.v1` | SHA-256 of the name | user u32 |
//! | `assistants.v1` | user u32, uuid | record of an account |
//! | `assistant_numbers.v1` | user u32, number u32 | uuid |
//! | `tokens.v1` | SHA-256 of the token | record of an account |
//! | `sequences.v1` | user u32 (0 for the store), which u32 | the last number given, u64 |
//! | `changes.v1` | user u32, number u64 | record of a change |
//! | `change_marks.v1` | user u32, hour u32 | the number of the last change by then, u64 |
//! | `answers.v1` | user u32, 16 bytes of BLAKE3 of an idempotency key | record of an answer |
//! | `meta` | name | see [`crate::tables::meta`] |

use redb::TableDefinition;

use crate::encoding::index_term::Field;
use crate::encoding::key::{
    ChangeKey, CounterKey, DigestKey, FixedKey, IndexKey, MessageKey, NumberKey, RowKey, UuidKey,
};
use crate::kv::redb_key::RedbKey;
use crate::model::id::UserId;

/// The format that this version writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 2;

/// The tables' names on disk.
pub(crate) mod names {
    pub(crate) const CONVERSATIONS: &str = "conversations.v1";
    pub(crate) const CONVERSATION_IDS: &str = "conversation_ids.v1";
    pub(crate) const MESSAGES: &str = "messages.v1";
    pub(crate) const COUNTERS: &str = "totals.v1";
    pub(crate) const USERS: &str = "users.v1";
    pub(crate) const USER_NAMES: &str = "user_names.v1";
    pub(crate) const ASSISTANTS: &str = "assistants.v1";
    pub(crate) const ASSISTANT_NUMBERS: &str = "assistant_numbers.v1";
    pub(crate) const TOKENS: &str = "tokens.v1";
    pub(crate) const SEQUENCES: &str = "sequences.v1";
    pub(crate) const CHANGES: &str = "changes.v1";
    pub(crate) const CHANGE_MARKS: &str = "change_marks.v1";
    pub(crate) const IDEMPOTENCY: &str = "answers.v1";
    pub(crate) const META: &str = "meta";
}

/// The tables of bytes whose values are no records: they have no checksum of their own.
const UNSEALED: [&str; 5] = [
    names::CONVERSATION_IDS,
    names::USER_NAMES,
    names::ASSISTANT_NUMBERS,
    names::SEQUENCES,
    names::CHANGE_MARKS,
];

/// Whether the values of a table are records, each with a checksum.
pub(crate) fn is_sealed(table: &str) -> bool {
    !UNSEALED.contains(&table) && !INDEX_NAMES.contains(&table)
}

/// The tables about accounts, and the numbers that theirs has; all others are about conversations.
const OF_ACCOUNTS: [&str; 6] = [
    names::USERS,
    names::USER_NAMES,
    names::ASSISTANTS,
    names::ASSISTANT_NUMBERS,
    names::TOKENS,
    names::SEQUENCES,
];

/// Whether a table is about users, assistants and tokens.
pub(crate) fn is_of_accounts(table: &str) -> bool {
    OF_ACCOUNTS.contains(&table)
}

/// A table from a fixed-width key to bytes.
pub(crate) type BytesTable<K> = TableDefinition<'static, RedbKey<K>, &'static [u8]>;
/// A table of keys alone.
pub(crate) type KeyTable<K> = TableDefinition<'static, RedbKey<K>, ()>;

pub(crate) const CONVERSATIONS: BytesTable<RowKey> = table::<RowKey>(names::CONVERSATIONS);
pub(crate) const CONVERSATION_IDS: BytesTable<UuidKey> = table::<UuidKey>(names::CONVERSATION_IDS);
pub(crate) const MESSAGES: BytesTable<MessageKey> = table::<MessageKey>(names::MESSAGES);
pub(crate) const COUNTERS: BytesTable<CounterKey> = table::<CounterKey>(names::COUNTERS);
pub(crate) const USERS: BytesTable<UserId> = table::<UserId>(names::USERS);
pub(crate) const USER_NAMES: BytesTable<DigestKey> = table::<DigestKey>(names::USER_NAMES);
pub(crate) const ASSISTANTS: BytesTable<UuidKey> = table::<UuidKey>(names::ASSISTANTS);
pub(crate) const ASSISTANT_NUMBERS: BytesTable<NumberKey> =
    table::<NumberKey>(names::ASSISTANT_NUMBERS);
pub(crate) const TOKENS: BytesTable<DigestKey> = table::<DigestKey>(names::TOKENS);
pub(crate) const SEQUENCES: BytesTable<NumberKey> = table::<NumberKey>(names::SEQUENCES);
pub(crate) const CHANGES: BytesTable<ChangeKey> = table::<ChangeKey>(names::CHANGES);
pub(crate) const CHANGE_MARKS: BytesTable<NumberKey> = table::<NumberKey>(names::CHANGE_MARKS);
pub(crate) const IDEMPOTENCY: BytesTable<UuidKey> = table::<UuidKey>(names::IDEMPOTENCY);
pub(crate) const META: TableDefinition<'static, &'static [u8], &'static [u8]> =
    TableDefinition::new(names::META);

/// The index tables' names, by the number of their leading [`Field`].
pub(crate) const INDEX_NAMES: [&str; Field::ALL.len()] = [
    "index_type.v1",
    "index_assistant.v1",
    "index_sender.v1",
    "index_customer.v1",
    "index_external.v1",
];

/// The index table that `leading` names.
pub(crate) const fn index(leading: Field) -> KeyTable<IndexKey> {
    TableDefinition::new(INDEX_NAMES[leading as usize])
}

const fn table<K: FixedKey>(name: &'static str) -> BytesTable<K> {
    TableDefinition::new(name)
}
