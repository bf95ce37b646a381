//! Export: the conversations of a list as JSON lines, from one snapshot, in bounded memory.
//!
//! The HTTP export and the command line both write these lines.

use convodb::{Conversation, ListRequest, Result, Snapshot, UserId};

use crate::assistant_names::AssistantNames;
use crate::write::write_line;

/// Whether the lines of an export contain the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// Each line has all messages of its conversation.
    Included,
    /// No line has messages.
    LeftOut,
}

/// The lines of a list, in the order of the list.
///
/// In memory are one page of rows and the messages of one conversation.
pub struct ExportLines {
    rows: Box<dyn Iterator<Item = Result<Conversation>> + Send>,
    names: AssistantNames,
    snapshot: Snapshot,
    user: UserId,
    messages: Messages,
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
        let names = AssistantNames::new(snapshot.clone(), user);
        Self { rows, names, snapshot, user, messages }
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
        let Some(row) = self.rows.next().transpose()? else { return Ok(false) };
        let messages = match self.messages {
            Messages::Included => self.snapshot.messages(self.user, row.id)?,
            Messages::LeftOut => None,
        };
        let name = self.names.name(row.assistant)?;
        write_line(out, &row.borrowed(), name, messages.as_deref());
        out.push(b'\n');
        Ok(true)
    }
}
