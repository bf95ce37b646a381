//! Schema: the one declaration of each table, with its key, its value and its name on disk.
//!
//! All integers in keys are big-endian. Every key of a user's data begins with the user's number.
//! `docs/file-format.md` describes the same for other programs.
//!
//! Names on disk are part of the format and never change. Two differ from today's words:
//! `totals.v1` contains the counters, and `answers.v1` the idempotency records. The order of the
//! tables is part of the format of the WAL; earlier formats lack some of them ([`lacking`]).

use redb::{ReadTransaction, WriteTransaction};

use crate::encoding::index_term::Field;
use crate::encoding::key::{
    ActivityKey, ChangeKey, CounterKey, DigestKey, IndexKey, ListCounterKey, MessageKey, NumberKey,
    RowKey, UuidKey,
};
use crate::error::Result;
use crate::kv::table::{AnyTable, Table};
use crate::kv::table_spec::TableSpec;
use crate::model::id::UserId;

/// The format that this version writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 5;

/// A value of bytes.
pub(crate) type Bytes = &'static [u8];
/// A table from a fixed-width key to bytes.
pub(crate) type BytesTable<K> = Table<K, Bytes>;
/// An index table: keys alone.
pub(crate) type IndexTable = Table<IndexKey, ()>;

/// Declares groups of tables: `field: key => value, SPEC = declaration`. Generates the spec of each
/// table and the struct of each group. A macro, because fields, specs and lists of tables would
/// otherwise repeat each other, and the compiler cannot check that they agree.
macro_rules! tables {
    ($(
        $(#[$group_doc:meta])*
        $Group:ident {
            $( $(#[$doc:meta])* $field:ident: $Key:ty => $Value:ty, $SPEC:ident = $spec:expr; )+
        }
    )+) => {
        $($(
            $(#[$doc])*
            pub(crate) const $SPEC: TableSpec<$Key, $Value> = $spec;
        )+)+

        $(
            $(#[$group_doc])*
            #[derive(Clone)]
            pub(crate) struct $Group {
                $( $(#[$doc])* pub(crate) $field: Table<$Key, $Value>, )+
            }

            impl $Group {
                const TABLES: usize = [$( $SPEC.name, )+].len();

                /// Opens the tables of the group as of `read`.
                pub(super) fn open(read: &ReadTransaction) -> Result<Self> {
                    Ok(Self { $( $field: Table::open(read, $SPEC)?, )+ })
                }

                /// The tables of the group, in the order of the WAL.
                pub(super) fn all(&self) -> [&dyn AnyTable; Self::TABLES] {
                    [$( &self.$field, )+]
                }

                /// The tables of the group for writing, in the order of the WAL.
                pub(super) fn all_mut(&mut self) -> [&mut dyn AnyTable; Self::TABLES] {
                    [$( &mut self.$field, )+]
                }
            }
        )+

        /// Creates the tables that do not exist.
        pub(crate) fn create_missing(write: &WriteTransaction) -> Result<()> {
            $($( $SPEC.open_for_write(write)?; )+)+
            Ok(())
        }
    };
}

tables! {
    /// The conversations of each user in list order, and their lookup by id.
    Conversations {
        /// `user u32, position u64` -> record of a conversation.
        rows: RowKey => Bytes, CONVERSATIONS = TableSpec::records("conversations.v1");
        /// `user u32, uuid` -> position u64.
        ids: UuidKey => Bytes, CONVERSATION_IDS = TableSpec::plain("conversation_ids.v1");
    }

    /// The secondary indexes of conversations, one for each leading field. Keys are `user u32, term
    /// u64, position u64`; there are no values.
    Indexes {
        /// Shapes led by the type.
        kind: IndexKey => (), INDEX_TYPE = TableSpec::plain("index_type.v1");
        /// Shapes led by the assistant.
        assistant: IndexKey => (), INDEX_ASSISTANT = TableSpec::plain("index_assistant.v1");
        /// Shapes led by the sender's phone.
        sender: IndexKey => (), INDEX_SENDER = TableSpec::plain("index_sender.v1");
        /// Shapes led by the customer's phone.
        customer: IndexKey => (), INDEX_CUSTOMER = TableSpec::plain("index_customer.v1");
        /// Shapes led by the external identifier.
        external: IndexKey => (), INDEX_EXTERNAL = TableSpec::plain("index_external.v1");
        /// Shapes led by an AI that is off; empty without the family `ai-off`.
        ai_off: IndexKey => (), INDEX_AI_OFF = TableSpec::plain("index_ai_off.v1");
    }

    /// The messages of each conversation, clustered by conversation. Numbers start at 1 and have no
    /// gap.
    Messages {
        /// `user u32, position u64, number u32` -> record of a message.
        table: MessageKey => Bytes, MESSAGES = TableSpec::records("messages.v1");
    }

    /// Counters of conversations, messages and costs by time, assistant and type.
    Counters {
        /// `user u32, time bucket u32, assistant uuid, 0 u32` -> record of counters.
        table: CounterKey => Bytes, COUNTERS = TableSpec::records("totals.v1");
    }

    /// Users, assistants and access tokens.
    Accounts {
        /// `user u32` -> record of an account.
        users: UserId => Bytes, USERS = TableSpec::records("users.v1");
        /// SHA-256 of the name -> user u32.
        user_names: DigestKey => Bytes, USER_NAMES = TableSpec::plain("user_names.v1");
        /// `user u32, uuid` -> record of an account.
        assistants: UuidKey => Bytes, ASSISTANTS = TableSpec::records("assistants.v1");
        /// `user u32, number u32` -> uuid.
        assistant_numbers: NumberKey => Bytes,
            ASSISTANT_NUMBERS = TableSpec::plain("assistant_numbers.v1");
        /// SHA-256 of the token -> record of an account.
        tokens: DigestKey => Bytes, TOKENS = TableSpec::records("tokens.v1");
    }

    /// Numbers that are assigned once: of users, of each user's changes and of assistants.
    Sequences {
        /// `user u32 (0 for the store), sequence u32` -> u64.
        table: NumberKey => Bytes, SEQUENCES = TableSpec::plain("sequences.v1");
    }

    /// The change feed of each user: what happened to the user's conversations, in the order of
    /// their commits. Numbers start at 1 and have no gap; the oldest changes are trimmed, and their
    /// numbers are never reused.
    ChangeFeed {
        /// `user u32, number u64` -> record of a change.
        changes: ChangeKey => Bytes, CHANGES = TableSpec::records("changes.v1");
        /// `user u32, hour u32` -> number u64 of the last change at some time of that hour.
        marks: NumberKey => Bytes, CHANGE_MARKS = TableSpec::plain("change_marks.v1");
    }

    /// The response of each write with an idempotency key, returned when the write is retried.
    Idempotency {
        /// `user u32, 16 bytes of the BLAKE3 hash of the key` -> record of a response.
        table: UuidKey => Bytes, IDEMPOTENCY = TableSpec::records("answers.v1");
    }

    /// Inserts whose messages are stored in several writes, and whose row follows.
    StagedInserts {
        /// `user u32, position u64` -> record of a staged insert.
        table: RowKey => Bytes, STAGED_INSERTS = TableSpec::records("staged.v1");
    }

    /// What each user's data takes, and the limits of a user.
    Quotas {
        /// `user u32` -> record of a quota.
        table: UserId => Bytes, QUOTAS = TableSpec::records("quotas.v1");
    }

    /// The index of conversations by last activity; empty without the family `last-activity`. A write moves the entries of a conversation
    /// whose last activity it changes.
    ActivityIndex {
        /// `user u32, term u64, last activity u48, position u64`; there are no values.
        table: ActivityKey => (), INDEX_ACTIVITY = TableSpec::plain("index_activity.v1");
    }

    /// Counters of lists by phone, identifier or an AI that is off; empty without the family
    /// `counters`.
    ListCounters {
        /// `user u32, term u64, month u32` -> record of counters of a list.
        table: ListCounterKey => Bytes, LIST_COUNTERS = TableSpec::records("list_counters.v1");
    }
}

/// The tables that each format added to those of the one before.
///
/// Stores of format 3 exist without `staged.v1` and `quotas.v1`, or without the former.
const ADDED: [(u32, &[&str]); 4] = [
    (2, &[CHANGES.name, CHANGE_MARKS.name, IDEMPOTENCY.name]),
    (3, &[STAGED_INSERTS.name, QUOTAS.name]),
    (4, &[INDEX_AI_OFF.name, INDEX_ACTIVITY.name]),
    (5, &[LIST_COUNTERS.name]),
];

/// The names of the tables that a store of this format lacks.
pub(crate) fn lacking(format: u32) -> impl Iterator<Item = &'static str> {
    let later = ADDED.into_iter().filter(move |(since, _)| *since > format);
    later.flat_map(|(_, names)| names.iter().copied())
}

/// The specs of the index tables, by the number of their leading field.
const INDEXES: [TableSpec<IndexKey, ()>; Field::ALL.len()] =
    [INDEX_TYPE, INDEX_ASSISTANT, INDEX_SENDER, INDEX_CUSTOMER, INDEX_EXTERNAL, INDEX_AI_OFF];

/// The spec of the index table of a leading field.
pub(crate) const fn index(leading: Field) -> TableSpec<IndexKey, ()> {
    INDEXES[leading as usize]
}
