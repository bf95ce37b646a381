//! The content of a store, to copy it: everything that a client could notice the absence of.
//!
//! Reads in key order, one user after the other. Every record is verified by its checksum.

use uuid::Uuid;

use crate::encoding::key::{ChangeKey, CounterKey, MessageKey, NumberKey, RowKey, UuidKey};
use crate::encoding::row::StoredMessages;
use crate::error::Result;
use crate::model::account::{Assistant, User};
use crate::model::conversation::Conversation;
use crate::model::id::UserId;
use crate::model::message::Message;
use crate::model::position::Position;
use crate::model::timestamp::Timestamp;
use crate::model::token::Token;
use crate::seam::feed::{FeedRecord, History};
use crate::seam::keys::Secrets;
use crate::seam::statistics::Counter;
use crate::snapshot::Snapshot;
use crate::tables::conversations::StoredRow;
use crate::tables::schema::{CHANGE_MARKS, COUNTERS, IDEMPOTENCY};
use crate::tables::sequences::decode_number;
use crate::tables::state::CommittedState;
use crate::tables::{change_feed, counters, idempotency, messages, meta, quotas};

/// The content of a store as of a snapshot.
#[derive(Clone, Copy)]
pub struct Contents<'s>(&'s CommittedState);

/// A conversation with its position and the number of its stored messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConversation {
    /// The position in the list of its user.
    pub position: u64,
    /// The conversation.
    pub conversation: Conversation,
    /// The number of stored messages; at most as many as it counts.
    pub stored: u32,
}

/// An access token with the digest of its text.
#[derive(Clone, Debug)]
pub struct StoredToken {
    /// The SHA-256 of the token.
    pub digest: [u8; 32],
    /// The token.
    pub token: Token,
    /// The scopes of the token, one bit each.
    pub scopes: u8,
}

/// What a user's data takes, and the limits of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// The number of conversations.
    pub conversations: u64,
    /// The number of bytes.
    pub bytes: u64,
    /// The limit of conversations: `None` for that of the store, 2^64 - 1 for none.
    pub max_conversations: Option<u64>,
    /// The limit of bytes, in the same way.
    pub max_bytes: Option<u64>,
}

/// The response to a write with an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Half of the BLAKE3 hash of the key.
    pub key: Uuid,
    /// The BLAKE3 hash of the request.
    pub request: [u8; 32],
    /// The response.
    pub response: Vec<u8>,
    /// The time of the response.
    pub at: Timestamp,
}

/// The whole store.
impl<'s> Contents<'s> {
    /// The content of the snapshot.
    #[must_use]
    pub fn new(snapshot: &'s Snapshot) -> Self {
        Self(snapshot.state())
    }

    /// The secrets of the store.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn secrets(&self) -> Result<Secrets> {
        let meta::StoredSecrets { fingerprints, cursors } = meta::secrets_in(self.0.meta())?;
        Ok(Secrets { fingerprints, cursors })
    }

    /// The history of the store, which ends with this snapshot.
    #[must_use]
    pub fn history(&self) -> History {
        let mut epochs = self.0.epochs().clone();
        epochs.end(self.0.seqno());
        History(epochs)
    }

    /// Whether an insert is not finished: messages without a conversation, which a copy lacks.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn has_unfinished_inserts(&self) -> Result<bool> {
        Ok(self.0.tables.staged.table.iter()?.next().transpose()?.is_some())
    }

    /// The number of the newest user, who may be deleted; 0 before the first.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn last_user(&self) -> Result<u64> {
        self.0.tables.sequences.last_user()
    }

    /// The time of the last retention pass, and the creation time up to which it deleted.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn retention(&self) -> Result<(Option<Timestamp>, Option<Timestamp>)> {
        let sequences = &self.0.tables.sequences;
        Ok((sequences.last_retention()?, sequences.last_retention_limit()?))
    }

    /// The users by number.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn users(&self) -> Result<Vec<User>> {
        self.0.tables.accounts.users()
    }

    /// The access tokens of all users.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn tokens(&self) -> Result<impl Iterator<Item = Result<StoredToken>> + use<'s>> {
        let tokens = self.0.tables.accounts.tokens()?;
        Ok(tokens.map(|record| {
            let record = record?;
            let scopes = record.token.scopes.bits();
            Ok(StoredToken { digest: record.digest(), token: record.token, scopes })
        }))
    }
}

/// One user.
impl<'s> Contents<'s> {
    /// The user's assistants by number.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistants(&self, user: UserId) -> Result<Vec<Assistant>> {
        self.0.tables.accounts.assistants(user, 0, usize::MAX)
    }

    /// The number of the user's newest assistant, which may be deleted; 0 before the first.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn last_assistant(&self, user: UserId) -> Result<u32> {
        let tables = &self.0.tables;
        tables.accounts.last_assistant_number(&tables.sequences, user)
    }

    /// The numbers of the user's newest change and of the newest one that was trimmed.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn feed_numbers(&self, user: UserId) -> Result<(u64, u64)> {
        let sequences = &self.0.tables.sequences;
        Ok((sequences.last_change(user)?, sequences.last_trimmed(user)?))
    }

    /// What the user's data takes, and the limits of the user.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn quota(&self, user: UserId) -> Result<Quota> {
        let Some(record) = self.0.tables.quotas.table.get(user)? else {
            return Ok(Quota::default());
        };
        let stored = quotas::decode(user, record.value())?;
        Ok(Quota {
            conversations: stored.conversations,
            bytes: stored.bytes,
            max_conversations: stored.max_conversations,
            max_bytes: stored.max_bytes,
        })
    }

    /// The user's conversations in the order of their positions.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn conversations(
        &self,
        user: UserId,
    ) -> Result<impl Iterator<Item = Result<StoredConversation>> + use<'s>> {
        let tables = &self.0.tables;
        let all = RowKey::new(user, Position::from_bits(0))
            ..=RowKey::new(user, Position::from_bits(u64::MAX));
        Ok(tables.conversations.rows.range(all)?.map(move |entry| {
            let (key, record) = entry?;
            let row = StoredRow::decode(key, record.value())?;
            let stored = match row.stored_messages() {
                StoredMessages::Exactly(stored) => stored,
                stored @ StoredMessages::AtMost(_) => tables.messages.last_number(key, stored)?,
            };
            let conversation = row.conversation().owned();
            Ok(StoredConversation { position: key.position.bits(), conversation, stored })
        }))
    }

    /// The messages of the user's conversations: the position of the conversation, the number from
    /// 1, and the message.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn messages(
        &self,
        user: UserId,
    ) -> Result<impl Iterator<Item = Result<(u64, u32, Message)>> + use<'s>> {
        let row = |bits| RowKey::new(user, Position::from_bits(bits));
        let all = MessageKey::new(row(0), 0)..=MessageKey::new(row(u64::MAX), u32::MAX);
        Ok(self.0.tables.messages.table.range(all)?.map(|entry| {
            let (key, record) = entry?;
            let message = messages::decode(key, record.value())?;
            Ok((key.position.bits(), key.number, message))
        }))
    }

    /// The user's counters.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn counters(
        &self,
        user: UserId,
    ) -> Result<impl Iterator<Item = Result<Counter>> + use<'s>> {
        let bucket = crate::encoding::time_bucket::TimeBucket::from_bits;
        let all = CounterKey::first(user, bucket(0))..=CounterKey::last(user, bucket(u32::MAX));
        Ok(self.0.tables.counters.table.range(all)?.flat_map(|entry| {
            let counters = entry.and_then(|(key, record)| {
                let cells = counters::open(&key, record.value())?.cells();
                let counters = cells.map(|cell| cell.map(|(cell, c)| Counter::at(key, cell, &c)));
                let counters: std::result::Result<Vec<_>, _> = counters.collect();
                counters.map_err(|what| COUNTERS.corrupted(what))
            });
            match counters {
                Ok(counters) => counters.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        }))
    }

    /// The retained changes of the user's feed.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn changes(
        &self,
        user: UserId,
    ) -> Result<impl Iterator<Item = Result<FeedRecord>> + use<'s>> {
        let all = ChangeKey { user, number: 0 }..=ChangeKey { user, number: u64::MAX };
        Ok(self.0.tables.change_feed.changes.range(all)?.map(|entry| {
            let (key, record) = entry?;
            let change = change_feed::decode(key, record.value())?;
            let change_feed::ChangeRecord { kind, id, row, left } = change;
            let position = row.position.bits();
            Ok(FeedRecord { number: key.number, kind, id, position, left })
        }))
    }

    /// The time marks of the user's feed: an hour and the last change at some time of it.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn time_marks(
        &self,
        user: UserId,
    ) -> Result<impl Iterator<Item = Result<(u32, u64)>> + use<'s>> {
        let all = NumberKey { user, number: 0 }..=NumberKey { user, number: u32::MAX };
        Ok(self.0.tables.change_feed.marks.range(all)?.map(|entry| {
            let (key, number) = entry?;
            Ok((key.number, decode_number(&CHANGE_MARKS, number.value())?))
        }))
    }

    /// The responses to the user's writes with idempotency keys.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn responses(
        &self,
        user: UserId,
    ) -> Result<impl Iterator<Item = Result<Response>> + use<'s>> {
        let key = |uuid| UuidKey { user, uuid };
        let all = key(Uuid::nil())..=key(Uuid::max());
        Ok(self.0.tables.idempotency.table.range(all)?.map(|entry| {
            let (key, record) = entry?;
            let stored = idempotency::decode(key, record.value())?;
            let out_of_range = |_| IDEMPOTENCY.corrupted("a time is out of range");
            Ok(Response {
                key: key.uuid,
                request: stored.request,
                response: stored.response.to_owned(),
                at: Timestamp::from_millis(stored.at).map_err(out_of_range)?,
            })
        }))
    }
}

impl std::fmt::Debug for Contents<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}
