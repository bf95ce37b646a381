//! Export: a whole list as newline-delimited JSON or CSV, streamed from one snapshot in constant memory.
//!
//! The next chunk is read after the previous one was sent, so a slow client slows down the reading.
//! It cannot do so forever, because the snapshot stays open meanwhile: see
//! [`Limits::export_timeout`](crate::Limits::export_timeout). In memory are one chunk, one page of
//! rows and a few messages. An error in the middle aborts the connection, so a
//! client cannot mistake a part for the whole.

use std::io;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use convodb_json::ExportLines;
use convodb_json::csv::ExportCsv;
use convodb_service::View;
use futures_util::stream;

use crate::error::{ApiError, NotServed, Result};
use crate::extract::auth::{AuthRead, Authority, Export};
use crate::extract::export_format::ExportFormat;
use crate::extract::params::{self, ExportParams};
use crate::middleware::budget::Share;
use crate::response::json_body;
use crate::state::Service;

/// A chunk of at least this many bytes is sent.
const CHUNK_BYTES: usize = 64 * 1024;

/// `GET /api/user/conversations/export`.
pub(crate) async fn export(
    State(service): State<Service>,
    AuthRead { user, view, authority, .. }: AuthRead<Export>,
    format: ExportFormat,
    uri: Uri,
) -> Result<Response> {
    let query = uri.query().unwrap_or_default();
    let View::Embedded(snapshot) = view else {
        return Err(ApiError::not_served(NotServed::Export));
    };
    let params = params::export(query, user, &snapshot, format).await?;
    let ExportParams { request, messages, csv } = params;
    let rows = match format {
        ExportFormat::Lines => Rows::Lines(ExportLines::new(snapshot, user, &request, messages)),
        ExportFormat::Csv => Rows::Csv(ExportCsv::new(snapshot, user, &request, csv)),
    };
    let export = Progress {
        authority,
        rows,
        deadline: Instant::now() + service.limits().export_timeout,
        _permit: service.transfer_permit(user)?,
    };
    let long_reads = service.long_reads().clone();
    let chunks = stream::try_unfold(export, move |export| {
        let long_reads = long_reads.clone();
        async move { long_reads.run(move || export.next_chunk()).await }
    });
    let mut response = json_body::ok(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(format.disposition()));
    headers.insert(VARY, HeaderValue::from_name(ACCEPT));
    Ok(response)
}

/// An export in progress.
struct Progress {
    authority: Authority,
    rows: Rows,
    deadline: Instant,
    _permit: Share,
}

/// The rest of an export.
enum Rows {
    Lines(ExportLines),
    Csv(ExportCsv),
}

impl Rows {
    fn fill(&mut self, chunk: &mut Vec<u8>, bytes: usize) -> convodb::Result<bool> {
        match self {
            Rows::Lines(lines) => lines.fill(chunk, bytes),
            Rows::Csv(csv) => csv.fill(chunk, bytes),
        }
    }
}

impl Progress {
    /// Reads the next chunk of lines. Returns it with the rest of the export, or `None` at the end.
    fn next_chunk(mut self) -> convodb::Result<Option<(Bytes, Self)>> {
        if Instant::now() > self.deadline {
            tracing::warn!("export aborted: the client did not read it within the export timeout");
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        // The export reads an older snapshot, but only while its token is valid.
        if self.authority.check().is_err() {
            tracing::warn!("export aborted: its token is not valid any more");
            return Err(convodb::Error::TokenNotFound);
        }
        let mut chunk = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
        self.rows.fill(&mut chunk, CHUNK_BYTES).inspect_err(|error| {
            tracing::error!(cause = %error, "export aborted: cannot read the store");
        })?;
        Ok((!chunk.is_empty()).then(|| (chunk.into(), self)))
    }
}
