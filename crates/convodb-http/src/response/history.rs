//! History: a conversation with its messages as a JSON body, streamed in constant memory if it is
//! long.
//!
//! The messages come first in the body, so the rest of it is written before and appended at the
//! end. A short history is one chunk. A long one is read on blocking threads, each chunk after the
//! previous one was sent, and only while the request is allowed. An error in the middle aborts the
//! connection.

use std::io;
use std::iter::Take;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::response::Response;
use convodb::{Message, MessageIter};
use convodb_json::{json, write_history_message};
use futures_util::{StreamExt as _, stream};

use crate::error::Result;
use crate::response::json_body;
use crate::run_blocking::LongReads;

/// A chunk of at least this many bytes is sent.
const CHUNK_BYTES: usize = 64 * 1024;
/// The bytes in memory for a streamed history: a chunk and what is read ahead, with long messages.
pub(crate) const STREAMED_BYTES: usize = 512 * 1024;

/// The beginning of the body.
const START: &str = "{\"status\":true,\"history\":[";

/// A history in progress.
pub(crate) struct History<P, C> {
    messages: Take<MessageIter>,
    /// What follows the messages.
    end: Vec<u8>,
    state: State,
    deadline: Instant,
    /// Checks that the request is still allowed.
    check: C,
    /// Held until the last chunk is sent.
    permit: Option<P>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Messages,
    End,
}

/// Returns a history that is in memory as a whole: the body with these messages, and what follows them.
pub(crate) fn whole<'m>(messages: impl Iterator<Item = &'m Message>, mut end: Vec<u8>) -> Response {
    let mut body = Vec::new();
    json::raw(&mut body, START);
    for (at, message) in messages.enumerate() {
        if at > 0 {
            body.push(b',');
        }
        write_history_message(&mut body, message);
    }
    body.push(b']');
    body.append(&mut end);
    json_body::ok(body)
}

impl<P: Send + 'static, C: Fn() -> Result<()> + Send + 'static> History<P, C> {
    /// Prepares the body with these messages, to be sent before `deadline` and while `check`
    /// succeeds. `end` continues the object after its history.
    pub(crate) const fn new(
        messages: Take<MessageIter>,
        end: Vec<u8>,
        deadline: Instant,
        check: C,
    ) -> Self {
        Self { messages, end, state: State::Start, deadline, check, permit: None }
    }

    /// Returns the response. Calls `permit` if it is streamed, by `long_reads`.
    ///
    /// # Errors
    /// Fails if the store cannot be read, or with the error of `permit`.
    pub(crate) fn response(
        mut self,
        long_reads: &LongReads,
        permit: impl FnOnce() -> Result<P>,
    ) -> Result<Response> {
        let first = self.next_chunk()?;
        if self.state == State::End {
            return Ok(json_body::ok(first));
        }
        self.permit = Some(permit()?);
        let long_reads = long_reads.clone();
        let rest = stream::try_unfold(self, move |history| {
            let long_reads = long_reads.clone();
            async move { long_reads.run(move || history.streamed()).await }
        });
        let first = stream::once(async { convodb::Result::Ok(Bytes::from(first)) });
        Ok(json_body::ok(Body::from_stream(first.chain(rest))))
    }

    /// Reads the next chunk. Returns it with the rest, or `None` at the end.
    fn streamed(mut self) -> convodb::Result<Option<(Bytes, Self)>> {
        if self.state == State::End {
            return Ok(None);
        }
        if Instant::now() > self.deadline {
            tracing::warn!("history aborted: the client did not read it within the export timeout");
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        if (self.check)().is_err() {
            tracing::warn!("history aborted: its token is not valid any more");
            return Err(convodb::Error::TokenNotFound);
        }
        let chunk = self.next_chunk().inspect_err(|error| {
            tracing::error!(cause = %error, "history aborted: cannot read the store");
        })?;
        Ok(Some((chunk.into(), self)))
    }

    fn next_chunk(&mut self) -> convodb::Result<Vec<u8>> {
        let mut chunk = Vec::new();
        if self.state == State::Start {
            json::raw(&mut chunk, START);
        }
        while chunk.len() < CHUNK_BYTES {
            let Some(message) = self.messages.next().transpose()? else {
                chunk.push(b']');
                chunk.append(&mut self.end);
                self.state = State::End;
                break;
            };
            if self.state == State::Messages {
                chunk.push(b',');
            }
            write_history_message(&mut chunk, &message);
            self.state = State::Messages;
        }
        Ok(chunk)
    }
}
