//! Change feed reader: the changes of a user's conversations since a cursor, in commit order.
//!
//! A change carries the conversation as it is *now*, in the reader's snapshot, not as it was at the
//! time of the change. So several changes of one conversation within a part of the feed are
//! coalesced into one. A conversation that has been deleted since is reported only with its
//! deletion.
//!
//! A feed that is restricted to one assistant reports a conversation that left this assistant as
//! deleted, and omits what other assistants have. Its cursors count the changes of all.
//!
//! A part costs one B-tree lookup, a step for each change record and one to three lookups for each
//! conversation.

use std::collections::HashMap;
use std::fmt;

use crate::encoding::token::{Endpoint, Payload, Reader, Sealer};
use crate::error::{Error, Result};
use crate::model::change::ChangeKind;
use crate::model::conversation::Conversation;
use crate::model::id::{AssistantId, ConversationId, UserId};
use crate::model::version::StoreVersion;
use crate::query::page_size::PageSize;
use crate::tables::Tables;
use crate::tables::state::CommittedState;
use crate::tables::{change_feed, conversations};

/// Separates these tokens from those of other endpoints, which refuse them.
const ENDPOINT: Endpoint = Endpoint(b"changes");

/// A position in a user's change feed, directly after one change. At the end of the feed it is the
/// position of the next change to come, so every part of a feed has a next cursor.
///
/// A [`Snapshot`](crate::Snapshot) seals cursors into tokens for clients and opens those.
///
/// A cursor expires: [`Snapshot::changes_since`](crate::Snapshot::changes_since) fails with
/// [`Error::ChangesExpired`] if changes after it have been trimmed from the feed. It fails the same
/// way, not with [`Error::InvalidCursor`], if the store's history does not
/// [contain](crate::Snapshot::contains) the version in which the cursor was issued, as after a
/// restore. In both cases the follower has to read the list of conversations again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeCursor {
    user: UserId,
    /// The number of the last change before the cursor; 0 at the beginning.
    number: u64,
    /// The version of the store in which the cursor was issued.
    version: StoreVersion,
}

/// Where to start reading a change feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangesSince {
    /// Before the user's first change. Fails with [`Error::ChangesExpired`] once changes have been
    /// trimmed.
    #[default]
    Beginning,
    /// After the newest change: take this cursor, then read the whole list, then follow the feed.
    Now,
    /// Where an earlier part of the feed ended.
    Cursor(ChangeCursor),
}

/// A change of one conversation.
///
/// A follower must upsert the conversation if [`Change::conversation`] is present and delete its
/// copy by [`Change::id`] otherwise. It must not rely on [`Change::kind`]: when a conversation was
/// deleted and its id was created again, the feed can report it as updated and later as created.
///
/// The `Debug` output omits the conversation, because it contains personal data.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Change {
    /// The coalesced kind: `Created` also if updates followed, `Deleted` whatever came before.
    pub kind: ChangeKind,
    /// The id of the conversation.
    pub id: ConversationId,
    /// The conversation as of the reader's snapshot; `None` if and only if it was deleted.
    pub conversation: Option<Conversation>,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").field("kind", &self.kind).field("id", &self.id).finish()
    }
}

/// A part of a change feed: at most a page of changes in the order of their commits.
///
/// Consecutive parts have no gap and no repetition. A bulk load commits all of its conversations at
/// once; they appear in the order of the list, oldest first, not in the order of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// One change for each conversation of this part, ordered by its last change in the part. Can
    /// be empty although [`Changes::has_more`] is true.
    pub changes: Vec<Change>,
    /// Where the next part begins.
    pub next_cursor: ChangeCursor,
    /// Whether the snapshot has changes after this part.
    pub has_more: bool,
}

/// Reads the part of the user's feed that begins at `since`, from at most `size` change records; of
/// one assistant if `restriction` names it.
///
/// # Errors
/// [`Error::InvalidCursor`] if the cursor belongs to another user; otherwise
/// [`Error::ChangesExpired`] if it is older than the oldest retained change or from another history
/// of the store. Both are checked before any change is read.
pub(crate) fn read(
    state: &CommittedState,
    user: UserId,
    since: ChangesSince,
    size: PageSize,
    restriction: Option<AssistantId>,
) -> Result<Changes> {
    let tables = &state.tables;
    let start = FeedStart {
        last: tables.sequences.last_change(user)?,
        last_trimmed: tables.sequences.last_trimmed(user)?,
        version: state.version(),
    };
    let number = start.number(user, since, |version| state.contains(version))?;
    let mut end = number;
    let mut records = Vec::new();
    for entry in tables.change_feed.after(user, number)?.take(size.get()) {
        let (number, change) = entry?;
        end = number;
        records.push(change);
    }
    let changes = coalesce(&records, restriction, |change| present(tables, change))?;
    Ok(start.part(user, since, end, changes))
}

/// What the reading of a user's feed begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FeedStart {
    /// The number of the user's newest change.
    pub(crate) last: u64,
    /// The number of the newest change that was trimmed.
    pub(crate) last_trimmed: u64,
    /// The version in which the feed is read.
    pub(crate) version: StoreVersion,
}

impl FeedStart {
    /// The number after which the part begins.
    ///
    /// # Errors
    /// As [`read`].
    pub(crate) fn number(
        &self,
        user: UserId,
        since: ChangesSince,
        contains: impl FnOnce(StoreVersion) -> bool,
    ) -> Result<u64> {
        let start = match since {
            ChangesSince::Beginning => 0,
            ChangesSince::Now => self.last,
            ChangesSince::Cursor(cursor) if cursor.user != user => {
                return Err(Error::InvalidCursor);
            }
            ChangesSince::Cursor(cursor) if !contains(cursor.version) => {
                return Err(Error::ChangesExpired);
            }
            ChangesSince::Cursor(cursor) => cursor.number,
        };
        if start < self.last_trimmed || start > self.last {
            return Err(Error::ChangesExpired);
        }
        Ok(start)
    }

    /// The part of the feed that ends with change number `end`.
    pub(crate) fn part(
        &self,
        user: UserId,
        since: ChangesSince,
        end: u64,
        changes: Vec<Change>,
    ) -> Changes {
        let next_cursor = match since {
            // Without changes the token stays the same, as long as its epoch lasts.
            ChangesSince::Cursor(cursor)
                if cursor.number == end && cursor.version.epoch == self.version.epoch =>
            {
                cursor
            }
            _ => ChangeCursor { user, number: end, version: self.version },
        };
        Changes { changes, next_cursor, has_more: end < self.last }
    }
}

/// Coalesces change records into one change for each conversation, in the order of its last record.
/// `present` reads the conversation of a record; `None` if it does not exist any more.
pub(crate) fn coalesce(
    records: &[change_feed::ChangeRecord],
    restriction: Option<AssistantId>,
    mut present: impl FnMut(&change_feed::ChangeRecord) -> Result<Option<Conversation>>,
) -> Result<Vec<Change>> {
    let reaches = |assistant| restriction.is_none_or(|only| only == assistant);
    // Of an unrestricted feed, every deletion counts: older versions did not record the assistant.
    let leaves = |change: &change_feed::ChangeRecord| match restriction {
        None => change.kind == ChangeKind::Deleted,
        Some(only) => change.left == Some(only),
    };
    let mut changes: Vec<Change> = Vec::with_capacity(records.len());
    // The index in `changes` of each conversation; `None` if it is not reported in this part.
    let mut reported: HashMap<ConversationId, Option<usize>> = HashMap::new();
    for change in records.iter().rev() {
        match reported.get(&change.id) {
            Some(Some(later)) => {
                if let Some(later) = changes.get_mut(*later)
                    && change.kind == ChangeKind::Created
                    && later.kind == ChangeKind::Updated
                {
                    later.kind = ChangeKind::Created;
                }
                continue;
            }
            Some(None) if restriction.is_none() => continue,
            // With another assistant now, but it may have left this one before.
            Some(None) | None => {}
        }
        let conversation = present(change)?.filter(|conversation| reaches(conversation.assistant));
        let kind = match (leaves(change), &conversation) {
            // It was created again with the same id, or came back to the assistant.
            (true, Some(_)) => ChangeKind::Updated,
            (true, None) => ChangeKind::Deleted,
            (false, Some(_)) if change.kind == ChangeKind::Deleted => ChangeKind::Updated,
            (false, Some(_)) => change.kind,
            // It has left since: a later record of the feed reports that.
            (false, None) => {
                reported.insert(change.id, None);
                continue;
            }
        };
        reported.insert(change.id, Some(changes.len()));
        changes.push(Change { kind, id: change.id, conversation });
    }
    changes.reverse();
    Ok(changes)
}

/// The conversation of a change record as of the snapshot; `None` if it does not exist any more.
fn present(tables: &Tables, change: &change_feed::ChangeRecord) -> Result<Option<Conversation>> {
    if let Some(record) = tables.conversations.rows.get(change.row)? {
        let row = conversations::decode(change.row, record.value())?;
        if row.id == change.id {
            return Ok(Some(row.owned()));
        }
    }
    // It was deleted, or was created again at another position.
    let current = tables.conversations.get(change.row.user, change.id)?;
    Ok(current.map(|(_, conversation)| conversation))
}

impl ChangeCursor {
    /// The number of the last change before the cursor; 0 at the beginning.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// The cursor after the user's newest change in `state`; the same for all states in which the
    /// user's data is the same. One B-tree lookup.
    pub(crate) fn now(state: &CommittedState, user: UserId) -> Result<Self> {
        let number = state.tables.sequences.last_change(user)?;
        Ok(Self { user, number, version: state.user_version(user) })
    }

    /// Appends the cursor, without its user, to the payload of a token.
    pub(crate) fn write(&self, payload: &mut Payload) {
        for number in [self.number, self.version.epoch, self.version.commit] {
            payload.put(&number.to_be_bytes());
        }
    }

    /// Reads what [`ChangeCursor::write`] wrote; `None` if it is cut off.
    pub(crate) fn read(reader: &mut Reader<'_>, user: UserId) -> Option<Self> {
        let (number, epoch, commit) = (reader.u64()?, reader.u64()?, reader.u64()?);
        Some(Self { user, number, version: StoreVersion { epoch, commit } })
    }

    /// Seals the cursor into a token. About 0.3 us.
    pub(crate) fn seal(&self, sealer: &Sealer) -> String {
        let mut payload = Payload::default();
        self.write(&mut payload);
        sealer.seal(ENDPOINT, self.user, payload)
    }

    /// Opens a token that this store sealed for `user`. Reads nothing from the store.
    ///
    /// # Errors
    /// [`Error::ChangesExpired`] for a token of a store of format 2, which has no version;
    /// [`Error::InvalidCursor`] for any other text.
    pub(crate) fn open(token: &str, user: UserId, sealer: &Sealer) -> Result<Self> {
        let payload = sealer.open(ENDPOINT, user, token).ok_or(Error::InvalidCursor)?;
        if payload.bytes().len() == size_of::<u64>() {
            return Err(Error::ChangesExpired);
        }
        let mut reader = Reader(payload.bytes());
        let cursor = Self::read(&mut reader, user).filter(|_| reader.0.is_empty());
        cursor.ok_or(Error::InvalidCursor)
    }
}
