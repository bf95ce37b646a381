//! Pages of a list as a stream, one item for each page.
//!
//! A page is read when the stream is polled, not ahead, on a blocking thread: most pages of a long
//! list are not cached, and reading them must not block other tasks. One page is in memory.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use convodb::{ListRequest, Page, Result, Snapshot, Store, UserId};
use futures_core::Stream;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::run_blocking::flatten;

/// The pages of a list. Created by [`AsyncStore::pages`](crate::AsyncStore::pages) and
/// [`AsyncStore::live_pages`](crate::AsyncStore::live_pages).
///
/// A [`Stream`] of `Result<Page>`; an error ends it. No page is read before the stream is polled
/// for it. Dropping the stream stops the iteration; dropping the future of [`Pages::next`] loses
/// nothing. [`Page::next_cursor`] of the last page that was processed resumes the iteration
/// elsewhere.
pub struct Pages {
    source: Source,
    user: UserId,
    state: State,
}

/// The snapshot that each page is read from.
#[derive(Clone)]
pub(crate) enum Source {
    /// One snapshot for all pages.
    Snapshot(Snapshot),
    /// A new snapshot for each page.
    Live(Store),
}

enum State {
    Idle(Box<ListRequest>),
    Reading(JoinHandle<Result<Read>>),
    Ended,
}

/// A page, and the request for the next one.
type Read = (Page, Option<Box<ListRequest>>);

impl Pages {
    pub(crate) fn new(source: Source, user: UserId, request: ListRequest) -> Self {
        Self { source, user, state: State::Idle(Box::new(request)) }
    }

    /// The next page; `None` after the last. Equal to the next item of the stream, without a trait
    /// to import.
    ///
    /// Cancel-safe: if the future is dropped during a read, the next call returns that page.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// let store = AsyncStore::in_memory()?;
    /// let user = store.create_user("Acme", "2025-01-25".parse()?).await?.id;
    /// let mut pages = store.pages(user, ListRequest::default());
    /// let first = pages.next().await.expect("a list has at least one page")?;
    /// assert!(first.is_empty() && pages.next().await.is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Snapshot::list`]; the stream then ends.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub async fn next(&mut self) -> Option<Result<Page>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    fn begin(&self, mut request: Box<ListRequest>) -> JoinHandle<Result<Read>> {
        let (source, user) = (self.source.clone(), self.user);
        spawn_blocking(move || {
            let page = match source {
                Source::Snapshot(snapshot) => snapshot.list(user, &request)?,
                Source::Live(store) => store.snapshot().list(user, &request)?,
            };
            request.cursor = page.next_cursor().copied();
            let following = request.cursor.is_some().then_some(request);
            Ok((page, following))
        })
    }
}

impl Stream for Pages {
    type Item = Result<Page>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match std::mem::replace(&mut this.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Idle(request) => this.state = State::Reading(this.begin(request)),
                State::Reading(mut reading) => {
                    let Poll::Ready(joined) = Pin::new(&mut reading).poll(context) else {
                        this.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    return Poll::Ready(Some(flatten(joined).map(|(page, following)| {
                        this.state = following.map_or(State::Ended, State::Idle);
                        page
                    })));
                }
            }
        }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("user", &self.user).finish_non_exhaustive()
    }
}
