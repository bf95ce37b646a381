//! The conversations of a list as a stream, page by page underneath.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use convodb::{Conversation, Result};
use futures_core::Stream;

use crate::pages::Pages;

/// The conversations of a list, one after the other. Made by
/// [`AsyncStore::conversations`](crate::AsyncStore::conversations) and
/// [`AsyncStore::live_conversations`](crate::AsyncStore::live_conversations).
///
/// A [`Stream`] of `Result<Conversation>`: a conversation, or the error that ended the walk. At most
/// one page of them is in memory; the next is read when they are used up. To drop it ends the walk;
/// to drop a [`Conversations::next`] that waits loses nothing.
pub struct Conversations {
    pages: Pages,
    rows: vec::IntoIter<Conversation>,
}

impl Conversations {
    pub(crate) fn new(pages: Pages) -> Self {
        Self { pages, rows: Vec::new().into_iter() }
    }

    /// The next conversation; `None` after the last. The same as the stream's next item, without a
    /// trait to import. Cancel-safe.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let user = store.create_user("Acme".parse()?, "2025-01-25".parse()?).await?.id;
    /// let mut conversations = store.conversations(user, ListRequest::default());
    /// while let Some(conversation) = conversations.next().await {
    ///     println!("{}", conversation?.id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`convodb::Snapshot::list`]; the walk has then ended.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn next(&mut self) -> Option<Result<Conversation>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Conversations {
    type Item = Result<Conversation>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(row) = this.rows.next() {
                return Poll::Ready(Some(Ok(row)));
            }
            match ready!(Pin::new(&mut this.pages).poll_next(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(page)) => {
                    let rows: Vec<_> = page.conversations().map(|row| row.owned()).collect();
                    this.rows = rows.into_iter();
                }
            }
        }
    }
}

impl fmt::Debug for Conversations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversations").field("pages", &self.pages).finish_non_exhaustive()
    }
}
