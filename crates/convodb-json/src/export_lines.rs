//! Export: the conversations of a list as JSON lines, from one snapshot, in bounded memory.
//!
//! The HTTP export and the command line both write these lines. [`LineWriter`] writes them for rows and
//! messages that the caller reads, from another store than an embedded one.

use convodb::{
    Conversation, ConversationRef, ListRequest, Message, MessageIter, Result, Snapshot, UserId,
};

use crate::assistant_names::AssistantNames;
use crate::write::{LINE_MESSAGES, begin_line, write_line_message};

/// Whether the lines of an export contain the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// Each line has all messages of its conversation.
    Included,
    /// No line has messages.
    LeftOut,
}

/// Writes lines of an export: for each conversation its beginning, its messages if they are included,
/// and its end.
///
/// ```
/// use convodb::{Channel, Conversation, ConversationId, Message, Role, Timestamp};
/// use convodb_json::{LineWriter, Messages, write_line};
/// let at: Timestamp = "2025-01-25T10:15:00.250Z".parse()?;
/// let bot = "a1b2c3d4-5678-40ab-8def-1234567890ab".parse()?;
/// let row = Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at);
/// let message = Message::new(Role::User, "Hello!", at)?;
///
/// let (mut writer, mut out) = (LineWriter::new(Messages::Included), Vec::new());
/// writer.begin(&mut out, &row.borrowed(), "Support");
/// writer.message(&mut out, &message);
/// writer.end(&mut out);
///
/// let mut line = Vec::new();
/// write_line(&mut line, &row.borrowed(), "Support", Some(&[message]));
/// assert_eq!(out, [line.as_slice(), b"\n"].concat());
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Debug)]
pub struct LineWriter {
    messages: Messages,
    /// Whether the current line has a message; `None` between two lines.
    line: Option<bool>,
}

impl LineWriter {
    /// A writer of lines with or without messages.
    #[must_use]
    pub const fn new(messages: Messages) -> Self {
        Self { messages, line: None }
    }

    /// Appends the beginning of the next line, after the end of the one before.
    pub fn begin(&mut self, out: &mut Vec<u8>, row: &ConversationRef<'_>, assistant_name: &str) {
        self.end(out);
        begin_line(out, row, assistant_name);
        if self.messages == Messages::Included {
            out.extend_from_slice(LINE_MESSAGES.as_bytes());
        }
        self.line = Some(false);
    }

    /// Appends the next message of the current line; nothing if lines have no messages.
    pub fn message(&mut self, out: &mut Vec<u8>, message: &Message) {
        let (Messages::Included, Some(has_message)) = (self.messages, &mut self.line) else {
            return;
        };
        if std::mem::replace(has_message, true) {
            out.push(b',');
        }
        write_line_message(out, message);
    }

    /// Appends the end of the current line; nothing between two lines.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if self.line.take().is_some() {
            let end: &[u8] = match self.messages {
                Messages::Included => b"]}\n",
                Messages::LeftOut => b"}\n",
            };
            out.extend_from_slice(end);
        }
    }
}

/// The lines of a list, in the order of the list.
///
/// In memory are one page of rows and what [`MessageIter`] reads ahead.
pub struct ExportLines {
    rows: Box<dyn Iterator<Item = Result<Conversation>> + Send>,
    names: AssistantNames,
    snapshot: Snapshot,
    user: UserId,
    messages: Messages,
    writer: LineWriter,
    /// The messages that the current line has yet to get.
    line: Option<MessageIter>,
}

/// What [`ExportLines::step`] has appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A part of a line.
    Part,
    /// The end of a line.
    Line,
    /// Nothing: the list has ended.
    Nothing,
}

impl ExportLines {
    /// Prepares the export of the user's list. Reads nothing.
    ///
    /// The filter, the time bounds and the order of `request` apply. Its page size and its cursor
    /// are ignored.
    #[must_use]
    pub fn new(
        snapshot: Snapshot,
        user: UserId,
        request: &ListRequest,
        messages: Messages,
    ) -> Self {
        let rows = Box::new(snapshot.conversations(user, request));
        Self::of_rows(snapshot, user, rows, messages)
    }

    /// Prepares the line of one conversation of the user, with its messages. Reads nothing.
    #[must_use]
    pub fn of_one(snapshot: Snapshot, user: UserId, conversation: Conversation) -> Self {
        let rows = Box::new(std::iter::once(Ok(conversation)));
        Self::of_rows(snapshot, user, rows, Messages::Included)
    }

    fn of_rows(
        snapshot: Snapshot,
        user: UserId,
        rows: Box<dyn Iterator<Item = Result<Conversation>> + Send>,
        messages: Messages,
    ) -> Self {
        let names = AssistantNames::new(snapshot.clone(), user);
        Self {
            rows,
            names,
            snapshot,
            user,
            messages,
            writer: LineWriter::new(messages),
            line: None,
        }
    }

    /// Appends the next line to `out`, with its line break. Returns `false` at the end of the list.
    ///
    /// ```
    /// use convodb::{ListRequest, Store};
    /// use convodb_json::{ExportLines, Messages};
    /// # let store = Store::in_memory()?;
    /// # let user = store.create_user("Acme", "2025-01-25".parse()?)?.id;
    /// let request = ListRequest::default();
    /// let mut lines = ExportLines::new(store.snapshot(), user, &request, Messages::Included);
    /// let mut out = Vec::new();
    /// while lines.next_into(&mut out)? {}
    /// assert!(out.is_empty());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the store cannot be read. `out` may then end with an incomplete line.
    pub fn next_into(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        loop {
            match self.step(out)? {
                Step::Part => {}
                Step::Line => return Ok(true),
                Step::Nothing => return Ok(false),
            }
        }
    }

    /// Appends lines or parts of a line to `out` until it has at least `bytes`. Returns `false` at
    /// the end of the list. So a conversation with any number of messages takes bounded memory.
    ///
    /// # Errors
    /// As [`ExportLines::next_into`].
    pub fn fill(&mut self, out: &mut Vec<u8>, bytes: usize) -> Result<bool> {
        while out.len() < bytes {
            if self.step(out)? == Step::Nothing {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Appends the beginning of the next line, a message, or the end of the line.
    fn step(&mut self, out: &mut Vec<u8>) -> Result<Step> {
        if let Some(messages) = &mut self.line {
            if let Some(message) = messages.next().transpose()? {
                self.writer.message(out, &message);
                return Ok(Step::Part);
            }
            self.line = None;
            self.writer.end(out);
            return Ok(Step::Line);
        }
        let Some(row) = self.rows.next().transpose()? else { return Ok(Step::Nothing) };
        self.line = match self.messages {
            Messages::Included => self.snapshot.message_iter(self.user, row.id)?,
            Messages::LeftOut => None,
        };
        self.writer.begin(out, &row.borrowed(), self.names.name(row.assistant)?);
        if self.line.is_some() {
            return Ok(Step::Part);
        }
        self.writer.end(out);
        Ok(Step::Line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use convodb::{AssistantId, Channel, ConversationId, Message, Role, Store, Timestamp};

    /// Parts of any size join to the same lines.
    #[test]
    fn parts_of_lines_join_to_the_lines() {
        let store = Store::in_memory().unwrap();
        let at: Timestamp = "2025-01-25".parse().unwrap();
        let user = store.create_user("Acme", at).unwrap().id;
        let bot = store.create_assistant(user, AssistantId::generate(at), "Bot").unwrap().id;
        for messages in [0, 1, 700] {
            let mut row = Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at);
            row.message_count = messages;
            let text = format!("{messages} [");
            let message = Message::new(Role::User, text, at).unwrap();
            store.insert(user, row, vec![message; messages as usize]).unwrap();
        }
        let lines =
            |included| ExportLines::new(store.snapshot(), user, &ListRequest::default(), included);
        for included in [Messages::Included, Messages::LeftOut] {
            let mut whole = Vec::new();
            let mut all = lines(included);
            while all.next_into(&mut whole).unwrap() {}
            for bytes in [1, 100, 4096] {
                let (mut parts, mut joined) = (lines(included), Vec::new());
                loop {
                    let mut part = Vec::new();
                    let more = parts.fill(&mut part, bytes).unwrap();
                    assert!(part.len() < bytes + 1024, "{} bytes", part.len());
                    joined.append(&mut part);
                    if !more {
                        break;
                    }
                }
                assert!(joined == whole);
            }
            assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count(), 3);
        }
    }
}
