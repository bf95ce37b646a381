//! Follower of a change feed: reads its parts, and waits for commits in between.
//!
//! Long polls and event streams share it. The token is checked again at each read, so revoking it
//! ends them; on a store on another database, in the same round trip. While it waits, a follower holds neither a thread nor a snapshot.
//!
//! The first commit after a quiet time is read at once. Commits that follow closely are gathered
//! into one read, so that what they cost does not grow with their number.

use std::time::Duration;

use convodb::{Changes, ChangesSince, PageSize, UserId};
use convodb_json::AssistantNames;
use convodb_service::{Error, News, RemoteView, View};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::error::Result;
use crate::extract::auth::Authority;
use crate::middleware::budget::Share;
use crate::response::names;
use crate::state::Service;

/// The shortest time between two reads of a follower, for each follower that its user has: all of
/// them together read at most 500 times a second, however frequent commits are.
const INTERVAL_PER_FOLLOWER: Duration = Duration::from_millis(2);

/// A position in the change feed of a user, and the means to read on from it.
pub(super) struct Follower {
    authority: Authority,
    user: UserId,
    since: ChangesSince,
    size: PageSize,
    news: News,
    shutdown: watch::Receiver<bool>,
    /// The place among those that wait; none if it does not wait.
    place: Option<Share>,
    last_read: Instant,
    /// The view of the request, if the first read has to check its token.
    first: Option<RemoteView>,
}

/// What a follower has read.
pub(super) struct Part {
    pub(super) changes: Changes,
    /// The names of the assistants of its conversations.
    pub(super) names: AssistantNames,
    /// The view that it was read from.
    pub(super) view: View,
}

impl Follower {
    /// A follower from `since` on, in parts of at most `size` changes. One that waits has a `place`.
    /// `view` is the one of the request.
    pub(super) fn new(
        service: &Service,
        (authority, view): (Authority, View),
        user: UserId,
        (since, size): (ChangesSince, PageSize),
        place: Option<Share>,
    ) -> Self {
        // Subscribed before the first read, so that no commit after it is missed.
        let news = service.source().news_of(user);
        let (shutdown, last_read) = (service.shutdown_receiver(), Instant::now());
        let first = match view {
            View::Remote(view) if view.recalled().is_some() => Some(view),
            // A snapshot may be older than the subscription.
            View::Embedded(_) | View::Remote(_) => None,
        };
        Self { authority, user, since, size, news, shutdown, place, last_read, first }
    }

    /// Whether the server is shutting down.
    pub(super) fn is_shutting_down(&self) -> bool {
        *self.shutdown.borrow()
    }

    /// Checks the token, reads the next part and moves behind it.
    ///
    /// # Errors
    /// As [`Authority::view`]; 410 if the changes after the position are no longer retained.
    pub(super) async fn read(&mut self) -> Result<Part> {
        self.last_read = Instant::now();
        let part = match self.first.take() {
            Some(view) => self.read_from(View::Remote(view)).await?,
            None => self.read_checked().await?,
        };
        self.since = ChangesSince::Cursor(part.changes.next_cursor);
        Ok(part)
    }

    /// Reads the next part after the token was checked, or while it is.
    async fn read_checked(&self) -> Result<Part> {
        if let Some(view) = self.authority.checking_view()? {
            match self.read_from(View::Remote(view)).await {
                // What it allows now, if anything, is known below.
                Err(Error::AccessChanged) => {}
                done => return Ok(done?),
            }
        }
        Ok(self.read_from(self.authority.view().await?).await?)
    }

    async fn read_from(&self, view: View) -> Result<Part, Error> {
        let (changes, names) = names::changes(&view, self.user, self.since, self.size).await?;
        Ok(Part { changes, names, view })
    }

    /// Waits for a commit that changes the user's conversations, for the shutdown of the server, or
    /// for `deadline`, and at least until the time of the next read.
    pub(super) async fn changed(&mut self, deadline: Instant) {
        tokio::select! {
            () = self.news.changed() => {}
            _ = self.shutdown.changed() => {}
            () = sleep_until(deadline) => {}
        }
        let followers = self.place.as_ref().map_or(1, Share::held_by_user);
        let followers = u32::try_from(followers).unwrap_or(u32::MAX);
        let next_read = self.last_read + INTERVAL_PER_FOLLOWER * followers;
        // A timer that is due would still wait for the runtime's next look at its clock.
        if next_read > Instant::now() {
            sleep_until(next_read).await;
        }
    }
}
