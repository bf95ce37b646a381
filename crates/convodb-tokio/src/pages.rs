//! The pages of a list as a stream.
//!
//! A page is read when it is asked for, not before, on a thread for what blocks: a walk goes through
//! what is not in memory, and must not hold up the tasks beside it. In memory is one page.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use convodb::{ListRequest, Page, Result, Snapshot, Store, UserId};
use futures_core::Stream;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::aside::returned;

/// The pages of a list, one after the other. Made by [`AsyncStore::pages`](crate::AsyncStore::pages)
/// and [`AsyncStore::live_pages`](crate::AsyncStore::live_pages).
///
/// A [`Stream`] of `Result<Page>`: a page, or the error that ended the walk. Nothing is read before it
/// is asked for. To drop it ends the walk; to drop a [`Pages::next`] that waits loses nothing.
/// A walk is resumed elsewhere by [`Page::next_cursor`] of the last page that was dealt with.
pub struct Pages {
    view: View,
    user: UserId,
    state: State,
}

/// What each page is read from.
#[derive(Clone)]
pub(crate) enum View {
    /// All of them from one state of the store.
    Frozen(Snapshot),
    /// Each from the state of its moment.
    Live(Store),
}

enum State {
    Before(Box<ListRequest>),
    Reading(JoinHandle<Result<Read>>),
    Ended,
}

/// A page, and the request for the one after it.
type Read = (Page, Option<Box<ListRequest>>);

impl Pages {
    pub(crate) fn new(view: View, user: UserId, request: ListRequest) -> Self {
        Self { view, user, state: State::Before(Box::new(request)) }
    }

    /// The next page; `None` after the last. The same as the stream's next item, without a trait to
    /// import.
    ///
    /// Cancel-safe: a page that is being read is what the next call gives.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// let store = AsyncStore::in_memory()?;
    /// let user = store.create_user("Acme".parse()?, "2025-01-25".parse()?).await?.id;
    /// let mut pages = store.pages(user, ListRequest::default());
    /// let first = pages.next().await.expect("a list has at least one page")?;
    /// assert!(first.is_empty() && pages.next().await.is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Snapshot::list`]; the walk has then ended.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn next(&mut self) -> Option<Result<Page>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    fn begin(&self, mut request: Box<ListRequest>) -> JoinHandle<Result<Read>> {
        let (view, user) = (self.view.clone(), self.user);
        spawn_blocking(move || {
            let page = match view {
                View::Frozen(snapshot) => snapshot.list(user, &request)?,
                View::Live(store) => store.snapshot().list(user, &request)?,
            };
            request.cursor = page.next_cursor().copied();
            let upcoming = request.cursor.is_some().then_some(request);
            Ok((page, upcoming))
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
                State::Before(request) => this.state = State::Reading(this.begin(request)),
                State::Reading(mut reading) => {
                    let Poll::Ready(joined) = Pin::new(&mut reading).poll(context) else {
                        this.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    return Poll::Ready(Some(returned(joined).map(|(page, upcoming)| {
                        this.state = upcoming.map_or(State::Ended, State::Before);
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
