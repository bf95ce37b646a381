//! The feed of changes as a reader follows it: what happened to a user's conversations since a
//! cursor, in the order in which it was committed, with no hole and no repeat.
//!
//! A change tells what the conversation is *now*, in the reader's snapshot, not what it was then; so
//! several changes of one conversation in a part of the feed are told as one, and those of one that
//! was deleted meanwhile are told where its deletion is. Cost of a part: one descent, a step for each change, and a descent for each conversation.

use std::collections::HashMap;
use std::fmt;

use crate::encoding::token::{Endpoint, Payload, Reader, Sealer};
use crate::error::{Error, Result};
use crate::model::change::ChangeKind;
use crate::model::conversation::Conversation;
use crate::model::id::{ConversationId, UserId};
use crate::query::page_size::PageSize;
use crate::tables::Tables;
use crate::tables::{change_feed, conversations, sequences};

/// What a token of a change cursor is for.
const ENDPOINT: Endpoint = Endpoint(b"changes");

/// A place in a user's feed: after one change and before the next. There always is one: at the end
/// of the feed it is where the next change will come.
///
/// A [`Snapshot`](crate::Snapshot) seals cursors into tokens and opens those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeCursor {
    owner: UserId,
    /// The last change before it.
    number: u64,
}

/// Where to begin to read a feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangesSince {
    /// Before the first change there ever was.
    #[default]
    Beginning,
    /// After the last change there is: to read the list first, and then what changes after it.
    Now,
    /// Where an earlier part ended.
    Cursor(ChangeCursor),
}

/// What happened to one conversation.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened. `Created` also when it was changed after that; `Deleted` whatever was before.
    pub kind: ChangeKind,
    /// Which conversation.
    pub id: ConversationId,
    /// The conversation as it is now; `None` exactly when it was deleted.
    pub conversation: Option<Conversation>,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").field("kind", &self.kind).field("id", &self.id).finish()
    }
}

/// A part of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Each conversation that changed, once, in the order of its last change.
    pub changes: Vec<Change>,
    /// Where the feed goes on.
    pub next_cursor: ChangeCursor,
    /// Whether there are more changes already.
    pub has_more: bool,
}

/// Reads the part of the owner's feed that begins at `since` and has at most `size` changes.
pub(crate) fn read(
    tables: &Tables,
    owner: UserId,
    since: ChangesSince,
    size: PageSize,
) -> Result<Changes> {
    let last = sequences::last_change(&tables.sequences, owner)?;
    let start = match since {
        ChangesSince::Beginning => 0,
        ChangesSince::Now => last,
        ChangesSince::Cursor(cursor) if cursor.owner != owner => return Err(Error::InvalidCursor),
        ChangesSince::Cursor(cursor) => cursor.number,
    };
    // One that is ahead is of a store that was since put back to an older state.
    if start < sequences::last_forgotten(&tables.sequences, owner)? || start > last {
        return Err(Error::ChangesExpired);
    }
    let mut end = start;
    let mut records = Vec::new();
    for entry in change_feed::after(&tables.changes, owner, start)?.take(size.get()) {
        let (number, change) = entry?;
        end = number;
        records.push(change);
    }
    let changes = coalesce(tables, &records)?;
    Ok(Changes { changes, next_cursor: ChangeCursor { owner, number: end }, has_more: end < last })
}

/// Each conversation that changed, once, in the order of its last change.
fn coalesce(tables: &Tables, records: &[change_feed::ChangeRecord]) -> Result<Vec<Change>> {
    let mut changes: Vec<Change> = Vec::with_capacity(records.len());
    let mut coalesce: HashMap<ConversationId, Option<usize>> = HashMap::new();
    for change in records.iter().rev() {
        if let Some(later) = coalesce.get(&change.id) {
            if let Some(later) = later.and_then(|at| changes.get_mut(at))
                && change.kind == ChangeKind::Created
                && later.kind == ChangeKind::Updated
            {
                later.kind = ChangeKind::Created;
            }
            continue;
        }
        let conversation = present(tables, change)?;
        let kind = match (change.kind, &conversation) {
            // It was deleted since, which another change tells, further on.
            (ChangeKind::Created | ChangeKind::Updated, None) => {
                coalesce.insert(change.id, None);
                continue;
            }
            // A new one has its id.
            (ChangeKind::Deleted, Some(_)) => ChangeKind::Updated,
            (kind, _) => kind,
        };
        coalesce.insert(change.id, Some(changes.len()));
        changes.push(Change { kind, id: change.id, conversation });
    }
    changes.reverse();
    Ok(changes)
}

/// The conversation that changed, as it is now.
fn present(tables: &Tables, change: &change_feed::ChangeRecord) -> Result<Option<Conversation>> {
    if let Some(record) = tables.rows.get(change.row)? {
        let row = conversations::decode(change.row, record.value())?;
        if row.id == change.id {
            return Ok(Some(row.owned()));
        }
    }
    // It is gone, or was made again elsewhere.
    let found = conversations::get(&tables.rows, &tables.ids, change.row.owner, change.id)?;
    Ok(found.map(|(_, conversation)| conversation))
}

impl ChangeCursor {
    /// The cursor's token.
    pub(crate) fn seal(&self, sealer: &Sealer) -> String {
        let mut payload = Payload::default();
        payload.put(&self.number.to_be_bytes());
        sealer.seal(ENDPOINT, self.owner, payload)
    }

    /// The cursor of a token that this store gave to `owner`. Reads nothing from the store.
    pub(crate) fn open(token: &str, owner: UserId, sealer: &Sealer) -> Result<Self> {
        let payload = sealer.open(ENDPOINT, owner, token).ok_or(Error::InvalidCursor)?;
        let mut reader = Reader(payload.bytes());
        match reader.take().map(u64::from_be_bytes) {
            Some(number) if reader.0.is_empty() => Ok(Self { owner, number }),
            _ => Err(Error::InvalidCursor),
        }
    }
}
