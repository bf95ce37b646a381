//! A new store with the content of another database: what [`Contents`](super::Contents) reads, written.
//!
//! The file has its name only when everything is written and an audit has found nothing.

use std::path::{Path, PathBuf};

use crate::encoding::key::{DigestKey, NumberKey, RowKey, UuidKey};
use crate::encoding::row::StoredMessages;
use crate::engine::new_name::check_free;
use crate::engine::store_file::create_continued;
use crate::error::Result;
use crate::io::atomic_file::AtomicFile;
use crate::io::system::SystemVfs;
use crate::model::account::{Assistant, User};
use crate::model::id::UserId;
use crate::model::message::Message;
use crate::model::position::Position;
use crate::model::quota::{Quota as Limits, QuotaLimit, UserQuota};
use crate::model::timestamp::Timestamp;
use crate::seam::contents::{Quota, Response, StoredConversation, StoredToken};
use crate::seam::corrupted;
use crate::seam::feed::{FeedRecord, History};
use crate::seam::keys::Secrets;
use crate::store::Store;
use crate::tables::accounts::assistant_record_len;
use crate::tables::change_feed::ChangeRecord;
use crate::tables::idempotency;
use crate::tables::meta::StoredSecrets;
use crate::tables::quotas::{self, UsageChange, conversation_bytes, small_record_bytes};
use crate::transaction::Transaction;
use crate::verify::report::VerifyReport;

const SYSTEM: &SystemVfs = &SystemVfs;

/// A store under construction. Dropping it leaves no file.
pub struct StoreLoader {
    store: Store,
    atomic_file: AtomicFile<'static>,
    target: PathBuf,
}

/// An entry of a store. Those of one user are loaded in this order of kinds; changes in the order of
/// their numbers.
#[derive(Clone, Debug)]
pub enum StoredItem {
    /// The number of the newest user, and the last retention pass: see
    /// [`Contents::retention`](super::Contents::retention).
    Store {
        /// The number of the newest user, who may be deleted.
        last_user: u64,
        /// The last retention pass.
        retention: (Option<Timestamp>, Option<Timestamp>),
    },
    /// A user, and the number of the newest trimmed change.
    User(User, u64),
    /// An access token.
    Token(StoredToken),
    /// An assistant of a user.
    Assistant(UserId, Assistant),
    /// A conversation of a user.
    Conversation(UserId, StoredConversation),
    /// A message of a user: the position of the conversation, the number and the message.
    Message(UserId, u64, u32, Message),
    /// A change of a user's feed.
    Change(UserId, FeedRecord),
    /// A time mark of a user's feed.
    TimeMark(UserId, u32, u64),
    /// The response to a user's write with an idempotency key.
    Response(UserId, Response),
    /// The number of the user's newest assistant, and the limits of the user, after everything else.
    Limits(UserId, u32, Quota),
}

impl StoreLoader {
    /// Creates an empty store at `target` that continues a history in which no feed has more than
    /// `last_change` changes.
    ///
    /// # Errors
    /// [`Error::FileExists`](crate::Error::FileExists) or an I/O error.
    pub fn create(
        target: &Path,
        secrets: Secrets,
        history: &History,
        last_change: u64,
    ) -> Result<Self> {
        check_free(SYSTEM, target)?;
        let (atomic_file, file) = AtomicFile::beside(SYSTEM, target)?;
        let Secrets { fingerprints, cursors } = secrets;
        // Versions of the last epoch count changes of a user, those of earlier ones commits.
        let seqno = history.0.last_ended().max(last_change);
        create_continued(file, &StoredSecrets { fingerprints, cursors }, &history.0, seqno)?;
        let store = Store::open(atomic_file.path())?;
        Ok(Self { store, atomic_file, target: target.to_owned() })
    }

    /// Loads entries in one write: some thousands at most.
    ///
    /// # Errors
    /// [`Error::Corrupted`](crate::Error::Corrupted) for entries that no store has written; or a fault of the store.
    pub fn load(&self, items: Vec<StoredItem>) -> Result<()> {
        self.store
            .write(move |transaction| items.into_iter().try_for_each(|item| put(transaction, item)))
    }

    /// Audits the store, and gives it its name if the audit finds nothing.
    ///
    /// # Errors
    /// [`Error::FileExists`](crate::Error::FileExists) or a fault of the store.
    pub fn finish(self) -> Result<VerifyReport> {
        let report = self.store.snapshot().verify()?;
        self.store.close_completely()?;
        if report.is_clean() {
            check_free(SYSTEM, &self.target)?;
            self.atomic_file.link_new()?;
            self.atomic_file.finish()?;
        }
        Ok(report)
    }
}

impl std::fmt::Debug for StoreLoader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreLoader").field("target", &self.target).finish_non_exhaustive()
    }
}

fn put(transaction: &mut Transaction<'_>, item: StoredItem) -> Result<()> {
    match item {
        StoredItem::Store { last_user, retention: (last, limit) } => {
            let sequences = &mut transaction.tables.sequences;
            sequences.put_last_user(last_user);
            last.into_iter().for_each(|at| sequences.put_last_retention(at));
            limit.into_iter().for_each(|at| sequences.put_last_retention_limit(at));
        }
        StoredItem::User(user, trimmed) => {
            transaction.tables.accounts.put_user(&user);
            let sequences = &mut transaction.tables.sequences;
            if trimmed > 0 {
                sequences.put_last_trimmed(user.id, trimmed);
                // Changes are numbered from the next one on.
                sequences.put_last_change(user.id, trimmed);
            }
        }
        StoredItem::Token(StoredToken { digest, token, .. }) => {
            transaction.tables.accounts.put_token(DigestKey(digest), &token);
        }
        StoredItem::Assistant(user, assistant) => {
            let bytes = small_record_bytes(assistant_record_len(&assistant));
            count(transaction, user, UsageChange::of_bytes(bytes))?;
            transaction.tables.accounts.put_assistant(user, &assistant);
        }
        StoredItem::Conversation(user, row) => put_conversation(transaction, user, &row)?,
        StoredItem::Message(user, position, number, message) => {
            let key = RowKey::new(user, Position::from_bits(position));
            count(transaction, user, UsageChange::of_bytes(quotas::message_bytes(&message)))?;
            transaction.tables.messages.put(key, number, &message, &mut Vec::new());
        }
        StoredItem::Change(user, FeedRecord { number, kind, id, position, left }) => {
            let row = RowKey::new(user, Position::from_bits(position));
            let tables = &mut *transaction.tables;
            let change = ChangeRecord { kind, id, row, left };
            if tables.change_feed.append(&mut tables.sequences, change)? != number {
                return Err(corrupted("change", "a change is missing"));
            }
        }
        StoredItem::TimeMark(user, hour, number) => {
            let key = NumberKey { user, number: hour };
            transaction.tables.change_feed.marks.put(key, &number.to_be_bytes());
        }
        StoredItem::Response(user, Response { key, request, response, at }) => {
            let bytes = small_record_bytes(idempotency::record_len(&response));
            count(transaction, user, UsageChange::of_bytes(bytes))?;
            let key = UuidKey { user, uuid: key };
            transaction.tables.idempotency.put(key, request, &response, at);
        }
        StoredItem::Limits(user, last_assistant, quota) => {
            let tables = &mut *transaction.tables;
            let newest = tables.accounts.last_assistant_number(&tables.sequences, user)?;
            if newest < last_assistant {
                tables.sequences.put_last_deleted_assistant(user, last_assistant);
            }
            let limit = |stored: Option<u64>| match stored {
                None => QuotaLimit::Default,
                Some(u64::MAX) => QuotaLimit::Unlimited,
                Some(limit) => QuotaLimit::AtMost(limit),
            };
            let (conversations, bytes) = (limit(quota.max_conversations), limit(quota.max_bytes));
            let limits = UserQuota { conversations, bytes };
            if limits != UserQuota::default() {
                tables.quotas.put_limits(user, limits)?;
            }
        }
    }
    Ok(())
}

fn put_conversation(
    transaction: &mut Transaction<'_>,
    user: UserId,
    row: &StoredConversation,
) -> Result<()> {
    let StoredConversation { position, conversation, stored } = row;
    let key = RowKey::new(user, Position::from_bits(*position));
    let borrowed = conversation.borrowed();
    let bytes = conversation_bytes(&borrowed, StoredMessages::Exactly(*stored));
    count(transaction, user, UsageChange { conversations: 1, bytes })?;
    let conversations = &mut transaction.tables.conversations;
    conversations.put(key, &borrowed, *stored, None, &mut Vec::new());
    conversations.put_id(key, conversation.id);
    transaction.apply_to_indexes(key, None, Some(&borrowed))?;
    transaction.tables.counters.apply(key, None, Some(&borrowed))
}

/// Counts what a user's data takes, whatever the limits are.
fn count(transaction: &mut Transaction<'_>, user: UserId, change: UsageChange) -> Result<()> {
    transaction.tables.quotas.count(user, change, Limits::default())
}
