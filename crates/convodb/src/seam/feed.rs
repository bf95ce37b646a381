//! The change feed: where a part begins and what it contains.

use crate::encoding::key::RowKey;
use crate::error::Result;
use crate::model::change::ChangeKind;
use crate::model::conversation::Conversation;
use crate::model::id::{AssistantId, ConversationId, UserId};
use crate::model::position::Position;
use crate::model::version::StoreVersion;
use crate::query::changes::{ChangeCursor, Changes, ChangesSince, FeedStart, coalesce};
use crate::tables::change_feed::ChangeRecord;
use crate::tables::epochs::Epochs;

/// The history of a store: its epochs. The last one lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History(pub(super) Epochs);

impl History {
    /// The history of a store that begins with the epoch `id`.
    #[must_use]
    pub fn new(id: u64) -> Self {
        Self(Epochs::new(id))
    }

    /// Decodes [`History::encode`]; `None` for other bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Epochs::decode(bytes).map(Self)
    }

    /// Encodes the history: `epoch u64, last commit u64` for each epoch, big-endian.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    /// Begins another epoch after the last one, which has ended.
    pub fn begin(&mut self, id: u64) {
        self.0.begin(id, u64::MAX);
    }

    /// The version in which a user's feed ends with change number `last`.
    #[must_use]
    pub fn version(&self, last: u64) -> StoreVersion {
        self.0.version(last)
    }

    /// Whether `version` is part of this history, when the user's feed ends with change number
    /// `last`. The versions of earlier epochs count commits of the whole store.
    #[must_use]
    pub fn contains(&self, version: StoreVersion, last: u64) -> bool {
        let is_current = version.epoch == self.version(last).epoch;
        self.0.contain(version, if is_current { last } else { u64::MAX })
    }
}

/// The number of the last change before a cursor; 0 at the beginning.
#[must_use]
pub const fn change_number(cursor: &ChangeCursor) -> u64 {
    cursor.number()
}

/// A record of the change feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedRecord {
    /// The number of the change, from 1.
    pub number: u64,
    /// What happened.
    pub kind: ChangeKind,
    /// The conversation.
    pub id: ConversationId,
    /// The position of the conversation at that time.
    pub position: u64,
    /// The assistant that the conversation left; changes of older versions do not have it.
    pub left: Option<AssistantId>,
}

/// A part of a feed whose beginning is known.
#[derive(Clone, Copy, Debug)]
pub struct FeedPart {
    user: UserId,
    since: ChangesSince,
    start: FeedStart,
    after: u64,
}

impl FeedPart {
    /// The part that begins at `since`, in a feed whose newest change has the number `last` and
    /// whose newest trimmed change the number `last_trimmed`.
    ///
    /// # Errors
    /// Those of misuse of [`Snapshot::changes_since`](crate::Snapshot::changes_since).
    pub fn begin(
        user: UserId,
        since: ChangesSince,
        (last, last_trimmed): (u64, u64),
        history: &History,
    ) -> Result<Self> {
        let start = FeedStart { last, last_trimmed, version: history.version(last) };
        let after = start.number(user, since, |version| history.contains(version, last))?;
        Ok(Self { user, since, start, after })
    }

    /// The number of the change before the part.
    #[must_use]
    pub const fn after(&self) -> u64 {
        self.after
    }

    /// The part with these records, in order. `present` returns the conversation of a record as it
    /// is now; `None` if it does not exist any more.
    ///
    /// # Errors
    /// Those of `present`.
    pub fn read(
        self,
        records: &[FeedRecord],
        restriction: Option<AssistantId>,
        mut present: impl FnMut(ConversationId) -> Result<Option<Conversation>>,
    ) -> Result<Changes> {
        let end = records.last().map_or(self.after, |last| last.number);
        let records: Vec<ChangeRecord> = records
            .iter()
            .map(|&FeedRecord { kind, id, position, left, .. }| {
                let row = RowKey::new(self.user, Position::from_bits(position));
                ChangeRecord { kind, id, row, left }
            })
            .collect();
        let changes = coalesce(&records, restriction, |change| present(change.id))?;
        Ok(self.start.part(self.user, self.since, end, changes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continued_history_contains_what_was_before_it_and_its_own_feeds() {
        let mut epochs = Epochs::new(1);
        epochs.end(100);
        let mut history = History(epochs);
        history.begin(2);
        let version = |epoch, commit| StoreVersion { epoch, commit };
        // Commits of the store before count groups of all users, and feeds are shorter.
        assert!(history.contains(version(1, 100), 3));
        assert!(!history.contains(version(1, 101), 3));
        assert!(history.contains(version(2, 3), 3));
        assert!(!history.contains(version(2, 4), 3));
        assert!(!history.contains(version(3, 1), 3));
        assert_eq!(history.version(3), version(2, 3));
        assert_eq!(History::decode(&history.encode()), Some(history));
        assert_eq!(History::decode(b"other"), None);
    }
}
