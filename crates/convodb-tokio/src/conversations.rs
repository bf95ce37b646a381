//! Conversations of a list as a stream, one item for each conversation, read page by page.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use convodb::{Conversation, Result};
use futures_core::Stream;

use crate::pages::Pages;

/// The conversations of a list. Created by
/// [`AsyncStore::conversations`](crate::AsyncStore::conversations) and
/// [`AsyncStore::live_conversations`](crate::AsyncStore::live_conversations).
///
/// A [`Stream`] of `Result<Conversation>`; an error ends it. At most one page is in memory; the
/// next one is read after its last conversation was returned. Dropping the stream stops the
/// iteration; dropping the future of [`Conversations::next`] loses nothing.
pub struct Conversations {
    pages: Pages,
    page: vec::IntoIter<Conversation>,
}

impl Conversations {
    pub(crate) fn new(pages: Pages) -> Self {
        Self { pages, page: Vec::new().into_iter() }
    }

    /// The next conversation; `None` after the last. Equal to the next item of the stream, without
    /// a trait to import. Cancel-safe.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let user = store.create_user("Acme", "2025-01-25".parse()?).await?.id;
    /// let mut conversations = store.conversations(user, ListRequest::default());
    /// while let Some(conversation) = conversations.next().await {
    ///     println!("{}", conversation?.id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`convodb::Snapshot::list`]; the stream then ends.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub async fn next(&mut self) -> Option<Result<Conversation>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Conversations {
    type Item = Result<Conversation>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(conversation) = this.page.next() {
                return Poll::Ready(Some(Ok(conversation)));
            }
            match ready!(Pin::new(&mut this.pages).poll_next(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(page)) => {
                    let page: Vec<_> = page.conversations().map(|row| row.owned()).collect();
                    this.page = page.into_iter();
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
