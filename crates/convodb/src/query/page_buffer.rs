//! Buffer of a page: what a page copies of each row that it lists.

use crate::encoding::row::RowBuffer;
use crate::error::Result;
use crate::model::preview::PreviewRef;
use crate::tables::Tables;
use crate::tables::conversations::{KeptPreview, StoredRow};
use crate::tables::schema::Messages;

/// The rows of a page that is being read.
pub(crate) struct PageBuffer<'t> {
    pub(crate) rows: RowBuffer,
    /// Where the previews are that no row keeps; `None` if the page has none.
    messages: Option<&'t Messages>,
    /// The number of messages read.
    pub(crate) messages_read: usize,
}

impl<'t> PageBuffer<'t> {
    /// A buffer of `rows` rows, with their previews if `previews`.
    pub(crate) fn new(tables: &'t Tables, rows: usize, previews: bool) -> Self {
        let mut buffer = RowBuffer::default();
        buffer.reserve(rows);
        let messages = previews.then_some(&tables.messages);
        Self { rows: buffer, messages, messages_read: 0 }
    }

    /// Copies a row. A preview costs at most two B-tree lookups, or none if the row keeps it.
    #[inline]
    pub(crate) fn push(&mut self, stored: &StoredRow<'_>) -> Result<()> {
        let (row, texts) = stored.parts();
        self.rows.push(*row, texts);
        match self.messages {
            Some(messages) => self.push_preview(stored, messages),
            None => Ok(()),
        }
    }

    fn push_preview(&mut self, stored: &StoredRow<'_>, messages: &Messages) -> Result<()> {
        match stored.preview()? {
            KeptPreview::Known(preview) => self.rows.push_preview(preview.as_ref()),
            KeptPreview::Unknown => {
                let ends = messages.ends(stored.key())?;
                self.messages_read += ends.len();
                self.rows.push_preview(PreviewRef::of(&ends).as_ref());
            }
        }
        Ok(())
    }
}
