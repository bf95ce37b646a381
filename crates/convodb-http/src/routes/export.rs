//! A whole list as JSON lines, of one snapshot, in constant memory.
//!
//! The next piece is read when the one before was sent, so a client that reads slowly is read for
//! slowly, but not for ever: a snapshot is held meanwhile. What is in memory is a piece, a page of
//! rows, and the history of one conversation. A fault in the middle breaks the connection off, so
//! that nobody takes a part for the whole.

use std::io;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use futures_util::stream;

use crate::error::Result;
use crate::extract::auth::AuthRead;
use crate::extract::params;
use crate::item::ExportLines;
use crate::middleware::transfer_limit::TransferPermit;
use crate::response::json_body;
use crate::run_blocking::run_blocking;
use crate::state::Service;

/// A piece of this many bytes takes no further line.
const PIECE_BYTES: usize = 64 * 1024;

/// `GET /api/user/conversations/export`.
pub(crate) async fn export(
    State(service): State<Service>,
    AuthRead { user, snapshot }: AuthRead,
    uri: Uri,
) -> Result<Response> {
    let query = uri.query().unwrap_or_default();
    let (request, messages) = params::export_request(query, user, &snapshot)?;
    let export = Export {
        lines: ExportLines::new(snapshot, user, &request, messages),
        until: Instant::now() + service.limits().export_timeout,
        _transfer: service.transfer(user)?,
    };
    let pieces = stream::try_unfold(export, |export| run_blocking(move || export.piece()));
    let mut answer = json_body::ok(Body::from_stream(pieces));
    let lines = HeaderValue::from_static("application/x-ndjson");
    answer.headers_mut().insert(CONTENT_TYPE, lines);
    Ok(answer)
}

/// An export under way.
struct Export {
    lines: ExportLines,
    until: Instant,
    _transfer: TransferPermit,
}

impl Export {
    /// The next lines, with the rest of the export; none at its end.
    fn piece(mut self) -> convodb::Result<Option<(Bytes, Self)>> {
        if Instant::now() > self.until {
            tracing::warn!("an export was broken off: its client takes too long");
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        while piece.len() < PIECE_BYTES
            && self.lines.next_into(&mut piece).inspect_err(|error| {
                tracing::error!(cause = %error, "an export was broken off");
            })?
        {}
        Ok((!piece.is_empty()).then(|| (piece.into(), self)))
    }
}
