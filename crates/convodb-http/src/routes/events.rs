//! Event stream: a change feed as server-sent events, each with the cursor behind it as its id.
//!
//! A client that loses its connection sends the id of its last event, and the stream continues after
//! it. So nothing is buffered for a client: the next part is read when the connection has taken the
//! previous one, and whatever changed meanwhile is in it. A client that takes nothing is closed by
//! the write timeout, like any other.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use convodb::Changes;
use convodb_json::{AssistantNames, json};
use convodb_service::View;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use crate::error::{ApiError, Dialect, Result};
use crate::middleware::caller::Caller;
use crate::response::compression::IsCompressed;
use crate::response::json_body;
use crate::routes::feed::{Follower, Part};
use crate::state::Service;

/// How long a client should wait before it connects again, in milliseconds.
const RETRY: &[u8] = b"retry: 1000\n";
/// A comment, by which both ends notice that the connection is gone.
const HEARTBEAT: &[u8] = b":\n\n";
/// Makes nginx pass on each event at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Returns the data of an event.
pub(super) trait WriteEvent:
    Fn(&Changes, &View, &mut AssistantNames) -> Result<Vec<u8>> + Send + Sync + 'static
{
}

impl<W> WriteEvent for W where
    W: Fn(&Changes, &View, &mut AssistantNames) -> Result<Vec<u8>> + Send + Sync + 'static
{
}

/// Returns the events of a follower's feed: one for each part that has changes, and one at the
/// beginning in any case, so that the client has a cursor. `write` returns the data of an event
/// from a part, its view and the names of its assistants.
///
/// # Errors
/// As [`Follower::read`]; 503 beyond the user's share of bytes.
pub(super) async fn stream<W>(
    service: &Service,
    follower: Follower,
    caller: Caller,
    write: W,
) -> Result<Response>
where
    W: WriteEvent,
{
    let heartbeat = service.limits().event_heartbeat;
    let (state, sent_at) = (State::Begins, Instant::now());
    let mut events = Events { follower, caller, write, heartbeat, sent_at, state };
    let first = [Bytes::from_static(RETRY), events.read().await?.unwrap_or_default()];
    let first = stream::iter(first).map(Ok::<_, Infallible>);
    let rest = stream::unfold(events, Events::next);
    let mut response = json_body::ok(Body::from_stream(first.chain(rest)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response.extensions_mut().insert(IsCompressed);
    Ok(response)
}

struct Events<W> {
    follower: Follower,
    caller: Caller,
    write: W,
    heartbeat: Duration,
    /// When the last event or heartbeat was sent.
    sent_at: Instant,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first part gets an event even if it is empty.
    Begins,
    /// There may be no further part yet.
    Waiting,
    /// There is a further part.
    HasMore,
    Ended,
}

impl<W: WriteEvent> Events<W> {
    /// Waits for the next event or the next heartbeat; `None` at the end.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        while self.state != State::Ended {
            if self.state == State::Waiting {
                self.follower.changed(self.sent_at + self.heartbeat).await;
            }
            if self.follower.is_shutting_down() {
                break;
            }
            let event = match self.read().await {
                Ok(event) => event,
                Err(error) => {
                    self.state = State::Ended;
                    Some(end(&error))
                }
            };
            let is_silent = self.sent_at.elapsed() >= self.heartbeat;
            if let Some(bytes) = event.or(is_silent.then_some(Bytes::from_static(HEARTBEAT))) {
                self.sent_at = Instant::now();
                return Some((Ok(bytes), self));
            }
        }
        None
    }

    /// Reads the next part, and returns its event if it has one.
    async fn read(&mut self) -> Result<Option<Bytes>> {
        let Part { changes, mut names, view } = self.follower.read().await?;
        let begins = self.state == State::Begins;
        self.state = if changes.has_more { State::HasMore } else { State::Waiting };
        if changes.changes.is_empty() && !begins {
            return Ok(None);
        }
        let data = (self.write)(&changes, &view, &mut names)?;
        let mut event = Vec::with_capacity(data.len() + 160);
        json::raw(&mut event, "id: ");
        json::raw(&mut event, &view.seal_change_cursor(&changes.next_cursor));
        json::raw(&mut event, "\ndata: ");
        // Line breaks of JSON are between its values alone, where a space means the same.
        let without_breaks = |byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
        event.extend(data.into_iter().map(without_breaks));
        json::raw(&mut event, "\n\n");
        self.caller.holding(event).map(Some)
    }
}

/// Returns the event that says why a stream ends: `end`, with the status and the error body that
/// the next request would get.
fn end(error: &ApiError) -> Bytes {
    let mut event = b"event: end\ndata: {\"status\":".to_vec();
    json::integer(&mut event, error.status().as_u16().into());
    event.push(b',');
    event.extend_from_slice(error.body(Dialect::Plain).get(1..).unwrap_or(b"}"));
    json::raw(&mut event, "\n\n");
    event.into()
}
