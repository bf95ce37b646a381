//! The lines of an export: conversations of a list, and their messages, one by one. The same for a
//! client of the server as for a file.

use convodb::{Conversation, ListRequest, Result, Snapshot, UserId};

use crate::item::names::AssistantNames;
use crate::item::write::write_line;

/// Whether conversations are exported with their messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// Each line has them all.
    Included,
    /// No line has any.
    LeftOut,
}

/// The lines of a list, in its order, in one consistent view. In memory is a page of rows, and the
/// messages of one conversation.
pub struct ExportLines {
    rows: Box<dyn Iterator<Item = Result<Conversation>> + Send>,
    names: AssistantNames,
    snapshot: Snapshot,
    user: UserId,
    messages: Messages,
}

impl ExportLines {
    /// The lines of the user's list. The request's filter, bounds and order count; its page size and
    /// cursor do not. Nothing is read yet.
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

    /// Appends the next line, with its line break, to `out`, and tells whether there was one.
    ///
    /// ```
    /// use convodb::{ListRequest, Store};
    /// use convodb_http::item::{ExportLines, Messages};
    /// # let store = Store::in_memory()?;
    /// # let user = store.create_user("Acme".parse()?, "2025-01-25".parse()?)?.id;
    /// let request = ListRequest::default();
    /// let mut lines = ExportLines::new(store.snapshot(), user, &request, Messages::Included);
    /// let mut out = Vec::new();
    /// while lines.next_into(&mut out)? {}
    /// assert!(out.is_empty());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store; what was appended is then no line.
    pub fn next_into(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        let Some(row) = self.rows.next().transpose()? else { return Ok(false) };
        let history = match self.messages {
            Messages::Included => self.snapshot.messages(self.user, row.id)?,
            Messages::LeftOut => None,
        };
        let name = self.names.name(row.assistant)?;
        write_line(out, &row.borrowed(), name, history.as_deref());
        out.push(b'\n');
        Ok(true)
    }
}
