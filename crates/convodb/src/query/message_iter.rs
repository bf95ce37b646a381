//! Message iterator: the messages of a conversation, in one snapshot and in bounded memory.

use std::sync::Arc;
use std::vec;

use crate::encoding::key::RowKey;
use crate::encoding::row::StoredMessages;
use crate::error::Result;
use crate::model::message::Message;
use crate::tables::state::CommittedState;

/// A read ahead ends with the message that reaches this many bytes of text.
const READ_AHEAD_BYTES: usize = 64 << 10;
/// The most messages that are read ahead.
const READ_AHEAD: usize = 256;

/// The messages of a conversation, in order. Created by
/// [`Snapshot::message_iter`](crate::Snapshot::message_iter).
///
/// Reads up to 64 KiB of messages ahead, and at least one message; each read costs a B-tree lookup.
/// After an error the iteration ends. Holds its snapshot.
pub struct MessageIter {
    state: Arc<CommittedState>,
    row: RowKey,
    stored: StoredMessages,
    /// The number of messages that were read or skipped, and of those that there are.
    read: u32,
    last: u32,
    ahead: vec::IntoIter<Message>,
}

impl MessageIter {
    pub(crate) fn new(
        state: Arc<CommittedState>,
        row: RowKey,
        stored: StoredMessages,
    ) -> Result<Self> {
        let last = state.tables.messages.last_number(row, stored)?;
        Ok(Self { state, row, stored, read: 0, last, ahead: Vec::new().into_iter() })
    }

    /// The number of messages of the conversation, those already returned included. It may be less
    /// than [`Conversation::message_count`](crate::Conversation::message_count).
    #[must_use]
    pub const fn stored(&self) -> u32 {
        self.last
    }

    /// Continues after the first `count` messages, without reading them.
    #[must_use]
    pub fn from(mut self, count: u32) -> Self {
        self.read = count;
        self.ahead = Vec::new().into_iter();
        self
    }

    fn read_ahead(&mut self) -> Result<()> {
        let (mut messages, mut bytes) = (Vec::new(), 0);
        let stored = self.state.tables.messages.of_row_after(self.row, self.read, self.stored)?;
        for message in stored.take(READ_AHEAD) {
            let message = message?;
            bytes += message.content().len() + message.function_calls().map_or(0, str::len);
            messages.push(message);
            self.read = self.read.saturating_add(1);
            if bytes >= READ_AHEAD_BYTES {
                break;
            }
        }
        self.ahead = messages.into_iter();
        Ok(())
    }
}

impl Iterator for MessageIter {
    type Item = Result<Message>;

    fn next(&mut self) -> Option<Result<Message>> {
        if self.ahead.len() == 0
            && self.read < self.last
            && let Err(error) = self.read_ahead()
        {
            self.read = self.last;
            return Some(Err(error));
        }
        self.ahead.next().map(Ok)
    }
}

impl std::fmt::Debug for MessageIter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageIter").field("stored", &self.last).finish_non_exhaustive()
    }
}
