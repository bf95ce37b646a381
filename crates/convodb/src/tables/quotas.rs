//! Quotas: what each user's data takes, and the limits of a user.
//!
//! Counted are conversations, and the bytes of keys and records of the tables that a client can fill
//! without end: [`is_counted`]. The count changes in the same write as what it counts, so it is
//! exact, and checking a quota is the one lookup that counting needs anyway.

use std::collections::BTreeMap;

use crate::encoding::key::{FixedKey, MessageKey, RowKey, UuidKey};
use crate::encoding::record::{
    QuotaV1, append_small, decode_small, encode_small, message_record_len,
};
use crate::encoding::row::{self, StoredMessages};
use crate::error::{Error, Result};
use crate::model::conversation::ConversationRef;
use crate::model::id::UserId;
use crate::model::message::Message;
use crate::model::quota::{Quota, QuotaLimit, StorageUsage, UserQuota};
use crate::tables::schema::{ASSISTANTS, CONVERSATIONS, IDEMPOTENCY, MESSAGES, QUOTAS, Quotas};

/// How a limit of none is stored.
const UNLIMITED: u64 = u64::MAX;

/// A change of what a user's data takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UsageChange {
    pub(crate) conversations: i64,
    pub(crate) bytes: i64,
}

impl UsageChange {
    /// More or fewer bytes.
    pub(crate) const fn of_bytes(bytes: i64) -> Self {
        Self { conversations: 0, bytes }
    }
}

/// Whether the bytes of the table with this name are counted.
pub(crate) fn is_counted(table: &str) -> bool {
    [CONVERSATIONS.name, MESSAGES.name, ASSISTANTS.name, IDEMPOTENCY.name].contains(&table)
}

/// The bytes of a conversation, without its messages.
pub(crate) fn conversation_bytes(
    conversation: &ConversationRef<'_>,
    stored: StoredMessages,
) -> i64 {
    bytes(RowKey::WIDTH + row::record_len(conversation, stored))
}

/// The bytes of a message.
pub(crate) fn message_bytes(message: &Message) -> i64 {
    bytes(MessageKey::WIDTH + message_record_len(message))
}

/// The bytes of an assistant or of an idempotency record of this length.
pub(crate) fn small_record_bytes(record: usize) -> i64 {
    bytes(UuidKey::WIDTH + record)
}

/// A length in memory as a change.
pub(crate) fn bytes(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

impl Quotas {
    /// What the user's data takes. One B-tree lookup.
    pub(crate) fn usage(&self, user: UserId) -> Result<StorageUsage> {
        let QuotaV1 { conversations, bytes, .. } = self.read(user)?;
        Ok(StorageUsage { conversations, bytes })
    }

    /// The limits of the user. One B-tree lookup.
    pub(crate) fn limits(&self, user: UserId) -> Result<UserQuota> {
        self.read(user).map(limits)
    }

    pub(crate) fn put_limits(&mut self, user: UserId, limits: UserQuota) -> Result<()> {
        let stored = |limit| match limit {
            QuotaLimit::Default => None,
            QuotaLimit::Unlimited => Some(UNLIMITED),
            QuotaLimit::AtMost(limit) => Some(limit),
        };
        let quota = QuotaV1 {
            max_conversations: stored(limits.conversations),
            max_bytes: stored(limits.bytes),
            ..self.read(user)?
        };
        self.put(user, quota)
    }

    /// Counts a change. A read and a write of the record; nothing if nothing changes.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`] if the change adds something beyond the user's quota; nothing is
    /// counted then.
    pub(crate) fn count(
        &mut self,
        user: UserId,
        change: UsageChange,
        default: Quota,
    ) -> Result<()> {
        if change == UsageChange::default() {
            return Ok(());
        }
        let counted = self.read(user)?.counted(change, default)?;
        self.put(user, counted)
    }

    /// Checks a change without counting it.
    ///
    /// # Errors
    /// As [`Quotas::count`].
    pub(crate) fn check(&self, user: UserId, change: UsageChange, default: Quota) -> Result<()> {
        self.read(user)?.counted(change, default).map(drop)
    }

    /// Counts the bytes of what an erasure removes; damage does not stop it.
    pub(crate) fn free(&mut self, user: UserId, bytes: u64) -> Result<()> {
        let stored = self.read(user)?;
        let bytes = stored.bytes.saturating_sub(bytes);
        self.put(user, QuotaV1 { bytes, ..stored })
    }

    /// Puts the usage of a user, whose limits stay.
    pub(crate) fn put_usage(&mut self, user: UserId, usage: StorageUsage) -> Result<()> {
        let StorageUsage { conversations, bytes } = usage;
        self.put(user, QuotaV1 { conversations, bytes, ..self.read(user)? })
    }

    fn read(&self, user: UserId) -> Result<QuotaV1> {
        let stored = self.table.get(user)?.map(|record| decode(user, record.value()));
        Ok(stored.transpose()?.unwrap_or_default())
    }

    fn put(&mut self, user: UserId, quota: QuotaV1) -> Result<()> {
        if quota == QuotaV1::default() {
            return self.table.remove(user);
        }
        let mut record = self.table.take_buffer();
        append_small(&user, quota, &mut record);
        self.table.put_buffer(user, record);
        Ok(())
    }
}

impl QuotaV1 {
    /// This record after a change.
    ///
    /// # Errors
    /// As [`Quotas::count`].
    pub(crate) fn counted(self, change: UsageChange, default: Quota) -> Result<Self> {
        let UsageChange { conversations, bytes } = change;
        let limit = limits(self).over(default);
        Ok(Self {
            conversations: sum(
                "conversations",
                self.conversations,
                conversations,
                limit.conversations,
            )?,
            bytes: sum("bytes", self.bytes, bytes, limit.bytes)?,
            ..self
        })
    }
}

fn sum(what: &'static str, used: u64, change: i64, limit: Option<u64>) -> Result<u64> {
    let sum = used.checked_add_signed(change).ok_or_else(out_of_range)?;
    match limit {
        Some(limit) if change > 0 && sum > limit => {
            Err(Error::QuotaExceeded { what, limit, used, added: change.unsigned_abs() })
        }
        _ => Ok(sum),
    }
}

fn limits(quota: QuotaV1) -> UserQuota {
    let limit = |stored| match stored {
        None => QuotaLimit::Default,
        Some(UNLIMITED) => QuotaLimit::Unlimited,
        Some(limit) => QuotaLimit::AtMost(limit),
    };
    UserQuota { conversations: limit(quota.max_conversations), bytes: limit(quota.max_bytes) }
}

/// Decodes the record of a user. Verifies its checksum.
pub(crate) fn decode(user: UserId, record: &[u8]) -> Result<QuotaV1> {
    decode_small(&user, record).map_err(|what| QUOTAS.corrupted(what))
}

fn out_of_range() -> Error {
    QUOTAS.corrupted("a user's usage leaves its range")
}

/// What a bulk load adds, by user.
#[derive(Default)]
pub(crate) struct LoadedUsage(BTreeMap<UserId, QuotaV1>);

impl LoadedUsage {
    /// Counts a change on top of what is stored.
    ///
    /// # Errors
    /// As [`Quotas::count`].
    pub(crate) fn count(
        &mut self,
        stored: &Quotas,
        user: UserId,
        change: UsageChange,
        default: Quota,
    ) -> Result<()> {
        let quota = match self.0.get(&user) {
            Some(quota) => *quota,
            None => stored.read(user)?,
        };
        self.0.insert(user, quota.counted(change, default)?);
        Ok(())
    }

    /// The records of the users, in key order.
    pub(crate) fn records(self) -> impl Iterator<Item = (UserId, Vec<u8>)> {
        self.0.into_iter().map(|(user, quota)| (user, encode_small(&user, quota)))
    }
}

/// What the data of all users takes, counted from the tables: for upgrades and verification.
#[derive(Default)]
pub(crate) struct CountedUsage(BTreeMap<UserId, StorageUsage>);

impl CountedUsage {
    /// Counts an entry of `user` in a counted table.
    pub(crate) fn add(&mut self, user: UserId, key_width: usize, value: usize) {
        let usage = self.0.entry(user).or_default();
        usage.bytes += (key_width + value) as u64;
    }

    /// Counts an entry of the table of conversations.
    pub(crate) fn add_conversation(&mut self, user: UserId, value: usize) {
        self.add(user, RowKey::WIDTH, value);
        self.0.entry(user).or_default().conversations += 1;
    }

    /// Adds what was counted elsewhere.
    pub(crate) fn merge(&mut self, other: Self) {
        for (user, StorageUsage { conversations, bytes }) in other.0 {
            let usage = self.0.entry(user).or_default();
            usage.conversations += conversations;
            usage.bytes += bytes;
        }
    }

    /// The usage of each user.
    pub(crate) fn all(self) -> impl Iterator<Item = (UserId, StorageUsage)> {
        self.0.into_iter()
    }

    /// Removes the usage of a user and returns it.
    pub(crate) fn take(&mut self, user: UserId) -> StorageUsage {
        self.0.remove(&user).unwrap_or_default()
    }
}
